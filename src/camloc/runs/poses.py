"""From photographs or a video without poses to a scene on disk, and new photographs into such a scene.

SCENE/images/...                     the images that have a pose
SCENE/sparse/0/{cameras,images,...}  a COLMAP model, binary
SCENE/train.txt, test.txt            blocks of the sequence for testing
SCENE/world.json                     unit, source of the scale, place on Earth
SCENE/poses.json                     which images have a pose, and why others have none
"""

import shutil
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float64
from numpy.typing import NDArray
from PIL import Image

from camloc.core.config import from_json, to_json
from camloc.core.files import link_or_copy, read_regular, write_atomically, writing
from camloc.core.progress import StepProgress, silent
from camloc.data.formats import colmap
from camloc.data.image_io import assign_camera, read_image
from camloc.data.photos import Photo, is_video, list_photos, natural_order, read_photo
from camloc.data.splits import FEWEST_TO_SPLIT, HoldOut, hold_out, write_lists
from camloc.data.types import Frame
from camloc.data.video import FrameChoice, choose_frames, frames
from camloc.data.world import World, georeference
from camloc.errors import DatasetError, ImageError, RecipeError
from camloc.geometry.camera import Camera
from camloc.inference.verification import MapLocalizer, VerifiedPose
from camloc.mapping.build import MapSettings
from camloc.mapping.structure_from_motion import (
    MOST_CONTRADICTED,
    MotionSettings,
    initial_camera,
    structure_from_motion,
)
from camloc.runs.map import build_map

if TYPE_CHECKING:
    import pycolmap

REPORT_FILE = "poses.json"
MODEL_FOLDER = "sparse/0"
_UNFINISHED = ".sparse"

# Gaps of a sequence that a report names.
_MOST_GAPS = 3

# The direction in a stored image that is down in the upright one, by EXIF orientation; otherwise +y.
_DOWN = {3: (0.0, -1.0, 0.0), 4: (0.0, -1.0, 0.0), 5: (1.0, 0.0, 0.0), 6: (1.0, 0.0, 0.0)} | {
    7: (-1.0, 0.0, 0.0),
    8: (-1.0, 0.0, 0.0),
}


@dataclass(frozen=True)
class KnownDistance:
    """The distance in metres between the camera centres of two images."""

    first: str
    second: str
    meters: float


@dataclass(frozen=True)
class Gap:
    """Neighbouring images of a sequence without a pose: the first one, the last one, and how many."""

    first: str
    last: str
    images: int


@dataclass(frozen=True)
class PosesReport:
    """The result of `camloc poses`, stored as `poses.json`.

    Attributes:
        source: of the images, as it was given.
        images: number of those used or tried.
        placed: images with a pose.
        unplaced: why each other image has none.
        refused: files that were not tried, with the reason.
        groups: images without a pose that are connected with each other.
        gaps: the largest ones along the sequence.
        longest_step: names of the neighbours in the sequence that are farthest apart, and their distance in
            medians of such distances; None with fewer than three images.
        pixels: mean reprojection error.
        connected: pairs of images with a pose that show the same by their matches.
        contradicted: pairs among `connected` whose matches do not fit the poses.
        doubtful: names of images with too many contradicted pairs to be chance, most pairs first.
        points: of the model.
        cameras: as text.
        test: images for testing.
        world: unit and place.
        no_scale: why the scene has no scale, or "".
        note: damage of the video, or "".
        seconds: of wall-clock time.
    """

    source: str
    images: int
    placed: tuple[str, ...]
    unplaced: dict[str, str]
    refused: dict[str, str]
    groups: tuple[tuple[str, ...], ...]
    gaps: tuple[Gap, ...]
    longest_step: tuple[str, str, float] | None
    pixels: float
    points: int
    cameras: tuple[str, ...]
    test: int
    world: World
    no_scale: str = ""
    note: str = ""
    connected: int = 0
    contradicted: int = 0
    doubtful: tuple[str, ...] = ()
    seconds: float = 0.0


