"""Weights of the authors' classes, with random values, give the same outputs in camloc's networks."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from tests.support import authors
from torch import Tensor, nn

from camloc.errors import CheckpointError
from camloc.geometry.pose import Pose
from camloc.inference.published_weights import convert_encoder, convert_weights
from camloc.models import build_model
from camloc.models.atloc import PRESETS as ATLOC
from camloc.models.base import PoseModel
from camloc.models.hyperpose import PRESETS as HYPERPOSE
from camloc.models.hyperpose_2023 import PRESETS as HYPERPOSE_2023
from camloc.models.ms_hyperpose import PRESETS as MS_HYPERPOSE
from camloc.models.ms_transformer import PRESETS as MS_TRANSFORMER
from camloc.models.multi_scene import MultiSceneRegressor
from camloc.models.posenet import PRESETS as POSENET
from camloc.models.transposenet import PRESETS as TRANSPOSENET
from camloc.refinement.pose_autoencoder import PoseAutoencoder, PoseAutoencoderConfig

# Smaller generators than published, whose 100 million weights would only take time.
_TWO_LAYERS = replace(TRANSPOSENET["released"].encoder, layers=2)
_SMALL = replace(
    HYPERPOSE_2023["released"],
    encoder=_TWO_LAYERS,
    hypernetwork=replace(
        HYPERPOSE_2023["released"].hypernetwork,
        encoder=_TWO_LAYERS,
        position_hidden=(32, 16),
        orientation_hidden=(24, 24),
    ),
)
_SMALL_SCENES = replace(
    MS_HYPERPOSE["cambridge"],
    hypernetwork=replace(MS_HYPERPOSE["cambridge"].hypernetwork, position=32, orientation=24),
)

ONE_SCENE: dict[str, tuple[str, Any, Callable[[], nn.Module]]] = {
    "transposenet/released": (
        "transposenet",
        replace(TRANSPOSENET["released"], encoder=_TWO_LAYERS),
        lambda: authors.TransPoseNet(layers=2),
    ),
    "transposenet/released-prior": (
        "transposenet",
        replace(TRANSPOSENET["released-prior"], encoder=_TWO_LAYERS),
        lambda: authors.TransPoseNet(layers=2, has_prior=True),
    ),
    "hyperpose_2023": ("hyperpose_2023", _SMALL, lambda: authors.TransPoseNet(layers=2, hyper=(32, 24))),
    "hyperpose": ("hyperpose", HYPERPOSE["released"], authors.HyperPose),
    "atloc": ("atloc", ATLOC["paper"], authors.AtLoc),
    "posenet": ("posenet", POSENET["released-efficientnet-b0"], authors.PoseNet),
}

SCENES: dict[str, tuple[str, Any, Callable[[], nn.Module]]] = {
    "ms_transformer/cambridge": (
        "ms_transformer",
        replace(MS_TRANSFORMER["cambridge"], layers=(2, 1)),
        lambda: authors.MSTransformer(4, (2, 1)),
    ),
    "ms_transformer/cambridge-own-heads": (
        "ms_transformer",
        replace(MS_TRANSFORMER["cambridge-own-heads"], layers=(1, 1)),
        lambda: authors.MSTransformer(4, (1, 1), has_own_heads=True),
    ),
    "ms_hyperpose": (
        "ms_hyperpose",
        replace(_SMALL_SCENES, transformer=replace(_SMALL_SCENES.transformer, layers=1)),
        lambda: authors.MSTransformer(4, (1, 1), hyper=(32, 24)),
    ),
}


def images() -> tuple[Tensor, Tensor]:
    """Images for camloc, and the same normalised as the authors' data sets do."""
    raw = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    return raw, authors.normalised(raw)


def loaded(name: str, config: Any, theirs: nn.Module) -> PoseModel[Any]:
    torch.manual_seed(1)
    model = build_model(name, config)
    model.load_state_dict(convert_weights(theirs.state_dict(), model, name=name).state)
    return model.eval()


