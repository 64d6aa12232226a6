"""The contract of every model; a new file under `camloc.models` is tested without further code."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.support.models import scene_names, small_config, some_poses

from camloc.core.config import from_json, to_json
from camloc.data.batch import Batch
from camloc.data.image_io import Preprocess
from camloc.geometry import Pose
from camloc.inference.onnx.export import export_onnx
from camloc.inference.onnx.runtime import load_onnx
from camloc.inference.torch_network import TorchNetwork
from camloc.models import build_model, config_class, model_class, model_names, presets
from camloc.models.base import PoseModel, Regressor
from camloc.models.checkpoint import load_checkpoint, save_checkpoint
from camloc.models.metadata import metadata_for
from camloc.models.novelty import NoveltyDetector, summary

WIDTH, HEIGHT = 64, 48
REGRESSORS = [name for name in model_names() if issubclass(model_class(name), Regressor)]
INTRINSICS = torch.tensor([[60.0, 0.0, 32.0], [0.0, 60.0, 24.0], [0.0, 0.0, 1.0]])


def small(name: str) -> PoseModel[Any]:
    torch.manual_seed(0)
    return build_model(name, small_config(name))


def batch_of(count: int, *, seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    return Batch(
        images=torch.rand(count, 3, HEIGHT, WIDTH, generator=generator),
        world_from_cam=some_poses(count, seed=seed),
        intrinsics=INTRINSICS.expand(count, 3, 3),
        scene=torch.zeros(count, dtype=torch.int64),
    )


def predicted_poses(model: PoseModel[Any], batch: Batch) -> Pose:
    """The poses that a model predicts for a batch."""
    decoded: Pose = model.decode(model(batch.images), intrinsics=batch.intrinsics).world_from_cam
    return decoded


@pytest.mark.parametrize("name", model_names())
def test_outputs_are_named_tensors_with_one_row_for_each_image(name: str) -> None:
    output = small(name).eval()(batch_of(3).images)
    assert hasattr(output, "_fields")
    assert all(isinstance(value, torch.Tensor) and value.shape[0] == 3 for value in output)


@pytest.mark.parametrize("name", model_names())
def test_decoded_rotations_are_proper(name: str) -> None:
    model = small(name).eval()
    decoded = predicted_poses(model, batch_of(4))
    rotation = decoded.rotation
    assert rotation.dtype == torch.float64
    identity = torch.eye(3, dtype=torch.float64).expand(4, 3, 3)
    torch.testing.assert_close(rotation @ rotation.mT, identity, rtol=0, atol=1e-9)
    torch.testing.assert_close(torch.linalg.det(rotation), torch.ones(4).double(), rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", model_names())
def test_every_parameter_gets_a_finite_gradient_after_some_steps(name: str) -> None:
    model = small(name).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    # Generated layers and blocks of backbones start at zero; their inputs get a gradient a step later.
    for seed in range(4):
        optimizer.zero_grad()
        batch = batch_of(4, seed=seed).replace(window=2)  # for models with a relative-pose loss
        batch = batch.replace(scene=torch.arange(4) % len(scene_names(small_config(name))))
        losses = model.losses(model(batch.images), batch)
        torch.stack(list(losses.values())).sum().backward()
        optimizer.step()
    for parameter_name, parameter in model.named_parameters():
        assert parameter.grad is not None, f"{parameter_name} gets no gradient"
        assert parameter.grad.isfinite().all(), parameter_name
        assert parameter.grad.abs().max() > 0, f"{parameter_name} does not train"


@pytest.mark.parametrize("name", model_names())
def test_an_image_has_the_same_output_alone_and_in_a_batch(name: str) -> None:
    model = small(name).eval()
    images = batch_of(3).images
    together, alone = model(images), model(images[1:2])
    for whole, single in zip(together, alone, strict=True):
        torch.testing.assert_close(whole[1:2], single, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", model_names())
def test_evaluation_is_deterministic_and_stateless(name: str) -> None:
    model = small(name).eval()
    images = batch_of(2).images
    first = model(images)
    model(batch_of(2, seed=5).images)
    for one, other in zip(first, model(images), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("name", model_names())
def test_a_checkpoint_restores_the_same_predictions(name: str, tmp_path: Path) -> None:
    model = small(name).eval()
    model.observe_scenes(
        [some_poses(9, seed=number) for number in range(len(scene_names(small_config(name))))]
    )
    names = scene_names(small_config(name))
    metadata = metadata_for(name, small_config(name), Preprocess(WIDTH, HEIGHT), names)
    save_checkpoint(tmp_path, metadata, model, (some_poses(9),) * len(names))
    drawn = torch.get_rng_state()
    restored = load_checkpoint(tmp_path)
    assert torch.equal(torch.get_rng_state(), drawn), "weights that are replaced were drawn first"
    images = batch_of(2).images
    for one, other in zip(model(images), restored.model(images), strict=True):
        assert torch.equal(one, other)
    ours, theirs = (predicted_poses(each, batch_of(2)) for each in (model, restored.model))
    assert torch.equal(ours.translation, theirs.translation)
    assert {entry.name for entry in tmp_path.iterdir()} == {"weights.safetensors", "checkpoint.json"}


@pytest.mark.parametrize("name", model_names())
def test_onnx_gives_the_same_poses_for_any_batch(name: str, tmp_path: Path) -> None:
    config = small_config(name, layers=1)  # tracing takes seconds for each layer
    torch.manual_seed(0)
    model = build_model(name, config).eval()
    names = scene_names(config)
    scenes = [some_poses(9, seed=number) for number in range(len(names))]
    model.observe_scenes([Pose(each.rotation, each.translation + 1000.0) for each in scenes])
    metadata = metadata_for(name, config, Preprocess(WIDTH, HEIGHT), names)
    with torch.no_grad():
        _, novelty_maps = model.backbone.forward_with_novelty_maps(batch_of(7, seed=3).images)
        detector = NoveltyDetector(summary(novelty_maps))
    save_checkpoint(
        tmp_path, replace(metadata, novelty_threshold=0.1), model, (some_poses(9),) * len(names), detector
    )
    restored = load_checkpoint(tmp_path)
    export_onnx(restored, tmp_path / "model.onnx")
    exported = load_onnx(tmp_path / "model.onnx")
    for count in (1, 5):
        ours = predicted_poses(model, batch_of(count)).matrix()
        images, intrinsics = batch_of(count).images.numpy(), INTRINSICS.numpy()[None].repeat(count, axis=0)
        theirs = exported.predict(images)
        decoded = exported.decoding.decode(theirs.values, intrinsics=intrinsics)
        np.testing.assert_allclose(ours.detach().numpy(), decoded.world_from_cam.matrix(), rtol=0, atol=1e-4)
        novelty = TorchNetwork(restored).predict(images).novelty
        assert novelty is not None
        assert theirs.novelty is not None
        assert novelty.shape == (count,)
        np.testing.assert_allclose(novelty, theirs.novelty, rtol=0, atol=1e-3)


@pytest.mark.parametrize("form", [None, "6d", "9d", "4d_norm", "log_quaternion"])
@pytest.mark.parametrize("name", model_names())
def test_arrays_of_numpy_decode_as_tensors_do(name: str, form: str | None) -> None:
    config = small_config(name)
    if form is not None and not hasattr(config, "regression"):
        form = None
    if form is not None:
        config = replace(config, regression=replace(config.regression, orientation=form))
    torch.manual_seed(0)
    model = build_model(name, config).eval()
    model.observe_scenes([some_poses(9, seed=number) for number in range(len(scene_names(config)))])
    batch = batch_of(5)
    with torch.no_grad():
        output = model(batch.images)
        ours = model.decode(output, intrinsics=batch.intrinsics)
    assert batch.intrinsics is not None
    arrays = type(output)(*(value.numpy() for value in output))
    theirs = model.decoding.numpy().decode(arrays, intrinsics=batch.intrinsics.numpy())
    one, other = ours.world_from_cam.matrix().numpy(), theirs.world_from_cam.matrix()
    assert isinstance(other, np.ndarray)
    np.testing.assert_allclose(other, one, rtol=0, atol=1e-6)
    for tensor, array in zip(ours[1:], theirs[1:], strict=True):
        assert (tensor is None) == (array is None)
        if tensor is not None:
            np.testing.assert_allclose(array, tensor.numpy(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", model_names())
def test_settings_survive_json(name: str) -> None:
    for config in presets(name).values():
        assert from_json(to_json(config), config_class(name)) == config


@pytest.mark.parametrize("name", REGRESSORS)
def test_a_regressor_is_encode_followed_by_regress(name: str) -> None:
    model = small(name).eval()
    assert isinstance(model, Regressor)
    images = batch_of(2).images
    for one, other in zip(model(images), model.regress(model.encode(images)), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("name", REGRESSORS)
def test_a_step_of_a_regressor_never_waits_for_an_accelerator(name: str) -> None:
    """On the device "meta", which has shapes and no values, an operation that waits for a value fails."""
    model = small(name).train().to("meta")
    batch = batch_of(4).to("meta").replace(window=2)
    torch.stack(list(model.losses(model(batch.images), batch).values())).sum().backward()
