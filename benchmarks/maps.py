"""Maps of local features: how long they take, how large they are, and how well they locate and verify.

    uv run python -m benchmarks.maps --data FOLDER

builds the map of every row, locates its test frames and images of other places, and writes
`docs/results/maps.json` and `.md`. `--rows NAME ...` measures some rows and leaves the others as they are.
Measured is processor time of one thread, which other programs on the machine change little; the program
starts itself again with one thread.
"""

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import tyro

from benchmarks.foreign_images import foreign_images
from benchmarks.page import known, replace_block, result_page, table, write
from benchmarks.plain_map import LEAST_INLIERS, PlainLocalizer
from camloc.core.extras import has_extra
from camloc.core.sampling import even_items
from camloc.data import formats
from camloc.data.formats.demo import rendered
from camloc.data.image_io import read_with_camera
from camloc.data.types import Frame, Scene, Unit
from camloc.evaluation.reliability import Reliability, reliability, squared_deviations
from camloc.geometry.absolute_pose import with_focal_length
from camloc.geometry.camera import Camera
from camloc.geometry.pose import Pose
from camloc.geometry.rotation import rotation_angle
from camloc.inference.verification import MapLocalizer, Rejected, VerifiedPose
from camloc.mapping.build import MapSettings
from camloc.mapping.features import Features, FeatureSettings, feature_extractor
from camloc.mapping.scene_map import SceneMap
from camloc.runs.map import build_map
from market_square import SquareSettings

# A verified pose counts as wrong if it is off by more than so many times 0.25 m or 2 degrees.
WRONG = 5.0
NEAR = (0.25, 2.0)

# Frames of the office floor, in the order of their names, that are held out of everything.
_UNSEEN = slice(240, 300)

# Images from elsewhere for each map that they are measured on.
_FOREIGN = 500

# Test images that are turned and located with wrong focal lengths, at most, and these focal lengths.
_TRUST = 40
_WRONG_FOCALS = (0.5, 0.7, 1.4, 2.0)

README, BLOCK = Path("README.md"), "maps table"

RENDERED = "rendered square"


@dataclass(frozen=True)
class RowSettings:
    """What a row of the page measures.

    Attributes:
        label: of the row.
        load: reads the scene from the folder of all data sets.
        size_bytes: most bytes of the map.
        bound: metres and degrees of the share of near answers.
        has_foreign: whether images from elsewhere are tried too.
        features: how local features are extracted.
    """

    label: str
    load: Callable[[Path], Scene]
    size_bytes: int
    bound: tuple[float, float] = NEAR
    has_foreign: bool = True
    features: FeatureSettings = FeatureSettings()


def load_office(data: Path) -> Scene:
    """The office floor with its given split."""
    return formats.load(data / "hololens", layout="table", rotation="world_from_cam")


def load_unseen(data: Path) -> Scene:
    """The office floor with a long stretch of the walk as the test frames, all others for training."""
    office = load_office(data)
    frames = tuple(sorted((*office.train, *office.test), key=lambda frame: frame.name))
    start, stop = _UNSEEN.start, _UNSEEN.stop
    return replace(office, train=frames[:start] + frames[stop:], test=frames[start:stop])


def load_kitchen(data: Path) -> Scene:
    """Red Kitchen."""
    return formats.load(data / "redkitchen")


def load_fox(data: Path) -> Scene:
    """The fox, with all training images."""
    return formats.load(data / "fox")


def load_few(data: Path) -> Scene:
    """The fox, with every fourth training image."""
    fox = load_fox(data)
    return replace(fox, train=fox.train[::4])


def load_corner(_: Path, *, seed: int = 0, train_frames: int = 300, test_frames: int = 40) -> Scene:
    """The corner of the embedded square in larger images than the demo's."""
    settings = SquareSettings(
        width=384, height=288, train_frames=train_frames, test_frames=test_frames, seed=seed
    )
    return formats.load(rendered(settings), layout="demo")


Kind = TypeVar("Kind")

