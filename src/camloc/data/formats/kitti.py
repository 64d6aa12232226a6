"""KITTI odometry: `world_from_cam` of camera 0 as 12 numbers a line, without names.

    dataset/poses/00.txt                     or dataset/sequences/00/poses.txt
    dataset/sequences/00/calib.txt           P0: to P3: projection matrices of the rectified cameras
    dataset/sequences/00/times.txt           optional; seconds
    dataset/sequences/00/image_2/000000.png  image_0 and image_1 are grey, image_2 and image_3 in colour

Geiger et al., Are we ready for Autonomous Driving?, CVPR 2012. The world is camera 0 of the first image. The
poses are of camera 0; those of the camera that is read are shifted by its baseline in `calib.txt`.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from camloc.core.files import write_atomically
from camloc.data.formats.parts.files import is_file, is_folder, is_named, numbers_in, read_lines
from camloc.data.formats.parts.intrinsics import camera_from_matrix, fields_of_matrix
from camloc.data.formats.parts.posed import (
    Matrix,
    Posed,
    listed_image,
    matrix_of,
    matrix_of_rows,
    posed_scene,
    whole_poses,
)
from camloc.data.splits import EVERYTHING, Listed, Selection, write_lists
from camloc.data.types import Scene
from camloc.errors import DatasetError

LOOKS_FOR = "folders sequences/00 and poses/00.txt (KITTI odometry)"

_CAMERAS = ("image_2", "image_0", "image_3", "image_1")


def fits(root: Path) -> bool:
    """Whether `root` is the data set's folder, with some sequence that has poses."""
    return bool(_sequences(root))


def load(
    root: Path, scene: str = "", *, sequence: str = "", camera: str = "", selection: Selection = EVERYTHING
) -> Scene:
    """Read a sequence.

    Args:
        sequence: such as "00"; may be left out where there is one alone.
        camera: folder of the images: "image_2" (left, in colour) where it is there.
    """
    known = _sequences(root)
    if not known:
        raise DatasetError(f"{root} is not a KITTI folder, which needs {LOOKS_FOR}")
    if sequence not in known and (sequence or len(known) > 1):
        wanted = f"has no sequence {sequence!r} with poses" if sequence else "has several sequences"
        raise DatasetError(f"{root} {wanted}; choose one with --option sequence=: {', '.join(known)}")
    sequence = sequence or next(iter(known))
    folder, poses = root / "sequences" / sequence, known[sequence]
    camera = camera or next((name for name in _CAMERAS if is_folder(folder / name)), _CAMERAS[0])
    matrix, shift = _projection(folder / "calib.txt", camera)
    times = []
    if is_named(folder / "times.txt"):
        times = [numbers_in([line.text], line.where)[0] for line in read_lines(folder / "times.txt")]
    images = sorted(path.name for path in (folder / camera).glob("*") if not path.name.startswith("."))
    ending = Path(images[0]).suffix if images else ".png"
    listed = []
    for number, line in enumerate(read_lines(poses)):
        pose = matrix_of_rows(numbers_in(line.text.split(), line.where, count=12, of="a pose"))
        name = f"sequences/{sequence}/{camera}/{number:06d}{ending}"
        time = times[number] if number < len(times) else None
        listed.append(listed_image(line.where, name, root, (pose, time)))
    if times and len(times) != len(listed):
        raise DatasetError(f"{poses} has {len(listed)} poses, and {folder}/times.txt has {len(times)} times")
    fields = fields_of_matrix(matrix, str(folder / "calib.txt"))

    def posed(each: Listed[tuple[Matrix, float | None]]) -> Posed:
        own = camera_from_matrix(fields, image=each.image, where=str(folder / "calib.txt"))
        pose, time = each.content
        return Posed(pose @ shift, own, time, sequence)

    kept = selection.present(listed)
    return posed_scene(root, scene, kept, map(posed, kept.entries), selection=selection)


def write(scene: Scene, folder: Path) -> tuple[str, ...]:
    """Write the poses and the calibration of a scene as sequence 00; the inverse of `load`.

    The frames of training and testing get numbers in that order, because the format has no names; the images
    have to be put in their places, `image_2/000000.png` or with another ending.

    Returns:
        The names that the frames get, in their order.

    Raises:
        DatasetError: a frame has no whole pose, or the frames have not one pinhole camera.
        CamlocError: a file cannot be written.
    """
    frames = (*scene.train, *scene.test)
    cameras = {frame.camera for frame in frames}
    camera = next(iter(cameras))
    if len(cameras) != 1 or camera is None or not camera.is_pinhole:
        raise DatasetError("KITTI has one camera without distortion for all images; write colmap instead")
    poses = whole_poses(frames, "KITTI").matrix()[:, :3].reshape(-1, 12).tolist()
    rows = [" ".join(map(repr, pose)) for pose in poses]
    own = folder / "sequences" / "00"
    own.mkdir(parents=True, exist_ok=True)
    (folder / "poses").mkdir(exist_ok=True)
    write_atomically(folder / "poses" / "00.txt", "\n".join(rows) + "\n")
    projection = np.hstack([camera.matrix(), np.zeros((3, 1))]).ravel().tolist()
    write_atomically(own / "calib.txt", f"P2: {' '.join(map(repr, projection))}\n")
    if all(frame.time is not None for frame in frames):
        write_atomically(own / "times.txt", "".join(f"{frame.time!r}\n" for frame in frames))
    names = (f"sequences/00/image_2/{number:06d}{frame.image.suffix}" for number, frame in enumerate(frames))
    renamed = [replace(frame, name=name) for name, frame in zip(names, frames, strict=True)]
    count = len(scene.train)
    write_lists(folder, renamed[:count], renamed[count:])
    return tuple(frame.name for frame in renamed)


def _sequences(root: Path) -> dict[str, Path]:
    """The file of poses of each sequence that has one."""
    if not is_folder(root / "sequences"):
        return {}
    found: dict[str, Path] = {}
    for folder in sorted((root / "sequences").iterdir()):
        for path in (root / "poses" / f"{folder.name}.txt", folder / "poses.txt"):
            if is_file(path) and is_file(folder / "calib.txt"):
                found.setdefault(folder.name, path)
    return found


def _projection(path: Path, camera: str) -> tuple[Matrix, Matrix]:
    """The calibration matrix of a camera, and the motion from camera 0 to it."""
    wanted = f"P{camera.removeprefix('image_')}:"
    for line in read_lines(path):
        word, *words = line.text.split()
        if word == wanted:
            projection = np.array(numbers_in(words, line.where, count=12, of=wanted)).reshape(3, 4)
            if not np.isfinite(projection).all() or np.linalg.det(projection[:, :3]) <= 0:
                raise DatasetError(f"{line.where}: {wanted} is not the projection of a camera")
            shift = -np.linalg.solve(projection[:, :3], projection[:, 3])
            return projection[:, :3], matrix_of(np.eye(3), shift)
    raise DatasetError(f"{path} has no line {wanted} for the images of {camera}; choose by --option camera=")
