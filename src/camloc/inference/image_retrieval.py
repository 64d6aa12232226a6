"""The baseline of image retrieval: the pose of the most similar training image, or one between several.

Images are compared by one vector each: local descriptors aggregated by a vocabulary that is learned from the
training images (VLAD), or the pooled feature maps of a network (`pooled_retrieval`). The pose is that of the
nearest training image, or is interpolated: the affine combination of the k nearest vectors that comes closest
to the query's weighs their poses, as in Sattler et al., "Understanding the Limitations of CNN-based Absolute
Camera Pose Regression" (CVPR 2019), whose numbers the papers print as "VLAD+Inter" and "IR Baseline".

Unlike the oracles of `evaluation.baselines` this baseline sees only the query's image.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from camloc.data.image_io import read_image
from camloc.data.types import Frame, oriented, poses_of
from camloc.errors import DatasetError, ImageError
from camloc.geometry.pose import Pose, PoseError, pose_error
from camloc.geometry.rotation import nearest_rotation
from camloc.mapping.features import FeatureSettings, feature_extractor
from camloc.mapping.retrieval import vlad_vectors

# Neighbours of an interpolated pose, at most.
NEIGHBOURS = 20

# Added to the diagonal of the neighbours' products, which bounds weights of nearly equal neighbours.
_RIDGE = 1e-2

Vectors = Float[np.ndarray, "_ d"]


def retrieved_poses(queries: Vectors, references: Vectors, poses: Pose) -> Pose:
    """The poses of the most similar references; rows of vectors have unit length.

    Args:
        queries: (n, d) vectors of the query images.
        references: (m, d) vectors of the training images.
        poses: (m,) their poses, as NumPy arrays.
    """
    return poses[(queries @ references.T).argmax(axis=1)]


def interpolated_poses(
    queries: Vectors, references: Vectors, poses: Pose, *, neighbours: int = NEIGHBOURS
) -> Pose:
    """Poses between those of the most similar references; see the module. Arguments as `retrieved_poses`."""
    count = min(neighbours, len(references))
    nearest = np.argsort(-(queries @ references.T), axis=1, kind="stable")[:, :count]
    positions, rotations = [], []
    for query, rows in zip(queries, nearest, strict=True):
        weights = affine_weights(query, references[rows])
        positions.append(weights @ poses.translation[rows])
        rotations.append(np.einsum("k,kij->ij", weights, poses.rotation[rows]))
    return Pose(nearest_rotation(np.stack(rotations)), np.stack(positions))


def affine_weights(
    query: Float[np.ndarray, "d"], neighbours: Float[np.ndarray, "k d"]
) -> Float[np.ndarray, "k"]:
    """Weights with sum 1 of the combination of neighbours that is nearest to the query, with a ridge."""
    rows = neighbours.astype(np.float64)
    gram = rows @ rows.T + _RIDGE * np.eye(len(rows))
    both = np.linalg.solve(gram, np.stack((rows @ query.astype(np.float64), np.ones(len(rows))), axis=1))
    missing = (1.0 - both[:, 0].sum()) / both[:, 1].sum()
    weights: Float[np.ndarray, k] = both[:, 0] + missing * both[:, 1]
    return weights


def retrieval_errors(
    queries: Vectors, references: Vectors, truth: Pose, training: Pose
) -> dict[str, PoseError]:
    """Errors of "nearest" and of "interpolated", (n,) each.

    Args:
        queries, references: vectors of the n test and of the m training images.
        truth: (n,) poses of the test images.
        training: (m,) poses of the training images.
    """
    return {
        "nearest": pose_error(retrieved_poses(queries, references, training), truth),
        "interpolated": pose_error(interpolated_poses(queries, references, training), truth),
    }


def vlad_errors(train: Sequence[Frame], test: Sequence[Frame]) -> dict[str, PoseError]:
    """Errors of retrieval by VLAD over SIFT descriptors.

    Training images that cannot be read, or that have no orientation, are left out; a test image that cannot
    be read is lost.

    Raises:
        DatasetError: no training image can be used.
    """
    extractor = feature_extractor(FeatureSettings())

    def descriptors(frame: Frame) -> np.ndarray | None:
        try:
            return extractor.extract(read_image(frame.image, upright=frame.camera is None)).descriptors
        except ImageError:
            return None

    read = [(frame, each) for frame in oriented(train) if (each := descriptors(frame)) is not None]
    if not any(len(each) for _, each in read):
        raise DatasetError("no training image has a local feature that images could be retrieved by")
    queries = [descriptors(frame) for frame in test]
    empty = np.zeros((0, read[0][1].shape[1]), dtype=np.uint8)
    references, vectors = vlad_vectors(
        [each for _, each in read], [empty if each is None else each for each in queries]
    )
    training = poses_of([frame for frame, _ in read]).numpy()
    errors = retrieval_errors(vectors, references, poses_of(test).numpy(), training)
    lost = np.array([each is None for each in queries], dtype=bool)
    return {name: _without(error, lost) for name, error in errors.items()}


def _without(error: PoseError, lost: Bool[np.ndarray, "n"]) -> PoseError:
    return PoseError(np.where(lost, np.inf, error.meters), np.where(lost, np.inf, error.degrees))
