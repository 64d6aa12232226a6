"""The viewer: cameras, points and estimates of a run or a data set in the browser, by viser."""

import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, UInt8
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from camloc.core.sampling import even_items, even_rows
from camloc.data.image_io import image_in_memory, read_image
from camloc.data.types import Estimate, Frame, Located
from camloc.errors import CamlocError, ImageError
from camloc.geometry.camera import Camera
from camloc.geometry.pose import Pose

if TYPE_CHECKING:
    import viser

_PHOTOGRAPH = (210, 40, 150)
_TRAINING, _TRUTH, _VERIFIED, _UNVERIFIED = (150, 155, 165), (60, 130, 220), (40, 160, 90), (220, 120, 40)

# Frusta and points that a browser draws smoothly.
_MOST_FRUSTA, _MOST_POINTS = 400, 60_000

# Ellipsoids have this many standard deviations: 97 % of normally distributed errors are inside.
_SIGMAS = 3.0

_SHOWN_PIXELS = 320


@dataclass(frozen=True, eq=False)
class Content:
    """The content of the viewer.

    Attributes:
        name: of the scene.
        points: (n, 3) in its world.
        training: frames with poses.
        tested: test frames with their estimates, in order; empty for a data set.
        notes: sentences about the scene.
        locate: locates the bytes of a photograph in the scene, or None where nothing can.
    """

    name: str
    points: Float[NDArray[np.float64], "n 3"]
    training: Sequence[Frame] = ()
    tested: Sequence[tuple[Frame, Estimate | None]] = ()
    notes: Sequence[str] = field(default_factory=tuple)
    locate: Callable[[bytes], Estimate] | None = None


def typical_size(content: Content) -> float:
    """A length that fits the scene: the median distance of the cameras from their middle."""
    centers = np.array([frame.truth().translation for frame in (*content.training, *_frames(content))])
    if len(centers) < 2:
        return 1.0
    away = np.linalg.norm(centers - np.median(centers, axis=0), axis=1)
    return max(float(np.median(away)), 1e-6)


def ellipsoid(
    covariance: Float[NDArray[np.float64], "3 3"],
) -> tuple[Float[NDArray[np.float64], "3"], Float[NDArray[np.float64], "4"]]:
    """Half axes of the ellipsoid of a covariance at `_SIGMAS`, and the quaternion (w first) that turns it."""
    values, vectors = np.linalg.eigh(covariance)
    vectors = vectors * np.sign(np.linalg.det(vectors))  # a rotation, not a reflection
    x, y, z, w = Rotation.from_matrix(vectors).as_quat()
    return _SIGMAS * np.sqrt(np.maximum(values, 0.0)), np.array([w, x, y, z])


