"""ROS bags: the scene of the layouts' contract in ROS 1 and ROS 2, with poses given in every usual way."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rosbags.rosbag1 import Writer as Writer1
from rosbags.rosbag2 import Writer as Writer2
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from tests.support.layouts import CAMERA, FOCAL, HEIGHT, WIDTH, Matrix, looking_at_target, make_scene, wxyz

from camloc.cli.main import main
from camloc.data import formats
from camloc.data.rosbag import read_bag
from camloc.data.splits import Selection
from camloc.data.types import poses_of
from camloc.errors import DatasetError
from camloc.geometry import Camera

SCENE = make_scene()
START, STEP = 1_700_000_000_000_000_000, 10**8
BODY_FROM_CAM = looking_at_target(np.array([0.1, 0.2, 0.3]))
BODY_FROM_OPTICAL = np.array([[0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1.0]])

ROS1, ROS2 = get_typestore(Stores.ROS1_NOETIC), get_typestore(Stores.ROS2_HUMBLE)
ROS1.register(get_types_from_msg("geometry_msgs/TransformStamped[] transforms", "tf2_msgs/msg/TFMessage"))


@dataclass
class Bag:
    """Writes messages of one version of ROS."""

    path: Path
    version: int

    def __post_init__(self) -> None:
        self.store = ROS1 if self.version == 1 else ROS2
        self.messages: list[tuple[str, str, int, Any]] = []

    def type(self, name: str) -> Any:
        return self.store.types[name]

    def header(self, time: int, frame: str) -> Any:
        stamp = self.type("builtin_interfaces/msg/Time")(sec=time // 10**9, nanosec=time % 10**9)
        more = {"seq": 0} if self.version == 1 else {}
        return self.type("std_msgs/msg/Header")(stamp=stamp, frame_id=frame, **more)

    def vector(self, values: Matrix, kind: str = "Vector3") -> Any:
        return self.type(f"geometry_msgs/msg/{kind}")(**dict(zip("xyz", values.tolist(), strict=True)))

    def quaternion(self, rotation: Matrix) -> Any:
        return self.type("geometry_msgs/msg/Quaternion")(**dict(zip("wxyz", wxyz(rotation), strict=True)))

    def pose(self, matrix: Matrix) -> Any:
        position = self.vector(matrix[:3, 3], "Point")
        return self.type("geometry_msgs/msg/Pose")(
            position=position, orientation=self.quaternion(matrix[:3, :3])
        )

    def transform(self, time: int, parent: str, child: str, matrix: Matrix) -> Any:
        transform = self.type("geometry_msgs/msg/Transform")(
            translation=self.vector(matrix[:3, 3]), rotation=self.quaternion(matrix[:3, :3])
        )
        return self.type("geometry_msgs/msg/TransformStamped")(
            header=self.header(time, parent), child_frame_id=child, transform=transform
        )

    def add(self, topic: str, kind: str, time: int, message: Any) -> None:
        self.messages.append((topic, kind, time, message))

    def add_tf(self, topic: str, *transforms: Any) -> None:
        self.add(
            topic,
            "tf2_msgs/msg/TFMessage",
            START,
            self.type("tf2_msgs/msg/TFMessage")(transforms=list(transforms)),
        )

    def add_image(self, number: int, encoding: str) -> None:
        time = START + number * STEP
        pixels = np.full((HEIGHT, WIDTH, 3), (10 * number, 90, 200), dtype=np.uint8)
        if encoding in ("jpeg", "png"):
            stream = io.BytesIO()
            Image.fromarray(pixels).save(stream, encoding)
            message = self.type("sensor_msgs/msg/CompressedImage")(
                header=self.header(time, "camera"),
                format=encoding,
                data=np.frombuffer(stream.getvalue(), np.uint8),
            )
            self.add("/cam/image/compressed", "sensor_msgs/msg/CompressedImage", time, message)
            return
        stored = pixels[..., ::-1] if encoding == "bgr8" else pixels if encoding == "rgb8" else pixels[..., 0]
        rows = stored.reshape(HEIGHT, -1)
        padded = np.pad(rows, ((0, 0), (0, 5)))  # rows are longer than their pixels
        message = self.type("sensor_msgs/msg/Image")(
            header=self.header(time, "camera"),
            height=HEIGHT,
            width=WIDTH,
            encoding=encoding,
            is_bigendian=0,
            step=padded.shape[1],
            data=np.ascontiguousarray(padded).reshape(-1),
        )
        self.add("/cam/image", "sensor_msgs/msg/Image", time, message)

    def add_info(self, model: str = "plumb_bob", lens: tuple[float, ...] = (0.0,) * 5) -> None:
        k = np.array([FOCAL, 0, WIDTH / 2 - 0.5, 0, FOCAL, HEIGHT / 2 - 0.5, 0, 0, 1.0])
        values = {"d": np.array(lens), "k": k, "r": np.eye(3).reshape(-1), "p": np.zeros(12)}
        if self.version == 1:
            values = {name.upper(): value for name, value in values.items()}
        roi = self.type("sensor_msgs/msg/RegionOfInterest")(
            x_offset=0, y_offset=0, height=0, width=0, do_rectify=False
        )
        message = self.type("sensor_msgs/msg/CameraInfo")(
            header=self.header(START, "camera"),
            height=HEIGHT,
            width=WIDTH,
            distortion_model=model,
            binning_x=0,
            binning_y=0,
            roi=roi,
            **values,
        )
        self.add("/cam/camera_info", "sensor_msgs/msg/CameraInfo", START, message)

    def write(self) -> Path:
        writer = Writer1(self.path) if self.version == 1 else Writer2(self.path, version=9)
        serialize = self.store.serialize_ros1 if self.version == 1 else self.store.serialize_cdr
        connections: dict[str, Any] = {}
        with writer:
            for topic, kind, time, message in sorted(self.messages, key=lambda each: each[2]):
                if topic not in connections:
                    connections[topic] = writer.add_connection(topic, kind, typestore=self.store)
                writer.write(connections[topic], time, bytes(serialize(message, kind)))
        return self.path


def add_poses(bag: Bag, how: str) -> None:
    """The scene's poses at the times of the images, between wrong ones just before and after."""
    for number, world_from_cam in enumerate(SCENE.all):
        time = START + number * STEP
        body = world_from_cam @ np.linalg.inv(BODY_FROM_CAM)
        if how == "tf":
            bag.add_tf("/tf", bag.transform(time, "odom", "base", body))
        elif how == "odometry":
            twist = bag.type("geometry_msgs/msg/TwistWithCovariance")(
                twist=bag.type("geometry_msgs/msg/Twist")(
                    linear=bag.vector(np.zeros(3)), angular=bag.vector(np.zeros(3))
                ),
                covariance=np.zeros(36),
            )
            pose = bag.type("geometry_msgs/msg/PoseWithCovariance")(
                pose=bag.pose(body), covariance=np.zeros(36)
            )
            message = bag.type("nav_msgs/msg/Odometry")(
                header=bag.header(time, "odom"), child_frame_id="base", pose=pose, twist=twist
            )
            bag.add("/odom", "nav_msgs/msg/Odometry", time, message)
        else:
            matrix = world_from_cam if how == "pose" else world_from_cam @ np.linalg.inv(BODY_FROM_OPTICAL)
            message = bag.type("geometry_msgs/msg/PoseStamped")(
                header=bag.header(time, "map"), pose=bag.pose(matrix)
            )
            bag.add("/pose", "geometry_msgs/msg/PoseStamped", time, message)
    if how == "tf":
        # The world's frame stands elsewhere, and turns it: the poses are those in `map`.
        map_from_odom = looking_at_target(np.array([1.0, 2.0, 3.0]))
        for each in bag.messages:
            if each[0] == "/tf":
                moved = each[3].transforms[0]
                body = np.linalg.inv(map_from_odom) @ matrix_of(moved)
                each[3].transforms[0] = bag.transform(each_time(moved), "odom", "base", body)
        bag.add_tf("/tf_static", bag.transform(START, "map", "odom", map_from_odom))
    if how in ("tf", "odometry"):
        bag.add_tf("/tf_static", bag.transform(START, "base", "camera", BODY_FROM_CAM))


