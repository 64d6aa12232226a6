"""Which frames of a scene to compare: those whose views overlap, seen from somewhat different places.

Comparing every frame with every other would cost the square of their number. Candidates come from a search
tree over positions and viewing directions, so that time and pairs grow linearly. A video has hundreds of
frames within a step, which would fill any number of nearest neighbours without a baseline to triangulate
from; candidates are therefore searched among all frames, among every fourth, every sixteenth, and so on.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int64
from numpy.typing import NDArray
from scipy.spatial import KDTree

from camloc.core.sampling import even_rows
from camloc.geometry.pose import Pose
from camloc.geometry.pose_search import camera_radius

# Frames of one level of the search to those of the next.
_THINNING = 4

# Depths at which overlap is measured, as multiples of the typical depth of the scene.
_DEPTHS = (0.5, 1.0, 2.0)

# Rays across and down at which overlap is measured.
_CELLS = 4

# Pairs whose overlap is measured at once, which bounds memory.
_CHUNK = 20_000


@dataclass(frozen=True, eq=False)
class Views:
    """The poses and fields of view of a scene's frames.

    Attributes:
        rotations: (f, 3, 3) `world_from_cam`.
        centers: (f, 3) camera centres in the world.
        focals: (f,) focal lengths in pixels of the images that features were extracted from.
        half_sizes: (f, 2) half of the width and of the height of the images, divided by the focal length.
    """

    rotations: Float[np.ndarray, "f 3 3"]
    centers: Float[np.ndarray, "f 3"]
    focals: Float[np.ndarray, "f"]
    half_sizes: Float[np.ndarray, "f 2"]

    def __len__(self) -> int:
        return len(self.centers)


@dataclass(frozen=True)
class PairSettings:
    """The choice of frames that are compared.

    Attributes:
        count: pairs that each frame chooses; it may be chosen by others besides.
        candidates: frames of each level of the search that are looked at.
        least_overlap: share of the view that must be common.
        wanted_angle: degrees between the rays to a point at typical depth from which on a larger baseline
            makes a pair no better.
    """

    count: int = 10
    candidates: int = 24
    least_overlap: float = 0.25
    wanted_angle: float = 4.0


def frame_pairs(views: Views, depth: float, settings: PairSettings) -> Int64[np.ndarray, "p 2"]:
    """The pairs of frames to compare, each once with the lower number first, sorted.

    Args:
        views: of all frames.
        depth: typical distance of what the frames see, in the units of the world.
        settings: how many, and how alike.
    """
    first, second = _candidates(views, depth, settings.candidates)
    overlap = _overlap(views, first, second, depth)
    baseline = np.linalg.norm(views.centers[first] - views.centers[second], axis=1)
    angle = np.rad2deg(np.arctan2(baseline, depth))
    gain = overlap * np.minimum(1.0, 0.1 + angle / settings.wanted_angle)
    gain[overlap < settings.least_overlap] = 0.0
    # Each frame keeps its best; ties go to the lower numbers.
    order = np.lexsort((second, -gain, first))
    first, second, gain = first[order], second[order], gain[order]
    starts = np.searchsorted(first, np.arange(len(views)))
    rank = np.arange(len(first)) - starts[first]
    kept = (rank < settings.count) & (gain > 0.0)
    pairs = np.sort(np.stack((first[kept], second[kept]), axis=1), axis=1)
    return np.unique(pairs, axis=0)


def probe_pairs(views: Views, count: int) -> Int64[np.ndarray, "p 2"]:
    """About `count` pairs of frames, evenly from all, that are compared to learn the typical depth.

    Each is a frame with a near one that looks in about the same direction, neither the nearest, which may
    stand at the same place, nor one so far that nothing is common.
    """
    if len(views) < 2:
        return np.empty((0, 2), dtype=np.int64)
    scale = max(float(camera_radius(Pose(views.rotations, views.centers))), 1e-12)
    tree = KDTree(_coordinates(views, scale))
    frames = even_rows(len(views), count)
    near = min(len(views), 6)
    _, found = tree.query(_coordinates(views, scale)[frames], near)
    pairs = [(frame, other) for frame, others in zip(frames, found, strict=True) for other in others[1::2]]
    return np.unique(np.sort(np.array(pairs, dtype=np.int64).reshape(-1, 2), axis=1), axis=0)


def _coordinates(views: Views, scale: float) -> Float[np.ndarray, "f 6"]:
    """Where frames are in the search tree: a step of `scale` counts as a turn by 57 degrees."""
    return np.concatenate((views.centers / scale, views.rotations[:, :, 2]), axis=1)


def _candidates(views: Views, depth: float, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs (frame, other frame) of every level of the search, each pair once."""
    coordinates = _coordinates(views, depth)
    every = np.arange(len(views))
    found = []
    step = 1
    while step == 1 or len(views) / step > 2:
        members = every[::step]
        wanted = min(count + 1, len(members))
        _, near = KDTree(coordinates[members]).query(coordinates, [*range(1, wanted + 1)])
        found.append(np.stack((np.repeat(every, wanted), members[near].ravel()), axis=1))
        step *= _THINNING
    pairs = np.unique(np.concatenate(found), axis=0)
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    return pairs[:, 0], pairs[:, 1]


def _overlap(
    views: Views, first: NDArray[np.int64], second: NDArray[np.int64], depth: float
) -> Float[np.ndarray, "p"]:
    """The share of points in the frustum of the one frame that the other sees, the lesser of both ways."""
    ways = [np.empty(len(first)), np.empty(len(first))]
    for share, (one, other) in zip(ways, ((first, second), (second, first)), strict=True):
        for start in range(0, len(one), _CHUNK):
            rows = slice(start, start + _CHUNK)
            share[rows] = _seen_share(views, one[rows], other[rows], depth)
    return np.minimum(*ways)


def _seen_share(
    views: Views, one: NDArray[np.int64], other: NDArray[np.int64], depth: float
) -> Float[np.ndarray, "p"]:
    """The share of points in the frustum of frames `one` that frames `other` see."""
    steps = (np.arange(_CELLS) + 0.5) / _CELLS * 2.0 - 1.0
    x, y = np.meshgrid(steps, steps)
    grid = np.stack((x.ravel(), y.ravel()), axis=1)
    flat = grid * views.half_sizes[one][:, None]
    rays = np.concatenate((flat, np.ones_like(flat[..., :1])), axis=-1)
    points = np.concatenate([rays * (depth * factor) for factor in _DEPTHS], axis=1)
    world = np.einsum("pij,pnj->pni", views.rotations[one], points) + views.centers[one][:, None]
    seen = np.einsum("pji,pnj->pni", views.rotations[other], world - views.centers[other][:, None])
    ahead = seen[..., 2] > 1e-9
    pixels = seen[..., :2] / np.where(ahead, seen[..., 2], 1.0)[..., None]
    inside = ahead & (np.abs(pixels) <= views.half_sizes[other][:, None]).all(-1)
    share: Float[np.ndarray, p] = inside.mean(axis=1)
    return share
