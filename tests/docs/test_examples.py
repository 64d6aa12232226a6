"""The examples run: the notebook's cells, the network without camloc, and the messages of the ROS node."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rosbags.rosbag2 import Reader, Writer
from rosbags.typesys import Stores, get_typestore
from scipy.spatial.transform import Rotation
from tests.support.coded_images import coded_image, pose_of, read_codes, write_run

from camloc import Located, Pose

EXAMPLES = Path(__file__).parents[2] / "examples"
STORE = get_typestore(Stores.ROS2_HUMBLE)


def message_types() -> SimpleNamespace:
    """The message classes by their names, as a module of ROS has them."""
    names = [name for name in STORE.types if name.startswith(("geometry_msgs/", "std_msgs/"))]
    return SimpleNamespace(**{name.rsplit("/", 1)[1]: STORE.types[name] for name in names})


def ros_node() -> ModuleType:
    found = importlib.util.spec_from_file_location("ros2_node", EXAMPLES / "ros2" / "camloc_node.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def stamp(types: Any = STORE.types) -> Any:
    return types["builtin_interfaces/msg/Time"](sec=12, nanosec=500_000_000)


def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read_codes(monkeypatch)
    run = write_run(tmp_path / "run")
    Image.fromarray(coded_image(5)).save(tmp_path / "image.png")
    Image.fromarray(coded_image(6)).save(tmp_path / "next.png")
    monkeypatch.chdir(tmp_path)
    notebook = json.loads((EXAMPLES / "03_images_and_answers.ipynb").read_text())
    assert notebook["nbformat"] == 4
    names: dict[str, Any] = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            exec(compile("".join(cell["source"]), "notebook", "exec"), names)
    assert isinstance(names["answer"], Located)
    np.testing.assert_allclose(names["answer"].world_from_cam.translation, pose_of(5).translation, atol=0.03)
    assert names["localizer"].scenes == ("room",)
    assert run.exists()


@pytest.fixture
def located() -> Located:
    rng = np.random.default_rng(0)
    root = rng.normal(0.0, 0.1, (6, 6))
    return Located("room", pose_of(7), covariance=root @ root.T)


def test_the_ros_message_has_the_base_in_a_map_with_z_up(located: Located) -> None:
    node = ros_node()
    base = Pose(np.eye(3), np.array([0.0, 0.4, -0.2]))
    message = node.pose_message(
        message_types(), stamp(), located, map_from_world=node.WORLD_Y_DOWN, camera_from_base=base
    )
    expected = node.WORLD_Y_DOWN @ located.world_from_cam @ base
    position, turn = message.pose.pose.position, message.pose.pose.orientation
    np.testing.assert_allclose([position.x, position.y, position.z], expected.translation)
    rotation = Rotation.from_quat([turn.x, turn.y, turn.z, turn.w]).as_matrix()
    np.testing.assert_allclose(rotation, expected.rotation, atol=1e-12)
    assert message.header.frame_id == "map"
    down = node.WORLD_Y_DOWN.apply(np.array([[0.0, 1.0, 0.0]]))
    np.testing.assert_allclose(down, [[0.0, 0.0, -1.0]])


def test_the_covariance_is_in_the_order_and_the_axes_of_ros(located: Located) -> None:
    """Against samples: poses that are drawn from camloc's covariance, transformed one by one."""
    node = ros_node()
    assert located.covariance is not None
    small = Located("room", located.world_from_cam, covariance=located.covariance * 1e-4)
    base = Pose(np.eye(3), np.array([0.0, 0.4, -0.2]))
    message = node.pose_message(
        message_types(), stamp(), small, map_from_world=node.WORLD_Y_DOWN, camera_from_base=base
    )
    found = np.array(message.pose.covariance).reshape(6, 6)
    rng = np.random.default_rng(1)
    mean = node.WORLD_Y_DOWN @ small.world_from_cam @ base
    assert small.covariance is not None
    errors = rng.multivariate_normal(np.zeros(6), small.covariance, 4000)
    turned = Rotation.from_rotvec(errors[:, :3]).as_matrix() @ small.world_from_cam.rotation
    drawn = node.WORLD_Y_DOWN @ Pose(turned, small.world_from_cam.translation + errors[:, 3:]) @ base
    twists = Rotation.from_matrix(drawn.rotation @ mean.rotation.T).as_rotvec()
    samples = np.concatenate((drawn.translation - mean.translation, twists), axis=1)
    np.testing.assert_allclose(found, np.cov(samples.T), atol=0.08 * np.abs(found).max())


def test_map_to_odom_completes_the_tree() -> None:
    node = ros_node()
    map_from_base, odom_from_base = pose_of(3), pose_of(11)
    message = node.map_from_odom_message(message_types(), stamp(), map_from_base, odom_from_base)
    turn, step = message.transform.rotation, message.transform.translation
    map_from_odom = Pose.from_quaternion_xyzw(
        np.array([turn.x, turn.y, turn.z, turn.w]), np.array([step.x, step.y, step.z])
    )
    np.testing.assert_allclose((map_from_odom @ odom_from_base).matrix(), map_from_base.matrix(), atol=1e-9)
    assert (message.header.frame_id, message.child_frame_id) == ("map", "odom")


def test_the_message_goes_through_a_bag(located: Located, tmp_path: Path) -> None:
    node = ros_node()
    kind = "geometry_msgs/msg/PoseWithCovarianceStamped"
    message = node.pose_message(
        message_types(), stamp(), located, map_from_world=node.WORLD_Y_DOWN, camera_from_base=Pose.identity()
    )
    with Writer(tmp_path / "bag", version=9) as writer:
        topic = writer.add_connection("/pose", kind, typestore=STORE)
        writer.write(topic, 1, STORE.serialize_cdr(message, kind))
    with Reader(tmp_path / "bag") as reader:
        ((connection, _, raw),) = reader.messages()
        read: Any = STORE.deserialize_cdr(raw, connection.msgtype)
    assert read.pose.pose == message.pose.pose
    np.testing.assert_array_equal(read.pose.covariance, message.pose.covariance)
    assert read.header.stamp.sec == 12


@pytest.mark.parametrize(
    ("d", "model"),
    [
        ([], "PINHOLE"),
        ([0.1, 0.2, 0.3, 0.4, 0.0], "OPENCV"),
        ([0.1] * 5, "FULL_OPENCV"),
        ([0.1] * 8, "FULL_OPENCV"),
    ],
)
def test_camera_info_is_read_with_the_pixel_centres_of_ros(d: list[float], model: str) -> None:
    info = SimpleNamespace(width=640, height=480, k=[500.0, 0, 319.5, 0, 510.0, 239.5, 0, 0, 1], d=d)
    camera = ros_node().camera_of(info)
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == (500.0, 510.0, 320.0, 240.0)
    assert camera.model == model
