"""Small scenes under the names of the papers' scenes, in the layouts of their data sets."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from tests.support.layouts import write_cambridge, write_sevenscenes
from tests.support.trained import image, small_scene

WRITERS = {"cambridge": write_cambridge, "sevenscenes": write_sevenscenes}


def write_data_set(root: Path, layout: str, scenes: Sequence[str], *, frames: int = 24) -> None:
    """A folder for each scene, with images of 64 x 48 pixels that differ; one of four is for testing."""
    for scene in scenes:
        posed = small_scene(frames)
        WRITERS[layout](root / scene, posed)
        paths = sorted(root.joinpath(scene).rglob("*.png"))
        assert len(paths) == len(posed.all)
        for path in paths:
            number = int("".join(letter for letter in path.name if letter.isdigit()))
            Image.fromarray(image(posed.all[number])).save(path)
