"""The pose auto-encoder has the published layers, and equal poses have equal encodings."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.support.models import some_poses

from camloc.errors import RecipeError
from camloc.geometry import Pose
from camloc.models.base import Latents
from camloc.models.layers.fourier import FourierFeatures
from camloc.recipes import students
from camloc.refinement.pose_autoencoder import (
    AutoencoderMetadata,
    Branches,
    PoseAutoencoder,
    PoseAutoencoderConfig,
    SceneCode,
)
from camloc.refinement.storage import WEIGHTS

PUBLISHED = PoseAutoencoderConfig(numbers="raw", scene_code="fourier")
SMALL = PoseAutoencoderConfig(frequencies=2, hidden=(8,))


def small(config: PoseAutoencoderConfig = SMALL, *, scenes: int = 1) -> PoseAutoencoder:
    torch.manual_seed(0)
    return PoseAutoencoder(config, latents=(5, 5), scenes=scenes)


@pytest.mark.parametrize(
    ("config", "scenes", "weights"),
    [
        (PUBLISHED, 1, 220_224),
        (PUBLISHED, 7, 221_888),
        (PUBLISHED, 4, 221_888),
        # Without the 36 and 48 waves that 64 units each would read.
        (replace(PUBLISHED, frequencies=0), 1, 220_224 - 64 * (36 + 48)),
    ],
)
def test_the_networks_of_the_paper_have_their_numbers_of_weights(
    config: PoseAutoencoderConfig, scenes: int, weights: int
) -> None:
    encoder = PoseAutoencoder(config, latents=(256, 256), scenes=scenes)
    assert encoder.parameter_count() == weights


def test_the_ablation_of_two_layers_has_two() -> None:
    encoder = PoseAutoencoder(replace(PUBLISHED, frequencies=0, hidden=(64,)), latents=(256, 256))
    assert matrices(encoder) == [(64, 3), (256, 64), (64, 4), (256, 64)]


def test_fourier_features_are_the_papers_with_pi_and_its_codes_without() -> None:
    values = torch.tensor([[0.3, -0.7]], dtype=torch.float64)
    with_pi, without = (FourierFeatures(2, base=base).double()(values)[0] for base in (math.pi, 1.0))
    assert len(with_pi) == FourierFeatures(2).size(2) == 10
    expected = [0.3, -0.7]
    for frequency in (1, 2):
        for wave in (math.sin, math.cos):
            expected += [wave(frequency * math.pi * value) for value in (0.3, -0.7)]
    assert with_pi.tolist() == pytest.approx(expected, abs=1e-6)
    assert without.tolist()[2:4] == pytest.approx([math.sin(0.3), math.sin(-0.7)], abs=1e-6)
    assert FourierFeatures(0)(values.float()).shape == (1, 2)


def test_an_encoder_of_wide_latents_fits_into_a_megabyte(tmp_path: Path) -> None:
    config, wide = replace(students.quick().config, branches="shared"), (3072, 3072)
    compact = PoseAutoencoder(config, latents=wide)
    assert matrices(compact)[-2:] == [(128, 256), (3072, 128)]
    assert compact(some_poses(2)).position.shape == (2, 3072)
    AutoencoderMetadata("", ("scene",), config, wide).save(tmp_path, compact)
    written = (tmp_path / "autoencoder" / WEIGHTS).stat().st_size
    assert written <= 1_000_000
    assert compact.megabytes == pytest.approx(written / 1e6, rel=0.01)
    published = PoseAutoencoder(replace(PUBLISHED, branches="shared"), latents=wide)
    assert matrices(published)[-1] == (3072, 256)
    assert published.megabytes > 3.0


def matrices(encoder: PoseAutoencoder) -> list[tuple[int, ...]]:
    """The shapes of the weights, layer after layer."""
    return [tuple(each.shape) for each in encoder.parameters() if each.ndim == 2]


def test_a_layer_that_would_not_be_smaller_is_not_split() -> None:
    compact = PoseAutoencoder(replace(PUBLISHED, rank=128), latents=(256, 256))
    assert compact.parameter_count() == 220_224


def test_stored_half_precision_weights_are_the_rounded_ones() -> None:
    encoder = small(replace(SMALL, kept="half"))
    encoder.observe((some_poses(20),), Latents(*torch.randn(2, 20, 5)))
    before = encoder(some_poses(3)).position
    encoder.round_to_stored()
    again = small(replace(SMALL, kept="half"))
    again.load_state_dict(encoder.stored())
    assert again.position[0].weight.dtype == torch.float32
    assert torch.equal(again(some_poses(3)).position, encoder(some_poses(3)).position)
    torch.testing.assert_close(encoder(some_poses(3)).position, before, rtol=1e-2, atol=1e-2)
    assert not torch.equal(encoder(some_poses(3)).position, before)
    assert encoder.stored()["center"].dtype == torch.float64
    assert 0.4 < encoder.megabytes / small().megabytes < 1.0


def test_a_quaternion_and_its_negative_are_one_pose() -> None:
    encoder = small()
    quaternion = torch.randn(4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    position = torch.zeros(4, 3, dtype=torch.float64)
    one, other = (encoder(Pose.from_quaternion_wxyz(sign * quaternion, position)) for sign in (1.0, -1.0))
    for ours, theirs in zip(one, other, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_published_branches_read_their_own_half_of_the_pose() -> None:
    poses, others = some_poses(3), some_poses(3, seed=1)
    moved = Pose(poses.rotation, others.translation)
    encoder = small()
    assert torch.equal(encoder(poses).orientation, encoder(moved).orientation)
    assert not torch.allclose(encoder(poses).position, encoder(moved).position)
    joint = small(replace(SMALL, branches="joint"))
    assert not torch.allclose(joint(poses).orientation, joint(moved).orientation)


@pytest.mark.parametrize("scenes", [1, 3])
def test_a_branch_reads_the_fourier_features_of_its_numbers_and_the_code_of_the_scene(scenes: int) -> None:
    numbers, scene = torch.randn(3, 7), torch.zeros(3, dtype=torch.int64)
    move, turn = (FourierFeatures(2)(half) for half in (numbers[:, :3], numbers[:, 3:]))
    code = torch.eye(scenes)[scene] if scenes > 1 else torch.zeros(3, 0)
    separate, joint = (small(replace(SMALL, branches=kind), scenes=scenes) for kind in ("separate", "joint"))
    for encoder, read in (
        (separate, (torch.cat((move, code), -1), torch.cat((turn, code), -1))),
        (joint, (torch.cat((move, turn, code), -1),) * 2),
    ):
        latents = encoder.encode(numbers, scene)
        assert encoder.orientation is not None
        torch.testing.assert_close(latents.position, encoder.position(read[0]))
        torch.testing.assert_close(latents.orientation, encoder.orientation(read[1]))


def test_shared_branches_are_one_network() -> None:
    encoder = small(replace(SMALL, branches="shared"))
    latents = encoder(some_poses(3))
    assert torch.equal(latents.position, latents.orientation)
    assert encoder.parameter_count() < small(replace(SMALL, branches="joint")).parameter_count()
    with pytest.raises(RecipeError, match="cannot give latents of 5 and 6"):
        PoseAutoencoder(replace(SMALL, branches="shared"), latents=(5, 6))


def encoded_where_observed(world: Pose, branches: Branches) -> Latents:
    """The latents of poses, from an encoder that has observed them as its training poses."""
    encoder = small(replace(SMALL, branches=branches))
    encoder.observe((world,), Latents(*torch.ones(2, len(world), 5)))
    latents: Latents = encoder(world)
    return latents


@pytest.mark.parametrize("branches", ["separate", "joint", "shared"])
def test_standardised_numbers_do_not_depend_on_the_worlds_origin_or_unit(branches: Branches) -> None:
    poses = some_poses(20)
    elsewhere = Pose(poses.rotation, 40.0 * poses.translation + 1000.0)
    ours, theirs = (encoded_where_observed(world, branches) for world in (poses, elsewhere))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_standardised_orientations_do_not_depend_on_the_worlds_axes() -> None:
    poses = some_poses(20)
    turned = some_poses(1, seed=3)[0] @ poses
    ours, theirs = (encoded_where_observed(world, "separate").orientation for world in (poses, turned))
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_an_encoder_starts_around_the_mean_of_its_teachers_latents() -> None:
    poses = some_poses(50)
    latents = Latents(100.0 + torch.randn(50, 5), -3.0 + 0.1 * torch.randn(50, 5))
    encoder = small()
    encoder.observe((poses,), latents)
    for ours, theirs in zip(encoder(poses), latents, strict=True):
        away = torch.linalg.vector_norm(ours - theirs.mean(0), dim=-1).mean()
        assert away < 10 * torch.linalg.vector_norm(theirs - theirs.mean(0), dim=-1).mean()
    raw = small(replace(SMALL, numbers="raw"))
    before = raw(poses)
    raw.observe((poses,), latents)
    assert torch.equal(before.position, raw(poses).position)


@pytest.mark.parametrize("code", ["one_hot", "embedding", "fourier"])
def test_the_same_pose_in_two_scenes_has_different_latents(code: SceneCode) -> None:
    encoder = small(replace(SMALL, scene_code=code), scenes=3)
    pose = some_poses(1)
    together = encoder(Pose.cat([pose, pose]), torch.tensor([0, 2]))
    for half in together:
        assert not torch.allclose(half[0], half[1])
    assert torch.equal(encoder(pose).position, encoder(pose, torch.tensor([0])).position)


def test_every_scene_has_its_own_mean_pose() -> None:
    encoder = small(scenes=2)
    near, far = some_poses(9), some_poses(9)
    far = Pose(far.rotation, 10.0 * far.translation + 500.0)
    latents = Latents(*torch.randn(2, 18, 5))
    encoder.observe((near, far), latents)
    relative = [encoder.inputs(poses, torch.full((9,), scene)) for scene, poses in enumerate((near, far))]
    torch.testing.assert_close(relative[0], relative[1])