def compute_poses(
    source: Path | str,
    out: Path,
    *,
    settings: MotionSettings | None = None,
    choice: FrameChoice | None = None,
    known_distance: KnownDistance | None = None,
    progress: StepProgress = silent,
) -> PosesReport:
    """Compute the poses of photographs or of a video's frames, and write a scene.

    Args:
        source: a folder of images, a pattern, or a video.
        out: folder of the scene, which has no model yet.
        settings: how poses are computed.
        choice: which frames of a video are used.
        known_distance: scales the scene; without it GPS positions do, if there are enough.
        progress: called with each step.

    Raises:
        DatasetError: there are no images, no poses can be computed, or the distance is between images
            without a pose.
        CamlocError: the folder cannot be written.
    """
    started = time.perf_counter()
    if (out / "sparse").exists():
        raise DatasetError(f"{out} has a model already; name another --out, or add images to it with --into")
    photos, refused, note = _photos_of(Path(source), source, out, choice or FrameChoice(), progress)
    if known_distance is not None:
        _named(known_distance, photos, otherwise="is none of the images")
    motion = structure_from_motion(photos, settings, progress=progress)
    by_name = {photo.name: photo for photo in photos}
    placed = [by_name[name] for name in motion.placed]
    world, no_scale = _give_world(motion.model, placed, known_distance)
    progress("writing", 0, 1)
    # The model gets its name last: a scene without its unit or its split would be taken for a whole one.
    shutil.rmtree(out / _UNFINISHED, ignore_errors=True)
    for name in ("train.txt", "test.txt"):
        (out / name).unlink(missing_ok=True)
    _write_images(placed, out / "images")
    colmap.write_model(motion.model, out / _UNFINISHED / "0")
    world.save(out)
    test = _write_split(out, model=f"{_UNFINISHED}/0")
    is_doubtful = len(motion.contradicted) > MOST_CONTRADICTED * motion.pairs[1]
    doubtful = Counter(name for pair in motion.contradicted for name in pair) if is_doubtful else Counter()
    report = PosesReport(
        source=str(source),
        images=len(photos),
        placed=motion.placed,
        unplaced=motion.reasons,
        refused=refused,
        groups=motion.groups,
        gaps=_gaps([photo.name for photo in photos], set(motion.placed)),
        longest_step=_longest_step(motion.model, motion.placed),
        pixels=motion.pixels,
        points=motion.model.num_points3D(),
        cameras=_camera_texts(motion.model, {photo.name for photo in placed if photo.focal is not None}),
        test=test,
        world=world,
        no_scale=no_scale,
        note=note,
        connected=motion.pairs[1],
        contradicted=len(motion.contradicted),
        doubtful=tuple(name for name, _ in doubtful.most_common()),
        seconds=time.perf_counter() - started,
    )
    write_atomically(out / REPORT_FILE, to_json(report))
    (out / _UNFINISHED).replace(out / "sparse")
    return report


def read_report(out: Path) -> PosesReport | None:
    """The report of a scene whose poses were computed, or None."""
    try:
        return from_json(read_regular(out / REPORT_FILE), PosesReport)
    except (OSError, RecipeError):
        return None


@dataclass(frozen=True)
class Added:
    """New images of a scene.

    Attributes:
        placed: names of those with a verified pose, in the model.
        unplaced: why the others have none.
    """

    placed: tuple[str, ...]
    unplaced: dict[str, str] = field(default_factory=dict)


def add_photos(source: Path | str, folder: Path, *, progress: StepProgress = silent) -> Added:
    """Locate new photographs in the map of a scene, and append them to its COLMAP model.

    The map is built from the training images alone. New images become training images: their poses say
    nothing about the accuracy of the map.

    Args:
        source: a folder of images, or a pattern.
        folder: of the scene, with a model in `sparse/0`.
        progress: called with each step.

    Raises:
        DatasetError: there is no such model, or there are no images.
        CamlocError: the folder cannot be written.
    """
    from camloc.geometry.colmap import pycolmap

    model = folder / MODEL_FOLDER
    if not colmap.is_model(model):
        raise DatasetError(
            f"{folder} has no COLMAP model in {MODEL_FOLDER}, where `camloc poses` writes it; name the "
            f"folder of such a scene"
        )
    listed = list_photos(source)
    scene = colmap.load(folder)
    mapped = build_map(
        scene, MapSettings(), progress=lambda step, share: progress(step, round(100 * share), 100)
    )
    localizer = MapLocalizer(mapped.scene_map)
    unplaced = dict(listed.refused)
    found: list[tuple[Photo, Camera, VerifiedPose]] = []
    for number, photo in enumerate(listed.photos):
        progress("locating", number, len(listed.photos))
        try:
            image = read_image(photo.image, upright=False)
        except ImageError as problem:
            unplaced[photo.name] = str(problem)
            continue
        camera = _camera_of(photo, mapped.scene_map.cameras)
        answer = localizer.locate(image, camera)
        if isinstance(answer, VerifiedPose):
            is_given = camera is not None and answer.verification.focal_length == "given"
            found.append((photo, camera if is_given and camera else answer.camera, answer))
        else:
            unplaced[photo.name] = answer.reason
    if not found:
        return Added((), unplaced)
    added = _free_name(folder / "images")
    named = [replace(photo, name=f"{added}/{photo.name}") for photo, _, _ in found]
    reconstruction = pycolmap.Reconstruction(model)
    _append(
        reconstruction,
        [(photo.name, camera, pose) for photo, (_, camera, pose) in zip(named, found, strict=True)],
    )
    _write_images(named, folder / "images")
    colmap.write_model(reconstruction, model)
    new = [Frame(f"images/{photo.name}", photo.image) for photo in named]
    write_lists(folder, (*scene.train, *new), scene.test)
    return Added(tuple(photo.name for photo in named), unplaced)


