"""An ONNX network whose matrix products are of 8-bit whole numbers: a quarter of the size, and faster."""

from pathlib import Path
from tempfile import TemporaryDirectory

import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic

from camloc.core.silence import without_logs

# Convolutions stay as they are: the small ones of mobile networks get no faster, and lose more.
_PRODUCTS = ["MatMul", "Gemm"]


def in_whole_numbers(network: onnx.ModelProto) -> onnx.ModelProto:
    """The network with the weights of its matrix products as 8-bit whole numbers, scaled output by output.

    What they are multiplied with is scaled as it comes, batch by batch, so no photographs are needed.
    """
    others = _with_stacked_weights(network)
    # PyTorch notes shapes of weights from before it turned them over, which are taken for contradictions.
    del network.graph.value_info[:]
    with TemporaryDirectory(prefix="camloc-") as folder, without_logs():
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