ROWS = {
    "hololens": RowSettings("office floor", load_office, 4_000_000),
    "unseen": RowSettings("office floor, an unseen stretch", load_unseen, 4_000_000, (0.5, 5.0), False),
    "redkitchen": RowSettings("Red Kitchen", load_kitchen, 1_200_000),
    "redkitchen-small": RowSettings("Red Kitchen, small", load_kitchen, 500_000, has_foreign=False),
    "fox": RowSettings("fox", load_fox, 4_000_000),
    "fox-few": RowSettings("fox, every fourth image", load_few, 4_000_000, has_foreign=False),
    "corner": RowSettings("the corner", load_corner, 4_000_000),
    "hololens-xfeat": RowSettings(
        "office floor, XFeat",
        load_office,
        4_000_000,
        has_foreign=False,
        features=FeatureSettings(extractor="xfeat"),
    ),
}


@dataclass(frozen=True)
class Settings:
    """What to measure.

    Attributes:
        data: folder with the folders hololens, redkitchen and fox; the corner is rendered.
        rows: names of the rows to measure.
        answers: whether to build the maps and to measure the test frames; otherwise the maps of an earlier
            measurement are used.
        foreign: whether to measure images from elsewhere.
        maps: folder of the maps.
    """

    data: Path
    rows: tuple[str, ...] = tuple(ROWS)
    maps: Path = Path("runs/maps")
    answers: bool = True
    foreign: bool = True


@dataclass(frozen=True)
class Answers:
    """What one method answers to the frames of a test set.

    Attributes:
        verified: number of frames with a verified pose; the others have none.
        wrong: verified poses that are off by more than five times 0.25 m or 2 degrees.
        meters, degrees: medians over all frames, those without a pose infinitely wrong; None for infinity.
        near: share of all frames within the bound of the row.
        milliseconds: median of a query after its features.
    """

    verified: int
    wrong: int
    meters: float | None
    degrees: float | None
    near: float
    milliseconds: float


@dataclass(frozen=True)
class SetRow:
    """A test set: camloc's answers, the plain peer's, and how honest the intervals are."""

    frames: int
    feature_milliseconds: float
    camloc: Answers
    plain: Answers
    reliability: Reliability | None


@dataclass(frozen=True)
class MapRow:
    """A map and its test sets.

    Attributes:
        unit: of positions.
        frames: that the map was built from.
        points: of the map.
        size_bytes: of its files.
        build_seconds: of the processor, without calibration.
        all_seconds: with calibration.
        calibrated_on: held-out training frames.
        sets: test sets by name.
    """

    unit: Unit
    frames: int
    points: int
    size_bytes: int
    build_seconds: float
    all_seconds: float
    calibrated_on: int
    sets: dict[str, SetRow]


@dataclass(frozen=True)
class ForeignRow:
    """Images from elsewhere by kind, and how many of them were verified by camloc and by the plain peer.

    The peer needs intrinsics: images of unknown cameras are taken to have 1.2 times their larger side as
    their focal length.
    """

    images: dict[str, int]
    camloc: dict[str, int]
    plain: dict[str, int]


@dataclass(frozen=True)
class Outcomes:
    """What became of images: verified at the true pose, without a verified pose, verified at a wrong pose."""

    right: int
    lost: int
    wrong: int


@dataclass(frozen=True)
class Measured:
    """All rows of the page, by name; `trust` by the name of the row and the kind of the image."""

    rows: dict[str, MapRow] = field(default_factory=dict)
    foreign: dict[str, ForeignRow] = field(default_factory=dict)
    trust: dict[str, dict[str, Outcomes]] = field(default_factory=dict)


