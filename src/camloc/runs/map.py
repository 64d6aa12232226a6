"""Build the maps of a run's scenes and calibrate them on held-out training frames, without torch."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Bool
from numpy.typing import NDArray

from camloc.data.masks import read_mask_as_stored
from camloc.data.splits import HoldOut, hold_out
from camloc.data.types import Frame, Scene, oriented
from camloc.errors import DatasetError
from camloc.inference.map_calibration import HeldOutFrame, calibrate
from camloc.mapping.build import BuildReport, MapSettings, assemble_map, match_frames
from camloc.mapping.scene_map import Calibration, SceneMap, save_maps
from camloc.runs.manifest import MANIFEST_FILE, DataSource, RunManifest, load_scenes

Progress = Callable[[str, float], None]
"""Called with the name of the step and the share of it that is done."""

# Of scenes with fewer frames a quarter is held out for calibration, of others a sixth at most.
SMALL_SCENE = 100


@dataclass(frozen=True, eq=False)
class MappedScene:
    """A map that was built.

    Attributes:
        scene_map: the map, calibrated.
        report: of the build.
        seconds: wall-clock time of building and calibrating.
    """

    scene_map: SceneMap
    report: BuildReport
    seconds: float


def build_maps(
    sources: tuple[DataSource, ...],
    folder: Path,
    settings: MapSettings,
    *,
    masks: Path | None = None,
    progress: Progress | None = None,
) -> tuple[MappedScene, ...]:
    """Build and calibrate the map of each scene, and write them into a run folder.

    A folder without a run becomes one: its `run.json` records where the frames are.

    Raises:
        DatasetError: a scene has too few frames that can be used.
        CamlocError: the folder cannot be written.
    """
    scenes = load_scenes(sources)
    mapped = tuple(build_map(scene, settings, masks=masks, progress=progress) for scene in scenes)
    write_maps(sources, scenes, folder, mapped)
    return mapped


def write_maps(
    sources: tuple[DataSource, ...], scenes: Sequence[Scene], folder: Path, mapped: Sequence[MappedScene]
) -> None:
    """Write maps into a run folder, which becomes one if it is not.

    Raises:
        CamlocError: the folder cannot be written.
    """
    if not (folder / MANIFEST_FILE).exists():
        RunManifest("", {}, sources, tuple(scene.name for scene in scenes)).save(folder)
    save_maps(folder, tuple(each.scene_map for each in mapped))


def build_map(
    scene: Scene, settings: MapSettings, *, masks: Path | None = None, progress: Progress | None = None
) -> MappedScene:
    """Build the map of a scene from its training frames, and calibrate it.

    A second map, which knows nothing of the held-out frames, is triangulated from the matches of the other
    frames and calibrated on the held-out ones. The map of all training frames takes the calibration over. It
    has more points than the second one, so that the thresholds are on the safe side.

    Raises:
        DatasetError: fewer than two frames can be used, or none of their keypoints can be triangulated.
    """
    started = time.perf_counter()

    def read_mask(frame: Frame) -> Bool[NDArray[np.bool_], "height width"] | None:
        return None if masks is None else read_mask_as_stored(masks, frame)

    _, held_out = hold_out(oriented(scene.train), _calibration_split(len(scene.train)))
    names = frozenset(frame.name for frame in held_out)
    matched = match_frames(
        scene.train,
        scene=scene.name,
        settings=settings,
        masks=None if masks is None else read_mask,
        kept_features=names,
        progress=progress,
    )
    whole, report = assemble_map(
        matched, scene=scene.name, unit=scene.unit, settings=settings, progress=progress
    )
    calibration = Calibration()
    with suppress(DatasetError):  # the other frames give no map: the thresholds stay the cautious ones
        smaller, _ = assemble_map(
            matched, scene=scene.name, unit=scene.unit, settings=settings, without=names, progress=progress
        )
        known = matched.features()
        calibration = calibrate(
            smaller,
            [
                HeldOutFrame(known[frame.name].features, known[frame.name].camera, frame.truth())
                for frame in held_out
                if frame.name in known
            ],
            progress=None if progress is None else partial(progress, "calibration"),
        )
    return MappedScene(whole.with_calibration(calibration), report, time.perf_counter() - started)


def _calibration_split(frames: int) -> HoldOut:
    """Which frames are held out: blocks of neighbours, about 200 frames of a large scene.

    Calibration needs eight frames; of a small scene more are held out.
    """
    if frames < SMALL_SCENE:
        return HoldOut(every=4, block=5)
    return HoldOut(every=max(6, frames // 200), block=10)