def numbers(output: Any) -> Tensor:
    return torch.cat((output.position, output.orientation), dim=1)


def assert_equal(ours: Tensor, theirs: Tensor) -> None:
    """Differences relative to the outputs' scale."""
    scale = theirs.abs().amax().clamp_min(1.0)
    assert torch.isfinite(theirs).all()
    assert float(theirs.std(0).max()) > 0.0
    torch.testing.assert_close(ours / scale, theirs / scale, rtol=0, atol=1e-5)


@pytest.mark.parametrize("case", ONE_SCENE)
@torch.no_grad()
def test_a_network_of_one_scene_gives_the_authors_outputs(case: str) -> None:
    name, config, build = ONE_SCENE[case]
    torch.manual_seed(0)
    theirs = authors.shaken(build())
    raw, normalised = images()
    assert_equal(numbers(loaded(name, config, theirs)(raw)), theirs(normalised))


@pytest.mark.parametrize("case", SCENES)
@torch.no_grad()
def test_a_network_of_several_scenes_gives_the_authors_outputs_in_its_scene(case: str) -> None:
    name, config, build = SCENES[case]
    torch.manual_seed(0)
    theirs = authors.shaken(build())
    raw, normalised = images()
    model = loaded(name, config, theirs)
    assert isinstance(model, MultiSceneRegressor)
    latents = model.encode(raw)
    for scene in (0, 3):
        expected, logits = theirs(normalised, scene)
        found = model.scene_logits(latents)
        assert_equal(found - found.mean(1, keepdim=True), logits - logits.mean(1, keepdim=True))
        chosen = type(latents)(latents.position[:, scene], latents.orientation[:, scene])
        output = model.regress_in(chosen, torch.full((len(raw),), scene))
        assert_equal(numbers(output), expected)


@pytest.mark.parametrize("scenes", [1, 4])
@torch.no_grad()
def test_a_pose_autoencoder_gives_the_authors_latents(scenes: int) -> None:
    torch.manual_seed(0)
    theirs = authors.PoseEncoder(256, has_scenes=scenes > 1)
    config = PoseAutoencoderConfig(with_pi=False, numbers="raw", scene_code="fourier")
    encoder = PoseAutoencoder(config, latents=(256, 256), scenes=scenes)
    encoder.load_state_dict(convert_encoder(theirs.state_dict(), encoder.state_dict()))
    quaternions = torch.nn.functional.normalize(torch.randn(5, 4), dim=-1)
    quaternions = quaternions * quaternions[:, :1].sign()
    positions, scene = torch.randn(5, 3), torch.arange(5) % scenes
    poses = Pose.from_quaternion_wxyz(quaternions, positions)
    found = encoder(poses, scene)
    for ours, expected in zip(found, theirs(torch.cat((positions, quaternions), 1), scene), strict=True):
        torch.testing.assert_close(ours, expected, rtol=0, atol=1e-5)


def test_the_unused_parts_are_named_and_wrong_weights_refused() -> None:
    config = TRANSPOSENET["released"]
    model = build_model("transposenet", config)
    theirs = authors.TransPoseNet().state_dict()
    converted = convert_weights(
        {f"module.{name}": each for name, each in theirs.items()}, model, name="transposenet"
    )
    assert any("_fc." in each for each in converted.unused)
    assert not any("transformer" in each or "regressor" in each for each in converted.unused)
    torch.testing.assert_close(converted.state["codes.row"], theirs["backbone.1.row_embed.weight"][1:29])
    del theirs["transformer_t.encoder.norm.weight"]
    with pytest.raises(CheckpointError, match=r"position_encoder\.encoder\.norm\.weight"):
        convert_weights(theirs, model, name="transposenet")
    with pytest.raises(CheckpointError, match="shape"):
        convert_weights(authors.TransPoseNet(128).state_dict(), model, name="transposenet")
    with pytest.raises(CheckpointError, match="no published weights"):
        convert_weights(theirs, model, name="scene_geometry")