def main(settings: Settings) -> None:
    """Measure the rows, and write the page after each."""
    if os.environ.get("OMP_NUM_THREADS") != "1":
        os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"
        os.execv(sys.executable, [sys.executable, "-m", "benchmarks.maps", *sys.argv[1:]])
    for name in settings.rows:
        row = ROWS[name]
        if row.features.extractor != "sift" and not has_extra("features"):
            print(f"{row.label} is left out: it needs camloc[features]")
            continue
        scene = row.load(settings.data)
        if settings.answers:
            scene_map, build = built(scene, MapSettings(size_bytes=row.size_bytes, features=row.features))
            scene_map.save(settings.maps / name)
            sets = {scene.test_name: scene.test, **scene.conditions}
            tested = {each: measured_set(scene_map, frames, row.bound) for each, frames in sets.items()}
            save(rows={name: replace(build, sets=tested)})
        if settings.foreign and row.has_foreign:
            found = measured_foreign(
                SceneMap.load(settings.maps / name), scene, elsewhere(settings.data, name)
            )
            save(
                foreign={name: found},
                trust={name: measured_trust(SceneMap.load(settings.maps / name), scene)},
            )


def save(
    rows: Mapping[str, MapRow] | None = None,
    foreign: Mapping[str, ForeignRow] | None = None,
    trust: Mapping[str, dict[str, Outcomes]] | None = None,
) -> None:
    """Replace rows in the file of numbers, and write it and its page again."""
    before = known("maps", Measured())
    measured = Measured(
        _in_order(before.rows, rows or {}),
        _in_order(before.foreign, foreign or {}),
        _in_order(before.trust, trust or {}),
    )
    write("maps", measured, page(measured))
    replace_block(README, BLOCK, summary(measured))


def _in_order(before: Mapping[str, Kind], new: Mapping[str, Kind]) -> dict[str, Kind]:
    """Earlier and new rows in the order of the page."""
    both = {**before, **new}
    return {name: both[name] for name in ROWS if name in both}


def built(scene: Scene, settings: MapSettings) -> tuple[SceneMap, MapRow]:
    """The calibrated map of a scene as it is read from its files, and what it took."""
    started = time.process_time()
    mapped = build_map(scene, settings)
    seconds = time.process_time() - started
    scene_map = SceneMap.from_files(mapped.scene_map.to_files(), source=scene.name)
    row = MapRow(
        unit=scene.unit,
        frames=mapped.report.frames,
        points=len(scene_map),
        size_bytes=sum(len(content) for content in mapped.scene_map.to_files().values()),
        build_seconds=sum(mapped.report.seconds.values()),
        all_seconds=seconds,
        calibrated_on=scene_map.calibration.frames,
        sets={},
    )
    return scene_map, row


def measured_set(scene_map: SceneMap, frames: Sequence[Frame], bound: tuple[float, float]) -> SetRow:
    """Locate the frames of a test set with camloc and with the plain peer."""
    localizer, peer = MapLocalizer(scene_map), PlainLocalizer(scene_map)
    ours, plain, squares, seconds = [], [], [], []
    for frame, features, camera, feature_seconds in extracted(scene_map, frames):
        truth = frame.truth()
        started = time.process_time()
        answer = localizer.locate_features(features, camera, size=(camera.width, camera.height))
        between = time.process_time()
        other = peer.locate(features, camera)
        spent = (between - started, time.process_time() - between)
        verified = answer if isinstance(answer, VerifiedPose) else None
        ours.append((spent[0], None if verified is None else error(truth, verified.world_from_cam)))
        found = None if other is None or other[1] < LEAST_INLIERS else other[0]
        plain.append((spent[1], None if found is None else error(truth, found)))
        if verified is not None:
            squares.append(squared_deviations(truth, verified.world_from_cam, verified.covariance))
        seconds.append(feature_seconds)
    return SetRow(
        len(frames),
        1000 * float(np.median(seconds)),
        answers_of(ours, bound),
        answers_of(plain, bound),
        reliability(np.array(squares).reshape(-1, 2)) if scene_map.calibration.frames else None,
    )


def extracted(
    scene_map: SceneMap, frames: Iterable[Frame]
) -> Iterator[tuple[Frame, Features, Camera, float]]:
    """Each frame with its features, its camera, and the processor's seconds of extraction."""
    extractor = feature_extractor(scene_map.features)
    for frame in frames:
        picture, camera = read_with_camera(frame)
        assert camera is not None
        image = np.asarray(picture)
        started = time.process_time()
        features = extractor.extract(image)
        yield frame, features, camera, time.process_time() - started


