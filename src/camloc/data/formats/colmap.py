"""COLMAP models, text or binary, of every camera model that COLMAP knows.

    scene/images/0001.jpg
    scene/sparse/0/cameras.bin      or scene, scene/sparse, scene/colmap/sparse/0, scene/dense/0/sparse, ...
    scene/sparse/0/images.bin       cam_from_world, quaternion w first, OpenCV axes
    scene/sparse/0/points3D.bin     optional
    scene/sparse/1/...              optional; a second model of other images, in a world of its own
    scene/world.json                optional; the unit of its positions, as `camloc poses` writes it

A frame's name is its image's path below the data's folder, `images/0001.jpg`; with images that are
elsewhere, COLMAP's own name. Frames are in the order of their names. Of several models the one with the most
images is read, and the others are named in a note. Models with rigs are read too: their `images` files hold
each image's own pose.

The files are parsed here and not by pycolmap, which reads a zero quaternion as the identity, cuts a name at
its first blank, holds every feature in memory, and cannot say in which line a file is wrong; the camera
models are pycolmap's. Formats: https://colmap.github.io/format.html
"""

import mmap
import struct
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float64
from numpy.typing import NDArray

from camloc.core.files import write_atomically
from camloc.data.formats.parts.files import (
    ImageFinder,
    Line,
    clean_name,
    is_file,
    is_named,
    numbers_in,
    open_regular,
    read_lines,
    sequence_of,
)
from camloc.data.formats.parts.intrinsics import camera_from_numbers, parameter_names
from camloc.data.formats.parts.posed import Posed, posed_scene
from camloc.data.splits import EVERYTHING, Listed, Selection, write_lists
from camloc.data.types import Scene, Unit
from camloc.errors import CamlocError, DatasetError, one_line
from camloc.geometry.camera import Camera
from camloc.geometry.colmap import pycolmap
from camloc.geometry.pose import Pose

LOOKS_FOR = "cameras and images files, .bin or .txt, in it or in its folder sparse/0 or sparse (COLMAP)"

# Folders of models. Models of the first patterns are alternatives to each other; models of further patterns
# are copies of them, with undistorted images.
_MODEL_PATTERNS = (".", "sparse/*", "sparse")
_FURTHER_PATTERNS = (
    *("colmap/sparse/*", "colmap/sparse", "distorted/sparse/*", "dense/*/sparse", "dense/sparse"),
)

# Names of the folder of images beside a model, or beside a folder above it.
_IMAGE_FOLDERS = ("images", "input", ".")

# Images that are looked for to find their folder; the first may be missing.
_TRIED_IMAGES = 50

_MODEL_OF_NUMBER = {int(value): name for name, value in pycolmap.CameraModelId.__members__.items()}


# Place, number and model of a camera, and its size and parameters.
_Camera: TypeAlias = tuple[str, int, str, Sequence[float]]


class Image(NamedTuple):
    """An image of a model, in the file's own order and direction."""

    where: str
    name: str
    camera_id: int
    quaternion_wxyz: tuple[float, ...]
    translation: tuple[float, ...]


def fits(root: Path) -> bool:
    """Whether `root` holds a COLMAP model.

    nerfstudio keeps a COLMAP model beside its `transforms.json`; such a folder is nerfstudio's.
    """
    if any(_matching(root, pattern) for pattern in _MODEL_PATTERNS):
        return True
    is_of_nerfstudio = any(is_file(root / f"transforms{end}.json") for end in ("", "_train"))
    return not is_of_nerfstudio and any(_matching(root, pattern) for pattern in _FURTHER_PATTERNS)


