"""Export a checkpoint to one ONNX file with everything that locating needs, and check it."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper, parser
from torch import nn

from camloc.core.config import to_builtins
from camloc.core.files import write_atomically
from camloc.core.sealed import CHECKSUM, PLACEHOLDER, with_own_checksum
from camloc.core.silence import without_logs, without_warnings
from camloc.data.image_io import Preprocess
from camloc.geometry.arrays import to_numpy
from camloc.geometry.camera import Camera
from camloc.inference.network import Network
from camloc.inference.onnx.quantization import RUNTIME_DOMAIN, Calibration, Quantised, quantised
from camloc.inference.onnx.runtime import (
    METADATA_KEY,
    DecodingRecord,
    ExportInput,
    ExportMetadata,
    ExportPrecision,
    load_onnx,
    output_names,
)
from camloc.inference.torch_network import TorchNetwork
from camloc.models.checkpoint import Checkpoint
from camloc.models.novelty import WithNovelty

INPUT = "image"
"""Name of the input: (height, width, 3) RGB, 8 bits, upright or as stored: as the training images were."""

# As `Preprocess.canvas`, from top to bottom; {...} are filled in. Sizes are computed in double precision, so
# that they are rounded as Python rounds them.
_GRAPH = """
<ir_version: 10, opset_import: ["" : {opset}]>
scale_and_cut (uint8[height, width, 3] image) => (float[1, 3, {height}, {width}] images)
<
  double[2] target = {{{height}, {width}}}, double[1] short_side = {{{short_side}}},
  int64[2] cut_size = {{{height}, {width}}}, int64[1] two = {{2}}, int64[2] axes = {{2, 3}},
  int64[2] one_image = {{1, 3}}, int64[1] first = {{0}}, float[1] white = {{255.0}}