def show(content: Content, *, host: str, port: int) -> "viser.ViserServer":
    """Start the viewer's server, with all that it shows.

    Raises:
        CamlocError: the port is in use.
    """
    import viser

    try:
        with socket.socket() as probe:  # viser would take another port, or wait forever
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as problem:
        raise CamlocError(f"port {port} of {host} cannot be used ({problem}); give another --port") from None
    server = viser.ViserServer(host=host, port=port, verbose=False)
    size = typical_size(content)
    rows = even_rows(len(content.points), _MOST_POINTS)
    server.scene.add_point_cloud(
        "/points",
        points=content.points[rows].astype(np.float32),
        colors=_by_height(content.points[rows], _up(content)),
        point_size=0.006 * size,
    )
    server.scene.set_up_direction(tuple(_up(content).tolist()))
    _look_at(server, content, size)
    image = server.gui.add_image(np.full((180, 240, 3), 235, np.uint8), label="image")
    note = server.gui.add_markdown("\n\n".join((f"**{content.name}**", *content.notes, "Click a camera.")))

    def pick(frame: Frame, text: str) -> None:
        try:
            image.image = _thumbnail(frame)
        except ImageError as problem:
            text = f"{text}\n\n{problem}"
        note.content = text

    for layer in ("/training", "/truth", "/estimates", "/uncertainty"):
        server.scene.add_frame(layer, show_axes=False)

    def draw(
        name: str, frame: Frame, pose: Pose, colour: tuple[int, int, int], scale: float, text: str
    ) -> None:
        frustum = _frustum(server, name, pose, frame.camera, colour=colour, scale=scale * size)
        frustum.on_click(lambda _: pick(frame, text))

    for number, frame in enumerate(even_items(content.training, _MOST_FRUSTA)):
        draw(f"/training/{number}", frame, frame.truth(), _TRAINING, 0.02, frame.name)
    segments = []
    for number, (frame, estimate) in enumerate(content.tested):
        draw(f"/truth/{number}", frame, frame.truth(), _TRUTH, 0.04, f"{frame.name}: truth")
        if isinstance(estimate, Located):
            pose = estimate.world_from_cam.numpy()
            colour = _VERIFIED if estimate.is_verified else _UNVERIFIED
            draw(f"/estimates/{number}", frame, pose, colour, 0.04, _words(frame, estimate))
            segments.append((frame.truth().translation, pose.translation))
            if estimate.covariance is not None:
                axes, quaternion = ellipsoid(estimate.covariance[3:, 3:])
                server.scene.add_icosphere(
                    f"/uncertainty/{number}",
                    radius=1.0,
                    scale=tuple(axes.tolist()),
                    color=colour,
                    opacity=0.25,
                    wxyz=quaternion,
                    position=pose.translation,
                )
    if segments:
        lines = np.array(segments, np.float32)
        server.scene.add_line_segments("/errors", points=lines, colors=(220, 40, 40), thickness=0.004 * size)
    _controls(server, content, pick, size)
    if content.locate is not None:
        _photograph(server, content, content.locate, size, image, note)
    return server


def _photograph(
    server: Any,
    content: Content,
    locate: Callable[[bytes], Estimate],
    size: float,
    image: Any,
    text: Any,
) -> None:
    """A button that takes a photograph, and shows where it was taken."""
    button = server.gui.add_upload_button("locate a photograph", mime_type="image/*")

    def show_pose(_: Any) -> None:
        text.content = "locating …"
        try:
            found, shown = locate(button.value.content), _thumbnail_of(button.value.content)
        except CamlocError as problem:
            text.content = str(problem)
            return
        image.image = shown
        if not isinstance(found, Located):
            text.content = f"lost: {found.reason}"
            return
        if found.scene != content.name:
            text.content = f"this is in another scene, {found.scene}"
            return
        pose = found.world_from_cam.numpy()
        _frustum(
            server, "/photograph", pose, found.camera, colour=_PHOTOGRAPH, scale=0.12 * size, image=shown
        )
        x, y, z = pose.translation.tolist()
        text.content = f"{_how(found)} at {x:.3f}, {y:.3f}, {z:.3f} {found.unit}"

    button.on_upload(show_pose)


def _controls(server: Any, content: Content, pick: Any, size: float) -> None:
    """Switches for the layers, and a slider along the test frames."""
    layers = {"points": "/points", "training cameras": "/training"}
    if content.tested:
        layers |= {
            "truth": "/truth",
            "estimates": "/estimates",
            "errors": "/errors",
            "uncertainty": "/uncertainty",
        }
    for label, name in layers.items():
        box = server.gui.add_checkbox(label, initial_value=True)
        box.on_update(partial(_set_visible, server, name, box))
    frames = list(content.tested) or [(frame, None) for frame in content.training]
    if not frames:
        return
    slider = server.gui.add_slider("frame", min=0, max=len(frames) - 1, step=1, initial_value=0)
    mark = server.scene.add_icosphere("/here", radius=0.03 * size, color=(230, 30, 120), visible=False)

    def go_on(_: Any) -> None:
        frame, estimate = frames[int(slider.value)]
        is_located = isinstance(estimate, Located)
        pose = estimate.world_from_cam.numpy() if isinstance(estimate, Located) else frame.truth()
        mark.position, mark.visible = pose.translation, True
        pick(frame, _words(frame, estimate) if is_located or estimate else frame.name)

    slider.on_update(go_on)


