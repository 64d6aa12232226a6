"""The findings of `camloc check` in real data sets, untouched and with one fault each.

Faults are made in memory, or in copies of images in a temporary folder; the thresholds of the check were not
changed for any of them. Features of an image are extracted once for all copies that show it.
"""

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import tyro
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from benchmarks.page import known, result_page, table, write
from camloc.data import formats
from camloc.data.image_io import read_image
from camloc.data.types import Frame, Scene
from camloc.geometry.pose import Pose
from camloc.mapping.check import correspondences, images
from camloc.mapping.check.check import Checked, check_scene
from camloc.mapping.check.images import ImageStatistics, image_statistics
from camloc.mapping.features import Features, FeatureSettings, feature_extractor

SETS: dict[str, dict[str, Any]] = {"hololens": {"rotation": "world_from_cam"}, "redkitchen": {}, "fox": {}}

Sabotage = Callable[[Scene, Path], Scene]


@dataclass(frozen=True)
class Fault:
    """A fault that is put into a copy.

    Attributes:
        name: in words.
        data: the data set.
        kinds: names of findings that name it.
        make: the copy.
    """

    name: str
    data: str
    kinds: tuple[str, ...]
    make: Sabotage


def each(scene: Scene, change: Callable[[int, Frame], Frame]) -> Scene:
    """The scene with every frame changed; frames are numbered in the order of their names."""
    names = sorted(frame.name for frame in (*scene.train, *scene.test))
    numbers = {name: number for number, name in enumerate(names)}
    parts = (
        tuple(change(numbers[frame.name], frame) for frame in part) for part in (scene.train, scene.test)
    )
    train, test = parts
    return replace(scene, train=train, test=test)


def posed(change: Callable[[int, NDArray[np.float64], NDArray[np.float64]], tuple[Any, Any]]) -> Sabotage:
    """A fault of the poses: from the frame's number, rotation and centre to others."""

    def make(scene: Scene, _folder: Path) -> Scene:
        def changed(number: int, frame: Frame) -> Frame:
            pose = frame.truth()
            rotation, centre = change(number, np.asarray(pose.rotation), np.asarray(pose.translation))
            return replace(frame, world_from_cam=Pose(np.asarray(rotation), np.asarray(centre)))

        return each(scene, changed)

    return make


def pictured(
    change: Callable[[Image.Image], Image.Image], share: Callable[[int], bool] = lambda _: True
) -> Sabotage:
    """A fault of the images: written anew to a folder."""

    def make(scene: Scene, folder: Path) -> Scene:
        def changed(number: int, frame: Frame) -> Frame:
            if not share(number):
                return frame
            path = folder / f"{number}.png"
            change(Image.fromarray(read_image(frame.image))).save(path, compress_level=1)
            return replace(frame, image=path)

        return each(scene, changed)

    return make


def lens(**factors: float) -> Sabotage:
    """A fault of the intrinsics: numbers multiplied."""

    def make(scene: Scene, _folder: Path) -> Scene:
        def changed(_number: int, frame: Frame) -> Frame:
            assert frame.camera is not None
            values = {name: getattr(frame.camera, name) * factor for name, factor in factors.items()}
            return replace(frame, camera=replace(frame.camera, **values))

        return each(scene, changed)

    return make


def shuffled(share: float) -> Sabotage:
    """The images of some frames exchanged among them."""

    def make(scene: Scene, _folder: Path) -> Scene:
        frames = sorted((*scene.train, *scene.test), key=lambda frame: frame.name)
        random = np.random.default_rng(0)
        chosen = np.flatnonzero(random.random(len(frames)) < share)
        images = {
            int(a): frames[int(b)].image for a, b in zip(chosen, random.permutation(chosen), strict=True)
        }
        return each(scene, lambda number, frame: replace(frame, image=images.get(number, frame.image)))

    return make


