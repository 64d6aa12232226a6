"""Many small scenes that look alike: corners of two houses of the market square, each with its own fronts."""

from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from numpy.typing import NDArray

from camloc.data.types import Frame, ImageInMemory, Scene
from camloc.geometry.camera import Camera
from camloc.geometry.pose import Pose
from market_square.facades import FacadeStyle, facade

CAMERA = Camera(240, 180, 206.0, 206.0, 120.0, 90.0)

# Width and height of a front, in metres.
_SIDE = 6.0

_WALLS = ("brick", "plaster", "stone")


def facade_corner(seed: int, *, train: int = 8, test: int = 3) -> Scene:
    """The corner of two fronts that meet at a right angle, x and y along them and z up, and walks before it.

    Args:
        seed: of the fronts, the walks and the noise of the images.
        train, test: numbers of frames.
    """
    rng = np.random.default_rng((seed, 91))
    fronts = []
    for number in range(2):
        wall = _WALLS[int(rng.integers(len(_WALLS)))]
        style = FacadeStyle(
            wall, int(rng.integers(3, 6)), int(rng.integers(4, 7)), "", seed=2 * seed + number
        )
        fronts.append(np.asarray(facade(style).color, np.float32))
    frames = []
    for number in range(train + test):
        # Test frames lie between the training frames of the walk, and aside from it.
        share = number / train if number < train else (number - train + 0.37) / test
        is_test = number >= train
        pose = _pose(share, rng, aside=0.35 if is_test else 0.15)
        pixels = _image(fronts, pose, rng, gain=rng.uniform(0.8, 1.2) if is_test else 1.0)
        name = f"{'test' if is_test else 'train'}/{number:03d}.png"
        frames.append(Frame(name, Path(name), CAMERA, pose, memory=ImageInMemory(pixels)))
    return Scene(f"corner-{seed:03d}", tuple(frames[:train]), tuple(frames[train:]))


def _pose(share: float, rng: np.random.Generator, *, aside: float) -> Pose:
    """A camera before the corner, which looks at it, on an arc of 60 degrees."""
    angle = np.radians(15.0 + 60.0 * share)
    away = 5.5 + 1.2 * np.sin(7.0 * share)
    center = np.array([away * np.cos(angle), away * np.sin(angle), 1.6]) + rng.normal(0, aside, 3)
    aim = np.array([1.4, 1.4, 2.2]) + rng.normal(0, 0.5, 3)
    forward = (aim - center) / np.linalg.norm(aim - center)
    right = np.cross(forward, (0.0, 0.0, 1.0))
    right /= np.linalg.norm(right)
    return Pose(np.stack((right, np.cross(forward, right), forward), axis=1), center)


def _image(
    fronts: list[Float[NDArray[np.float32], "h w 3"]], pose: Pose, rng: np.random.Generator, *, gain: float
) -> UInt8[NDArray[np.uint8], "h w 3"]:
    """What the camera sees: the front on the plane y = 0, that on x = 0, the ground and the sky."""
    columns, rows = np.meshgrid(np.arange(CAMERA.width) + 0.5, np.arange(CAMERA.height) + 0.5)
    inside = np.stack(
        ((columns - CAMERA.cx) / CAMERA.fx, (rows - CAMERA.cy) / CAMERA.fy, np.ones_like(rows)), -1
    )
    rays = inside @ pose.rotation.T
    image = np.full((*rows.shape, 3), (170.0, 190.0, 215.0), np.float32)
    for axis, front in ((1, fronts[0]), (0, fronts[1])):
        with np.errstate(divide="ignore", invalid="ignore"):
            distance = -pose.translation[axis] / rays[..., axis]
        points = pose.translation + distance[..., None] * rays
        along, height = points[..., 1 - axis], points[..., 2]
        hit = (distance > 0) & (along >= 0) & (along < _SIDE) & (height >= 0) & (height < _SIDE)
        image[hit] = _texels(front, along[hit] / _SIDE, height[hit] / _SIDE)
    ground = (rays[..., 2] < 0) & (image == (170.0, 190.0, 215.0)).all(-1)
    image[ground] = 110.0
    noisy = image * gain + rng.normal(0, 2.5, image.shape)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def _texels(
    front: Float[NDArray[np.float32], "h w 3"],
    u: Float[NDArray[np.float64], "n"],
    v: Float[NDArray[np.float64], "n"],
) -> Float[NDArray[np.float32], "n 3"]:
    """Bilinear colours; u to the right and v upwards, from 0 to 1."""
    side = len(front)
    x, y = np.clip(u * side - 0.5, 0, side - 1.001), np.clip((1 - v) * side - 0.5, 0, side - 1.001)
    left, above = x.astype(int), y.astype(int)
    across, down = (x - left)[:, None].astype(np.float32), (y - above)[:, None].astype(np.float32)
    upper = front[above, left] * (1 - across) + front[above, left + 1] * across
    lower = front[above + 1, left] * (1 - across) + front[above + 1, left + 1] * across
    mixed: Float[NDArray[np.float32], "n 3"] = upper * (1 - down) + lower * down
    return mixed