def error(truth: Pose, found: Pose) -> tuple[float, float]:
    """Distance of the centres, and degrees between the orientations."""
    away = float(np.linalg.norm(truth.translation - found.translation))
    return away, float(np.degrees(rotation_angle(truth.rotation, found.rotation)))


def answers_of(
    found: Sequence[tuple[float, tuple[float, float] | None]], bound: tuple[float, float]
) -> Answers:
    """The summary of seconds and errors, which are None where there is no verified pose."""
    errors = [each for _, each in found if each is not None]
    everything = np.array([each or (np.inf, np.inf) for _, each in found])
    medians = np.quantile(everything, 0.5, axis=0, method="inverted_cdf")
    meters, degrees = (float(value) if np.isfinite(value) else None for value in medians)
    return Answers(
        verified=len(errors),
        wrong=sum(away > WRONG * NEAR[0] or turned > WRONG * NEAR[1] for away, turned in errors),
        meters=meters,
        degrees=degrees,
        near=sum(away <= bound[0] and turned <= bound[1] for away, turned in errors) / len(found),
        milliseconds=1000 * float(np.median([seconds for seconds, _ in found])),
    )


def elsewhere(data: Path, own: str) -> Mapping[str, Sequence[Frame]]:
    """Frames of the other data sets, and of the rendered square where the map is not one of it."""
    places = {name: ROWS[name].load(data) for name in ("hololens", "redkitchen", "fox") if name != own}
    frames = {ROWS[name].label: _complete(scene) for name, scene in places.items()}
    if own == "corner":
        return frames
    square = load_corner(data, seed=1, train_frames=20, test_frames=30)
    renderings = [frame for each in square.conditions.values() for frame in each]
    return frames | {RENDERED: [*square.train, *square.test, *renderings]}


def _complete(scene: Scene) -> tuple[Frame, ...]:
    """The test frames, or all where these are few."""
    return scene.test if len(scene.test) >= 50 else (*scene.train, *scene.test)


def measured_foreign(scene_map: SceneMap, scene: Scene, others: Mapping[str, Sequence[Frame]]) -> ForeignRow:
    """Give a map images from elsewhere."""
    localizer, peer = MapLocalizer(scene_map), PlainLocalizer(scene_map)
    extractor = feature_extractor(scene_map.features)
    images: dict[str, int] = {}
    ours: dict[str, int] = {}
    plain: dict[str, int] = {}
    for each in foreign_images(scene.test, others, scene_map.cameras, total=_FOREIGN):
        features = extractor.extract(each.image)
        height, width = each.image.shape[:2]
        answer = localizer.locate_features(features, each.camera, size=(width, height))
        focal = 1.2 * max(width, height)
        camera = each.camera or Camera(width, height, focal, focal, width / 2, height / 2)
        other = peer.locate(features, camera)
        images[each.kind] = images.get(each.kind, 0) + 1
        ours[each.kind] = ours.get(each.kind, 0) + isinstance(answer, VerifiedPose)
        plain[each.kind] = plain.get(each.kind, 0) + (other is not None and other[1] >= LEAST_INLIERS)
    return ForeignRow(images, ours, plain)


