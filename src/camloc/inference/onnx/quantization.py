"""Exchange single precision for 8-bit integers in an exported network, where its poses stay as good.

With training images (`Calibration`), convolutions and matrix products multiply integers with fixed scales: of
the weights one for each output, of the activations the range that the training images give. Held-out training
images then decide how many layers stay in single precision: first those that alone in integers move the poses
farthest, as few as keep the median errors. Without images only matrix products multiply integers; their
activations are scaled at run time, one scale for each batch.
"""

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import onnxruntime
from jaxtyping import Float32, Int, UInt8
from numpy.typing import NDArray
from onnx import numpy_helper
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantType, quantize_dynamic
from onnxruntime.quantization.calibrate import create_calibrator
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

from camloc.core.silence import without_logs, without_warnings
from camloc.geometry.arrays import to_numpy
from camloc.geometry.pose import Pose, pose_error
from camloc.models.decoding import Decoding

# Median errors on held-out images may grow by this share.
ALLOWANCE = 0.05

# Numbers of training images that ranges are computed from, and of held-out images that decide.
CALIBRATION_IMAGES, HELD_OUT_IMAGES = 48, 120

# Smaller errors are exact, and no share of them counts.
_NO_METERS, _NO_DEGREES = 1e-4, 1e-2

_PRODUCTS = ("MatMul", "Gemm")

# Of ONNX Runtime's own operations, which ONNX infers no shapes of.
RUNTIME_DOMAIN = "com.microsoft"

# Operations between convolutions that ONNX Runtime computes in integers, so that maps stay in 8 bits.
_BETWEEN = ("Add", "Mul", "Sigmoid", "Relu", "Clip", "GlobalAveragePool", "AveragePool", "MaxPool", "Concat")

_BATCH = 8

# Numbers of weights from which on half precision is worth a conversion.
_LARGE = 4096

# Training images that show how far a layer's rounding moves poses.
_FEW = 12

# Layers in single precision that are named.
_NAMED = 6


@dataclass(frozen=True, eq=False)
class Calibration:
    """The training images that quantisation needs.

    Attributes:
        images: (n, 3, h, w) RGB of training images, 8 bits.
        held_out: (m, 3, h, w) RGB of training images that the network was not trained on, 8 bits.
        world_from_cam: (m,) their poses.
        scene: (m,) numbers of their scenes.
        intrinsics: (m, 3, 3) of their cameras, or None where unknown.
        decoding: of the network's outputs into poses.
    """

    images: UInt8[NDArray[np.uint8], "n 3 h w"]
    held_out: UInt8[NDArray[np.uint8], "m 3 h w"]
    world_from_cam: Pose
    scene: Int[NDArray[np.int64], "m"]
    intrinsics: Float32[NDArray[np.float32], "m 3 3"] | None
    decoding: Decoding

    @property
    def camera(self) -> Float32[NDArray[np.float32], "3 3"] | None:
        """Intrinsics of one of the cameras."""
        return None if self.intrinsics is None else self.intrinsics[0]


@dataclass(frozen=True)
class Accuracy:
    """Errors on the held-out images.

    Attributes:
        meters, degrees: medians; of several scenes the means of their medians.
        novelty: of 99 in 100 images the largest, or 0 for a network without a novelty detector.
    """

    meters: float
    degrees: float
    novelty: float = 0.0

    def loss(self, single: "Accuracy") -> float:
        """The larger share by which a median exceeds that of single precision; negative if none does."""
        return max(
            (self.meters - single.meters) / max(single.meters, _NO_METERS),
            (self.degrees - single.degrees) / max(single.degrees, _NO_DEGREES),
        )


@dataclass(frozen=True, eq=False)
class Quantised:
    """A network in integers.

    Attributes:
        network: the network.
        layers: number of convolutions and matrix products with weights.
        kept: descriptions of those that stay in single precision.
        single, found: accuracy of the network before and after, or None without images.
    """

    network: onnx.ModelProto
    layers: int
    kept: tuple[str, ...] = ()
    single: Accuracy | None = None
    found: Accuracy | None = None

    def notes(self) -> tuple[str, ...]:
        """Sentences: the errors before and after, and the layers that stay in single precision."""
        if self.single is None or self.found is None:
            return ("convolutions stay in single precision: they are quantised with training images alone",)
        before, after = self.single, self.found
        errors = (
            f"median errors on held-out training images: {before.meters:.3f} and {before.degrees:.2f}° in "
            f"single precision, {after.meters:.3f} and {after.degrees:.2f}° in int8"
        )
        if not self.kept:
            return (errors, f"all {self.layers} layers are in int8")
        named = "; ".join(self.kept[:_NAMED]) + ("; ..." if len(self.kept) > _NAMED else "")
        return (errors, f"{len(self.kept)} of {self.layers} layers stay in single precision: {named}")

    @property
    def novelty_factor(self) -> float:
        """The factor of the novelty threshold: rounding moves all images away from the training images."""
        if self.single is None or self.found is None or not self.single.novelty:
            return 1.0
        return max(1.0, self.found.novelty / self.single.novelty)