def load(
    root: Path,
    scene: str = "",
    *,
    model: str = "",
    images: Path | None = None,
    unit: Unit = "units",
    selection: Selection = EVERYTHING,
) -> Scene:
    """Read a model.

    Args:
        model: the model's folder below `root`, such as "sparse/1"; otherwise the one with the most images.
        images: the folder that COLMAP's names are relative to; otherwise a folder `images` or `input` beside
            the model or above it, or `root`.
        unit: of positions: "m" where the model was scaled to metres, which images alone do not give.
    """
    folder, entries, elsewhere, notes = _model(root, model)
    cameras = read_cameras(folder)
    image_folder = _image_folder(root, folder, entries) if images is None else images
    listed = _listed(sorted(entries, key=lambda image: image.name), image_folder, root)
    others = _listed(elsewhere, image_folder, root)
    kept = selection.present(listed, without_pose={"": others})
    found = posed_scene(
        root,
        scene,
        kept,
        _posed(kept.entries, cameras),
        selection=selection,
        rotation="cam_from_world",
        notes=notes,
        unit=unit,
    )
    return replace(found, points=read_points(folder))


def write(scene: Scene, folder: Path, *, form: Literal["binary", "text"] = "binary") -> None:
    """Write a scene as a COLMAP model; the inverse of `load` with `images` the folder of the images.

    Frames with equal intrinsics share a camera. Points have no colour and no observations. Where
    the scene has test frames, `train.txt` and `test.txt` list both kinds.

    Raises:
        DatasetError: a frame has no intrinsics or no pose, or a name that the text form cannot hold.
        CamlocError: the folder cannot be written, or the disk is full.
    """
    reconstruction = _reconstruction(scene, form)
    # The lists are written first: they make the folder, and a failure names its reason.
    write_lists(folder, scene.train, scene.test)
    write_model(reconstruction, folder, form=form)


def write_model(
    reconstruction: pycolmap.Reconstruction, folder: Path, *, form: Literal["binary", "text"] = "binary"
) -> None:
    """Write a model of pycolmap; its files get their names when they are complete.

    Raises:
        CamlocError: the folder cannot be written, or the disk is full.
    """
    # COLMAP says nothing where a disk is full, and follows links; so its files are read again before they get
    # their names.
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".camloc-", dir=folder) as unfinished:
            if form == "text":
                reconstruction.write_text(unfinished)
            else:
                reconstruction.write_binary(unfinished)
            made = Path(unfinished)
            points = read_points(made)
            found = len(read_cameras(made)), len(read_images(made)), 0 if points is None else len(points)
            cameras, images = len(reconstruction.cameras), reconstruction.num_reg_images()
            if found != (cameras, images, len(reconstruction.points3D)):
                raise OSError("the files are not complete")
            for path in sorted(made.iterdir()):
                write_atomically(folder / path.name, path.read_bytes())
    except (OSError, ValueError, RuntimeError, DatasetError) as problem:
        raise CamlocError(
            f"{folder} could not be written ({one_line(problem)[:200]}); check that the disk is not full"
        ) from None


def _reconstruction(scene: Scene, form: str) -> pycolmap.Reconstruction:
    reconstruction = pycolmap.Reconstruction()
    numbers: dict[Camera, int] = {}
    for number, frame in enumerate((*scene.train, *scene.test), start=1):
        if frame.camera is None or frame.world_from_cam is None or frame.is_position_only:
            raise DatasetError(f"{frame.name} has no intrinsics or no whole pose, and COLMAP needs both")
        if form == "text" and len(frame.name.split()) != 1:
            raise DatasetError(
                f"{frame.name!r} holds a blank, at which COLMAP's text form cuts names; write the binary form"
            )
        if frame.camera not in numbers:
            numbers[frame.camera] = len(numbers) + 1
            try:
                camera = frame.camera.to_colmap()
            except ValueError as problem:
                raise DatasetError(f"the camera of {frame.name} cannot be written: {problem}") from None
            camera.camera_id = numbers[frame.camera]
            reconstruction.add_camera_with_trivial_rig(camera)
        image = pycolmap.Image(name=frame.name, camera_id=numbers[frame.camera], image_id=number)
        cam_from_world = pycolmap.Rigid3d(frame.world_from_cam.inverse().numpy().matrix()[:3])
        reconstruction.add_image_with_trivial_frame(image, cam_from_world)
    for point in [] if scene.points is None else scene.points:
        reconstruction.add_point3D(point, pycolmap.Track())
    return reconstruction