>
{{
  size = Shape <start = 0, end = 2> (image)
  exact_size = Cast <to = 11> (size)
  cover = Div (target, exact_size)
  least = ReduceMax (cover)
  shorter = ReduceMin (exact_size)
  wanted = Div (short_side, shorter)
  scale = Max (least, wanted)
  exact_canvas = Mul (exact_size, scale)
  rounded = Round (exact_canvas)
  canvas_size = Cast <to = 7> (rounded)
  canvas = Max (canvas_size, cut_size)
  sizes = Concat <axis = 0> (one_image, canvas)
  colours = Transpose <perm = [2, 0, 1]> (image)
  batch = Unsqueeze (colours, first)
  scaled = Resize <mode = "linear", antialias = 1> (batch, , , sizes)
  rest = Sub (canvas, cut_size)
  corner = Div (rest, two)
  end = Add (corner, cut_size)
  cut = Slice (scaled, corner, end, axes)
  levels = Cast <to = 1> (cut)
  images = Div (levels, white)
}}
"""


def export_onnx(
    checkpoint: Checkpoint,
    path: Path,
    *,
    precision: ExportPrecision = "float32",
    calibration: Calibration | None = None,
    input: ExportInput = "tensor",
) -> Quantised | None:
    """Write a checkpoint's network as an ONNX file, with everything that locating needs in its metadata.

    The input is `images`: (batch, 3, height, width) float32 RGB in [0, 1], with any batch size; or `image`,
    see `INPUT`. The outputs are the fields of the model's output, by name; a
    checkpoint with a novelty detector also has `novelty` (batch,), which for images of its scenes is at most
    the metadata's `novelty_threshold`. Decoding the outputs into poses is not part of the network (see the
    model's page).

    Args:
        checkpoint: of the network.
        path: of the file.
        precision: "int8" for products of 8-bit integers, which need a quarter of the space and less time.
            Poses then differ a little.
        calibration: training images for "int8"; None to leave convolutions in single precision.
        input: what the network is given.

    Returns:
        What was quantised, or None in single precision.

    Raises:
        CamlocError: the file cannot be written.
    """
    metadata, model = checkpoint.metadata, checkpoint.model.cpu().eval()
    network: nn.Module = model
    if checkpoint.novelty_detector is not None:
        network = WithNovelty(model, checkpoint.novelty_detector.cpu())
    images = torch.zeros(2, 3, metadata.preprocess.height, metadata.preprocess.width)
    exported = onnx_program(network, images, output_names(model.decoding, metadata))
    integers = None
    if precision == "int8":
        integers = quantised(exported, calibration)
        exported = integers.network
    if input == "image":
        exported = with_image_input(exported, metadata.preprocess)
    described = _export_metadata(checkpoint, precision, input)
    if integers is not None and metadata.novelty_threshold is not None:
        threshold = metadata.novelty_threshold * integers.novelty_factor
        described = replace(described, metadata=replace(metadata, novelty_threshold=threshold))
    entry = exported.metadata_props.add()
    entry.key = METADATA_KEY
    entry.value = json.dumps(to_builtins(described), allow_nan=False)
    entry = exported.metadata_props.add()
    entry.key, entry.value = CHECKSUM, PLACEHOLDER
    write_atomically(path, with_own_checksum(exported.SerializeToString()))
    return integers


def onnx_program(
    network: nn.Module, images: torch.Tensor, outputs: list[str] | None = None
) -> onnx.ModelProto:
    """A network with the input `images` and any batch size as ONNX; `images` holds two or more."""
    with without_warnings, without_logs():
        program = torch.onnx.export(
            network,
            (images,),
            input_names=["images"],
            output_names=outputs,
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    made: onnx.ModelProto = program.model_proto
    _use_global_pooling(made)
    _use_fused_attention(made)
    _remove_traces(made)
    return made


def _use_global_pooling(network: onnx.ModelProto) -> None:
    """Replace means over the rows and columns of maps by the operation of this name.

    Both compute the same. ONNX Runtime computes this one in integers, in the order in which convolutions
    leave their maps: EfficientNet takes a fifth less time in int8 with it.
    """
    values = {each.name: each for each in network.graph.initializer}
    for node in network.graph.node:
        if node.op_type != "ReduceMean" or len(node.input) < 2 or node.input[1] not in values:
            continue
        options = {each.name: each.i for each in node.attribute}
        axes = numpy_helper.to_array(values[node.input[1]])
        if sorted(axes % 4) == [2, 3] and options.get("keepdims", 1) and _is_of_maps(node, network):
            node.op_type = "GlobalAveragePool"
            del node.input[1:]
            del node.attribute[:]


def _is_of_maps(node: onnx.NodeProto, network: onnx.ModelProto) -> bool:
    """Whether the input of a node is known to have four dimensions."""
    return any(
        each.name == node.input[0] and len(each.type.tensor_type.shape.dim) == 4
        for each in network.graph.value_info
    )


def _use_fused_attention(network: onnx.ModelProto) -> None:
    """Replace the products and the softmax of an attention layer by one operation of ONNX Runtime.

    Both compute the same. The operation never holds the weights of all queries and keys: a layer of 784 cells
    takes a sixth less time with it, and needs no transposed copies.
    """
    graph, values = network.graph, {each.name: each for each in network.graph.initializer}
    made_by = {output: node for node in graph.node for output in node.output}
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)

    def followed(node: onnx.NodeProto, *kinds: str) -> onnx.NodeProto | None:
        """The last of a chain of nodes of these kinds, each the only reader of the one before."""
        for kind in kinds:
            found = readers.get(node.output[0], [])
            if len(found) != 1 or found[0].op_type != kind:
                return None
            (node,) = found
        return node

    def projected(name: str) -> tuple[str, float, int]:
        """The (batch, cells, width) tensor that heads are cut from, its factor, and the number of heads."""
        factor, heads = 1.0, 0
        while (node := made_by.get(name)) is not None and node.op_type in ("Mul", "Reshape", "Transpose"):
            constant = numpy_helper.to_array(values[node.input[1]]) if _has_constant(node, values) else None
            if node.op_type == "Mul":
                if constant is None or constant.size != 1:
                    break
                factor *= float(constant.item())
            elif constant is not None and constant.size == 4:
                heads = int(constant[2])
            name = node.input[0]
        return name, factor, heads

    for softmax in [node for node in graph.node if node.op_type == "Softmax"]:
        scores, product = made_by.get(softmax.input[0]), followed(softmax, "MatMul")
        last = None if product is None else followed(product, "Transpose", "Reshape")
        if product is None or last is None or scores is None or scores.op_type != "MatMul":
            continue
        (query, factor, heads), (key, other, _) = map(projected, scores.input)
        value, scale, _ = projected(product.input[1])
        if not heads or scale != 1.0:
            continue
        last.CopyFrom(
            onnx.helper.make_node(
                "MultiHeadAttention",
                [query, key, value],
                [last.output[0]],
                name=last.name,
                domain=RUNTIME_DOMAIN,
                num_heads=heads,
                scale=factor * other,
            )
        )
    if any(node.domain == RUNTIME_DOMAIN for node in graph.node):
        network.opset_import.append(onnx.helper.make_opsetid(RUNTIME_DOMAIN, 1))
        _remove_unread(graph)


def _has_constant(node: onnx.NodeProto, values: dict[str, onnx.TensorProto]) -> bool:
    return len(node.input) > 1 and node.input[1] in values


def _remove_unread(graph: onnx.GraphProto) -> None:
    """Remove the nodes and weights that no output of the network depends on."""
    wanted, nodes = {each.name for each in graph.output}, []
    for node in reversed(graph.node):
        if wanted & {*node.output}:
            nodes.append(node)
            wanted |= {*node.input}
    # Copies, which outlive the lists that they are taken from.
    kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in reversed(nodes)]
    weights = [
        onnx.TensorProto.FromString(each.SerializeToString())
        for each in graph.initializer
        if each.name in wanted
    ]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(kept)
    graph.initializer.extend(weights)


def _remove_traces(network: onnx.ModelProto) -> None:
    """Remove the exporter's notes on where in the source each node is from, with paths of this machine."""
    del network.graph.metadata_props[:]
    for each in (*network.graph.node, *network.graph.value_info, *network.graph.input, *network.graph.output):
        del each.metadata_props[:]
        each.doc_string = ""


