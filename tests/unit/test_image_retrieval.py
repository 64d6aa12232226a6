"""Retrieval baselines agree with a plain recomputation."""

from pathlib import Path

import numpy as np
import pytest
from tests.support.models import some_poses
from tests.support.trained import write_scene

from camloc.data.formats import load
from camloc.data.image_io import read_image
from camloc.data.types import poses_of
from camloc.geometry.pose import Pose, pose_error
from camloc.inference.image_retrieval import (
    affine_weights,
    interpolated_poses,
    retrieved_poses,
    vlad_errors,
)
from camloc.mapping.features import FeatureSettings, feature_extractor
from camloc.mapping.retrieval import vlad_vectors


def unit(rows: np.ndarray) -> np.ndarray:
    scaled: np.ndarray = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return scaled.astype(np.float32)


def test_a_training_image_retrieves_its_own_pose_and_interpolates_close_to_it() -> None:
    vectors, poses = (
        unit(np.random.default_rng(0).normal(size=(30, 16))),
        some_poses(30).numpy().to(np.float64),
    )
    assert float(pose_error(retrieved_poses(vectors, vectors, poses), poses).meters.max()) == 0.0
    near = pose_error(interpolated_poses(vectors, vectors, poses, neighbours=3), poses)
    assert float(np.median(near.meters)) < 0.1
    single = interpolated_poses(vectors, vectors, poses, neighbours=1)
    np.testing.assert_allclose(single.translation, poses.translation)


def test_weights_have_sum_one_and_reproduce_a_point_between_neighbours() -> None:
    rows = unit(np.random.default_rng(1).normal(size=(3, 8)))
    truth = np.array([0.7, 0.2, 0.1])
    weights = affine_weights((truth @ rows).astype(np.float32), rows)
    assert weights.sum() == pytest.approx(1.0)
    np.testing.assert_allclose(weights, truth, atol=0.02)


def test_the_nearest_image_by_vlad_is_that_of_a_plain_recomputation(tmp_path: Path) -> None:
    write_scene(tmp_path)
    scene = load(tmp_path)
    errors = vlad_errors(scene.train, scene.test)
    extractor = feature_extractor(FeatureSettings())
    found = [[extractor.extract(read_image(f.image)).descriptors.astype(np.float32) for f in part]
             for part in (scene.train, scene.test)]  # fmt: skip
    assert sum(len(rows) > 0 for part in found for rows in part) > 12
    references, queries = vlad_vectors(found[0], found[1])
    best = [max(range(len(references)), key=lambda row: float(references[row] @ query)) for query in queries]
    train, test = poses_of(scene.train).numpy(), poses_of(scene.test).numpy()
    meters = np.linalg.norm(train.translation[best] - test.translation, axis=1)
    np.testing.assert_allclose(errors["nearest"].meters, meters, rtol=1e-6)
    assert float(errors["nearest"].meters.max()) > 0.0
    # By hand: signed square roots of the unit sums of unit residuals, of unit length as a whole.
    lengths = np.linalg.norm(references, axis=1)
    np.testing.assert_allclose(lengths, [float(len(rows) > 0) for rows in found[0]], rtol=1e-5)
    # Poses between the nearest images, one query at a time, from the bordered system of equations.
    middle = Pose.stack([plain_interpolation(query, references, train) for query in queries])
    wanted = pose_error(middle, test)
    np.testing.assert_allclose(errors["interpolated"].meters, wanted.meters, rtol=0, atol=1e-6)
    np.testing.assert_allclose(errors["interpolated"].degrees, wanted.degrees, rtol=0, atol=1e-4)


def plain_interpolation(query: np.ndarray, references: np.ndarray, poses: Pose) -> Pose:
    """The affine combination of the nearest 20 vectors that comes closest, with a ridge of 0.01."""
    similarity = [float(np.dot(each, query)) for each in references]
    rows = sorted(range(len(references)), key=lambda row: -similarity[row])[:20]
    count = len(rows)
    system = np.ones((count + 1, count + 1))
    for one, first in enumerate(rows):
        for other, second in enumerate(rows):
            product = float(np.dot(references[first].astype(float), references[second].astype(float)))
            system[one, other] = product + (0.01 if one == other else 0.0)
    system[count, count] = 0.0
    right = np.array(
        [float(np.dot(references[row].astype(float), query.astype(float))) for row in rows] + [1.0]
    )
    weights = np.linalg.solve(system, right)[:count]
    position = sum(weight * poses.translation[row] for weight, row in zip(weights, rows, strict=True))
    mixed = sum(weight * poses.rotation[row] for weight, row in zip(weights, rows, strict=True))
    left, _, turned = np.linalg.svd(mixed)
    flip = np.diag([1.0, 1.0, np.sign(np.linalg.det(left @ turned))])
    return Pose(left @ flip @ turned, np.asarray(position))
