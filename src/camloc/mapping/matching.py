"""Which keypoints of two frames show the same point of the world.

Two keypoints match if each is the other's nearest in descriptors, clearly nearer than the second nearest,
and if they lie within some pixels of each other's epipolar line by the known poses.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Int64, UInt8

from camloc.mapping.pairs import Views


@dataclass(frozen=True)
class MatchSettings:
    """The conditions under which two keypoints match.

    Attributes:
        ratio: the distance to the nearest descriptor over that to the second nearest, at most.
        pixels: distance to the epipolar line (Sampson), at most, in pixels of the extraction.
    """

    ratio: float = 0.85
    pixels: float = 4.0


@dataclass(frozen=True, eq=False)
class FrameKeypoints:
    """The local features of one frame as matching and triangulation take them.

    Attributes:
        plane: (n, 2) where the rays of the keypoints meet the plane at depth 1: distortion is undone.
        scales: (n,) of the keypoints, in pixels of the extraction.
        codes: (n, d) compressed descriptors.
    """

    plane: Float[np.ndarray, "n 2"]
    scales: Float32[np.ndarray, "n"]
    codes: UInt8[np.ndarray, "n d"]

    def __len__(self) -> int:
        return len(self.plane)


def match_pairs(
    frames: Sequence[FrameKeypoints],
    views: Views,
    pairs: Int64[np.ndarray, "p 2"],
    settings: MatchSettings,
    *,
    progress: Callable[[float], None] | None = None,
) -> tuple[Int64[np.ndarray, "m 2"], int]:
    """The matches of all pairs that fit the poses, and the number of matches before that test.

    Matches are numbers of keypoints, counted through all frames in their order.
    """
    starts = np.concatenate(([0], np.cumsum([len(frame) for frame in frames]))).astype(np.int64)
    found = [np.empty((0, 2), dtype=np.int64)]
    tried = 0
    for number, (first, second) in enumerate(pairs.tolist()):
        one, other = frames[first], frames[second]
        matches = match_codes(one.codes, other.codes, settings.ratio)
        tried += len(matches)
        errors = epipolar_errors(one.plane[matches[:, 0]], other.plane[matches[:, 1]], views, first, second)
        found.append(matches[errors <= settings.pixels] + (starts[first], starts[second]))
        if progress is not None:
            progress((number + 1) / len(pairs))
    return np.concatenate(found), tried


def match_codes(
    first: UInt8[np.ndarray, "n d"], second: UInt8[np.ndarray, "m d"], ratio: float
) -> Int64[np.ndarray, "k 2"]:
    """Mutual nearest neighbours that are clearly nearer than the second nearest.

    The whole second image is looked at, and not only what the epipolar line allows: a keypoint that is alone
    in its band would match whatever it looks like, and a few such matches join tracks of different points.

    Args:
        first, second: compressed descriptors of two images.
        ratio: the nearest distance over the second nearest, at most, seen from `first`.
    """
    if not len(first) or not len(second):
        return np.empty((0, 2), dtype=np.int64)
    distances = _squared_distances(first, second)
    rows = np.arange(len(first))
    nearest = distances.argmin(axis=1)
    mutual = np.flatnonzero(distances.argmin(axis=0)[nearest] == rows)
    nearest = nearest[mutual]
    rest = distances[mutual]
    best = rest[np.arange(len(mutual)), nearest]
    rest[np.arange(len(mutual)), nearest] = np.inf
    clear = best <= ratio**2 * rest.min(axis=1)
    return np.stack((mutual[clear], nearest[clear]), axis=1).astype(np.int64)


def _squared_distances(
    first: UInt8[np.ndarray, "n d"], second: UInt8[np.ndarray, "m d"]
) -> Float32[np.ndarray, "n m"]:
    """Squared distances between codes, of whole numbers below 2^24 and so exact in single precision."""
    one, other = first.astype(np.float32) - 128.0, second.astype(np.float32) - 128.0
    distances: Float32[np.ndarray, "n m"] = one @ (-2.0 * other.T)
    distances += (one * one).sum(axis=1)[:, None]
    distances += (other * other).sum(axis=1)
    return distances


def epipolar_errors(
    first_plane: Float[np.ndarray, "k 2"],
    second_plane: Float[np.ndarray, "k 2"],
    views: Views,
    first: int,
    second: int,
) -> Float[np.ndarray, "k"]:
    """Sampson's distance in pixels of matched keypoints to each other's epipolar line.

    `|y' E x| / sqrt(|(E x)_12|^2 / f_y^2 + |(E' y)_12|^2 / f_x^2)` with the essential matrix E of the known
    poses and the focal lengths f of the two frames. Of two frames from one place it is 0: they say nothing.
    """
    second_from_first = views.rotations[second].T @ views.rotations[first]
    offset = views.rotations[second].T @ (views.centers[first] - views.centers[second])
    essential = np.cross(np.eye(3), offset) @ second_from_first
    one, other = _homogeneous(first_plane), _homogeneous(second_plane)
    lines, back = one @ essential.T, other @ essential
    error = np.abs((lines * other).sum(axis=1))
    slope = (lines[:, :2] ** 2).sum(axis=1) / views.focals[second] ** 2
    slope += (back[:, :2] ** 2).sum(axis=1) / views.focals[first] ** 2
    errors: Float[np.ndarray, k] = np.divide(
        error, np.sqrt(slope), out=np.zeros_like(error), where=slope > 0.0
    )
    return errors


def _homogeneous(plane: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 3"]:
    return np.concatenate((plane, np.ones_like(plane[:, :1])), axis=1)