def quantised(network: onnx.ModelProto, calibration: Calibration | None = None) -> Quantised:
    """The network with 8-bit integers.

    Args:
        network: with the input `images`, as `onnx_program` gives it.
        calibration: the training images; None to quantise matrix products alone.
    """
    with TemporaryDirectory(prefix="camloc-") as folder, without_logs(), without_warnings:
        if calibration is None:
            return _with_integer_products(network, Path(folder))
        return _calibrated(network, calibration, Path(folder))


# --- Without images -----------------------------------------------------------------------------------------


def _with_integer_products(network: onnx.ModelProto, folder: Path) -> Quantised:
    excluded = [
        node.name for node in network.graph.node if node.op_type in _PRODUCTS and _is_stacked(node, network)
    ]
    # PyTorch's shapes of weights date from before it transposed them; ONNX Runtime rejects them as
    # contradictions.
    network = _copy(network)
    del network.graph.value_info[:]
    path = folder / "network.onnx"
    quantize_dynamic(
        network,
        path,
        op_types_to_quantize=list(_PRODUCTS),
        nodes_to_exclude=excluded,
        per_channel=True,
        weight_type=QuantType.QInt8,
        # Processors without VNNI add two products of 8 bits in 16 and saturate: weights of 7 bits do not.
        reduce_range=True,
        # Of the tensors that follow ONNX Runtime's own operations.
        extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
    )
    return Quantised(onnx.load(path), len(_layers(network)))


# --- With images --------------------------------------------------------------------------------------------


def _calibrated(network: onnx.ModelProto, calibration: Calibration, folder: Path) -> Quantised:
    folded = _folded(network, folder)
    layers = _layers(folded)
    ranges = _ranges(folded, calibration.images, folder)
    single = accuracy(network, calibration)
    integers = _with_integers(folded, ranges, kept=())
    found = accuracy(integers, calibration)
    if found.loss(single) <= ALLOWANCE:
        return Quantised(integers, len(layers), (), single, found)
    order = _by_deviation(folded, ranges, calibration, single)
    for count in _counts(len(order)):
        integers = _with_integers(folded, ranges, kept=order[:count])
        found = accuracy(integers, calibration)
        if found.loss(single) <= ALLOWANCE:
            break
    kept = tuple(_description(node, folded) for node in order[:count])
    return Quantised(integers, len(layers), kept, single, found)


