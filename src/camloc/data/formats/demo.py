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
    """Read the rendered scene in the folder `root`: walks for training and for testing, both by day.

    The test walks in other light, in other weather and among people are the scene's `conditions`; their
    frames are in the same order and have the same poses. A `scene` that is not the name of an area is the
    name to give the scene.

    Raises:
        DatasetError: the folder holds no rendered scene, another area, or a damaged table.
    """
    area, camera = _described(root)
    if scene != area and scene in AREAS:
        raise DatasetError(f"{root} holds the area '{area}', not '{scene}'; name it, or render '{scene}'")
    path = root / FRAMES_FILE
    if not is_file(path):
        raise DatasetError(f"{path} is missing; delete the folder and render the scene again")
    names, records = read_records(path) if is_table(path) else ((), [])
    if names != COLUMNS:
        raise DatasetError(f"{path}, line 1: the columns are not {', '.join(COLUMNS)}; render it again")
    pose = pose_columns(path, names, order=None)
    rows = [Row(record.where, _frame(root, record, camera), pose.numbers(record)) for record in records]
    frames = frames_from_quaternions(rows, rotation="world_from_cam")
    train = tuple(f for f, record in zip(frames, records, strict=True) if record.cells["split"] == "train")
    variants: dict[str, list[Frame]] = {}
    for frame, record in zip(frames, records, strict=True):
        if record.cells["split"] == "test":
            variants.setdefault(record.cells["variant"], []).append(frame)
    conditions = {variant: tuple(tested) for variant, tested in variants.items()}
    test = conditions.pop(TEST_VARIANT, ())
    return Scene(scene or area, train, test, conditions=conditions, test_name=TEST_VARIANT)


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


def _frame(root: Path, record: Record, camera: Camera) -> Frame:
    cells, where = record.cells, record.where
    image, depth = root / clean_name(cells["image"], where), None
    if cells["depth"]:
        depth = root / clean_name(cells["depth"], where)
    (seconds,) = numbers_in([cells["seconds"]], where)
    return Frame(cells["image"], image, camera, None, cells["walk"], seconds, depth)
