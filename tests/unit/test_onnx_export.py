"""An exported network predicts as the original does, from one file; in 8-bit integers nearly so."""

import json
import logging
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from tests.support.models import small_config, some_poses

import camloc
from camloc.core.config import from_builtins, to_builtins
from camloc.data.image_io import Preprocess
from camloc.errors import CheckpointError
from camloc.geometry import Pose
from camloc.inference.network import Network
from camloc.inference.onnx.export import export_onnx, largest_difference
from camloc.inference.onnx.runtime import load_onnx
from camloc.inference.torch_network import TorchNetwork
from camloc.models import build_model
from camloc.models.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from camloc.models.metadata import metadata_for

WIDTH, HEIGHT = 64, 48
SQUARE = Preprocess(64, 64)


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


def poses(network: Network, images: NDArray[np.float32]) -> Pose:
    return network.decoding.decode(network.predict(images).values).world_from_cam


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_a_batch_can_have_any_size(count: int, checkpoint: Checkpoint, path: Path) -> None:
    images = np.random.default_rng(count).random((count, 3, HEIGHT, WIDTH), dtype=np.float32)
    ours, theirs = poses(TorchNetwork(checkpoint), images), poses(load_onnx(path), images)
    assert theirs.shape == (count,)
    np.testing.assert_allclose(theirs.matrix(), ours.matrix(), rtol=0, atol=1e-4)


def test_inputs_and_outputs_have_names(path: Path) -> None:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (input_,) = session.get_inputs()
    assert (input_.name, input_.shape[1:]) == ("images", [3, HEIGHT, WIDTH])
    assert isinstance(input_.shape[0], str), "the batch is free"
    assert [output.name for output in session.get_outputs()] == ["position", "orientation"]


def test_the_file_names_no_path_of_the_machine(path: Path) -> None:
    assert str(Path(camloc.__file__).parent).encode() not in path.read_bytes()


def test_means_over_maps_are_the_pooling_that_runs_in_integers(path: Path) -> None:
    counts = Counter(node.op_type for node in onnx.load(path).graph.node)
    assert counts["GlobalAveragePool"] > 0
    assert counts["ReduceMean"] == 0


def test_the_metadata_hold_everything_that_locating_needs(checkpoint: Checkpoint, path: Path) -> None:
    entries = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    data: dict[str, Any] = json.loads(entries["camloc"])
    assert from_builtins(data["metadata"], type(checkpoint.metadata)) == checkpoint.metadata
    assert data["decoding"]["kind"] == "pose"
    assert data["decoding"]["centers"] == checkpoint.model.decoding.centers.tolist()
    assert data["parameters"] == checkpoint.model.parameter_count()
    loaded = load_onnx(path)
    assert to_builtins(loaded.metadata) == to_builtins(checkpoint.metadata)
    (ours,), (theirs,) = checkpoint.training_poses, loaded.training_poses
    np.testing.assert_allclose(theirs.matrix(), ours.matrix().numpy(), rtol=0, atol=1e-12)


def test_a_network_that_changed_after_its_export_differs(checkpoint: Checkpoint, path: Path) -> None:
    assert largest_difference(checkpoint, path) < 1e-4
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


def test_a_missing_file_names_the_command_that_exports_one(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="camloc export RUN"):
        load_onnx(tmp_path / "model.onnx")


@pytest.fixture(scope="module")
def transposenet(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    torch.manual_seed(0)
    config = small_config("transposenet", layers=2)
    model = build_model("transposenet", config)
    model.observe(some_poses(9))
    metadata = metadata_for("transposenet", config, SQUARE, ("kitchen",))
    folder = tmp_path_factory.mktemp("checkpoint")
    save_checkpoint(folder, metadata, model, (some_poses(9),))
    return load_checkpoint(folder)


class Exports(NamedTuple):
    """One network in both precisions, and the records and handlers of the root logger meanwhile."""

    float32: Path
    int8: Path
    records: list[logging.LogRecord]
    handlers_stay: bool


@pytest.fixture(scope="module")
def paths(transposenet: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Exports:
    folder = tmp_path_factory.mktemp("exported")
    records: list[logging.LogRecord] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    listener = Listener(logging.WARNING)
    logging.root.addHandler(listener)
    handlers = logging.root.handlers[:]
    export_onnx(transposenet, folder / "single.onnx")
    export_onnx(transposenet, folder / "int8.onnx", precision="int8")
    is_same = logging.root.handlers == handlers
    logging.getLogger("anything").warning("still logged")
    logging.root.removeHandler(listener)
    return Exports(folder / "single.onnx", folder / "int8.onnx", records, is_same)


def operations(path: Path) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load(path).graph.node)


def test_integer_products_give_nearly_the_same_poses(transposenet: Checkpoint, paths: Exports) -> None:
    assert largest_difference(transposenet, paths.float32) < 1e-4
    assert 1e-6 < largest_difference(transposenet, paths.int8) < 0.1


def test_attention_to_all_cells_is_one_operation_without_leftovers(paths: Exports) -> None:
    """That of the last layer, whose first cell alone is needed, has another form."""
    branches = 2
    for path in (paths.float32, paths.int8):
        assert operations(path)["MultiHeadAttention"] == branches
        graph = onnx.load(path).graph
        read = {name for node in graph.node for name in node.input} | {each.name for each in graph.output}
        assert all(read & {*node.output} for node in graph.node)
        assert {each.name for each in graph.initializer} <= read


def test_products_with_weights_are_of_integers_and_convolutions_are_not(paths: Exports) -> None:
    before, after = operations(paths.float32), operations(paths.int8)
    assert after["MatMulInteger"] > 0
    assert after["Conv"] == before["Conv"] > 0
    weights = [each for each in onnx.load(paths.int8).graph.initializer if len(each.dims) == 2]
    single = [each.name for each in weights if each.data_type == onnx.TensorProto.FLOAT]
    integer = [each.name for each in weights if each.data_type == onnx.TensorProto.INT8]
    assert len(integer) == after["MatMulInteger"]
    assert len(integer) > len(single)


def test_the_runtime_is_named(transposenet: Checkpoint, paths: Exports) -> None:
    assert TorchNetwork(transposenet).runtime == "PyTorch"
    assert load_onnx(paths.float32).runtime == "ONNX Runtime"
    assert load_onnx(paths.int8).runtime == "ONNX Runtime, int8"


def test_an_integer_prediction_hardly_depends_on_the_batch(paths: Exports) -> None:
    images = np.random.default_rng(1).random((3, 3, SQUARE.height, SQUARE.width), dtype=np.float32)
    network = load_onnx(paths.int8)
    together = network.predict(images).values
    alone = [network.predict(each[None]).values for each in images]
    for row, each in enumerate(alone):
        for one, other in zip(together, each, strict=True):
            # Products have one scale for the whole batch: close, not equal.
            np.testing.assert_allclose(one[row], other[0], rtol=0, atol=0.05)


def test_logging_is_left_as_it_was(paths: Exports) -> None:
    assert paths.handlers_stay
    assert [each.getMessage() for each in paths.records] == ["still logged"]
