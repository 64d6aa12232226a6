"""Which frames of a map look like a query: local descriptors aggregated to one vector an image (VLAD).

Jegou et al., "Aggregating local descriptors into a compact image representation", CVPR 2010, with the
normalizations of Arandjelovic and Zisserman, "All about VLAD", CVPR 2013. No network: the same descriptors
are matched to points afterwards.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Float32, Int, Num

from camloc.mapping.scene_map import DescriptorCodec, Retrieval

# Descriptors that the centers are learned from, at most, and rounds of k-means.
_MOST_SAMPLES = 40_000
_ROUNDS = 15

# Descriptors for each center of a vocabulary, at least.
_PER_CENTER = 20

# Centers of the vocabulary of whole vectors.
_WORDS = 64


def build_retrieval(
    descriptors: Sequence[Num[np.ndarray, "_ D"]],
    codec: DescriptorCodec,
    *,
    centers: int = 16,
    size: int = 64,
) -> Retrieval:
    """Learn the retrieval of a map: its centers, and a vector of each frame.

    Args:
        descriptors: of each frame, as the extractor gives them.
        codec: of the map.
        centers: of the local descriptors; fewer where there are fewer descriptors.
        size: numbers that an image's vector is projected to; fewer where there are fewer frames.

    Raises:
        ValueError: no frame has a descriptor.
    """
    projected = [codec.project(np.asarray(rows, dtype=np.float32)) for rows in descriptors]
    samples = np.concatenate(projected) if projected else np.zeros((0, 0), dtype=np.float32)
    if len(samples) == 0:
        raise ValueError("no frame has a local feature that frames could be retrieved by")
    rng = np.random.default_rng(0)
    samples = _subsampled(samples, rng)
    middle = _k_means(samples, min(centers, len(samples)), rng).astype(np.float16)
    vectors = np.stack([_aggregate(rows, middle.astype(np.float32)) for rows in projected])
    mean = vectors.mean(axis=0)
    # Directions in which the frames differ, not divided by their deviations: the last ones are noise.
    _, _, directions = np.linalg.svd(vectors - mean, full_matrices=False)
    basis = directions[: min(size, len(directions))].T
    retrieval = Retrieval(
        middle,
        mean.astype(np.float16),
        np.ascontiguousarray(basis).astype(np.float16),
        np.zeros((len(projected), basis.shape[1]), dtype=np.float16),
    )
    own = np.stack([_projected(retrieval, vector) for vector in vectors]).astype(np.float16)
    return Retrieval(middle, retrieval.mean, retrieval.basis, own)


def vlad_vectors(
    references: Sequence[Num[np.ndarray, "_ D"]], queries: Sequence[Num[np.ndarray, "_ D"]]
) -> tuple[Float32[np.ndarray, "m v"], Float32[np.ndarray, "n v"]]:
    """Whole vectors of reference images and of queries, for retrieval as a baseline; maps store short ones.

    Args:
        references, queries: local descriptors of each image.

    Raises:
        ValueError: no reference has a descriptor.
    """
    rows = [np.asarray(each, dtype=np.float32) for each in references]
    samples = np.concatenate(rows) if rows else np.zeros((0, 0), dtype=np.float32)
    if len(samples) == 0:
        raise ValueError("no image has a local feature that images could be retrieved by")
    rng = np.random.default_rng(0)
    samples = _subsampled(samples, rng)
    # With a center for every descriptor all residuals would be zero.
    vocabulary = _k_means(samples, min(_WORDS, max(1, len(samples) // _PER_CENTER)), rng)
    found = np.stack([_aggregate(each, vocabulary) for each in rows])
    sought = [_aggregate(np.asarray(each, dtype=np.float32), vocabulary) for each in queries]
    return found, np.stack(sought) if sought else found[:0]


def frame_similarities(retrieval: Retrieval, projected: Float32[np.ndarray, "n d"]) -> Float[np.ndarray, "f"]:
    """How similar each frame is to an image, in [-1, 1], by the image's projected descriptors."""
    similarities: Float[np.ndarray, f] = retrieval.vectors.astype(np.float32) @ retrieval_vector(
        retrieval, projected
    )
    return similarities


