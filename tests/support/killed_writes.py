"""Steps that write several files, killed before each of their changes on the disk and then done again.

    python -m tests.support.killed_writes FOLDER [NUMBER]

FOLDER holds `scene`, of `tests.support.trained`. What a step writes that nothing disturbed is compared with
what it has written when it was killed before a change and done again; FOLDER/killed.json has the numbers of
the changes and of those after which something else, or less, was there. NUMBER changes of each step are
tried, evenly spaced, by default 12. Computing is left out: models and maps are made up beforehand.
"""

import json
import multiprocessing
import os
import re
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pycolmap

from camloc.data import formats
from camloc.data.convert import write_scene
from camloc.data.formats import colmap
from camloc.mapping.build import MapSettings
from camloc.mapping.structure_from_motion import Motion
from camloc.runs import map as mapping
from camloc.runs import poses
from camloc.runs.export import export_run
from camloc.runs.manifest import DataSource
from tests.support.mapped import write_map_run
from tests.support.synthetic_map import map_of, room

Step = Callable[[Path], object]

# Events that Python reports before it changes the disk.
_CHANGES = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "shutil.copyfile")


def steps(folder: Path) -> dict[str, Step]:
    """The steps by their names; each writes into the folder that it is given."""
    scene = formats.load(folder / "scene")
    colmap.write(scene, folder / "model")
    names = tuple(frame.name for frame in (*scene.train, *scene.test))

    def motion(*_: object, **__: object) -> Motion:
        return Motion(pycolmap.Reconstruction(str(folder / "model")), names, {}, (), 1.0, (0, 0), ())

    vars(poses)["structure_from_motion"] = motion
    made = SimpleNamespace(scene_map=map_of(room(points=300, frames=4)))
    vars(mapping)["build_map"] = lambda *_, **__: made
    write_map_run(folder / "map", folder / "scene")
    return {
        "import": lambda out: write_scene(scene, out / "made", "colmap", images="copy"),
        "poses": lambda out: poses.compute_poses(folder / "scene", out / "made"),
        "map": lambda out: mapping.build_maps((DataSource(str(folder / "scene")),), out, MapSettings()),
        "export": lambda out: export_run(folder / "map", out / "made"),
    }


def done(step: Step, folder: Path, *, at: int = 0) -> int:
    """Do a step in a process of its own, which is killed before a change; how the process ended."""

    def run() -> None:
        left = at

        def watch(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal left
            is_written = event == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_ACCMODE
            if event in _CHANGES or is_written:
                left -= 1
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(watch)
        step(folder)
        (folder.parent / "changes").write_text(str(at - left))

    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    process.join()
    assert process.exitcode is not None
    return process.exitcode


def content(folder: Path) -> dict[str, bytes]:
    """The visible files below a folder, without what depends on the time."""
    return {
        path.relative_to(folder).as_posix(): re.sub(rb'"seconds": [\d.e-]+', b"", path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    }


def main() -> None:
    """Try every step of the folder of the command line."""
    folder, most = Path(sys.argv[1]), int((*sys.argv, "12")[2])
    found = {}
    for name, step in steps(folder).items():
        whole, killed = folder / name / "whole", folder / name / "killed"
        whole.mkdir(parents=True)
        assert done(step, whole, at=10**9) == 0, name
        changes, expected = int((folder / name / "changes").read_text()), content(whole)
        tried = sorted({1 + number * changes // most for number in range(most)})
        wrong = []
        for at in tried:
            shutil.rmtree(killed, ignore_errors=True)
            killed.mkdir()
            endings = (done(step, killed, at=at), done(step, killed))
            if endings != (-signal.SIGKILL, 0) or content(killed) != expected:
                wrong.append(at)
        found[name] = {"files": len(expected), "changes": changes, "tried": len(tried), "wrong": wrong}
    (folder / "killed.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