def measured_trust(scene_map: SceneMap, scene: Scene) -> dict[str, Outcomes]:
    """Test images with a wrong focal length, and turned ones."""
    localizer, extractor = MapLocalizer(scene_map), feature_extractor(scene_map.features)
    frames = even_items(scene.test, _TRUST)
    answers: dict[str, list[tuple[Pose, VerifiedPose | Rejected]]] = {}
    for frame in frames:
        picture, camera = read_with_camera(frame)
        assert camera is not None
        image, truth = np.asarray(picture), frame.truth()
        size = (camera.width, camera.height)
        features = extractor.extract(image)
        for factor in _WRONG_FOCALS:
            given = with_focal_length(camera, factor * camera.fx)
            answer = localizer.locate_features(features, given, size=size)
            answers.setdefault(f"focal length times {factor:g}", []).append((truth, answer))
        for turns in (1, 2, 3):
            turned = np.ascontiguousarray(np.rot90(image, turns))
            # Of a turned image only what a file of that shape tells is known; half a turn keeps the shape.
            answer = localizer.locate(turned, camera if turns == 2 else None)
            about = np.radians(90.0 * turns)
            turn = np.array(
                [[np.cos(about), -np.sin(about), 0], [np.sin(about), np.cos(about), 0], [0, 0, 1.0]]
            )
            seen = Pose(truth.rotation @ turn, truth.translation)
            answers.setdefault("upside down" if turns == 2 else "turned by 90°", []).append((seen, answer))
    return {kind: outcomes(each) for kind, each in answers.items()}


def outcomes(answers: Sequence[tuple[Pose, VerifiedPose | Rejected]]) -> Outcomes:
    """How many of the answers are right, none, or wrong."""
    errors = [
        error(truth, answer.world_from_cam) for truth, answer in answers if isinstance(answer, VerifiedPose)
    ]
    wrong = sum(away > WRONG * NEAR[0] or turned > WRONG * NEAR[1] for away, turned in errors)
    return Outcomes(len(errors) - wrong, len(answers) - len(errors), wrong)


def page(measured: Measured) -> str:
    """The page."""
    return result_page(
        "Maps of local features",
        "maps",
        "What `camloc map` builds from training images with known poses, and how it locates test images, one "
        "at a time, on one core. Times are those of the processor. Thresholds and intervals are calibrated "
        "on training images that the calibrated map was not built from; no number was chosen on test images.",
        "## Building",
        _build_table(measured.rows),
        "Seconds of one core: those of the map, and those of the map and of its calibration, for which "
        "further maps are triangulated, each without a sixth of the images.",
        "## Locating",
        _answer_table(measured.rows),
        "*Plain* is a query without any of camloc's steps after retrieval, measured in the same run on the "
        "same map and the same features: the ten training images that look most alike, mutual nearest "
        f"descriptors, COLMAP's PnP, and a pose from {LEAST_INLIERS} inliers on. Medians count images "
        "without a verified pose as infinitely wrong. *Near* is the share of all images within 0.25 m and "
        "2°, of the unseen stretch (frames 240 to 299 of the walk) within 0.5 m and 5°. *Wrong* are poses "
        f"that are off by more than {WRONG:g} times 0.25 m or 2°. *Query* is everything after the features.",
        "## Intervals",
        _coverage_table(measured.rows),
        "Share of the verified test images whose true position and orientation are within the interval that "
        "the covariance of the answer states.",
        _foreign(measured.foreign),
        _trust(measured.trust),
        command="--data FOLDER",
    )


def summary(measured: Measured) -> str:
    """The table of the README: each map with its first test set."""
    headings = ("", "images", "MB", "built in", "median", "near", "verified", "wrong", "plain median", "near")
    cells = []
    for name, row in measured.rows.items():
        first = next(iter(row.sets.values()))
        ours, plain = (_answer_cells("", "", first, each, row.unit) for each in (first.camloc, first.plain))
        build = (f"{row.frames:,}", f"{row.size_bytes / 1e6:.1f}", f"{row.all_seconds:.0f} s")
        cells.append((f"**{ROWS[name].label}**", *build, *ours[3:6], ours[7], *plain[3:5]))
    return table(headings, cells)


def _build_table(rows: Mapping[str, MapRow]) -> str:
    headings = ("map", "images", "points", "MB", "built in", "with calibration", "calibrated on")
    cells = (
        (
            ROWS[name].label,
            f"{row.frames:,}",
            f"{row.points:,}",
            f"{row.size_bytes / 1e6:.2f}",
            f"{row.build_seconds:.0f} s",
            f"{row.all_seconds:.0f} s",
            f"{row.calibrated_on:,}",
        )
        for name, row in rows.items()
    )
    return table(headings, cells)


