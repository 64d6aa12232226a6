"""The search in a tree finds what comparing with every pose finds."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.support.kinds import on_both_kinds
from tests.support.strategies import pose_batches
from torch import Tensor

from camloc.geometry import Pose, PoseIndex, PoseMetric, pose_search
from camloc.geometry.pose_search import Nearness

KINDS: tuple[Nearness, ...] = ("joint", "published")


def scattered(count: int, *, seed: int, turn: float = 1.0) -> Pose:
    """Poses in a room, whose orientations are anything or, for a small `turn`, nearly one."""
    generator = torch.Generator().manual_seed(seed)
    quaternion = turn * torch.randn(count, 4, generator=generator, dtype=torch.float64)
    quaternion[:, 0] += 1.0 - turn
    return Pose.from_quaternion_wxyz(
        quaternion, torch.randn(count, 3, generator=generator, dtype=torch.float64)
    )


def distances_to_all(query: Pose, references: Pose, metric: PoseMetric) -> Tensor:
    """(n,) the metric by its definition, from the middle of the references where it is needed."""

    def moves(pose: Pose) -> Tensor:
        away: Tensor = (references.translation - pose.translation).square().sum(-1).sqrt()
        return away

    def turns(quaternion: Tensor) -> Tensor:
        both = [references.quaternion_wxyz() - sign * quaternion for sign in (1.0, -1.0)]
        return torch.minimum(*(torch.linalg.vector_norm(each, dim=-1) for each in both))

    moved, turned = moves(query), turns(query.quaternion_wxyz())
    if metric.kind == "published":
        return moved / moved.max() + metric.turn_weight * turned / turned.max()
    quaternions = references.quaternion_wxyz()
    middle = torch.linalg.eigh(quaternions.T @ quaternions).eigenvectors[:, -1]
    spread = moves(Pose(query.rotation, references.translation.mean(0))).square().mean().sqrt()
    turn_spread = turns(middle).square().mean().sqrt()
    return torch.hypot(moved / spread, metric.turn_weight * turned / turn_spread)


@pytest.mark.parametrize("kind", KINDS)
@given(
    seed=st.integers(0, 10_000),
    count=st.integers(1, 8),
    turn=st.sampled_from([0.02, 0.4, 1.0]),
    turn_weight=st.sampled_from([0.1, 1.0, 5.0]),
)
def test_the_nearest_poses_are_those_that_comparing_all_finds(
    kind: Nearness, seed: int, count: int, turn: float, turn_weight: float
) -> None:
    references, queries = scattered(60, seed=seed, turn=turn), scattered(3, seed=seed + 1, turn=turn)
    metric = PoseMetric(kind, turn_weight)
    rows, distances = on_both_kinds(
        lambda references, queries: PoseIndex(references, metric).nearest(queries, count)
    )(references, queries)
    for query, near, found in zip(queries, rows, distances, strict=True):
        truth = distances_to_all(query, references, metric)
        torch.testing.assert_close(found, truth.sort().values[:count], rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(truth[near], found, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_a_quaternion_of_the_other_sign_is_the_same_orientation(kind: Nearness) -> None:
    """Two half turns that are nearly one another have quaternions on opposite sides."""
    almost = torch.tensor([[0.01, 1.0, 0.0, 0.0], [0.01, -1.0, 0.0, 0.0], [1.0, 0.3, 0.0, 0.0]]).double()
    references = Pose.from_quaternion_wxyz(almost, torch.zeros(3, 3, dtype=torch.float64))
    moved = Pose(references.rotation, references.translation + torch.tensor([[0.0], [0.1], [0.3]]).double())
    rows, distances = PoseIndex(moved, PoseMetric(kind)).nearest(moved[0:1], 3)
    assert rows[0].tolist() == [0, 1, 2]
    assert distances[0, 0] == 0.0


@pytest.mark.parametrize("kind", KINDS)
def test_of_poses_that_are_equally_far_the_first_come_first(kind: Nearness) -> None:
    one, far = scattered(1, seed=1), scattered(4, seed=2)
    references = Pose.cat([far, one, one, one, one])
    rows, distances = PoseIndex(references, PoseMetric(kind)).nearest(one, 3)
    assert rows[0].tolist() == [4, 5, 6]
    assert distances[0].tolist() == pytest.approx([0.0, 0.0, 0.0], abs=1e-7)


@given(pose_batches(3))
def test_there_are_no_more_neighbours_than_references(references: Pose) -> None:
    rows, distances = PoseIndex(references).nearest(references[:2], 10)
    assert rows.shape == distances.shape == (2, 3)
    assert all(sorted(row) == [0, 1, 2] for row in rows.tolist())


def test_cameras_that_stand_still_or_never_turn_have_neighbours_all_the_same() -> None:
    turned = scattered(5, seed=3)
    standing = Pose(turned.rotation, torch.zeros(5, 3, dtype=torch.float64))
    assert PoseIndex(standing).nearest(standing[3:4], 1)[0].tolist() == [[3]]
    straight = Pose(turned.rotation[:1].expand(5, 3, 3), turned.translation)
    assert PoseIndex(straight).nearest(straight[3:4], 1)[0].tolist() == [[3]]


def test_poses_that_are_read_in_parts_are_the_same_poses(monkeypatch: pytest.MonkeyPatch) -> None:
    references, queries = scattered(20, seed=5), scattered(4, seed=6)
    whole = PoseIndex(references).nearest(queries, 5)
    monkeypatch.setattr(pose_search, "_CHUNK", 3)
    rows, distances = PoseIndex(references).nearest(queries, 5)
    assert torch.equal(rows, whole[0])
    torch.testing.assert_close(distances, whole[1])


def test_no_queries_have_no_neighbours() -> None:
    rows, distances = PoseIndex(scattered(4, seed=0)).nearest(Pose.identity(0).tensor(), 2)
    assert rows.shape == distances.shape == (0, 2)


def test_missing_and_incomplete_references_are_refused() -> None:
    references = scattered(4, seed=0)
    with pytest.raises(ValueError, match="one or more finite reference poses"):
        PoseIndex(references[:0])
    with pytest.raises(ValueError, match="drop those without orientation"):
        PoseIndex(Pose.cat([references, references[:1].without_orientation()]))
    with pytest.raises(ValueError, match="not 0"):
        PoseIndex(references).nearest(references, 0)