def copied(into: str, count: int) -> Sabotage:
    """Training frames once more under other names, for training or for testing."""

    def make(scene: Scene, _folder: Path) -> Scene:
        step = max(1, len(scene.train) // count)
        further = tuple(replace(frame, name=f"{frame.name}-copy") for frame in scene.train[::step])
        if into == "train":
            return replace(scene, train=(*scene.train, *further))
        return replace(scene, test=(*scene.test, *further))

    return make


def interleaved(scene: Scene, _folder: Path) -> Scene:
    """Every fifth frame for testing."""
    frames = sorted((*scene.train, *scene.test), key=lambda frame: frame.name)
    test = tuple(frames[2::5])
    return replace(scene, train=tuple(frame for frame in frames if frame not in test), test=test)


def reordered(order: Sequence[int]) -> Sabotage:
    """The numbers of the quaternion in another order."""

    def change(_number: int, rotation: NDArray[np.float64], centre: NDArray[np.float64]) -> tuple[Any, Any]:
        quaternion = Pose(rotation, centre).quaternion_wxyz()[list(order)]
        return Pose.from_quaternion_wxyz(quaternion, centre).rotation, centre

    return posed(change)


def _frozen(scene: Scene, _folder: Path) -> Scene:
    frames = sorted((*scene.train, *scene.test), key=lambda frame: frame.name)
    start = len(frames) // 2
    return each(
        scene,
        lambda number, frame: (
            replace(frame, world_from_cam=frames[start].world_from_cam)
            if start <= number < start + 40
            else frame
        ),
    )


_GL = np.diag([1.0, -1.0, -1.0])
_YZ = np.array([[1.0, 0, 0], [0, 0, 1.0], [0, 1.0, 0]])
_MIRROR = np.diag([-1.0, 1.0, 1.0])

FAULTS = (
    Fault("inverted poses", "hololens", ("direction of the poses",), posed(lambda _, R, c: (R.T, -R.T @ c))),
    Fault("inverted poses", "fox", ("direction of the poses",), posed(lambda _, R, c: (R.T, -R.T @ c))),
    Fault("transposed rotations", "redkitchen", ("direction of the poses",), posed(lambda _, R, c: (R.T, c))),
    Fault("w last read as w first", "hololens", ("order of the quaternion",), reordered((1, 2, 3, 0))),
    Fault("w first read as w last", "redkitchen", ("order of the quaternion",), reordered((3, 0, 1, 2))),
    Fault("OpenGL axes", "redkitchen", ("camera axes",), posed(lambda _, R, c: (R @ _GL, c))),
    Fault("axes up, right, forward", "fox", ("camera axes",), posed(
        lambda _, R, c: (R @ np.array([[0, 1.0, 0], [-1.0, 0, 0], [0, 0, 1.0]]), c))),
    Fault("y and z of positions exchanged", "hololens", ("world axes",), posed(lambda _, R, c: (R, _YZ @ c))),
    Fault("mirrored world", "hololens", ("mirrored",), posed(
        lambda _, R, c: (_MIRROR @ R @ _MIRROR, _MIRROR @ c))),
    Fault("mirrored images", "fox", ("mirrored",), pictured(ImageOps.mirror)),
    Fault("focal length x 0.7", "hololens", ("focal length",), lens(fx=0.7, fy=0.7)),
    Fault("focal length x 1.5", "redkitchen", ("focal length",), lens(fx=1.5, fy=1.5)),
    Fault("focal length x 1.5", "fox", ("focal length",), lens(fx=1.5, fy=1.5)),
    Fault("principal point x 1.3", "hololens", ("principal point",), lens(cx=1.3)),
    Fault("second half in centimetres", "redkitchen", ("mixed units",), posed(
        lambda n, R, c: (R, c * 100 if n >= 500 else c))),
    Fault("every third frame in millimetres", "hololens", ("mixed units",), posed(
        lambda n, R, c: (R, c * 1000 if n % 3 == 0 else c))),
    Fault("all in millimetres", "hololens", ("scale",), posed(lambda _, R, c: (R, c * 1000))),
    Fault("shuffled images", "hololens", ("shuffled images", "shuffled poses"), shuffled(1.0)),
    Fault("shuffled images", "fox", ("shuffled images", "shuffled poses"), shuffled(1.0)),
    Fault("a third of the images shuffled", "redkitchen", ("shuffled images", "wrong poses"), shuffled(0.33)),
    Fault("a jump of 1 m", "hololens", ("jump",), posed(
        lambda n, R, c: (R, c + (n >= 200) * np.array([1.0, 0, 0])))),
    Fault("a jump of 0.3 m", "redkitchen", ("jump",), posed(
        lambda n, R, c: (R, c + (n >= 700) * np.array([0, 0, 0.3])))),
    Fault("40 frozen poses", "redkitchen", ("frozen poses",), _frozen),
    Fault("60 copies", "hololens", ("duplicates",), copied("train", 60)),
    Fault("20 training images among the test images", "redkitchen", ("leak",), copied("test", 20)),
    Fault("every fifth frame for testing", "hololens", ("leak",), interleaved),
    Fault("dark", "fox", ("dark images",), pictured(
        lambda image: ImageEnhance.Brightness(image).enhance(0.2))),
    Fault("a fifth of the images blurred", "hololens", ("blurred images",), pictured(
        lambda image: image.filter(ImageFilter.GaussianBlur(4)), lambda number: number % 5 == 0)),
)  # fmt: skip


class _Remembered:
    """Features of images, extracted once."""

    def __init__(self) -> None:
        self._known: dict[int, Features] = {}
        self._make = feature_extractor
        self._extractor: Any = None

    def __call__(self, settings: FeatureSettings) -> "_Remembered":
        self._extractor = self._make(settings)
        return self

    def extract(self, image: Any, mask: Any = None) -> Features:
        key = hash(image.tobytes())
        if key not in self._known:
            self._known[key] = self._extractor.extract(image, mask)
        return self._known[key]


def _remembered_statistics() -> Callable[[Frame], ImageStatistics | None]:
    """A function for statistics of images, which measures each file once."""
    known: dict[Path, ImageStatistics | None] = {}

    def statistics(frame: Frame) -> ImageStatistics | None:
        if frame.image not in known:
            known[frame.image] = image_statistics(frame)
        return known[frame.image]

    return statistics


def measured(fault: Fault | None, data: str, root: Path) -> dict[str, Any]:
    """The findings in a copy with a fault, or in the data set as it is."""
    scene = formats.load(root / data, **SETS[data])
    with tempfile.TemporaryDirectory() as folder:
        scene = scene if fault is None else fault.make(scene, Path(folder))
        start = time.process_time()
        checked = check_scene(scene)
        seconds = time.process_time() - start
    return {
        "data": data,
        "fault": "" if fault is None else fault.name,
        "expected": [] if fault is None else list(fault.kinds),
        "frames": len(checked.path.frames),
        "found": [finding.kind for finding in checked.findings],
        "sentences": [finding.sentence for finding in checked.findings],
        "is_sound": checked.is_sound,
        "pixels": _pixels(checked),
        "seconds": round(seconds, 1),
    }


def _pixels(checked: Checked) -> float | None:
    agreement = checked.agreement
    return None if agreement is None or not agreement.readings else round(agreement.readings[0].pixels, 2)


def is_named(row: dict[str, Any]) -> bool:
    """Whether the first finding of a copy names its fault; whether an untouched set has none."""
    return not row["found"] if not row["fault"] else bool(row["found"]) and row["found"][0] in row["expected"]


def page(measured: dict[str, Any]) -> str:
    """The page of the measured rows."""
    rows = measured["rows"]
    faulty = [row for row in rows if row["fault"]]
    untouched = [row for row in rows if not row["fault"]]
    right, fine = sum(map(is_named, faulty)), sum(map(is_named, untouched))
    cells = [
        (row["data"], row["fault"] or "(untouched)", row["found"][0] if row["found"] else "nothing",
         "yes" if is_named(row) else "NO",
         row["sentences"][0].split("; ")[0].split(": ")[0] if row["sentences"] else "",
         f"{row['pixels']}")
        for row in rows
    ]  # fmt: skip
    times = ", ".join(f"{row['data']} {row['frames']} frames {row['seconds']:.0f} s" for row in untouched)
    return result_page(
        "Faults that camloc check names",
        "check",
        f"The first finding names the fault of {right} of {len(faulty)} copies of real data sets, one fault "
        f"each, and {fine} of {len(untouched)} untouched sets have no finding. The error is the median "
        f"distance of matches between images from the epipolar lines of the poses as given, in pixels of "
        f"640 x 480. Processor time of the untouched sets, reading of all images included: {times}.",
        table(("data", "fault", "first finding", "named", "in words", "error"), cells, text_columns=5),
        command="DATA",
    )  # fmt: skip


def _key(data: str, fault: Fault | None) -> tuple[str, str]:
    return data, "" if fault is None else fault.name


def main(root: tyro.conf.Positional[Path], *, only: tuple[str, ...] = (), resume: bool = False) -> None:
    """Measure, and write the page.

    Args:
        root: Folder with the folders hololens, redkitchen and fox.
        only: Data sets to measure; the others keep their numbers.
        resume: Keep the faults that were measured already.
    """
    cases = [*((data, None) for data in SETS), *((fault.data, fault) for fault in FAULTS)]
    for data in only or SETS:
        with (
            patch.object(correspondences, "feature_extractor", _Remembered()),
            patch.object(images, "image_statistics", _remembered_statistics()),
        ):
            for of, fault in cases:
                if of == data and not (resume and _key(of, fault) in _known()):
                    row = measured(fault, data, root)
                    print(
                        "named" if is_named(row) else "NOT NAMED", _key(of, fault), row["found"], flush=True
                    )
                    found = _known() | {_key(of, fault): row}
                    rows = [found[_key(*case)] for case in cases if _key(*case) in found]
                    write("check", {"rows": rows}, page({"rows": rows}))


def _known() -> dict[tuple[str, str], dict[str, Any]]:
    """The rows that were measured already."""
    rows: list[dict[str, Any]] = known("check", {"rows": []})["rows"]
    return {(row["data"], row["fault"]): row for row in rows}


if __name__ == "__main__":
    tyro.cli(main)