def _answer_table(rows: Mapping[str, MapRow]) -> str:
    headings = ("test set", "", "images", "median", "near", "verified", "lost", "wrong", "features", "query")
    cells = []
    for name, row in rows.items():
        for set_name, each in row.sets.items():
            label = ROWS[name].label if len(row.sets) == 1 else f"{ROWS[name].label}, {set_name}"
            cells.append(_answer_cells(f"**{label}**", "camloc", each, each.camloc, row.unit))
            cells.append(_answer_cells("", "plain", each, each.plain, row.unit))
    return table(headings, cells, text_columns=2)


def _answer_cells(label: str, method: str, each: SetRow, answers: Answers, unit: Unit) -> tuple[str, ...]:
    short = "m" if unit == "m" else "u"
    meters = "∞" if answers.meters is None else f"{answers.meters:.4f} {short}"
    degrees = "∞" if answers.degrees is None else f"{answers.degrees:.3f}°"
    return (
        label,
        method,
        f"{each.frames:,}",
        f"{meters}, {degrees}",
        f"{answers.near:.1%}",
        f"{answers.verified:,}",
        f"{each.frames - answers.verified:,}",
        f"{answers.wrong:,}",
        f"{each.feature_milliseconds:.0f} ms",
        f"{answers.milliseconds:.1f} ms",
    )


def _coverage_table(rows: Mapping[str, MapRow]) -> str:
    headings = ("test set", "verified", "position, 68 %", "95 %", "orientation, 68 %", "95 %")
    cells = []
    for name, row in rows.items():
        for set_name, each in row.sets.items():
            label = ROWS[name].label if len(row.sets) == 1 else f"{ROWS[name].label}, {set_name}"
            if (found := each.reliability) is not None:
                inner, outer = found.at(0.68), found.at(0.95)
                numbers = (inner[0], outer[0], inner[1], outer[1])
                cells.append((label, f"{each.camloc.verified:,}", *(f"{share:.0%}" for share in numbers)))
    return table(headings, cells)


def _foreign(foreign: Mapping[str, ForeignRow]) -> str:
    """The section of images from elsewhere; empty where none were measured."""
    if not foreign:
        return ""
    headings = ("map", "images", "of which", "verified by camloc", "by the plain query")
    cells = [
        (
            ROWS[name].label,
            f"{sum(row.images.values()):,}",
            ", ".join(f"{count} {kind}" for kind, count in row.images.items()),
            _counted(row.camloc),
            _counted(row.plain),
        )
        for name, row in foreign.items()
    ]
    return (
        "## Images from elsewhere\n\nNone of them should be verified: images of other places, noise, and the "
        "map's own test images mirrored and with inverted colours. The map does not know their focal length "
        "where no camera of the map has images of that shape.\n\n" + table(headings, cells, text_columns=3)
    )


def _trust(trust: Mapping[str, Mapping[str, Outcomes]]) -> str:
    """The section of own images with a wrong focal length and of turned ones; empty where there is none."""
    if not trust:
        return ""
    cells = [
        (ROWS[name].label, kind, f"{each.right:,}", f"{each.lost:,}", f"{each.wrong:,}")
        for name, kinds in trust.items()
        for kind, each in kinds.items()
    ]
    return (
        "## Wrong focal lengths and turned images\n\nTest images of the map's own scene, located with a "
        "wrong focal length, or turned. *Right* are verified poses within the bounds of *wrong*.\n\n"
        + table(("map", "images", "right", "lost", "wrong"), cells, text_columns=2)
    )


def _counted(verified: Mapping[str, int]) -> str:
    """The number of verified images, and of which kinds they are."""
    kinds = ", ".join(f"{count} {kind}" for kind, count in verified.items() if count)
    return f"{sum(verified.values()):,}" + (f" ({kinds})" if kinds else "")


if __name__ == "__main__":
    main(tyro.cli(Settings))