def retrieval_vector(retrieval: Retrieval, projected: Float32[np.ndarray, "n d"]) -> Float32[np.ndarray, "r"]:
    """The vector of an image, as those of the frames, by its projected descriptors."""
    return _projected(retrieval, _aggregate(projected, retrieval.centers.astype(np.float32)))


def frame_votes(
    best: Int[np.ndarray, "m"],
    distinctiveness: Float[np.ndarray, "m"],
    seen_points: Int[np.ndarray, "o"],
    seen_offsets: Int[np.ndarray, "e"],
    points: int,
) -> Float[np.ndarray, "f"]:
    """Votes for frames by the points that they see: each point has that of its most distinct keypoint.

    Args:
        best: the nearest point of each keypoint.
        distinctiveness: how much nearer it is than the second nearest, 0 to 1.
        seen_points, seen_offsets: of the map; there are e - 1 frames.
        points: of the map.
    """
    weight = np.zeros(points)
    np.maximum.at(weight, best, distinctiveness)
    total = np.concatenate(([0.0], np.cumsum(weight[seen_points])))
    votes: Float[np.ndarray, f] = total[seen_offsets[1:]] - total[seen_offsets[:-1]]
    return votes


def _subsampled(samples: Float32[np.ndarray, "n d"], rng: np.random.Generator) -> Float32[np.ndarray, "m d"]:
    """So many descriptors as centers are learned from, at most, in their order."""
    if len(samples) <= _MOST_SAMPLES:
        return samples
    return samples[np.sort(rng.choice(len(samples), _MOST_SAMPLES, replace=False))]


def _k_means(
    samples: Float32[np.ndarray, "n d"], count: int, rng: np.random.Generator
) -> Float32[np.ndarray, "k d"]:
    centers = samples[np.sort(rng.choice(len(samples), count, replace=False))]
    for _ in range(_ROUNDS):
        nearest = _nearest_center(samples, centers)
        sums = np.zeros_like(centers)
        np.add.at(sums, nearest, samples)
        sizes = np.bincount(nearest, minlength=count)
        means = sums / np.maximum(sizes, 1)[:, None].astype(np.float32)
        centers = np.where(sizes[:, None] > 0, means, centers)
    return centers


def _nearest_center(
    rows: Float32[np.ndarray, "n d"], centers: Float32[np.ndarray, "k d"]
) -> Int[np.ndarray, "n"]:
    nearest: Int[np.ndarray, n] = (rows @ centers.T - 0.5 * (centers * centers).sum(axis=1)).argmax(axis=1)
    return nearest


def _aggregate(
    projected: Float32[np.ndarray, "n d"], centers: Float32[np.ndarray, "k d"]
) -> Float32[np.ndarray, "v"]:
    """Directions from the nearest center, summed for each center; zero for an image without features."""
    count, width = centers.shape
    if len(projected) == 0:
        return np.zeros(count * width, dtype=np.float32)
    nearest = _nearest_center(projected, centers)
    residuals = projected - centers[nearest]
    residuals /= np.maximum(np.linalg.norm(residuals, axis=1, keepdims=True), 1e-9)
    member = (nearest == np.arange(count)[:, None]).astype(np.float32)
    vector = member @ residuals
    vector /= np.maximum(np.linalg.norm(vector, axis=1, keepdims=True), 1e-9)
    flat = (np.sign(vector) * np.sqrt(np.abs(vector))).ravel()
    unit: Float32[np.ndarray, v] = flat / max(float(np.linalg.norm(flat)), 1e-9)
    return unit


def _projected(retrieval: Retrieval, vector: Float32[np.ndarray, "v"]) -> Float32[np.ndarray, "r"]:
    short = (vector - retrieval.mean.astype(np.float32)) @ retrieval.basis.astype(np.float32)
    unit: Float32[np.ndarray, r] = short / max(float(np.linalg.norm(short)), 1e-9)
    return unit
