"""An ONNX network whose matrix products are of 8-bit whole numbers: a quarter of the size, and faster."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic

# Convolutions stay as they are: the small ones of mobile networks get no faster, and lose more.
_PRODUCTS = ["MatMul", "Gemm"]


def in_whole_numbers(network: onnx.ModelProto) -> onnx.ModelProto:
    """The network with the weights of its matrix products as 8-bit whole numbers, scaled output by output.

    What they are multiplied with is scaled picture by picture as it comes, so no photographs are needed.
    """
    others = _with_stacked_weights(network)
    # PyTorch notes shapes of weights from before it turned them over, which are taken for contradictions.
    del network.graph.value_info[:]
    with TemporaryDirectory(prefix="camloc-") as folder, _quiet():
        path = Path(folder) / "network.onnx"
        quantize_dynamic(
            network,
            path,
            op_types_to_quantize=_PRODUCTS,
            nodes_to_exclude=others,
            per_channel=True,
            weight_type=QuantType.QInt8,
        )
        return onnx.load(path)


def _with_stacked_weights(network: onnx.ModelProto) -> list[str]:
    """Names of the products with several matrices at once, whose scales ONNX Runtime refuses."""
    stacked = {each.name for each in network.graph.initializer if len(each.dims) > 2}
    return [node.name for node in network.graph.node if node.op_type in _PRODUCTS and stacked & {*node.input}]


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the advice that ONNX Runtime logs to the root logger, which does not hold for our networks."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
