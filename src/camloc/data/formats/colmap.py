"""COLMAP models, text or binary, of every camera model that COLMAP knows.

    scene/images/0001.jpg
    scene/sparse/0/cameras.bin      or scene/sparse, or scene itself; .bin or .txt
    scene/sparse/0/images.bin       cam_from_world, quaternion w first, OpenCV axes
    scene/sparse/0/points3D.bin     optional

A frame is called as its image's path below the data's folder, `images/0001.jpg`; with images that are
elsewhere, as COLMAP calls it. Frames are in the order of their names. Models with rigs are read too: their
`images` files hold each image's own pose.
"""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pycolmap
from jaxtyping import Float64
from numpy.typing import NDArray

from camloc.core.files import write_atomically
from camloc.data.checks import Row, frames_from_quaternions
from camloc.data.formats.parts.colmap_files import Image, is_model, read_cameras, read_images, read_points
from camloc.data.formats.parts.files import clean_name, existing_image, is_file, sequence_of
from camloc.data.splits import Selection, folder_name, lists_text, split_by_lists
from camloc.data.types import Frame, Scene, Unit
from camloc.errors import DatasetError
from camloc.geometry.camera import Camera
from camloc.geometry.pose import Pose

SCENES: tuple[str, ...] = ()
LOOKS_FOR = "cameras and images files, .bin or .txt, in it or in its folder sparse/0 or sparse (COLMAP)"

_MODEL_FOLDERS = (".", "sparse/0", "sparse")


def fits(root: Path) -> bool:
    """Whether `root` holds a COLMAP model."""
    return any(is_model(root / folder) for folder in _MODEL_FOLDERS)


def load(
    root: Path,
    scene: str = "",
    *,
    images: Path | None = None,
    unit: Unit = "units",
    split: str = "",
    train_list: Path | None = None,
    test_list: Path | None = None,
    exclude: Collection[str] = (),
) -> Scene:
    """Read a model.

    Args:
        root: the data's folder.
        scene: what to call the scene; the folder's name otherwise.
        images: the folder that COLMAP's names are relative to; otherwise `images` in `root`, or `root`.
        unit: of the model's world: "m" where it was given its true scale, which images alone do not tell.
        split, train_list, test_list, exclude: see `Selection`.

    Raises:
        DatasetError: something is missing, damaged, or contradicts something else.
    """
    model = next((root / folder for folder in _MODEL_FOLDERS if is_model(root / folder)), None)
    if model is None:
        raise DatasetError(f"{root} is not a COLMAP model, which needs {LOOKS_FOR}")
    entries = sorted(read_images(model), key=lambda image: image.name)
    if not entries:
        raise DatasetError(f"{model} has no image with a pose")
    folder = _image_folder(root, entries[0]) if images is None else images
    selection = Selection(split, train_list, test_list, exclude)
    frames = frames_from_quaternions(
        _rows(entries, read_cameras(model), folder, root),
        rotation="cam_from_world",
        exclude=selection.exclude,
    )
    train, test = split_by_lists(frames, root, selection)
    return Scene(scene or folder_name(root), train, test, points=read_points(model), unit=unit)


def write(scene: Scene, folder: Path, *, form: Literal["binary", "text"] = "binary") -> None:
    """Write a scene as a COLMAP model; the inverse of `load` with `images` the folder of the images.

    Frames with equal intrinsics share a camera. Points have no colour and are seen by no image. Where
    the scene has test frames, `train.txt` and `test.txt` say which they are.

    Raises:
        DatasetError: a frame has no intrinsics or no pose, or a name that the text form cannot hold.
        CamlocError: the folder cannot be written.
    """
    reconstruction = pycolmap.Reconstruction()
    frames = (*scene.train, *scene.test)
    numbers: dict[Camera, int] = {}
    for number, frame in enumerate(frames, start=1):
        if frame.camera is None or frame.world_from_cam is None or frame.is_position_only:
            raise DatasetError(f"{frame.name} has no intrinsics or no whole pose, and COLMAP needs both")
        if form == "text" and len(frame.name.split()) != 1:
            raise DatasetError(
                f"{frame.name!r} holds a blank, which COLMAP's text form cuts; write it as binary"
            )
        if frame.camera not in numbers:
            numbers[frame.camera] = len(numbers) + 1
            reconstruction.add_camera_with_trivial_rig(
                _colmap_camera(frame, frame.camera, numbers[frame.camera])
            )
        image = pycolmap.Image(name=frame.name, camera_id=numbers[frame.camera], image_id=number)
        reconstruction.add_image_with_trivial_frame(image, _rigid(frame.world_from_cam.inverse()))
    for point in [] if scene.points is None else scene.points:
        reconstruction.add_point3D(point, pycolmap.Track())
    # The lists are written first: they make the folder, and say in a sentence what prevents it.
    if scene.test:
        write_atomically(folder / "test.txt", lists_text(scene.test))
    write_atomically(folder / "train.txt", lists_text(scene.train))
    if form == "text":
        reconstruction.write_text(str(folder))
    else:
        reconstruction.write_binary(str(folder))


def _colmap_camera(frame: Frame, camera: Camera, number: int) -> pycolmap.Camera:
    try:
        made = camera.to_colmap()
    except ValueError as problem:
        raise DatasetError(f"the camera of {frame.name} cannot be written: {problem}") from None
    made.camera_id = number
    return made


def _rigid(cam_from_world: Pose) -> pycolmap.Rigid3d:
    return pycolmap.Rigid3d(cam_from_world.numpy().matrix()[:3])


def _image_folder(root: Path, image: Image) -> Path:
    """`images` in the data's folder, unless COLMAP's names start at the data's folder already."""
    name = clean_name(image.name, image.where)
    if not is_file(root / "images" / name) and is_file(root / name):
        return root
    return root / "images"


def _rows(entries: Sequence[Image], cameras: dict[int, Camera], folder: Path, root: Path) -> list[Row]:
    """The images as frames with the centres of their cameras."""
    prefix = folder.relative_to(root).as_posix() if folder.is_relative_to(root) else "."
    rows = []
    for image, centre in zip(entries, _centres(entries).tolist(), strict=True):
        own_name = clean_name(image.name, image.where)
        if image.camera_id not in cameras:
            raise DatasetError(f"{image.where}: there is no camera {image.camera_id}")
        path = existing_image(folder / own_name, image.where)
        name = own_name if prefix == "." else f"{prefix}/{own_name}"
        frame = Frame(name, path, cameras[image.camera_id], sequence=sequence_of(own_name))
        rows.append(Row(image.where, frame, (*centre, *image.quaternion_wxyz)))
    return rows


def _centres(entries: Sequence[Image]) -> Float64[NDArray[np.float64], "n 3"]:
    quaternions = np.array([image.quaternion_wxyz for image in entries], dtype=np.float64).reshape(-1, 4)
    translations = np.array([image.translation for image in entries], dtype=np.float64).reshape(-1, 3)
    none = (quaternions == 0).all(axis=1, keepdims=True)  # no rotation; the checks refuse it in words
    some = np.where(none, np.array([1.0, 0.0, 0.0, 0.0]), quaternions)
    return np.asarray(Pose.from_quaternion_wxyz(some, translations).inverse().translation)
