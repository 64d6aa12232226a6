"""Scenes rendered by `camloc demo`, which `market_square` writes.

square/scene.json                 settings of the renderer, area and camera
square/frames.csv                 a row for each frame: image, depth, split, variant, walk, time, pose
square/images/..., depth/...
"""

from pathlib import Path

from camloc.core.files import cache_folder
from camloc.data.checks import Row, frames_from_quaternions
from camloc.data.formats.parts.files import clean_name, is_file, numbers_in, read_json
from camloc.data.formats.table import Record, is_table, pose_columns, read_records
from camloc.data.types import Frame, Scene
from camloc.errors import DatasetError
from camloc.geometry.camera import Camera
from market_square import SquareSettings, render
from market_square.rendering import Progress
from market_square.walks import AREAS
from market_square.writing import COLUMNS, FRAMES_FILE, SCENE_FILE

# The variant with the conditions of the training walks; it is the test split itself.
TEST_VARIANT = "day"

SCENES: tuple[str, ...] = tuple(AREAS)


def rendered(settings: SquareSettings, *, progress: Progress | None = None) -> Path:
    """The folder in camloc's cache with the rendered scene; it is rendered where it is missing."""
    return render(settings, cache_folder() / "demo", progress=progress)


def load(root: Path, scene: str = "") -> Scene:
    """The scene that `render` put into the folder `root`: training walks and test walks, both by day.

    The test walks in other light, in other weather and among people are the scene's `conditions`. A `scene`
    that is not the name of an area is the name to give the scene.

    Raises:
        DatasetError: the folder holds no rendered scene, another area, or a damaged table.
    """
    area, _ = _described(root)
    if scene != area and scene in AREAS:
        raise DatasetError(
            f"{root} holds the area '{area}', not '{scene}'; name '{area}', or render '{scene}'"
        )
    train = tuple(frame for split, _, frame in _frames(root) if split == "train")
    others = conditions(root)
    test = others.pop(TEST_VARIANT, ())
    return Scene(name=scene or area, train=train, test=test, conditions=others, test_name=TEST_VARIANT)


def conditions(root: Path) -> dict[str, tuple[Frame, ...]]:
    """The test walks of a rendered scene in every variant: "day", "night", ..., "occluded".

    The frames of all variants are in the same order and have the same poses.

    Raises:
        DatasetError: the folder holds no rendered scene or a damaged table.
    """
    variants: dict[str, list[Frame]] = {}
    for split, variant, frame in _frames(root):
        if split == "test":
            variants.setdefault(variant, []).append(frame)
    return {variant: tuple(frames) for variant, frames in variants.items()}


def _described(root: Path) -> tuple[str, Camera]:
    path = root / SCENE_FILE
    if not path.is_file():
        raise DatasetError(f"{root} is not a rendered demo scene, {SCENE_FILE} is missing; render it first")
    content = read_json(path)
    try:
        return str(content["scene"]["area"]), Camera(**content["camera"])
    except (ValueError, KeyError, TypeError) as error:
        raise DatasetError(
            f"{path} is damaged ({error}); delete the folder and render the scene again"
        ) from None


def _frames(root: Path) -> list[tuple[str, str, Frame]]:
    """Split, variant and frame of each row of the table."""
    _, camera = _described(root)
    path = root / FRAMES_FILE
    if not is_file(path):
        raise DatasetError(f"{path} is missing; delete the folder and render the scene again")
    names, records = read_records(path) if is_table(path) else ((), [])
    if names != COLUMNS:
        raise DatasetError(
            f"{path}, line 1: the columns are not {', '.join(COLUMNS)}; render the scene again"
        )
    pose = pose_columns(path, names, order=None)
    rows = [Row(record.where, _frame(root, record, camera), pose.numbers(record)) for record in records]
    frames = frames_from_quaternions(rows, rotation="world_from_cam")
    return [
        (record.cells["split"], record.cells["variant"], frame)
        for record, frame in zip(records, frames, strict=True)
    ]


def _frame(root: Path, record: Record, camera: Camera) -> Frame:
    cells = record.cells
    (seconds,) = numbers_in([cells["seconds"]], record.where)
    return Frame(
        name=cells["image"],
        image=root / clean_name(cells["image"], record.where),
        camera=camera,
        sequence=cells["walk"],
        time=seconds,
        depth=root / clean_name(cells["depth"], record.where) if cells["depth"] else None,
    )