def _set_visible(server: Any, name: str, box: Any, _: Any) -> None:
    layer = server.scene.get_handle_by_name(name)
    if layer is not None:
        layer.visible = box.value


def _frustum(
    server: Any,
    name: str,
    pose: Pose,
    camera: Camera | None,
    *,
    colour: tuple[int, int, int],
    scale: float,
    image: UInt8[NDArray[np.uint8], "h w 3"] | None = None,
) -> Any:
    """Draw a camera, with its image if there is one."""
    field, aspect = 1.0, 4 / 3
    if camera is not None:
        field, aspect = 2 * float(np.arctan(camera.height / (2 * camera.fy))), camera.width / camera.height
    if image is not None:
        aspect = image.shape[1] / image.shape[0]
    return server.scene.add_camera_frustum(
        name,
        fov=field,
        aspect=aspect,
        scale=scale,
        color=colour,
        image=image,
        wxyz=np.asarray(pose.quaternion_wxyz()),
        position=np.asarray(pose.translation),
    )


def _look_at(server: Any, content: Content, size: float) -> None:
    frames = [*content.training, *_frames(content)]
    middle = np.median([frame.truth().translation for frame in frames], axis=0) if frames else np.zeros(3)
    up = _up(content)
    aside = np.cross(up, (0.3, 0.2, 1.0) if abs(up[2]) < 0.9 else (1.0, 0.2, 0.3))
    server.initial_camera.position = tuple((middle + size * (1.2 * up + 1.6 * aside)).tolist())
    server.initial_camera.look_at = tuple(middle.tolist())


def _words(frame: Frame, estimate: Estimate | None) -> str:
    if estimate is None:
        return frame.name
    if not isinstance(estimate, Located):
        return f"{frame.name}: lost, {estimate.reason}"
    off = float(np.linalg.norm(estimate.world_from_cam.numpy().translation - frame.truth().translation))
    return f"{frame.name}: {_how(estimate)}, {off:.3f} {estimate.unit} from the truth"


def _how(found: Located) -> str:
    if found.verification is None:
        return "not verified"
    return f"verified by {found.verification.inliers} inliers"


def _frames(content: Content) -> list[Frame]:
    return [frame for frame, _ in content.tested]


def _up(content: Content) -> Float[NDArray[np.float64], "3"]:
    """Opposite to the mean direction of the cameras' down axes: people hold cameras upright."""
    frames = [*content.training, *_frames(content)]
    downs = np.array([frame.truth().rotation[:, 1] for frame in frames] or [[0.0, 1.0, 0.0]])
    mean = -downs.mean(axis=0)
    length = float(np.linalg.norm(mean))
    return mean / length if length > 0.1 else np.array([0.0, -1.0, 0.0])


def _by_height(
    points: Float[NDArray[np.float64], "n 3"], up: Float[NDArray[np.float64], "3"]
) -> UInt8[NDArray[np.uint8], "n 3"]:
    height = points @ up
    low, high = np.quantile(height, (0.05, 0.95)) if len(height) else (0.0, 1.0)
    share = np.clip((height - low) / max(high - low, 1e-9), 0.0, 1.0)[:, None]
    return (np.array([40, 60, 150]) * (1 - share) + np.array([220, 150, 40]) * share).astype(np.uint8)


def _thumbnail(frame: Frame) -> UInt8[NDArray[np.uint8], "h w 3"]:
    return _smaller(read_image(frame.image))


def _thumbnail_of(content: bytes) -> UInt8[NDArray[np.uint8], "h w 3"]:
    return _smaller(image_in_memory(content, "the photograph").pixels)


def _smaller(pixels: UInt8[NDArray[np.uint8], "h w 3"]) -> UInt8[NDArray[np.uint8], "h w 3"]:
    step = max(1, max(pixels.shape) // _SHOWN_PIXELS)
    return np.ascontiguousarray(pixels[::step, ::step])