def each_time(message: Any) -> int:
    return int(message.header.stamp.sec) * 10**9 + int(message.header.stamp.nanosec)


def matrix_of(message: Any) -> Matrix:
    from scipy.spatial.transform import Rotation

    matrix = np.eye(4)
    move, turn = message.transform.translation, message.transform.rotation
    matrix[:3, 3] = move.x, move.y, move.z
    matrix[:3, :3] = Rotation.from_quat([turn.x, turn.y, turn.z, turn.w]).as_matrix()
    return matrix


VARIANTS = {
    "ros1, tf, rgb8": (1, "tf", "rgb8", {}),
    "ros2, tf, jpeg": (2, "tf", "jpeg", {}),
    "ros1, odometry with a mount in tf, png": (1, "odometry", "png", {}),
    "ros2, odometry with a mount in tf, bgr8": (2, "odometry", "bgr8", {}),
    "ros2, poses of the camera, mono8": (2, "pose", "mono8", {}),
    "ros1, poses of a body": (1, "body", "bgr8", {"mount": "body"}),
}


def written(folder: Path, version: int, how: str, encoding: str) -> Path:
    bag = Bag(folder / ("walk.bag" if version == 1 else "walk"), version)
    for number in range(len(SCENE.all)):
        bag.add_image(number, encoding)
    bag.add_info()
    add_poses(bag, how)
    return bag.write()


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_way_gives_the_same_scene(
    tmp_path: Path, variant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    version, how, encoding, options = VARIANTS[variant]
    bag = written(tmp_path, version, how, encoding)
    names = [f"images/{number:06d}.{'jpg' if encoding == 'jpeg' else 'png'}" for number in range(8)]
    (tmp_path / "train.txt").write_text("\n".join(names[:5]))
    (tmp_path / "test.txt").write_text("\n".join(names[5:]))
    lists = {f"{side}_list": str(tmp_path / f"{side}.txt") for side in ("train", "test")}
    words = [f"--option={name}={value}" for name, value in {**options, **lists}.items()]
    main(["import", str(bag), str(tmp_path / "scene"), *words])
    assert "walk: layout rosbag, 5 training and 3 test frames" in capsys.readouterr().out
    scene = formats.load(tmp_path / "scene")
    np.testing.assert_allclose(poses_of(scene.train).matrix(), np.stack(SCENE.train), rtol=0, atol=1e-6)
    np.testing.assert_allclose(poses_of(scene.test).matrix(), np.stack(SCENE.test), rtol=0, atol=1e-6)
    assert {frame.camera for frame in (*scene.train, *scene.test)} == {CAMERA}
    with Image.open(scene.train[2].image) as image:
        assert (
            np.abs(np.asarray(image)[5, 5].astype(int) - (20 if encoding == "mono8" else (20, 90, 200))).max()
            < 8
        )
    assert not list(tmp_path.glob(".camloc-*"))


def test_poses_lie_between_those_before_and_after(tmp_path: Path) -> None:
    bag = Bag(tmp_path / "walk", 2)
    for number in range(3):
        bag.add_image(number, "png")
    for time, x in ((START - STEP // 2, 0.0), (START + STEP // 2, 1.0), (START + 3 * STEP // 2, 3.0)):
        matrix = np.eye(4)
        matrix[0, 3] = x
        message = bag.type("geometry_msgs/msg/PoseStamped")(
            header=bag.header(time, "map"), pose=bag.pose(matrix)
        )
        bag.add("/pose", "geometry_msgs/msg/PoseStamped", time, message)
    scene = read_bag(bag.write(), tmp_path / "images")
    assert poses_of(scene.train).translation[:, 0].tolist() == pytest.approx([0.5, 2.0])
    assert "left out because no poses are around them: 1 of 3 images" in scene.notes
    assert "poses of /pose, taken as those of the camera" in scene.notes[0]
    assert scene.train[0].camera is None


@pytest.mark.parametrize(
    ("model", "lens", "expected"),
    [
        ("plumb_bob", (0.1, 0.02, 0.001, 0.002, 0.0), ("OPENCV", (0.1, 0.02, 0.001, 0.002))),
        (
            "plumb_bob",
            (0.1, 0.02, 0.001, 0.002, 0.3),
            ("FULL_OPENCV", (0.1, 0.02, 0.001, 0.002, 0.3, 0.0, 0.0, 0.0)),
        ),
        ("equidistant", (0.1, 0.02, 0.0, 0.0), ("OPENCV_FISHEYE", (0.1, 0.02, 0.0, 0.0))),
    ],
)
def test_lenses_are_those_of_colmap(
    tmp_path: Path, model: str, lens: tuple[float, ...], expected: tuple[str, tuple[float, ...]]
) -> None:
    bag = Bag(tmp_path / "walk", 2)
    bag.add_image(0, "png")
    bag.add_info(model, lens)
    bag.add("/pose", "geometry_msgs/msg/PoseStamped", START, bag.type("geometry_msgs/msg/PoseStamped")(
        header=bag.header(START, "map"), pose=bag.pose(np.eye(4))
    ))  # fmt: skip
    camera = read_bag(bag.write(), tmp_path / "images").train[0].camera
    assert camera == Camera(WIDTH, HEIGHT, FOCAL, FOCAL, WIDTH / 2, HEIGHT / 2, *expected)


def without_poses(bag: Bag) -> None:
    bag.messages = [each for each in bag.messages if each[0].startswith("/cam")]


def with_wrong_size(bag: Bag) -> None:
    next(each[3] for each in bag.messages if each[0] == "/cam/camera_info").width = 99


def with_depth(bag: Bag) -> None:
    for each in bag.messages:
        if each[0] == "/cam/image":
            each[3].encoding = "16UC1"


def with_short_data(bag: Bag) -> None:
    image = next(each[3] for each in bag.messages if each[0] == "/cam/image")
    image.data = image.data[:10]


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (without_poses, {}, "has no poses: .*camloc poses"),
        (with_wrong_size, {}, "camera_info 99 x 24"),
        (with_depth, {}, "encoding '16UC1', which is not read"),
        (with_short_data, {}, "10 bytes are not 32 x 24 pixels"),
        (lambda _: None, {"image_topic": "/other"}, r"no images '/other'; it has /cam/image \(8\)"),
        (lambda _: None, {"pose_topic": "/other"}, r"no poses '/other'; it has /pose \(8\) or tf"),
        (lambda _: None, {"pose_topic": "tf"}, "tf has no moving frame above 'camera'"),
        (lambda _: None, {"world": "mars"}, "tf does not lead from 'camera' to 'mars'"),
        (lambda _: None, {"mount": "sideways"}, "mount is optical, body or"),
    ],
)
def test_what_cannot_be_used_is_refused(
    tmp_path: Path, change: Callable[[Bag], None], options: dict[str, str], message: str
) -> None:
    bag = Bag(tmp_path / "walk", 2)
    for number in range(8):
        bag.add_image(number, "rgb8")
    bag.add_info()
    add_poses(bag, "pose")
    change(bag)
    with pytest.raises(DatasetError, match=message):
        read_bag(bag.write(), tmp_path / "images", selection=Selection(), **options)  # type: ignore[arg-type]


def test_a_damaged_bag_is_refused_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bag = written(tmp_path, 1, "pose", "rgb8")
    bag.write_bytes(bag.read_bytes()[:5000])
    with pytest.raises(SystemExit):
        main(["import", str(bag), str(tmp_path / "scene")])
    assert "cannot be read as a ROS bag" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["walk.bag"]


def test_other_commands_name_the_one_that_reads_bags(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"is a ROS bag; `camloc import"):
        formats.detect(written(tmp_path, 2, "pose", "png"))