def _photos_of(
    path: Path, source: Path | str, out: Path, choice: FrameChoice, progress: StepProgress
) -> tuple[Sequence[Photo], dict[str, str], str]:
    """The photographs, the files that were refused, and the damage of a video."""
    if not is_video(path):
        listed = list_photos(source)
        return listed.photos, listed.refused, ""
    chosen = choose_frames(path, choice, progress=lambda share: progress("watching", round(100 * share), 100))
    wanted, folder = set(chosen.numbers.tolist()), out / "images"
    photos: list[Photo] = []
    try:
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            for frame in frames(path):
                if frame.number not in wanted:
                    continue
                progress("frames", len(photos), len(wanted))
                name = f"frame_{frame.number:06d}.jpg"
                Image.fromarray(frame.pixels).save(folder / name, quality=95)
                photos.append(read_photo(folder / name, name))
                if len(photos) == len(wanted):
                    break
    except ImageError:
        if not photos:
            raise
    return photos, {}, chosen.damage


def _give_world(
    model: "pycolmap.Reconstruction", placed: Sequence[Photo], known: KnownDistance | None
) -> tuple[World, str]:
    """Scale and turn the model's world; its new description, and why it has no scale."""
    centers = _centers(model, [photo.name for photo in placed])
    if known is not None:
        _transform(model, _known_scale(known, placed, centers), _level(model, placed), centers.mean(axis=0))
        return World("m", "known distance"), ""
    found = georeference(centers, [photo.place for photo in placed])
    if isinstance(found, str):
        _transform(model, 1.0, _level(model, placed), centers.mean(axis=0))
        return World(), found
    scale, rotation = float(found.new_from_old.scale), found.new_from_old.motion.rotation
    # `_transform` takes the old point that becomes the origin.
    origin = -rotation.T @ found.new_from_old.motion.translation / scale
    _transform(model, scale, rotation, origin)
    return found.world, ""


def _known_scale(
    known: KnownDistance, placed: Sequence[Photo], centers: Float64[NDArray[np.float64], "n 3"]
) -> float:
    rows = _named(known, placed, otherwise="has no pose")
    distance = float(np.linalg.norm(centers[rows[0]] - centers[rows[1]]))
    extent = float(np.linalg.norm(np.ptp(centers, axis=0)))
    if distance < 0.02 * extent:
        raise DatasetError(
            f"--known-distance: {known.first} and {known.second} were taken at nearly the same place, from "
            f"which no scale follows; measure the distance of two images that are far apart"
        )
    return known.meters / distance


def _named(known: KnownDistance, photos: Sequence[Photo], *, otherwise: str) -> list[int]:
    """The rows of the two images; their names may be without folder and ending."""
    rows = []
    for wanted in (known.first, known.second):
        alike = [
            row
            for row, photo in enumerate(photos)
            if wanted in (photo.name, Path(photo.name).name, Path(photo.name).stem)
        ]
        if len(alike) != 1:
            problem = otherwise if not alike else f"is the name of {len(alike)} images"
            raise DatasetError(
                f"--known-distance: {wanted} {problem}; name two of the {len(photos)} others, such as "
                f"{photos[0].name} {photos[-1].name}"
            )
        rows += alike
    return rows


def _level(model: "pycolmap.Reconstruction", placed: Sequence[Photo]) -> Float64[NDArray[np.float64], "3 3"]:
    """The rotation after which the mean of the images' upward direction is the z axis."""
    downs = []
    for photo in placed:
        image = model.find_image_with_name(photo.name)
        down = np.array(_DOWN.get(photo.orientation, (0.0, 1.0, 0.0)))
        downs.append(image.cam_from_world().rotation.matrix().T @ down)
    up = -np.mean(downs, axis=0)
    length = float(np.linalg.norm(up))
    if length < 0.1:  # the camera was held in every direction
        return np.eye(3)
    up = up / length
    aside = np.cross(up, np.eye(3)[int(np.abs(up).argmin())])
    aside /= np.linalg.norm(aside)
    rotation: Float64[NDArray[np.float64], "3 3"] = np.stack((aside, np.cross(up, aside), up))
    return rotation


