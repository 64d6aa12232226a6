"""A checkpoint's network as ONNX: one file with everything that an answer needs."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from torch import nn

from camloc.core.config import to_builtins
from camloc.core.files import write_atomically
from camloc.core.silence import without_logs, without_warnings
from camloc.geometry.camera import Camera
from camloc.inference.onnx.runtime import (
    METADATA_KEY,
    ExportMetadata,
    ExportPrecision,
    constants_of,
    load_onnx,
    output_names,
)
from camloc.models.checkpoint import Checkpoint
from camloc.models.novelty import WithNovelty


def export_onnx(checkpoint: Checkpoint, path: Path, *, precision: ExportPrecision = "float32") -> None:
    """Write a checkpoint's network as ONNX, with everything an answer needs in its metadata.

    Input `images`: (batch, 3, height, width) float32 RGB in [0, 1], any batch. Outputs: the fields of
    the model's output, by name, and `novelty` (batch,) where the scenes are told from others: up to
    `novelty_threshold` of the metadata an image is of one of them. Decoding outputs into poses stays outside
    (see the model's page).

    Args:
        checkpoint: of the network.
        path: of the file.
        precision: "int8" for matrix products of 8-bit whole numbers, four of which take the room of one
            number and on most processors the time of one; answers then differ a little.

    Raises:
        CamlocError: the file cannot be written.
    """
    metadata = checkpoint.metadata
    size = (metadata.preprocess.height, metadata.preprocess.width)
    model = checkpoint.model.cpu().eval()
    network: nn.Module = model
    if checkpoint.novelty_detector is not None:
        network = WithNovelty(model, checkpoint.novelty_detector.cpu())
    with without_warnings, without_logs():
        program = torch.onnx.export(
            network,
            (torch.zeros(2, 3, *size),),
            input_names=["images"],
            output_names=output_names(model, metadata),
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            dynamo=True,
            verbose=False,
        )
        assert program is not None
        exported = program.model_proto
    if precision == "int8":
        # Here, because it loads what answering from a file does not need.
        from camloc.inference.onnx.export import in_whole_numbers

        exported = in_whole_numbers(exported)
    entry = exported.metadata_props.add()
    entry.key = METADATA_KEY
    entry.value = json.dumps(to_builtins(_metadata(checkpoint, precision)), allow_nan=False)
    write_atomically(path, exported.SerializeToString())


def _metadata(checkpoint: Checkpoint, precision: ExportPrecision) -> ExportMetadata:
    seven = [
        torch.cat((poses.translation, poses.quaternion_wxyz()), dim=-1).tolist()
        for poses in checkpoint.training_poses
    ]
    return ExportMetadata(
        metadata=checkpoint.metadata,
        constants={name: value.tolist() for name, value in constants_of(checkpoint.model).items()},
        training_poses=tuple(tuple((*row,) for row in rows) for rows in seven),
        precision=precision,
    )


def largest_difference(checkpoint: Checkpoint, path: Path, *, count: int = 3) -> float:
    """Largest difference of any number of the poses of an exported network and of its original.

    Compared on images of noise, in a batch of another size than the network was exported with.
    """
    preprocess = checkpoint.metadata.preprocess
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(count, 3, preprocess.height, preprocess.width, generator=generator)
    exported = load_onnx(path).model
    width, height = float(preprocess.width), float(preprocess.height)
    camera = Camera(preprocess.width, preprocess.height, width, width, width / 2, height / 2)
    intrinsics = torch.from_numpy(camera.matrix()).float().expand(count, 3, 3)
    with torch.inference_mode():
        ours, theirs = (
            model.decode(model(images), intrinsics=intrinsics).world_from_cam.matrix()
            for model in (checkpoint.model, exported)
        )
    return float((ours - theirs).abs().max())


# Convolutions stay as they are: the small ones of mobile networks get no faster, and lose more.
_PRODUCTS = ["MatMul", "Gemm"]


def in_whole_numbers(network: onnx.ModelProto) -> onnx.ModelProto:
    """The network with the weights of its matrix products as 8-bit whole numbers, scaled output by output.

    What they are multiplied with is scaled as it comes, batch by batch, so no images are needed.
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
