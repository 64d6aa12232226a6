"""Recordings of ROS 1 and ROS 2: their images become files, with the camera's poses from tf or a topic.

    drive.bag                     ROS 1
    drive/metadata.yaml, *.db3    ROS 2, or *.mcap

A bag is not read in place: `camloc import BAG DEST` writes it in a layout that is. Needs the extra `ros`.
Times are of the headers, or of the recorder where a header has none. Memory does not grow with the images.
"""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float64, UInt8
from numpy.typing import NDArray
from PIL import Image
from scipy.spatial.transform import Rotation

from camloc.core.extras import require_extra
from camloc.core.progress import CountProgress, silent
from camloc.data.formats.parts.files import numbers_in
from camloc.data.formats.parts.intrinsics import camera_with_lens
from camloc.data.formats.parts.posed import (
    Matrix,
    Posed,
    between,
    listed_image,
    matrix_of,
    matrix_of_xyzw,
    posed_scene,
)
from camloc.data.splits import EVERYTHING, Selection, left_out
from camloc.data.types import Scene
from camloc.errors import DatasetError
from camloc.geometry.camera import Camera

if TYPE_CHECKING:
    from rosbags.highlevel import AnyReader

_RAW, _COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
_INFO = "sensor_msgs/msg/CameraInfo"
_TF = ("tf2_msgs/msg/TFMessage", "tf/msg/tfMessage")
_POSES = (
    "nav_msgs/msg/Odometry",
    "geometry_msgs/msg/PoseStamped",
    "geometry_msgs/msg/PoseWithCovarianceStamped",
    "geometry_msgs/msg/TransformStamped",
)

# Axes of a body are forward, left, up (REP 103); those of a camera right, down, forward.
_BODY_FROM_OPTICAL = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])

_CHANNELS = {"rgb8": "RGB", "bgr8": "BGR", "8UC3": "BGR", "rgba8": "RGBA", "bgra8": "BGRA"}
_GREY = ("mono8", "8UC1")

# Lenses of camera_info, with COLMAP's names of the numbers in their order.
_LENSES: dict[str, tuple[str, tuple[str, ...]]] = {
    "plumb_bob": ("OPENCV", ("k1", "k2", "p1", "p2", "k3")),
    "rational_polynomial": ("OPENCV", ("k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6")),
    "equidistant": ("OPENCV_FISHEYE", ("k1", "k2", "k3", "k4")),
    "fisheye": ("OPENCV_FISHEYE", ("k1", "k2", "k3", "k4")),
}


def is_bag(path: Path) -> bool:
    """Whether a path is a bag, by its name or by the files in the folder."""
    if path.is_dir():
        return (path / "metadata.yaml").is_file() and any(
            each.suffix in (".db3", ".mcap", ".zstd") for each in path.iterdir()
        )
    return path.suffix in (".bag", ".db3", ".mcap") and path.is_file()


@dataclass
class _Track:
    """Poses `parent_from_child` by time; of a static transform a single one that holds always."""

    parent: str
    is_static: bool = False
    times: list[int] = field(default_factory=list)
    poses: list[list[float]] = field(default_factory=list)  # x y z qx qy qz qw

    def add(self, time: int, position: Any, rotation: Any) -> None:
        self.times.append(time)
        numbers = [position.x, position.y, position.z, rotation.x, rotation.y, rotation.z, rotation.w]
        self.poses.append(list(map(float, numbers)))

    def at(self, times: NDArray[np.int64], most: float) -> tuple[Matrix, NDArray[np.bool_]]:
        """The poses at some times in nanoseconds, and which of them are known."""
        order = np.unique(np.array(self.times, dtype=np.int64), return_index=True)[1]
        known = np.array(self.times, dtype=np.int64)[order]
        rows = [self.poses[row] for row in order.tolist()]
        what = f"a pose relative to {self.parent!r}"
        matrices = np.stack([matrix_of_xyzw(row[3:], row[:3], what) for row in rows])
        if not np.isfinite(matrices).all():
            raise DatasetError(f"{what} is not finite")
        if self.is_static:
            return np.repeat(matrices[-1:], len(times), axis=0), np.ones(len(times), dtype=np.bool_)
        start = known[0]
        return between((known - start) * 1e-9, matrices, (times - start) * 1e-9, most=most)


