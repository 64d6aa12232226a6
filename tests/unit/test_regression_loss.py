"""The regressors' loss computed by hand, and the precision of positions far from the origin."""

import math

import pytest
import torch
from tests.support.models import some_poses
from tests.support.tiny_training import tiny_model
from torch import Tensor

from camloc.data.batch import Batch
from camloc.geometry import Pose
from camloc.models.decoding import RegressedPose
from camloc.models.losses import PoseLossConfig, UncertaintyWeightedPoseLoss
from camloc.models.regressor import Positions, WorldFrame, regression_losses

# UTM coordinates of a scene: metres east, north and up.
UTM = torch.tensor([620_123.4567, 5_735_456.789, 110.25], dtype=torch.float64)


def batch_at(quaternion_wxyz: Tensor, position: Tensor) -> Batch:
    count = len(position)
    return Batch(
        images=torch.zeros(count, 3, 16, 16),
        world_from_cam=Pose.from_quaternion_wxyz(quaternion_wxyz.double(), position.double()),
        intrinsics=None,
        scene=torch.zeros(count, dtype=torch.int64),
    )


def losses(
    quaternion_wxyz: list[list[float]],
    truth_wxyz: list[list[float]],
    *,
    offset: list[list[float]],
    pose_loss: PoseLossConfig,
) -> dict[str, float]:
    """Loss terms of a prediction with a position error of `offset` metres."""
    truth_position = torch.ones(len(offset), 3)
    output = RegressedPose(truth_position + torch.tensor(offset), torch.tensor(quaternion_wxyz))
    batch = batch_at(torch.tensor(truth_wxyz), truth_position)
    found = regression_losses(UncertaintyWeightedPoseLoss(pose_loss), WorldFrame("raw"), output, batch)
    return {name: float(value.detach()) for name, value in found.items()}


PLAIN = PoseLossConfig(position=0.0, orientation=0.0)
PUBLISHED = PoseLossConfig(position=0.0, orientation=0.0, hemisphere_safe=False)


def test_the_position_term_is_the_mean_distance() -> None:
    same = [[1.0, 0.0, 0.0, 0.0]] * 2
    found = losses(same, same, offset=[[3.0, 4.0, 0.0], [0.0, 0.0, 1.0]], pose_loss=PLAIN)
    assert found == {"position": pytest.approx(3.0), "orientation": pytest.approx(0.0)}


def test_the_orientation_term_is_the_distance_of_unit_quaternions() -> None:
    """90 degrees about z, at twice its length: the chord of a quarter of the half circle."""
    half = math.sqrt(0.5)
    found = losses(
        [[2 * half, 0.0, 0.0, 2 * half]], [[1.0, 0.0, 0.0, 0.0]], offset=[[0.0] * 3], pose_loss=PLAIN
    )
    assert found["orientation"] == pytest.approx(2 * math.sin(math.pi / 8), rel=1e-6)


def test_the_learned_uncertainties_weight_the_terms() -> None:
    config = PoseLossConfig(position=-1.5, orientation=2.0)
    half = math.sqrt(0.5)
    found = losses(
        [[half, half, 0.0, 0.0]], [[1.0, 0.0, 0.0, 0.0]], offset=[[0.0, 2.0, 0.0]], pose_loss=config
    )
    chord = 2 * math.sin(math.pi / 8)
    assert found["position"] == pytest.approx(2.0 * math.exp(1.5) - 1.5, rel=1e-6)
    assert found["orientation"] == pytest.approx(chord * math.exp(-2.0) + 2.0, rel=1e-6)


def test_the_gradient_of_an_uncertainty_is_zero_at_the_logarithm_of_the_error() -> None:
    loss = UncertaintyWeightedPoseLoss(PoseLossConfig(position=math.log(2.0), orientation=0.0))
    output = RegressedPose(torch.tensor([[2.0, 0.0, 0.0]]), torch.tensor([[0.0, 1.0, 0.0, 0.0]]))
    batch = batch_at(torch.tensor([[1.0, 0.0, 0.0, 0.0]]), torch.zeros(1, 3))
    terms = regression_losses(loss, WorldFrame("raw"), output, batch)
    torch.stack(list(terms.values())).sum().backward()
    assert loss.position.grad is not None
    assert loss.orientation.grad is not None
    assert float(loss.position.grad) == pytest.approx(0.0, abs=1e-6)
    assert float(loss.orientation.grad) == pytest.approx(1.0 - math.sqrt(2.0), abs=1e-6)


def test_the_other_sign_of_a_quaternion_is_the_same_rotation() -> None:
    truth = [[0.5, 0.5, 0.5, 0.5]]
    opposite = [[-0.5, -0.5, -0.5, -0.5]]
    assert losses(opposite, truth, offset=[[0.0] * 3], pose_loss=PLAIN)["orientation"] == pytest.approx(0.0)
    assert losses(opposite, truth, offset=[[0.0] * 3], pose_loss=PUBLISHED)["orientation"] == pytest.approx(
        2.0
    )


def test_in_the_hemisphere_of_the_label_both_forms_agree() -> None:
    truth, predicted = [[0.9, 0.1, -0.3, 0.2]], [[0.8, 0.3, -0.1, 0.1]]
    offset = [[0.1, 0.2, 0.3]]
    safe, published = (losses(predicted, truth, offset=offset, pose_loss=each) for each in (PLAIN, PUBLISHED))
    assert safe == published


