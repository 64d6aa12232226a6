"""Random rotations, poses, points and cameras for hypothesis, in double precision."""

import random
from collections.abc import Sequence

import numpy as np
import pycolmap
import torch
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from torch import Tensor

from camloc.geometry import Camera, Pose

# Parameters of a lens that bends straight lines by some pixels, for each COLMAP model that has any.
MILD_DISTORTION = {
    "SIMPLE_PINHOLE": (),
    "PINHOLE": (),
    "SIMPLE_RADIAL": (0.05,),
    "RADIAL": (-0.08, 0.02),
    "OPENCV": (-0.08, 0.03, 0.001, -0.002),
    "FULL_OPENCV": (-0.08, 0.03, 0.001, -0.002, 0.005, 0.01, -0.004, 0.002),
    "FOV": (0.4,),
    "SIMPLE_FISHEYE": (),
    "FISHEYE": (),
    "SIMPLE_RADIAL_FISHEYE": (0.03,),
    "RADIAL_FISHEYE": (0.03, -0.01),
    "OPENCV_FISHEYE": (0.03, -0.01, 0.004, -0.001),
    "THIN_PRISM_FISHEYE": (0.03, -0.01, 0.001, -0.002, 0.002, 0.001, 0.0005, -0.0004),
    "RAD_TAN_THIN_PRISM_FISHEYE": (
        *(0.03, -0.01, 0.002, 0.001, -0.0005, 0.0002),
        *(0.001, -0.002, 0.0005, -0.0004, 0.0003, 0.0002),
    ),
    "SIMPLE_DIVISION": (-0.05,),
    "DIVISION": (-0.05,),
    "EUCM": (0.5, 1.1),
}


def tensors(*shape: int, within: float = 1.0) -> st.SearchStrategy[Tensor]:
    """Tensors with entries in [-within, within]."""
    count = int(np.prod(shape))
    numbers = st.lists(st.floats(-within, within, allow_subnormal=False), min_size=count, max_size=count)
    return numbers.map(lambda drawn: torch.tensor(drawn, dtype=torch.float64).reshape(shape))


def clouds(count: int, *, within: float = 10.0) -> st.SearchStrategy[Tensor]:
    """(count, 3) points in general position: a shrinking hypothesis would flatten them."""
    return st.integers(0, 2**32 - 1).map(
        lambda seed: torch.from_numpy(np.random.default_rng(seed).uniform(-within, within, (count, 3)))
    )


def rotations() -> st.SearchStrategy[Tensor]:
    """(3, 3) rotations, made by SciPy."""
    quaternions = st.lists(st.floats(-1, 1, allow_subnormal=False), min_size=4, max_size=4)
    return quaternions.filter(lambda q: float(np.linalg.norm(q)) > 1e-2).map(rotation_from_xyzw)


def rotation_from_xyzw(quaternion_xyzw: Sequence[float]) -> Tensor:
    """The (3, 3) rotation that SciPy makes of a quaternion."""
    return torch.from_numpy(Rotation.from_quat(quaternion_xyzw).as_matrix().copy())


def rotation_about(axis: Sequence[float] | Tensor, radians: float) -> Tensor:
    """The (3, 3) rotation about an axis of any length, by Rodrigues' formula in its exact half angles."""
    direction = torch.as_tensor(axis, dtype=torch.float64)
    x, y, z = (direction / direction.norm()).tolist()
    cross = torch.tensor([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]], dtype=torch.float64)
    return (
        torch.eye(3, dtype=torch.float64)
        + float(np.sin(radians)) * cross
        + 2.0 * float(np.sin(radians / 2)) ** 2 * (cross @ cross)
    )


def poses(*, within: float = 100.0) -> st.SearchStrategy[Pose]:
    """Single poses with centres in a cube of side 2 * within."""
    return st.builds(Pose, rotations(), tensors(3, within=within))


def pose_batches(count: int, *, within: float = 100.0) -> st.SearchStrategy[Pose]:
    """(count,) poses."""
    return st.lists(poses(within=within), min_size=count, max_size=count).map(Pose.stack)


def cameras(models: Sequence[str] = tuple(MILD_DISTORTION)) -> st.SearchStrategy[Camera]:
    """Cameras of a moderate angle of view with a mildly distorting lens."""

    def camera(model: str, width: int, height: int, focal: float, stretch: float, shift: float) -> Camera:
        fx = focal * max(width, height)
        fy = fx if len(_colmap_focal_lengths(model)) == 1 else fx * stretch
        centre = (width * (0.5 + shift), height * (0.5 - shift))
        # The type checker looks at items of tuples at random, and hypothesis wants no randomness but its own.
        state = random.getstate()
        try:
            return Camera(width, height, fx, fy, *centre, model, MILD_DISTORTION[model])
        finally:
            random.setstate(state)

    return st.builds(
        camera,
        st.sampled_from(list(models)),
        st.integers(200, 800),
        st.integers(200, 800),
        st.floats(0.8, 1.5),
        st.floats(0.95, 1.05),
        st.floats(-0.05, 0.05),
    )


def _colmap_focal_lengths(model: str) -> Sequence[int]:
    model_id = pycolmap.CameraModelId.__members__[model]
    return pycolmap.Camera.create_from_model_id(0, model_id, 1.0, 1, 1).focal_length_idxs()