@dataclass
class _Recorded:
    """The messages of a bag that are not images."""

    image_times: list[int] = field(default_factory=list)
    image_frame: str = ""
    info: Any = None
    tf: dict[str, _Track] = field(default_factory=dict)
    poses: _Track | None = None
    body: str = ""


def read_bag(
    path: Path,
    folder: Path,
    scene: str = "",
    *,
    image_topic: str = "",
    pose_topic: str = "",
    info_topic: str = "",
    world: str = "",
    mount: str = "",
    most_seconds: float = 0.2,
    progress: CountProgress = silent,
    selection: Selection = EVERYTHING,
) -> Scene:
    """Write the images of a bag into a folder, and give each the pose of its time.

    Poses come from `pose_topic`, or from tf if it leads from the camera to a world, or from the topic with
    the most poses. The notes of the scene say which.

    Args:
        path: the bag.
        folder: for the images, which go into its folder `images`.
        scene: the name to give the scene; the bag's name otherwise.
        image_topic: the images; by default the colour topic with the most.
        pose_topic: the poses, or "tf".
        info_topic: the intrinsics; by default the camera_info beside the images.
        world: the frame of tf that is the world; by default the last one above the camera.
        mount: how the camera is mounted on the body whose poses are given: "optical" (its poses are the
            camera's own: right, down, forward), "body" (they are those of axes forward, left, up) or
            `x,y,z,qx,qy,qz,qw` of `body_from_cam`. By default what tf says, or else "optical".
        most_seconds: between two poses that a pose is interpolated from.
        progress: called with the images that are written, and their number.
        selection: see `Selection`.

    Raises:
        DatasetError: there are no images or no poses, a topic does not exist, or the bag is damaged.
        MissingExtraError: the extra `ros` is not installed.
        OSError: the folder cannot be written.
    """
    with _opened(path) as reader:
        image = _image_topic(reader, image_topic)
        infos = _topics(reader, (_INFO,))
        if info_topic and info_topic not in infos:
            raise DatasetError(f"{path} has no camera_info {info_topic!r}; it has {_listed(infos)}")
        info = info_topic or _info_beside(image, infos)
        track = pose_topic if pose_topic != "tf" else ""
        known = _topics(reader, _POSES)
        if track and track not in known:
            raise DatasetError(f"{path} has no poses {track!r}; it has {_listed(known)} or tf")
        own = track or next(iter(known), "")
        found = _collected(reader, path, image, info, own)
        times = np.array(found.image_times, dtype=np.int64)
        chain = _chain(found, world)
        if chain is None:
            frames = ", ".join(sorted({*found.tf, *(each.parent for each in found.tf.values())})) or "none"
            raise DatasetError(
                f"tf does not lead from {found.image_frame!r} to {world!r}; its frames are {frames}"
            )
        with_tf = not track and bool(chain) and any(not found.tf[each].is_static for each in chain)
        if pose_topic == "tf" and not with_tf:
            raise DatasetError(f"{path}: tf has no moving frame above {found.image_frame!r}; name a topic")
        if with_tf:
            poses, is_known, note = _along(found, chain, times, most_seconds)
        else:
            poses, is_known, note = _of_topic(found, path, own, mount, times, most_seconds)
        camera = None if found.info is None else _camera(found.info, image, f"{path}, {info}")
        if not is_known.any():
            raise DatasetError(
                f"{path}: none of the {len(times)} images of {image} has a pose before and after it within "
                f"{most_seconds:g} s; choose other topics, or a larger --option most_seconds="
            )
        names = _write_images(reader, path, image, folder, is_known, camera, progress)
    left = len(times) - int(is_known.sum())
    notes = (
        f"images of {image}, intrinsics of {info or 'nobody'}, {note}",
        *left_out("no poses are around them", left, len(times)),
    )
    kept = selection.present(
        [listed_image(f"{path}, image {number}", name, folder, number) for number, name in names.items()]
    )
    posed = (
        Posed(poses[each.content], camera, times[each.content] * 1e-9, sequence="") for each in kept.entries
    )
    return posed_scene(folder, scene or path.stem, kept, posed, selection=selection, notes=notes)