def _counts(layers: int) -> list[int]:
    """How many layers to keep in single precision, one trial after the other."""
    counts = [1]
    while counts[-1] < layers:
        counts.append(min(layers, max(counts[-1] + 1, counts[-1] * 4 // 3)))
    return counts


def _by_deviation(
    network: onnx.ModelProto, ranges: Any, calibration: Calibration, single: Accuracy
) -> list[onnx.NodeProto]:
    """The layers, first those that alone in integers move the poses of a few training images farthest."""
    few = calibration.images[:: max(1, len(calibration.images) // _FEW)]
    layers = _layers(network)
    poses = _decoded(network, few, calibration.decoding, calibration.camera)
    deviations = {}
    for layer in layers:
        alone = _with_integers(network, ranges, kept=[node for node in layers if node is not layer])
        moved = pose_error(_decoded(alone, few, calibration.decoding, calibration.camera), poses)
        deviations[layer.name] = max(
            float(np.median(moved.meters)) / max(single.meters, _NO_METERS),
            float(np.median(moved.degrees)) / max(single.degrees, _NO_DEGREES),
        )
    return sorted(layers, key=lambda layer: deviations[layer.name], reverse=True)


def in_integers(
    network: onnx.ModelProto, images: UInt8[NDArray[np.uint8], "n 3 h w"], folder: Path
) -> onnx.ModelProto:
    """The network with all layers in integers; `folder` is for files in between."""
    with without_logs(), without_warnings:
        folded = _folded(network, folder)
        return _with_integers(folded, _ranges(folded, images, folder), kept=())


def _folded(network: onnx.ModelProto, folder: Path) -> onnx.ModelProto:
    """The network with constants, batch norms and padding folded, as ONNX Runtime does before it runs."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    path = folder / "folded.onnx"
    options.optimized_model_filepath = str(path)
    options.log_severity_level = 4
    network = _copy(network)
    del network.graph.value_info[:]
    onnxruntime.InferenceSession(network.SerializeToString(), options, providers=["CPUExecutionProvider"])
    folded = onnx.load(path)
    for number, node in enumerate(folded.graph.node):
        node.name = f"{node.op_type}_{number}"
        if node.domain == RUNTIME_DOMAIN:  # only tensors with a type are observed
            made = onnx.helper.make_tensor_value_info(node.output[0], onnx.TensorProto.FLOAT, None)
            folded.graph.value_info.append(made)
    return onnx.shape_inference.infer_shapes(folded)


def _ranges(network: onnx.ModelProto, images: UInt8[NDArray[np.uint8], "n 3 h w"], folder: Path) -> Any:
    """The range of every activation that may be quantised, over the images."""
    path = folder / "single.onnx"
    onnx.save(network, path)
    calibrator = create_calibrator(
        path,
        [*_PRODUCTS, "Conv", *_BETWEEN],
        augmented_model_path=str(folder / "observed.onnx"),
        calibrate_method=CalibrationMethod.MinMax,
        providers=["CPUExecutionProvider"],
    )
    calibrator.collect_data(_Images(images))
    return calibrator.compute_data()


class _Images(CalibrationDataReader):
    """Images in batches, for ONNX Runtime."""

    def __init__(self, images: UInt8[NDArray[np.uint8], "n 3 h w"]) -> None:
        self._batches = iter(_batches(images))

    def get_next(self) -> dict[str, Any] | None:
        """The next batch, or None."""
        batch = next(self._batches, None)
        return None if batch is None else {"images": batch}


def _batches(
    images: UInt8[NDArray[np.uint8], "n 3 h w"],
) -> Iterable[Float32[NDArray[np.float32], "b 3 h w"]]:
    for first in range(0, len(images), _BATCH):
        yield np.ascontiguousarray(images[first : first + _BATCH]).astype(np.float32) / np.float32(255.0)


def _with_integers(
    network: onnx.ModelProto, ranges: Any, *, kept: Sequence[onnx.NodeProto]
) -> onnx.ModelProto:
    """The network in integers but for the layers in `kept`."""
    names = {node.name for node in kept}
    if names >= {node.name for node in _layers(network)}:
        return _copy(network)
    network = _with_guards(network, names)
    layers = [node for node in _layers(network) if node.name not in names]
    convolutions = [node for node in layers if node.op_type == "Conv"]
    chosen = [*layers, *_between(network, convolutions)]
    quantizer = QDQQuantizer(
        network,
        per_channel=True,
        reduce_range=True,  # as above
        weight_qType=QuantType.QInt8,
        # On processors of x86 kernels for unsigned activations are several times faster.
        activation_qType=QuantType.QUInt8,
        tensors_range=ranges,
        nodes_to_quantize=[node.name for node in chosen],
        nodes_to_exclude=[],
        op_types_to_quantize=sorted({node.op_type for node in chosen}),
        extra_options={"OpTypesToExcludeOutputQuantization": list(_PRODUCTS)},
    )
    quantizer.quantize_model()
    made: onnx.ModelProto = quantizer.model.model
    return _with_half_weights(made)


def _with_guards(network: onnx.ModelProto, names: Set[str]) -> onnx.ModelProto:
    """A copy in which the named convolutions are followed by an operation that changes nothing.

    Between integers ONNX Runtime would otherwise quantise a convolution in single precision after all, with
    one scale for all of its weights. It computes this operation as a part of the convolution.
    """
    network = _copy(network)
    nodes = []
    for node in network.graph.node:
        nodes.append(node)
        if node.op_type == "Conv" and node.name in names:
            output = node.output[0]
            node.output[0] = f"{output}_unguarded"
            guard = onnx.helper.make_node("LeakyRelu", [node.output[0]], [output], alpha=1.0)
            guard.name = f"{node.name}_guard"
            nodes.append(guard)
    nodes = [*map(_copy_of_node, nodes)]
    del network.graph.node[:]
    network.graph.node.extend(nodes)
    return network


def _copy_of_node(node: onnx.NodeProto) -> onnx.NodeProto:
    copied = onnx.NodeProto()
    copied.CopyFrom(node)
    return copied


def _with_half_weights(network: onnx.ModelProto) -> onnx.ModelProto:
    """The network with its large weights that are left in single precision stored in half precision.

    ONNX Runtime converts them when it loads the file. The summaries of the novelty detector are in half
    precision in the first place.
    """
    converted = []
    for each in network.graph.initializer:
        if each.data_type != onnx.TensorProto.FLOAT or np.prod(each.dims) < _LARGE:
            continue
        weights = numpy_helper.to_array(each)
        if np.abs(weights).max() < np.finfo(np.float16).max:
            name = each.name
            each.CopyFrom(numpy_helper.from_array(weights.astype(np.float16), f"{name}_half"))
            converted.append(
                onnx.helper.make_node("Cast", [f"{name}_half"], [name], to=onnx.TensorProto.FLOAT)
            )
    nodes = [*converted, *network.graph.node]
    del network.graph.node[:]
    network.graph.node.extend(nodes)
    return network


def accuracy(network: onnx.ModelProto, calibration: Calibration) -> Accuracy:
    """Median errors of a network on the held-out images; infinite where the scene is not the right one."""
    outputs = _outputs(network, calibration.held_out)
    fields = len(calibration.decoding.OUTPUT._fields)
    decoded = calibration.decoding.decode(
        calibration.decoding.OUTPUT(*outputs[:fields]), intrinsics=calibration.intrinsics
    )
    error = pose_error(decoded.world_from_cam.numpy().to(np.float64), calibration.world_from_cam)
    is_right = to_numpy(decoded.scene) == calibration.scene
    meters, degrees = (np.where(is_right & np.isfinite(each), each, np.inf) for each in error)
    scenes = np.unique(calibration.scene)
    of_meters, of_degrees = (
        float(np.mean([np.median(each[calibration.scene == scene]) for scene in scenes]))
        for each in (meters, degrees)
    )
    novelty = float(np.quantile(outputs[fields], 0.99)) if len(outputs) > fields else 0.0
    return Accuracy(of_meters, of_degrees, novelty)


def _decoded(
    network: onnx.ModelProto,
    images: UInt8[NDArray[np.uint8], "n 3 h w"],
    decoding: Decoding,
    camera: Float32[NDArray[np.float32], "3 3"] | None,
) -> Pose:
    """The poses that a network gives for images of one camera."""
    values = decoding.OUTPUT(*_outputs(network, images)[: len(decoding.OUTPUT._fields)])
    intrinsics = None if camera is None else np.broadcast_to(camera, (len(images), 3, 3))
    return decoding.decode(values, intrinsics=intrinsics).world_from_cam.numpy().to(np.float64)


def _outputs(
    network: onnx.ModelProto, images: UInt8[NDArray[np.uint8], "n 3 h w"]
) -> list[NDArray[np.float32]]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        network.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    batches = [session.run(None, {"images": batch}) for batch in _batches(images)]
    return [np.concatenate(parts) for parts in zip(*batches, strict=True)]


# --- The graph ----------------------------------------------------------------------------------------------


def _layers(network: onnx.ModelProto) -> list[onnx.NodeProto]:
    """The convolutions and matrix products with weights, without those of the novelty alone.

    Eight bits are too coarse for the distance between an image's features and those of the training images.
    """
    weights = {each.name for each in network.graph.initializer}
    outputs = [each.name for each in network.graph.output]
    of_poses = _before(network, [name for name in outputs if name != "novelty"])
    return [
        node
        for node in network.graph.node
        if node.op_type in ("Conv", *_PRODUCTS)
        and node.input[1] in weights
        and node.name in of_poses
        and not _is_stacked(node, network)
    ]


def _between(network: onnx.ModelProto, convolutions: Sequence[onnx.NodeProto]) -> list[onnx.NodeProto]:
    """The operations behind one of the convolutions and before another one."""
    before = _before(network, [node.input[0] for node in convolutions])
    reached: set[str] = {name for node in convolutions for name in node.output}
    for node in network.graph.node:  # in an order in which they can run
        if reached & {*node.input}:
            reached |= {*node.output}
    return [
        node
        for node in network.graph.node
        if node.op_type in _BETWEEN and node.name in before and reached & {*node.input}
    ]


def _before(network: onnx.ModelProto, tensors: Sequence[str]) -> set[str]:
    """The names of the nodes that some tensors depend on."""
    wanted, found = {*tensors}, set()
    for node in reversed(network.graph.node):
        if wanted & {*node.output}:
            found.add(node.name)
            wanted |= {*node.input}
    return found


def _is_stacked(node: onnx.NodeProto, network: onnx.ModelProto) -> bool:
    """Whether it is a product with weights of three or more dimensions: ONNX Runtime cannot quantise it."""
    stacked = {each.name for each in network.graph.initializer if len(each.dims) > 2}
    return node.op_type in _PRODUCTS and bool(stacked & {*node.input})


def _is_transposed(node: onnx.NodeProto) -> bool:
    return any(each.name == "transB" and each.i for each in node.attribute)


def _description(node: onnx.NodeProto, network: onnx.ModelProto) -> str:
    """A layer in words, such as "Conv 3x3, 32 to 64"."""
    shape = next([*each.dims] for each in network.graph.initializer if each.name == node.input[1])
    if node.op_type != "Conv":
        inputs, outputs = shape[::-1] if _is_transposed(node) else shape
        return f"product {inputs} to {outputs}"
    outputs, inputs, *kernel = shape
    return f"convolution {'x'.join(map(str, kernel))}, {inputs} to {outputs}"


def _copy(network: onnx.ModelProto) -> onnx.ModelProto:
    copied = onnx.ModelProto()
    copied.CopyFrom(network)
    return copied
