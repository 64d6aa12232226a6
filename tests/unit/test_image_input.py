"""A network that takes bytes of any size scales and cuts them as `Preprocess.cut` does."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from camloc.data.image_io import Preprocess
from camloc.data.types import Frame, ImageInMemory
from camloc.inference.onnx.export import with_image_input

# Levels of 255: of single pixels at the border of an image, and of the mean over an image.
AT_MOST, ON_AVERAGE = 12.0, 0.3


def unchanged(preprocess: Preprocess) -> onnx.ModelProto:
    """A network whose output is its input."""
    shape: list[str | int | None] = ["batch", 3, preprocess.height, preprocess.width]
    graph = helper.make_graph(
        [helper.make_node("Identity", ["images"], ["out"])],
        "unchanged",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, shape)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def picture(width: int, height: int) -> NDArray[np.uint8]:
    """Waves in three colours, with noise."""
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / width * k) * np.cos(y / height * (k + 3)) for k in (7, 19, 31)]
    noise = np.random.default_rng(0).normal(0, 0.1, (height, width, 3))
    return ((np.stack(waves, axis=-1) + noise).clip(-1, 1) * 127 + 128).astype(np.uint8)


@pytest.mark.parametrize("preprocess", [Preprocess(112, 112, 128), Preprocess(160, 120), Preprocess(96, 128)])
def test_bytes_are_scaled_and_cut_as_files_are(preprocess: Preprocess) -> None:
    network = with_image_input(unchanged(preprocess), preprocess)
    onnx.checker.check_model(network)
    session = onnxruntime.InferenceSession(network.SerializeToString(), providers=["CPUExecutionProvider"])
    for width, height in ((640, 480), (333, 517), (100, 60), (1200, 900), (401, 301)):
        image = picture(width, height)
        frame = Frame("query", Path("query"), memory=ImageInMemory(image))
        wanted = preprocess.cut(frame).pixels.astype(np.float32)
        (found,) = session.run(None, {"image": image})
        difference = np.abs(found[0].transpose(1, 2, 0) * 255.0 - wanted)
        assert difference.max() <= AT_MOST
        assert difference.mean() <= ON_AVERAGE


def test_an_image_of_the_size_of_the_network_is_not_changed() -> None:
    preprocess = Preprocess(160, 120)
    session = onnxruntime.InferenceSession(
        with_image_input(unchanged(preprocess), preprocess).SerializeToString(),
        providers=["CPUExecutionProvider"],
    )
    image = picture(160, 120)
    (found,) = session.run(None, {"image": image})
    np.testing.assert_array_equal(found[0], image.transpose(2, 0, 1).astype(np.float32) / np.float32(255.0))
