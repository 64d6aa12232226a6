"""Matrix products in whole numbers: smaller files, nearly the same poses, convolutions untouched."""

import logging
from collections import Counter
from pathlib import Path

import onnx
import pytest
import torch
from tests.support.models import small_config, some_poses

from camloc.data.image_io import Preprocess
from camloc.inference.onnx.export import export_onnx, largest_difference
from camloc.inference.onnx.runtime import load_onnx, runtime_of
from camloc.models import build_model
from camloc.models.checkpoint import Checkpoint, load_checkpoint, metadata_for, save_checkpoint

SIZE = Preprocess(64, 64)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    torch.manual_seed(0)
    model = build_model("transposenet", small_config("transposenet"))
    model.observe(some_poses(9))
    metadata = metadata_for("transposenet", small_config("transposenet"), SIZE, ("kitchen",))
    folder = tmp_path_factory.mktemp("checkpoint")
    save_checkpoint(folder, metadata, model, (some_poses(9),))
    return load_checkpoint(folder)


@pytest.fixture(scope="module")
def paths(checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("exported")
    paths = {"float32": folder / "single.onnx", "int8": folder / "whole.onnx"}
    export_onnx(checkpoint, paths["float32"])
    export_onnx(checkpoint, paths["int8"], precision="int8")
    return paths


def kinds(path: Path) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load(path).graph.node)


def test_poses_are_nearly_the_same(checkpoint: Checkpoint, paths: dict[str, Path]) -> None:
    assert largest_difference(checkpoint, paths["float32"]) < 1e-4
    assert 1e-6 < largest_difference(checkpoint, paths["int8"]) < 0.1


def test_products_with_weights_are_of_whole_numbers_and_convolutions_are_not(paths: dict[str, Path]) -> None:
    before, after = kinds(paths["float32"]), kinds(paths["int8"])
    assert after["MatMulInteger"] > 0
    assert after["Conv"] == before["Conv"] > 0
    weights = [each for each in onnx.load(paths["int8"]).graph.initializer if len(each.dims) == 2]
    single = [each.name for each in weights if each.data_type == onnx.TensorProto.FLOAT]
    whole = [each.name for each in weights if each.data_type == onnx.TensorProto.INT8]
    assert len(whole) == after["MatMulInteger"]
    assert len(whole) > len(single)


def test_the_file_says_what_it_is(checkpoint: Checkpoint, paths: dict[str, Path]) -> None:
    assert runtime_of(checkpoint) == "PyTorch"
    assert runtime_of(load_onnx(paths["float32"])) == "ONNX Runtime"
    assert runtime_of(load_onnx(paths["int8"])) == "ONNX Runtime, int8"


def test_the_answer_does_not_depend_on_the_size_of_the_batch(paths: dict[str, Path]) -> None:
    images = torch.rand(3, 3, SIZE.height, SIZE.width, generator=torch.Generator().manual_seed(1))
    model = load_onnx(paths["int8"]).model
    together = model(images)
    alone = [model(each[None]) for each in images]
    for row, each in enumerate(alone):
        for one, other in zip(together, each, strict=True):
            # Products are scaled over the whole batch: close, not equal.
            torch.testing.assert_close(one[row], other[0], rtol=0, atol=0.05)


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.message for each in caplog.records if each.levelno >= logging.WARNING]


def test_logging_is_left_as_it_was(
    checkpoint: Checkpoint, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = logging.root.handlers[:]
    export_onnx(checkpoint, tmp_path / "again.onnx", precision="int8")
    assert logging.root.handlers == before
    assert not told(caplog)
    logging.getLogger("anything").warning("still heard")
    assert told(caplog) == ["still heard"]
