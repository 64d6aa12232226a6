"""Virtual relative pose regression: the refined pose is the one that the regressor gives."""

from dataclasses import replace

import pytest
import torch
from tests.support.models import TINY_BACKBONE, some_poses
from torch import Tensor

from camloc.errors import RecipeError
from camloc.geometry import Pose
from camloc.models.base import Latents
from camloc.refinement.image_decoder import ImageDecoder, ImageDecoderConfig
from camloc.refinement.pose_autoencoder import PoseAutoencoder, PoseAutoencoderConfig
from camloc.refinement.refiner import Query
from camloc.refinement.relative_pose import (
    RelativePose,
    RelativePoseConfig,
    RelativePoseRegressor,
    VirtualView,
    VirtualViewRefiner,
)

TRAINING = some_poses(30)
TRUTH = some_poses(4, seed=9)
ENCODER = PoseAutoencoder(PoseAutoencoderConfig(frequencies=2, hidden=(8,)), latents=(6, 6))


class Oracle(RelativePoseRegressor):
    """Gives the motion from any reference to the truth, with a step that is shorter by a share."""

    def __init__(self, *, short: float = 0.0) -> None:
        super().__init__(RelativePoseConfig("latents", TINY_BACKBONE, latent=4), latents=(6, 6))
        self.short = short
        self.references: list[Pose] = []

    def forward(self, query: Tensor | Latents, reference: Tensor | Latents) -> RelativePose:
        assert isinstance(query, tuple)
        assert isinstance(reference, tuple)
        return RelativePose(query.position[:, :3], torch.ones(len(query.position), 4))

    def motion(self, output: RelativePose, world_from_reference: Pose) -> Pose:
        self.references.append(world_from_reference)
        rows = output.step[:, 0].long()
        whole = self.truth(world_from_reference, TRUTH[rows])
        towards = RelativePose((1.0 - self.short) * whole.step, whole.quaternion_wxyz)
        return super().motion(towards, world_from_reference)


def query_of(poses: Pose) -> Query:
    """Predicted poses whose latents hold the number of their row."""
    numbers = torch.arange(len(poses)).float().unsqueeze(1).expand(-1, 6)
    return Query(poses, torch.zeros(len(poses), dtype=torch.int64), Latents(numbers, numbers))


def predicted() -> Pose:
    return Pose(some_poses(4, seed=3).rotation, TRUTH.translation + 0.3)


def refined(view: VirtualView, regressor: Oracle | None = None, poses: Pose | None = None) -> Pose:
    refiner = VirtualViewRefiner(view, (TRAINING,), ENCODER, regressor or Oracle())
    return refiner.refined(query_of(predicted() if poses is None else poses))


@pytest.mark.parametrize(
    "view", [VirtualView(), VirtualView(neighbours=3), VirtualView("prediction"), VirtualView(iterations=2)]
)
def test_a_perfect_regressor_finds_the_position_and_leaves_the_orientation(view: VirtualView) -> None:
    found = refined(view)
    torch.testing.assert_close(found.translation, TRUTH.translation, rtol=0, atol=1e-9)
    assert torch.equal(found.rotation, predicted().rotation)


def test_the_reference_is_a_training_pose() -> None:
    oracle = Oracle()
    refined(VirtualView(), oracle)
    (references,) = oracle.references
    known = {tuple(row) for row in TRAINING.translation.tolist()}
    assert {tuple(row) for row in references.translation.tolist()} <= known


def test_each_iteration_starts_from_the_pose_of_the_one_before() -> None:
    oracle = Oracle(short=0.5)
    found = refined(VirtualView("prediction", iterations=3), oracle)
    first, second, third = (each.translation for each in oracle.references)
    torch.testing.assert_close(first, predicted().translation)
    for before, after in ((first, second), (second, third), (third, found.translation)):
        torch.testing.assert_close(after, (before + TRUTH.translation) / 2, rtol=0, atol=1e-9)


def test_a_share_moves_the_position_by_that_part() -> None:
    found = refined(VirtualView(share=0.25))
    expected = predicted().translation + 0.25 * (TRUTH.translation - predicted().translation)
    torch.testing.assert_close(found.translation, expected, rtol=0, atol=1e-9)


def test_an_image_without_a_pose_stays_without() -> None:
    broken = predicted().translation.clone()
    broken[2] = torch.nan
    found = refined(VirtualView(), poses=Pose(predicted().rotation, broken))
    assert found.is_finite().tolist() == [True, True, False, True]
    torch.testing.assert_close(found.translation[3], TRUTH.translation[3], rtol=0, atol=1e-9)


def test_a_regressor_that_sees_images_gets_decoded_references() -> None:
    torch.manual_seed(0)
    regressor = RelativePoseRegressor(RelativePoseConfig("images", TINY_BACKBONE, latent=4), latents=(6, 6))
    decoder = ImageDecoder(
        ImageDecoderConfig(width=16, height=16, hidden=(8,), channels=(4, 4, 4, 4)), latents=(6, 6)
    )
    refiner = VirtualViewRefiner(VirtualView(), (TRAINING,), ENCODER, regressor, decoder)
    images = torch.rand(4, 3, 32, 48, generator=torch.Generator().manual_seed(0))
    query = replace(query_of(predicted()), images=images)
    found = refiner.refined(query)
    assert found.is_finite().all()
    assert not torch.allclose(found.translation, predicted().translation)
    alone = refiner.refined(query[torch.tensor([1])])
    torch.testing.assert_close(alone.translation, found.translation[1:2], rtol=1e-4, atol=1e-5)
    with pytest.raises(RecipeError, match="and has none"):
        refiner.refined(replace(query, images=None))
    with pytest.raises(RecipeError, match="needs an image decoder"):
        VirtualViewRefiner(VirtualView(), (TRAINING,), ENCODER, regressor)


def test_a_regressor_that_reads_latents_is_refused_without_them() -> None:
    refiner = VirtualViewRefiner(VirtualView(), (TRAINING,), ENCODER, Oracle())
    with pytest.raises(RecipeError, match="exported network"):
        refiner.refined(replace(query_of(predicted()), latents=None))