def is_model(folder: Path) -> bool:
    """Whether a folder holds the cameras and images of a model."""
    return any(
        is_file(folder / f"cameras{ending}") and is_file(folder / f"images{ending}")
        for ending in (".txt", ".bin")
    )


def _matching(root: Path, pattern: str) -> list[Path]:
    """The models in the folders of a pattern."""
    if not root.is_dir():
        return []
    folders = [root] if pattern == "." else sorted(root.glob(pattern))
    return [folder for folder in folders if is_model(folder)]


def _model(root: Path, chosen: str) -> tuple[Path, list[Image], list[Image], list[str]]:
    """The model to read, its images, the images of other models, and notes on these."""
    models = [folder for pattern in _MODEL_PATTERNS for folder in _matching(root, pattern)]
    further = [folder for pattern in _FURTHER_PATTERNS for folder in _matching(root, pattern)]
    models, further = (models, further) if models else (further, [])
    if chosen:
        folder = root / clean_name(chosen, "the option model", root=root)
        if not is_model(folder):
            known = ", ".join(_relative(each, root) for each in (*models, *further)) or "none"
            raise DatasetError(f"{folder} is not a COLMAP model; the models found are {known}")
        models, further = [folder], []
    if not models:
        raise DatasetError(f"{root} is not a COLMAP model, which needs {LOOKS_FOR}")
    images = {folder: read_images(folder) for folder in models}
    folder = max(models, key=lambda each: len(images[each]))  # the first of equally large ones
    if not images[folder]:
        raise DatasetError(f"{folder} has no image with a pose")
    # A copy has no more images than its original.
    images |= {each: found for each in further if len(found := read_images(each)) > len(images[folder])}
    others = [f"{_relative(each, root)} with {len(images[each])}" for each in images if each != folder]
    notes = []
    if others:
        notes.append(
            f"{len(images)} COLMAP models, each in a world of its own: {_relative(folder, root)} with "
            f"{len(images[folder])} images is read, and not {', '.join(others)}; choose with --option "
            f"model=FOLDER"
        )
    notes += _other_form(folder, len(images[folder]))
    elsewhere = [image for each in images if each != folder for image in images[each]]
    return folder, images[folder], elsewhere, notes


def _other_form(folder: Path, count: int) -> list[str]:
    """A note if the model exists in both forms and the text form has other images."""
    text = folder / "images.txt"
    if _path(folder, "images") == text or not is_file(text):
        return []
    try:
        other = sum(1 for _ in _text_images(text))
    except DatasetError:
        return [f"the binary form is read, and not {text.name}, which is damaged"]
    if other == count:
        return []
    return [f"the binary form with {count} images is read, and not {text.name} with {other}"]


def _relative(folder: Path, root: Path) -> str:
    return folder.relative_to(root).as_posix() if folder.is_relative_to(root) else str(folder)


def _image_folder(root: Path, model: Path, entries: Sequence[Image]) -> Path:
    """The folder of the images: beside the model or above it, up to the data's folder."""
    names = [clean_name(image.name, image.where, root=root) for image in entries[:_TRIED_IMAGES]]
    finder = ImageFinder()
    levels = [level for level in (model, *model.parents) if level == root or level.is_relative_to(root)]
    for level in levels:
        for folder in _IMAGE_FOLDERS:
            base = level / folder
            if any(finder.find(base / name, below=base) is not None for name in names):
                return base
    return root / "images"


def _listed(entries: Sequence[Image], folder: Path, root: Path) -> list[Listed[Image]]:
    prefix = _relative(folder, root) if folder.is_relative_to(root) else "."
    listed = []
    for image in entries:
        own_name = clean_name(image.name, image.where, root=folder)
        name = own_name if prefix == "." else f"{prefix}/{own_name}"
        listed.append(Listed(image.where, name, folder / own_name, image, folder))
    return listed