def _export_metadata(
    checkpoint: Checkpoint, precision: ExportPrecision, input: ExportInput
) -> ExportMetadata:
    scenes = [
        torch.cat((poses.translation, poses.quaternion_wxyz()), dim=-1).tolist()
        for poses in checkpoint.training_poses
    ]
    return ExportMetadata(
        metadata=checkpoint.metadata,
        decoding=DecodingRecord.of(checkpoint.model.decoding.numpy()),
        training_poses=tuple(tuple((*row,) for row in rows) for rows in scenes),
        parameters=checkpoint.model.parameter_count(),
        precision=precision,
        input=input,
    )


def largest_difference(checkpoint: Checkpoint, path: Path, *, count: int = 3) -> float:
    """The largest difference of any element of the pose matrices of a checkpoint and its exported file.

    Both run on `count` images of noise, which is not the batch size that the network was exported with.
    """
    preprocess = checkpoint.metadata.preprocess
    size = (count, 3, preprocess.height, preprocess.width)
    levels = np.random.default_rng(0).integers(0, 256, size)  # of a file, for networks that take bytes
    images = levels.astype(np.float32) / np.float32(255.0)
    width, height = float(preprocess.width), float(preprocess.height)
    camera = Camera(preprocess.width, preprocess.height, width, width, width / 2, height / 2)
    intrinsics = np.broadcast_to(camera.matrix().astype(np.float32), (count, 3, 3))

    def matrices(network: Network) -> NDArray[np.float64]:
        output = network.predict(images).values
        decoded = network.decoding.decode(output, intrinsics=intrinsics)
        return to_numpy(decoded.world_from_cam.matrix())

    return float(np.abs(matrices(TorchNetwork(checkpoint)) - matrices(load_onnx(path))).max())


def with_image_input(network: onnx.ModelProto, preprocess: Preprocess) -> onnx.ModelProto:
    """The network with the input `image` (`INPUT`) instead of a batch of prepared images.

    It computes what `Preprocess.cut` does, without removing the distortion of lenses. Its outputs are those
    of a batch of one image.
    """
    opset = next(each.version for each in network.opset_import if each.domain == "")
    before = parser.parse_model(
        _GRAPH.format(
            opset=opset, height=preprocess.height, width=preprocess.width, short_side=preprocess.short_side
        )
    )
    before.ir_version = network.ir_version
    before.opset_import.extend(each for each in network.opset_import if each.domain)
    network = onnx.compose.add_prefix(network, "network/", rename_inputs=False, rename_outputs=False)
    return onnx.compose.merge_models(before, network, io_map=[("images", "images")])
