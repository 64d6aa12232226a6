"""Frames that look like a query come first."""

import numpy as np
import pytest
from tests.support.synthetic_map import foreign, looking, map_of, room, seen

from camloc.mapping.retrieval import build_retrieval, frame_similarities, frame_votes

ROOM = room()


def test_the_frames_that_look_the_same_way_are_most_similar() -> None:
    scene_map = map_of(ROOM)
    assert scene_map.retrieval is not None
    for degrees in range(7, 360, 45):
        query = seen(ROOM, looking(np.zeros(3), float(degrees)), seed=degrees)
        projected = scene_map.codec.project(query.descriptors.astype(np.float32))
        similar = frame_similarities(scene_map.retrieval, projected)
        best = np.argsort(-similar)[:3] * (360.0 / len(ROOM.frames))
        assert (np.abs((best - degrees + 180) % 360 - 180) < 45).all()


def test_it_is_small_deterministic_and_bounded() -> None:
    scene_map = map_of(ROOM)
    described = [seen(ROOM, pose, wrong=0.0).descriptors for pose in ROOM.frames]
    first, second = (build_retrieval(described, scene_map.codec, centers=4, size=8) for _ in range(2))
    assert first.vectors.shape == (len(ROOM.frames), 8)
    assert first.centers.shape == (4, 32)
    assert np.array_equal(first.vectors, second.vectors)
    np.testing.assert_allclose(np.linalg.norm(first.vectors.astype(np.float64), axis=1), 1.0, atol=2e-3)
    projected = scene_map.codec.project(foreign().descriptors.astype(np.float32))
    assert (np.abs(frame_similarities(first, projected)) <= 1.001).all()


def test_images_without_features_have_a_vector_too() -> None:
    scene_map = map_of(ROOM)
    described = [seen(ROOM, pose).descriptors for pose in ROOM.frames[:4]]
    described.append(np.zeros((0, 32), dtype=np.uint8))
    retrieval = build_retrieval(described, scene_map.codec)
    assert np.isfinite(retrieval.vectors).all()
    assert np.isfinite(frame_similarities(retrieval, np.zeros((0, 32), dtype=np.float32))).all()
    with pytest.raises(ValueError, match="no frame has a local feature"):
        build_retrieval([np.zeros((0, 32), dtype=np.uint8)], scene_map.codec)


def test_a_point_votes_once_for_each_frame_that_sees_it() -> None:
    votes = frame_votes(
        np.array([0, 0, 2, -1]),
        np.array([0.3, 0.5, 0.1, 0.0]),
        np.array([0, 1, 2, 0, 2]),
        np.array([0, 1, 3, 5]),
        3,
    )
    np.testing.assert_allclose(votes, [0.5, 0.1, 0.6])