def _posed(listed: Sequence[Listed[Image]], cameras: dict[int, Camera]) -> Iterator[Posed]:
    """The images with the centres of their cameras."""
    for each, centre in zip(listed, _centres([each.content for each in listed]).tolist(), strict=True):
        image = each.content
        if image.camera_id not in cameras:
            raise DatasetError(f"{each.where}: there is no camera {image.camera_id}")
        sequence = sequence_of(each.image.relative_to(each.base).as_posix())
        pose = (*centre, *image.quaternion_wxyz)
        yield Posed(pose, cameras[image.camera_id], sequence=sequence)


def _centres(entries: Sequence[Image]) -> Float64[NDArray[np.float64], "n 3"]:
    quaternions = np.array([image.quaternion_wxyz for image in entries], dtype=np.float64).reshape(-1, 4)
    translations = np.array([image.translation for image in entries], dtype=np.float64).reshape(-1, 3)
    none = (quaternions == 0).all(axis=1, keepdims=True)  # no rotation; the checks refuse it in words
    some = np.where(none, np.array([1.0, 0.0, 0.0, 0.0]), quaternions)
    return np.asarray(Pose.from_quaternion_wxyz(some, translations).inverse().translation)


def read_cameras(folder: Path) -> dict[int, Camera]:
    """The cameras of a model, by their numbers.

    Raises:
        DatasetError: the file is damaged, or a model is not known.
    """
    path = _path(folder, "cameras")
    cameras: dict[int, Camera] = {}
    for where, number, model, numbers in (
        _binary_cameras(path) if path.suffix == ".bin" else _text_cameras(path)
    ):
        if number in cameras:
            raise DatasetError(f"{where}: camera {number} is there for the second time")
        cameras[number] = camera_from_numbers(model, numbers, where)
    return cameras


def read_images(folder: Path) -> list[Image]:
    """The images of a model, in the order of the file.

    Raises:
        DatasetError: the file is damaged.
    """
    path = _path(folder, "images")
    return list(_binary_images(path) if path.suffix == ".bin" else _text_images(path))


def read_points(folder: Path) -> Float64[NDArray[np.float64], "n 3"] | None:
    """The points of a model in the world, or None where there are none.

    Raises:
        DatasetError: the file is damaged, or a point is not finite.
    """
    path = _path(folder, "points3D")
    if not is_named(path):
        return None
    points = np.array(
        list(_binary_points(path) if path.suffix == ".bin" else _text_points(path)), dtype=np.float64
    )
    if not np.isfinite(points).all():
        raise DatasetError(f"{path} holds a point with NaN or infinity; remove it")
    return points if len(points) else None


def _path(folder: Path, stem: str) -> Path:
    """The file of a model; the binary one where there are both, as COLMAP's own programs choose."""
    binary = is_file(folder / "cameras.bin") and is_file(folder / "images.bin")
    return folder / f"{stem}{'.bin' if binary else '.txt'}"


def _text_cameras(path: Path) -> Iterator[_Camera]:
    for line in read_lines(path):
        words = line.text.split()
        if len(words) < 5:
            raise DatasetError(f"{line.where}: a camera needs a number, a model, a size and parameters")
        number, *size = (_whole(word, line) for word in (words[0], words[2], words[3]))
        yield line.where, number, words[1], [*size, *numbers_in(words[4:], line.where)]


def _binary_cameras(path: Path) -> Iterator[_Camera]:
    with _Records(path) as records:
        for _ in range(records.count()):
            number, model_number, *size = records.take("IiQQ")
            where = f"{path}, camera {number}"
            model = _MODEL_OF_NUMBER.get(model_number, f"number {model_number}")
            parameters = records.take(f"{len(parameter_names(model, where))}d")
            yield where, number, model, [*size, *parameters]
        records.check_end()