@contextmanager
def _opened(path: Path) -> "Iterator[AnyReader]":
    require_extra("ros", "reading ROS bags")
    from rosbags.highlevel import AnyReader, AnyReaderError
    from rosbags.typesys import Stores, get_typestore

    if path.suffix in (".db3", ".mcap"):  # a file of a ROS 2 bag, which is the folder
        path = path.parent
    try:
        with AnyReader([path], default_typestore=get_typestore(Stores.LATEST)) as reader:
            yield reader
    except AnyReaderError as problem:
        raise DatasetError(f"{path} cannot be read as a ROS bag ({problem})") from None


def _messages(reader: "AnyReader", path: Path, topics: Sequence[str]) -> Iterator[tuple[str, str, int, Any]]:
    """Topic, type, recorder's time in nanoseconds and content of the messages of some topics."""
    connections = [each for each in reader.connections if each.topic in topics]
    left = iter(reader.messages(connections=connections))
    while True:
        try:
            connection, time, data = next(left)
            content = reader.deserialize(data, connection.msgtype)
        except StopIteration:
            return
        except MemoryError:
            raise
        except Exception as problem:  # rosbags and its decoders have no common error for damaged files
            detail = str(problem)[:100] or type(problem).__name__
            raise DatasetError(f"{path} is damaged ({detail}); record or copy it again") from None
        yield connection.topic, connection.msgtype, time, content


def _topics(reader: "AnyReader", types: Sequence[str]) -> dict[str, int]:
    """Topics of some types with their messages, those with the most first."""
    counts: dict[str, int] = {}
    for each in reader.connections:
        if each.msgtype in types:
            counts[each.topic] = counts.get(each.topic, 0) + each.msgcount
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _listed(topics: dict[str, int]) -> str:
    return ", ".join(f"{name} ({count})" for name, count in topics.items()) or "none"


def _image_topic(reader: "AnyReader", named: str) -> str:
    """The topic of the images: the one that is named, or the colour topic with the most."""
    topics = _topics(reader, (_RAW, _COMPRESSED))
    if named and named not in topics:
        raise DatasetError(f"the bag has no images {named!r}; it has {_listed(topics)}")
    avoided = ("depth", "mask", "infra")
    usual = (name for name, count in topics.items() if count and not any(word in name for word in avoided))
    chosen = named or next(usual, "")
    if not chosen:
        raise DatasetError(f"the bag has no images: its topics of that kind are {_listed(topics)}")
    return chosen


def _info_beside(image: str, infos: dict[str, int]) -> str:
    """The camera_info of the longest common namespace, or the only one."""
    parts = image.split("/")

    def common(topic: str) -> int:
        own = topic.split("/")[:-1]
        return len(own) if parts[: len(own)] == own else 0

    near = sorted(infos, key=lambda topic: (-common(topic), topic))
    return near[0] if near and (common(near[0]) > 1 or len(infos) == 1) else ""


def _collected(reader: "AnyReader", path: Path, image: str, info: str, poses: str) -> _Recorded:
    """Everything but the images."""
    found = _Recorded()
    tfs = tuple(_topics(reader, _TF))
    for topic, kind, recorded, message in _messages(reader, path, [image, info, poses, *tfs]):
        if topic == image:
            found.image_times.append(_time(message, recorded))
            found.image_frame = found.image_frame or message.header.frame_id.lstrip("/")
        elif topic == info:
            found.info = found.info or message
        elif kind in _TF:
            for each in message.transforms:
                child, parent = each.child_frame_id.lstrip("/"), each.header.frame_id.lstrip("/")
                is_static = "static" in topic
                track = found.tf.setdefault(child, _Track(parent, is_static))
                if track.parent != parent:
                    raise DatasetError(
                        f"{path}: tf hangs {child!r} below {track.parent!r} and {parent!r}, so no pose of it "
                        f"is clear; name a topic of poses"
                    )
                track.add(_time(each, recorded), each.transform.translation, each.transform.rotation)
        else:
            _add_pose(found, kind, recorded, message)
    return found


