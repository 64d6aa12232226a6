"""Rendering of a scene into a cache folder: completely or not at all, by one or two processes."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path

from market_square.film import HAND_HELD_FILM
from market_square.free_space import FreeSpace, free_space_of
from market_square.renderer import RenderedView, Renderer
from market_square.scene import Shot, SquareSettings, shots
from market_square.writing import (
    FRAMES_FILE,
    SCENE_FILE,
    frames_table,
    read_scene,
    scene_json,
    write_frame,
)

Progress = Callable[[int, int], None]

# A folder in work gets a new image every few seconds, so one without a new image for a day is abandoned.
_STALE_SECONDS = 24 * 3600.0
_UNFINISHED = re.compile(r"\.[a-z]+-\d+x\d+-[0-9a-f]{12}-\w+\.partial")


def render(
    scene: SquareSettings,
    cache: Path,
    *,
    progress: Progress | None = None,
    processes: int | None = None,
) -> Path:
    """The folder of a rendered scene; the scene is rendered unless the folder exists.

    A folder gets its name when it is complete, so an interrupted run leaves nothing that looks finished, and
    simultaneous runs do not disturb each other. The unfinished folder of a killed run is removed by the first
    call a day later. The name contains a digest of the settings and of the renderer's source, so images of an
    older version are never taken for new ones.

    Args:
        scene: settings of the scene.
        cache: parent folder of rendered scenes.
        progress: called with the number of finished frames and the number of all frames.
        processes: 1 or 2; by default 2 on a machine with at least two processors.
    """
    folder = cache / _folder_name(scene)
    if (folder / SCENE_FILE).is_file():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    _remove_stale(folder.parent)
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", suffix=".partial", dir=folder.parent))
    try:
        (partial / SCENE_FILE).write_text(scene_json(scene, renderer=_source_digest()))
        _draw_all(partial, scene, progress, processes or min(2, os.cpu_count() or 1))
        _publish(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def draw(folder: Path, part: int, parts: int) -> Iterable[Shot]:
    """Draw every `parts`-th frame of the scene in a folder's scene file, starting with number `part`.

    Yields each shot when its files are written. Existing frames are not drawn again.
    """
    scene = read_scene(folder)
    free_space, renderer = free_space_of(scene.seed), Renderer(seed=scene.seed)
    for shot in shots(scene, free_space)[part::parts]:
        if not (folder / shot.image).is_file():
            write_frame(folder, shot, image(renderer, free_space, scene, shot))
        yield shot


def _draw_all(folder: Path, scene: SquareSettings, progress: Progress | None, processes: int) -> None:
    planned = shots(scene, free_space_of(scene.seed))
    (folder / FRAMES_FILE).write_text(frames_table(planned), newline="")
    worker = _start_worker(folder) if processes > 1 else None
    report = progress or (lambda _done, _all: None)
    try:
        for done, _ in enumerate(draw(folder, 0, 1 if worker is None else 2), start=1):
            report(min(len(planned), done if worker is None else 2 * done), len(planned))
        if worker is not None:
            worker.wait()
    finally:
        if worker is not None and worker.poll() is None:
            worker.kill()
            worker.wait()
    # Frames of a worker that failed or was stopped are drawn here.
    for _ in draw(folder, 1, 2) if worker is not None and worker.returncode != 0 else ():
        pass
    report(len(planned), len(planned))


def _remove_stale(cache: Path) -> None:
    """Remove unfinished folders without a newly written file for a day."""
    for folder in cache.iterdir():
        if _UNFINISHED.fullmatch(folder.name) and time.time() - _last_written(folder) > _STALE_SECONDS:
            shutil.rmtree(folder, ignore_errors=True)


def _last_written(folder: Path) -> float:
    """Time of the last write to a folder or below it, in seconds of `time.time`.

    A folder that another process finishes or removes meanwhile counts as just written.
    """
    try:
        return max(path.lstat().st_mtime for path in (folder, *folder.rglob("*")))
    except OSError:
        return time.time()


def _start_worker(folder: Path) -> "subprocess.Popen[bytes] | None":
    # Not a multiprocessing pool, which needs a guarded main module. With -P the worker imports no modules of
    # the current folder, which may be called like ours or like NumPy.
    if not sys.executable:
        return None
    command = [sys.executable, "-P", "-m", "market_square.worker", str(folder), "1", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    quiet = subprocess.DEVNULL
    return subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet, env=environment)


def _publish(partial: Path, folder: Path) -> None:
    try:
        partial.rename(folder)
    except OSError:
        # Another process was faster; its files are the same.
        if not (folder / SCENE_FILE).is_file():
            raise


def image(renderer: Renderer, free_space: FreeSpace, scene: SquareSettings, shot: Shot) -> RenderedView:
    """The image of a shot, including the people in view."""
    occluders = None
    if shot.crowd is not None:
        x, y = shot.world_from_cam[:2, 3].tolist()
        numbers = renderer.square.atlas.number
        occluders = shot.crowd.at(shot.seconds, camera=(x, y), free_space=free_space, texture_number=numbers)
    return renderer.render_view(
        shot.world_from_cam,
        scene.intrinsics(),
        condition=shot.condition,
        occluders=occluders,
        film=HAND_HELD_FILM,
        seed=shot.seed,
        exposure_path=shot.exposure_path,
    )


def _folder_name(scene: SquareSettings) -> str:
    settings = json.dumps(asdict(scene), sort_keys=True) + _source_digest()
    digest = hashlib.sha256(settings.encode()).hexdigest()[:12]
    return f"{scene.area}-{scene.width}x{scene.height}-{digest}"


@lru_cache(maxsize=1)
def _source_digest() -> str:
    """A digest of this package's source, which serves as the version of the renderer."""
    digest = hashlib.sha256()
    for module in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(module.name.encode() + module.read_bytes())
    return digest.hexdigest()[:16]