def _text_images(path: Path) -> Iterator[Image]:
    """Two lines for each image; the second line, of the features, may be empty and is only checked."""
    lines = read_lines(path, blanks=True)
    for line in lines:
        if not line.text:
            continue
        words = line.text.split(maxsplit=9)
        if len(words) != 10:
            raise DatasetError(
                f"{line.where}: an image needs a number, a quaternion, a translation, a camera and a name"
            )
        numbers = tuple(numbers_in(words[1:8], line.where))
        yield Image(line.where, words[9], _whole(words[8], line), numbers[:4], numbers[4:])
        features = next(lines, None)
        if features is not None and not _are_features(features.text):
            raise DatasetError(
                f"{features.where}: after an image, a line of features (or an empty one) is needed, "
                f"and this is none; without this check the image of this line would be lost"
            )


def _are_features(text: str) -> bool:
    """Whether a line is triples of x, y and the number of a point; the first and the last are checked."""
    words = text.split()
    ends = words[:3] + words[-3:]  # both empty where an image has no features
    try:
        numbers_in(ends, "")
    except DatasetError:
        return False
    return len(words) % 3 == 0 and all(word.lstrip("-").isdecimal() for word in ends[2::3])


def _binary_images(path: Path) -> Iterator[Image]:
    with _Records(path) as records:
        for _ in range(records.count()):
            number, *numbers, camera_id = records.take("I7dI")
            where = f"{path}, image {number}"
            name = records.text(where)
            records.skip(records.count(), size=24)
            yield Image(where, name, camera_id, tuple(numbers[:4]), tuple(numbers[4:]))
        records.check_end()


def _text_points(path: Path) -> Iterator[list[float]]:
    for line in read_lines(path):
        words = line.text.split(maxsplit=8)
        if len(words) < 8:
            raise DatasetError(f"{line.where}: a point needs a number, x y z, a colour and an error")
        yield numbers_in(words[1:4], line.where)


def _binary_points(path: Path) -> Iterator[tuple[float, ...]]:
    with _Records(path) as records:
        for _ in range(records.count()):
            _, x, y, z, *_, track = records.take("Q3d3BdQ")
            records.skip(track, size=8)
            yield x, y, z
        records.check_end()


def _whole(word: str, line: Line) -> int:
    if not word.isascii() or not word.removeprefix("-").isdecimal() or len(word) > 18:
        raise DatasetError(f"{line.where}: {word[:40]!r} is not a whole number")
    return int(word)


class _Records:
    """Little-endian numbers of a binary file, one after the other; never past its end.

    The file is mapped into memory, not read: most of it are features, which are skipped.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with open_regular(path) as file:
            try:
                self._data: mmap.mmap | bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            except ValueError:  # an empty file cannot be mapped
                self._data = b""
            except OSError as problem:
                raise DatasetError(f"{path} cannot be read: {problem.strerror or problem}") from None
        self._size = len(self._data)
        self._at = 0

    def __enter__(self) -> "_Records":
        return self

    def __exit__(self, *_: object) -> None:
        if isinstance(self._data, mmap.mmap):
            self._data.close()

    def take(self, layout: str) -> tuple[Any, ...]:
        start = self._at
        self.skip(1, size=struct.calcsize(f"<{layout}"))
        return struct.unpack_from(f"<{layout}", self._data, start)

    def count(self) -> int:
        return int(self.take("Q")[0])

    def skip(self, count: int, *, size: int) -> None:
        self._at += count * size
        if self._at > self._size:
            raise DatasetError(f"{self._path} is damaged or cut short: it ends within a record")

    def check_end(self) -> None:
        """Refuse bytes behind the last record, which would be records that nobody reads."""
        if self._at != self._size:
            raise DatasetError(
                f"{self._path} is damaged: {self._size - self._at:,} bytes are behind its last record; save "
                f"the model again"
            )

    def text(self, where: str) -> str:
        end = self._data.find(b"\0", self._at)
        if end < 0:
            raise DatasetError(f"{self._path} is damaged or cut short: it ends within a record")
        raw, self._at = self._data[self._at : end], end + 1
        try:
            return raw.decode()
        except UnicodeDecodeError:
            raise DatasetError(f"{where}: the name is not UTF-8 text") from None