def test_each_image_of_a_batch_takes_the_nearer_sign_itself() -> None:
    truth = [[1.0, 0.0, 0.0, 0.0]] * 2
    found = losses(
        [[1.0, 0.0, 0.0, 0.0], [-1.0, 0.0, 0.0, 0.0]], truth, offset=[[0.0] * 3] * 2, pose_loss=PLAIN
    )
    assert found["orientation"] == pytest.approx(0.0)


def test_a_perfect_prediction_has_a_finite_gradient() -> None:
    position = torch.zeros(1, 3, requires_grad=True)
    quaternion_wxyz = torch.tensor([[1.0, 0.0, 0.0, 0.0]], requires_grad=True)
    batch = batch_at(torch.tensor([[1.0, 0.0, 0.0, 0.0]]), torch.zeros(1, 3))
    output = RegressedPose(position, quaternion_wxyz)
    terms = regression_losses(UncertaintyWeightedPoseLoss(PLAIN), WorldFrame("raw"), output, batch)
    torch.stack(list(terms.values())).sum().backward()
    assert position.grad is not None
    assert quaternion_wxyz.grad is not None
    assert position.grad.isfinite().all()
    assert quaternion_wxyz.grad.isfinite().all()


def frame_at(origin: Tensor, positions: Positions) -> tuple[WorldFrame, Pose]:
    poses = some_poses(50)
    moved = Pose(poses.rotation, 40.0 * poses.translation + origin)
    frame = WorldFrame(positions)
    frame.observe(moved)
    return frame, moved


def test_standardised_positions_are_precise_far_from_the_origin() -> None:
    """Exact outputs in single precision have errors below 1 mm if standardised, and not if raw."""
    worst = {}
    kinds: tuple[Positions, ...] = ("standardised", "raw")
    for positions in kinds:
        frame, poses = frame_at(UTM, positions)
        predicted = frame.relative(poses.translation).float()
        decoded = frame.decoding.decode(RegressedPose(predicted, poses.quaternion_wxyz().float()))
        worst[positions] = float((decoded.world_from_cam.translation - poses.translation).norm(dim=1).max())
    assert worst["standardised"] < 1e-3
    assert worst["raw"] > 0.1


def test_the_loss_of_standardised_positions_is_precise_far_from_the_origin() -> None:
    frame, poses = frame_at(UTM, "standardised")
    batch = batch_at(poses.quaternion_wxyz(), poses.translation)
    predicted = (frame.relative(poses.translation) + torch.tensor([0.003, 0.0, 0.004])).float()
    output = RegressedPose(predicted, poses.quaternion_wxyz().float())
    found = regression_losses(UncertaintyWeightedPoseLoss(PLAIN), frame, output, batch)
    assert float(found["position"].detach()) == pytest.approx(0.005, abs=1e-4)


def test_standardised_heads_of_zero_give_the_mean_pose() -> None:
    frame, poses = frame_at(UTM, "standardised")
    decoded = frame.decoding.decode(frame(torch.zeros(1, 3), torch.zeros(1, 4)))
    torch.testing.assert_close(decoded.world_from_cam.translation[0], poses.translation.mean(0))
    one_away = frame(torch.tensor([[1.0, 0.0, 0.0]]), torch.zeros(1, 4)).position.norm()
    radius = (poses.translation - poses.translation.mean(0)).square().sum(1).mean().sqrt()
    assert float(one_away) == pytest.approx(float(radius), rel=1e-6)


def test_raw_positions_are_the_heads_numbers() -> None:
    frame, _ = frame_at(UTM, "raw")
    output = frame(torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[0.0, 0.0, 0.0, 2.0]]))
    assert output.position.tolist() == [[1.0, 2.0, 3.0]]
    pose = frame.decoding.decode(output).world_from_cam
    assert pose.translation.tolist() == [[1.0, 2.0, 3.0]]
    assert pose.quaternion_wxyz().abs().tolist() == [[0.0, 0.0, 0.0, 1.0]]


def test_identical_training_positions_do_not_divide_by_zero() -> None:
    frame = WorldFrame("standardised")
    pose = some_poses(1)
    frame.observe(Pose(pose.rotation.repeat(4, 1, 1), pose.translation.repeat(4, 1)))
    decoded = frame.decoding.decode(frame(torch.zeros(1, 3), torch.zeros(1, 4)))
    torch.testing.assert_close(decoded.world_from_cam.translation, pose.translation)


def test_the_world_frame_is_part_of_the_weights() -> None:
    poses = some_poses(9, seed=4)
    model, other = tiny_model(), tiny_model(seed=1)
    model.observe(Pose(poses.rotation, poses.translation + UTM))
    other.load_state_dict(model.state_dict())
    images = torch.rand(2, 3, 24, 32, generator=torch.Generator().manual_seed(0))
    ours, theirs = (each.decode(each.eval()(images)).world_from_cam for each in (model, other))
    assert torch.equal(ours.translation, theirs.translation)
    assert torch.equal(ours.rotation, theirs.rotation)