def _transform(
    model: "pycolmap.Reconstruction",
    scale: float,
    rotation: Float64[NDArray[np.float64], "3 3"],
    origin: Float64[NDArray[np.float64], "3"],
) -> None:
    """Move a model so that `origin` is the origin, then turn and scale it."""
    from camloc.geometry.colmap import pycolmap

    matrix = np.concatenate((scale * rotation, -(scale * rotation @ origin)[:, None]), axis=1)
    model.transform(pycolmap.Sim3d(matrix))


def _centers(model: "pycolmap.Reconstruction", names: Sequence[str]) -> Float64[NDArray[np.float64], "n 3"]:
    return np.array([model.find_image_with_name(name).projection_center() for name in names]).reshape(-1, 3)


def _write_images(photos: Sequence[Photo], folder: Path) -> None:
    """Link the files where the file system can, else copy them."""
    with writing(folder):
        for photo in photos:
            if not (folder / photo.name).exists():
                link_or_copy(photo.image, folder / photo.name)


def _write_split(out: Path, *, model: str) -> int:
    """Write the lists of a split by blocks of the sequence, if there are enough images; how many test."""
    scene = colmap.load(out, model=model)
    frames = (*scene.train, *scene.test)
    if len(frames) < FEWEST_TO_SPLIT:
        return 0
    train, test = hold_out(sorted(frames, key=lambda frame: natural_order(frame.name)), HoldOut())
    if not train or not test:
        return 0
    write_lists(out, train, test)
    return len(test)


def _gaps(names: Sequence[str], placed: set[str]) -> tuple[Gap, ...]:
    """The longest runs of neighbouring images without a pose."""
    runs: list[list[str]] = [[]]
    for name in names:
        if name in placed:
            runs.append([])
        else:
            runs[-1].append(name)
    longest = sorted((run for run in runs if run), key=len, reverse=True)[:_MOST_GAPS]
    return tuple(Gap(run[0], run[-1], len(run)) for run in longest)


def _longest_step(model: "pycolmap.Reconstruction", names: Sequence[str]) -> tuple[str, str, float] | None:
    centers = _centers(model, names)
    if len(centers) < 3:
        return None
    steps = np.linalg.norm(np.diff(centers, axis=0), axis=1)
    row = int(steps.argmax())
    return names[row], names[row + 1], float(steps[row] / max(float(np.median(steps)), 1e-12))


def _camera_texts(model: "pycolmap.Reconstruction", with_exif: set[str]) -> tuple[str, ...]:
    """Size and focal length of each camera, and where the latter is from."""
    by_exif = {image.camera_id for image in model.images.values() if image.name in with_exif}
    return tuple(
        f"{camera.width} x {camera.height}, focal length {camera.mean_focal_length():.0f} px "
        f"({'EXIF, refined' if number in by_exif else 'estimated'})"
        for number, camera in model.cameras.items()
    )


def _camera_of(photo: Photo, known: Sequence[Camera]) -> Camera | None:
    """The camera of a new photograph: the scene's if it has that size, else by EXIF, else unknown."""
    assigned = assign_camera(photo.image, known)
    if assigned is not None and (assigned.width < assigned.height) == (photo.width < photo.height):
        same = (
            photo.focal is None or abs(photo.focal * assigned.width / photo.width / assigned.fx - 1.0) < 0.15
        )
        if same:
            return assigned.resized(width=photo.width, height=photo.height)
    return None if photo.focal is None else Camera.from_colmap(initial_camera(photo))


def _free_name(folder: Path) -> str:
    number = 1
    while (folder / f"added-{number:03d}").exists():
        number += 1
    return f"added-{number:03d}"


def _append(model: "pycolmap.Reconstruction", images: Sequence[tuple[str, Camera, VerifiedPose]]) -> None:
    """Add images with poses and without observations."""
    from camloc.geometry.colmap import pycolmap

    camera_number = max(model.cameras, default=0)
    image_number = max((*model.images, *model.frames), default=0)
    numbers = {Camera.from_colmap(camera): number for number, camera in model.cameras.items()}
    for name, camera, answer in images:
        if camera not in numbers:
            camera_number += 1
            made = camera.to_colmap()
            made.camera_id = numbers[camera] = camera_number
            model.add_camera_with_trivial_rig(made)
        image_number += 1
        image = pycolmap.Image(name=name, camera_id=numbers[camera], image_id=image_number)
        cam_from_world = pycolmap.Rigid3d(answer.world_from_cam.inverse().numpy().matrix()[:3])
        model.add_image_with_trivial_frame(image, cam_from_world)