def _add_pose(found: _Recorded, kind: str, recorded: int, message: Any) -> None:
    found.body = found.body or getattr(message, "child_frame_id", "").lstrip("/")
    track = found.poses = found.poses or _Track(message.header.frame_id.lstrip("/"))
    if kind.endswith("TransformStamped"):
        position, rotation = message.transform.translation, message.transform.rotation
    else:
        pose = message.pose if kind.endswith("/PoseStamped") else message.pose.pose
        position, rotation = pose.position, pose.orientation
    track.add(_time(message, recorded), position, rotation)


def _time(message: Any, recorded: int) -> int:
    """Nanoseconds of the header, or of the recorder where the header has none."""
    stamp = message.header.stamp
    return int(stamp.sec) * 10**9 + int(stamp.nanosec) or recorded


def _chain(found: _Recorded, top: str) -> list[str] | None:
    """The frames of tf from the camera up to the one below `top`, or to the last one if it is "".

    None where tf does not lead to it.
    """
    chain, at = [], found.image_frame
    while at in found.tf and at != top and at not in chain:
        chain.append(at)
        at = found.tf[at].parent
    return chain if at == top or not top else None


def _along(
    found: _Recorded, chain: Sequence[str], times: NDArray[np.int64], most: float
) -> tuple[Matrix, NDArray[np.bool_], str]:
    """Poses along a chain of frames, and the note."""
    poses, known = np.tile(np.eye(4), (len(times), 1, 1)), np.ones(len(times), dtype=np.bool_)
    for child in chain:
        step, is_known = found.tf[child].at(times, most)
        poses, known = step @ poses, known & is_known
    return poses, known, f"poses of {chain[0]!r} in {found.tf[chain[-1]].parent!r} by tf"


def _of_topic(
    found: _Recorded, path: Path, topic: str, mount: str, times: NDArray[np.int64], most: float
) -> tuple[Matrix, NDArray[np.bool_], str]:
    """Poses of a topic, with the mount of the camera on its body, and the note."""
    if found.poses is None:
        raise DatasetError(
            f"{path} has no poses: neither tf above {found.image_frame!r} nor a topic of "
            f"{', '.join(_POSES)}; `camloc poses` computes them from the images"
        )
    poses, known = found.poses.at(times, most)
    if mount:
        return poses @ _mount(mount), known, f"poses of {topic} with the mount {mount}"
    if found.body and (upward := _chain(found, found.body)):
        inner, is_known, _ = _along(found, upward, times, most)
        note = f"poses of {topic} with the mount of {found.image_frame!r} on {found.body!r} by tf"
        return poses @ inner, known & is_known, note
    of = f" (of {found.body!r})" if found.body else ""
    note = (
        f"poses of {topic}{of}, taken as those of the camera with axes right, down, forward; if they are of "
        f"a body, give --option mount=body or x,y,z,qx,qy,qz,qw of body_from_cam"
    )
    return poses, known, note


def _mount(text: str) -> Float64[np.ndarray, "4 4"]:
    if text == "optical":
        return np.eye(4)
    if text == "body":
        return matrix_of(_BODY_FROM_OPTICAL, (0.0, 0.0, 0.0))
    where = f"the option mount is optical, body or x,y,z,qx,qy,qz,qw, not {text!r}"
    numbers = numbers_in(text.split(","), where, count=7)
    if not np.isfinite(numbers).all() or not any(numbers[3:]):
        raise DatasetError(where)
    return matrix_of(Rotation.from_quat(numbers[3:]).as_matrix(), numbers[:3])


