"""A ROS 2 node that says where the camera is: `python examples/ros2/camloc_node.py RUN`

It subscribes to `image` (sensor_msgs/CompressedImage) and `camera_info`, and publishes

    pose    geometry_msgs/PoseWithCovarianceStamped of the base in the map
    /tf     map -> odom, so that map -> odom -> base_link -> camera is one tree (REP 105)

The camera frame of ROS that ends in `_optical_frame` has camloc's axes: right, down, forward (REP 103). The
map frame of ROS has z up: `map_from_world` below turns the scene's world to it. Covariances of ROS are of x,
y, z and of rotations about the fixed axes x, y, z of the map.
"""

import sys
from typing import Any

import numpy as np

from camloc import Camera, Localizer, Located, Pose, Query

# Of worlds whose y axis points down, as that of the first camera of many recordings does.
WORLD_Y_DOWN = Pose(np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]]), np.zeros(3))


def pose_message(
    types: Any,
    stamp: Any,
    located: Located,
    *,
    map_from_world: Pose,
    camera_from_base: Pose,
    frame: str = "map",
) -> Any:
    """The pose of the base in the map, with the covariance of the camera's.

    Args:
        types: has the classes Header, Pose and so on, as `rclpy`'s messages or those of `rosbags`.
        stamp: of the image.
        located: what camloc says.
        map_from_world: turns the scene's world to a map with z up.
        camera_from_base: where the base is in the camera's optical frame, from /tf.
        frame: name of the map's frame.
    """
    base = map_from_world @ located.world_from_cam.numpy() @ camera_from_base
    covariance = np.zeros((6, 6))
    if located.covariance is not None:
        # The error (rotation, centre) of the camera; the centre of the base moves with a rotation as well.
        turn = np.kron(np.eye(2), map_from_world.rotation)
        lever = base.translation - (map_from_world @ located.world_from_cam.numpy()).translation
        moved = np.eye(6)
        moved[3:, :3] = -_cross(lever)
        mine = moved @ turn @ located.covariance @ turn.T @ moved.T
        order = [3, 4, 5, 0, 1, 2]  # camloc has the rotation first, ROS the position
        covariance = mine[np.ix_(order, order)]
    elif located.expected_error is not None:
        meters, degrees = (each / 1.538 for each in located.expected_error)  # of a median to one deviation
        covariance = np.diag(np.repeat((meters**2, np.radians(degrees) ** 2), 3))
    return types.PoseWithCovarianceStamped(
        header=types.Header(stamp=stamp, frame_id=frame),
        pose=types.PoseWithCovariance(pose=_pose(types, base), covariance=covariance.flatten()),
    )


def map_from_odom_message(
    types: Any,
    stamp: Any,
    map_from_base: Pose,
    odom_from_base: Pose,
    *,
    frames: tuple[str, str] = ("map", "odom"),
) -> Any:
    """The transform map -> odom that makes map -> odom -> base_link the pose that was found (REP 105)."""
    motion = map_from_base @ odom_from_base.inverse()
    x, y, z, w = motion.quaternion_xyzw().tolist()
    return types.TransformStamped(
        header=types.Header(stamp=stamp, frame_id=frames[0]),
        child_frame_id=frames[1],
        transform=types.Transform(
            translation=types.Vector3(**dict(zip("xyz", motion.translation.tolist(), strict=True))),
            rotation=types.Quaternion(x=x, y=y, z=z, w=w),
        ),
    )


def camera_of(info: Any) -> Camera:
    """The intrinsics of a sensor_msgs/CameraInfo (plumb_bob or rational polynomial, as OpenCV's)."""
    k = np.asarray(info.k if hasattr(info, "k") else info.K, np.float64).reshape(3, 3)
    d = np.asarray(info.d if hasattr(info, "d") else info.D, np.float64)
    model, distortion = ("PINHOLE", ()) if not d.any() else ("OPENCV", tuple(d[:4].tolist()))
    if d.any() and len(d) >= 5 and d[4:].any():
        model, distortion = "FULL_OPENCV", tuple([*d, *[0.0] * 8][:8])
    # ROS has the centre of the top left pixel at 0, camloc at 0.5.
    return Camera(info.width, info.height, k[0, 0], k[1, 1], k[0, 2] + 0.5, k[1, 2] + 0.5, model, distortion)


def _pose(types: Any, pose: Pose) -> Any:
    x, y, z, w = pose.quaternion_xyzw().tolist()
    return types.Pose(
        position=types.Point(**dict(zip("xyz", pose.translation.tolist(), strict=True))),
        orientation=types.Quaternion(x=x, y=y, z=z, w=w),
    )


def _cross(vector: Any) -> Any:
    x, y, z = vector
    return np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])


def main() -> None:
    """Run the node until it is stopped."""
    import rclpy
    from geometry_msgs import msg as geometry
    from rclpy.node import Node
    from rclpy.time import Time
    from sensor_msgs.msg import CameraInfo, CompressedImage
    from std_msgs.msg import Header
    from tf2_ros import Buffer, TransformBroadcaster, TransformException, TransformListener

    geometry.Header = Header

    class CamlocNode(Node):
        def __init__(self, run: str) -> None:
            super().__init__("camloc")
            self.localizer = Localizer.load(run, verify="always")
            self.camera: Camera | None = None
            self.previous: Located | None = None
            self.buffer = Buffer()
            self.listener = TransformListener(self.buffer, self)
            self.transforms = TransformBroadcaster(self)
            self.poses = self.create_publisher(geometry.PoseWithCovarianceStamped, "pose", 10)
            self.create_subscription(CameraInfo, "camera_info", self.on_info, 1)
            self.create_subscription(CompressedImage, "image", self.on_image, 1)

        def on_info(self, info: Any) -> None:
            self.camera = camera_of(info)

        def on_image(self, image: Any) -> None:
            stamp = image.header.stamp
            query = Query(bytes(image.data), self.camera, self.previous, stamp.sec + 1e-9 * stamp.nanosec)
            found = self.localizer.locate(query)
            if not isinstance(found, Located):
                self.get_logger().info(f"lost: {found.reason}")
                return
            self.previous = found
            try:
                camera_from_base = self.motion(image.header.frame_id, "base_link", stamp)
                odom_from_base = self.motion("odom", "base_link", stamp)
            except TransformException as problem:
                self.get_logger().warning(str(problem))
                return
            self.poses.publish(
                pose_message(
                    geometry, stamp, found, map_from_world=WORLD_Y_DOWN, camera_from_base=camera_from_base
                )
            )
            map_from_base = WORLD_Y_DOWN @ found.world_from_cam.numpy() @ camera_from_base
            self.transforms.sendTransform(
                map_from_odom_message(geometry, stamp, map_from_base, odom_from_base)
            )

        def motion(self, target: str, source: str, stamp: Any) -> Pose:
            found = self.buffer.lookup_transform(target, source, Time.from_msg(stamp)).transform
            turn, step = found.rotation, found.translation
            return Pose.from_quaternion_xyzw(
                np.array([turn.x, turn.y, turn.z, turn.w]), np.array([step.x, step.y, step.z])
            )

    rclpy.init()
    rclpy.spin(CamlocNode(sys.argv[1]))


if __name__ == "__main__":
    main()
