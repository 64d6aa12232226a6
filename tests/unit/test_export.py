"""An exported network answers as the original does, from one file that holds all it needs."""

import json
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import pytest
import torch
from tests.support.models import small_config, some_poses

from camloc.core.config import from_builtins, to_builtins
from camloc.data.image_io import Preprocess
from camloc.errors import CheckpointError
from camloc.inference.onnx.export import export_onnx, largest_difference
from camloc.inference.onnx.runtime import OnnxModel, load_onnx
from camloc.models import build_model
from camloc.models.checkpoint import Checkpoint, load_checkpoint, metadata_for, save_checkpoint

WIDTH, HEIGHT = 64, 48


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    torch.manual_seed(0)
    model = build_model("hyperpose", small_config("hyperpose"))
    model.observe(some_poses(9))
    metadata = metadata_for("hyperpose", small_config("hyperpose"), Preprocess(WIDTH, HEIGHT), ("kitchen",))
    folder = tmp_path_factory.mktemp("checkpoint")
    save_checkpoint(folder, metadata, model, (some_poses(9),))
    return load_checkpoint(folder)


@pytest.fixture(scope="module")
def path(checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "model.onnx"
    export_onnx(checkpoint, path)
    return path


def test_the_exported_poses_are_the_original_ones(checkpoint: Checkpoint, path: Path) -> None:
    assert largest_difference(checkpoint, path) <= 1e-4


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_a_batch_may_have_any_size(count: int, checkpoint: Checkpoint, path: Path) -> None:
    images = torch.rand(count, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(count))
    exported = load_onnx(path).model
    with torch.inference_mode():
        ours = checkpoint.model.decode(checkpoint.model(images)).world_from_cam
        theirs = exported.decode(exported(images)).world_from_cam
    assert theirs.shape == (count,)
    torch.testing.assert_close(theirs.matrix(), ours.matrix(), rtol=0, atol=1e-4)


def test_another_program_finds_named_inputs_and_outputs(path: Path) -> None:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (taken,) = session.get_inputs()
    assert (taken.name, taken.shape[1:]) == ("images", [3, HEIGHT, WIDTH])
    assert isinstance(taken.shape[0], str), "the batch is free"
    assert [given.name for given in session.get_outputs()] == ["position", "orientation"]


def test_the_metadata_hold_everything_an_answer_needs(checkpoint: Checkpoint, path: Path) -> None:
    entries = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    data: dict[str, Any] = json.loads(entries["camloc"])
    assert from_builtins(data["metadata"], type(checkpoint.metadata)) == checkpoint.metadata
    doubles = {k for k, v in checkpoint.model.state_dict().items() if v.dtype == torch.float64}
    assert set(data["constants"]) == doubles
    loaded = load_onnx(path)
    assert to_builtins(loaded.metadata) == to_builtins(checkpoint.metadata)
    (ours,), (theirs,) = checkpoint.training_poses, loaded.training_poses
    torch.testing.assert_close(theirs.matrix(), ours.matrix(), rtol=0, atol=1e-12)


def test_the_loaded_model_has_no_weights_of_its_own(path: Path) -> None:
    model = load_onnx(path).model
    assert isinstance(model, OnnxModel)
    assert list(model.parameters()) == []
    assert not model.training
    assert model.to("cpu") is model


def test_a_network_that_changed_after_its_export_is_noticed(checkpoint: Checkpoint, path: Path) -> None:
    exported = load_onnx(path)
    changed = load_onnx(path).model
    assert largest_difference(checkpoint, path) < 1e-4
    images = torch.zeros(1, 3, HEIGHT, WIDTH)
    ours, theirs = (model.decode(model(images)).world_from_cam for model in (exported.model, changed))
    assert torch.equal(ours.matrix(), theirs.matrix())
    with torch.no_grad():
        bias = checkpoint.model.get_parameter("position_head.bias")
        bias.add_(1.0)
        assert largest_difference(checkpoint, path) > 0.1
        bias.sub_(1.0)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.5, 0.9, 0.999])
def test_a_file_that_is_cut_short_is_refused(share: float, path: Path, tmp_path: Path) -> None:
    data = path.read_bytes()
    (tmp_path / "model.onnx").write_bytes(data[: int(len(data) * share)])
    with pytest.raises(CheckpointError, match=r"model\.onnx"):
        load_onnx(tmp_path / "model.onnx")


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="camloc export RUN"):
        load_onnx(tmp_path / "model.onnx")