def _camera(info: Any, image: str, where: str) -> Camera | None:
    """The intrinsics of a camera_info; None if it is not calibrated."""
    # The names are in capitals in ROS 1.
    k, d, p = (np.asarray(getattr(info, name, getattr(info, name.upper(), ()))) for name in "kdp")
    if not k.any():
        return None
    if info.roi.width and (info.roi.width, info.roi.height) != (info.width, info.height):
        raise DatasetError(f"{where}: the images are a part of the sensor's (roi), which is not read")
    is_rectified = "rect" in image.rpartition("/")[2] or "image_rect" in image
    matrix = p.reshape(3, 4)[:, :3] if is_rectified and p.any() else k.reshape(3, 3)
    # The centre of ROS's first pixel is (0, 0).
    fx, _, cx, _, fy, cy, *_ = matrix.ravel().tolist()
    fields = {"width": info.width, "height": info.height, "fx": fx, "fy": fy, "cx": cx + 0.5, "cy": cy + 0.5}
    if is_rectified or not d.any():
        return camera_with_lens(fields, {}, model="OPENCV", where=where)
    if info.distortion_model not in _LENSES:
        raise DatasetError(
            f"{where}: the lens {info.distortion_model!r} is not read; known are {', '.join(_LENSES)}"
        )
    model, names = _LENSES[info.distortion_model]
    return camera_with_lens(fields, dict(zip(names, d.tolist(), strict=False)), model=model, where=where)


def _write_images(
    reader: "AnyReader",
    path: Path,
    topic: str,
    folder: Path,
    is_known: NDArray[np.bool_],
    camera: Camera | None,
    progress: CountProgress,
) -> dict[int, str]:
    """Write the images with a pose; their names by their number among all."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    names: dict[int, str] = {}
    for number, (_, kind, _, message) in enumerate(_messages(reader, path, [topic])):
        if not is_known[number]:
            continue
        where = f"{path}, image {number} of {topic}"
        if kind == _COMPRESSED:
            data = bytes(message.data)
            size, ending = _kind_of(data, where)
            names[number] = f"images/{number:06d}{ending}"
            (folder / names[number]).write_bytes(data)
        else:
            pixels = _decoded(message, where)
            size = (pixels.shape[1], pixels.shape[0])
            names[number] = f"images/{number:06d}.png"
            Image.fromarray(pixels).save(folder / names[number], compress_level=1)
        if camera is not None and size != (camera.width, camera.height):
            raise DatasetError(
                f"{where} has {size[0]} x {size[1]} pixels, and camera_info {camera.width} x {camera.height}"
            )
        progress(len(names), int(is_known.sum()))
    return names


def _kind_of(data: bytes, where: str) -> tuple[tuple[int, int], str]:
    """Size and file ending of a compressed image; its pixels are not decoded here."""
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG", "PNG")) as image:
            return image.size, ".jpg" if image.format == "JPEG" else ".png"
    except OSError:
        raise DatasetError(f"{where} is neither a JPEG nor a PNG image") from None


def _decoded(message: Any, where: str) -> UInt8[np.ndarray, "..."]:
    """The pixels of a raw image, (h, w) if it is grey or (h, w, 3)."""
    encoding, height, width, step = message.encoding, message.height, message.width, message.step
    channels = 1 if encoding in _GREY else len(_CHANNELS.get(encoding, ""))
    if not channels:
        known = ", ".join((*_CHANNELS, *_GREY))
        raise DatasetError(f"{where} has the encoding {encoding!r}, which is not read; known are {known}")
    data = np.asarray(message.data, dtype=np.uint8)
    if height < 1 or width < 1 or step < width * channels or len(data) < step * height:
        raise DatasetError(f"{where}: {len(data)} bytes are not {width} x {height} pixels of {encoding}")
    rows = data[: step * height].reshape(height, step)[:, : width * channels]
    if channels == 1:
        return np.ascontiguousarray(rows)
    pixels = rows.reshape(height, width, channels)[..., :3]
    return np.ascontiguousarray(pixels[..., ::-1] if _CHANNELS[encoding].startswith("B") else pixels)
