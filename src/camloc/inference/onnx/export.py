"""Export a checkpoint to one ONNX file with everything that locating needs, check it, and quantize it."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnxruntime.quantization import QuantType, quantize_dynamic
from torch import nn

from camloc.core.config import to_builtins
from camloc.core.files import write_atomically
from camloc.core.sealed import CHECKSUM, PLACEHOLDER, with_own_checksum
from camloc.core.silence import without_logs, without_warnings
from camloc.geometry.arrays import to_numpy
from camloc.geometry.camera import Camera
from camloc.inference.network import Network
from camloc.inference.onnx.runtime import (
    METADATA_KEY,
    DecodingRecord,
    ExportMetadata,
    ExportPrecision,
    load_onnx,
    output_names,
)
from camloc.inference.torch_network import TorchNetwork
from camloc.models.checkpoint import Checkpoint
from camloc.models.novelty import WithNovelty


def export_onnx(checkpoint: Checkpoint, path: Path, *, precision: ExportPrecision = "float32") -> None:
    """Write a checkpoint's network as an ONNX file, with everything that locating needs in its metadata.

    The input is `images`: (batch, 3, height, width) float32 RGB in [0, 1], with any batch size. The outputs
    are the fields of the model's output, by name; a checkpoint with a novelty detector also has `novelty`
    (batch,), which for images of its scenes is at most the metadata's `novelty_threshold`. Decoding the
    outputs into poses is not part of the network (see the model's page).

    Args:
        checkpoint: of the network.
        path: of the file.
        precision: "int8" for matrix products of 8-bit integers, which need a quarter of the space and on
            most processors of the time. Poses then differ a little.

    Raises:
        CamlocError: the file cannot be written.
    """
    metadata, model = checkpoint.metadata, checkpoint.model.cpu().eval()
    network: nn.Module = model
    if checkpoint.novelty_detector is not None:
        network = WithNovelty(model, checkpoint.novelty_detector.cpu())
    images = torch.zeros(2, 3, metadata.preprocess.height, metadata.preprocess.width)
    with without_warnings, without_logs():
        program = torch.onnx.export(
            network,
            (images,),
            input_names=["images"],
            output_names=output_names(model.decoding, metadata),
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            dynamo=True,
            verbose=False,
        )
        assert program is not None
        exported = program.model_proto
    if precision == "int8":
        exported = quantized(exported)
    entry = exported.metadata_props.add()
    entry.key = METADATA_KEY
    entry.value = json.dumps(to_builtins(_export_metadata(checkpoint, precision)), allow_nan=False)
    entry = exported.metadata_props.add()
    entry.key, entry.value = CHECKSUM, PLACEHOLDER
    write_atomically(path, with_own_checksum(exported.SerializeToString()))


def _export_metadata(checkpoint: Checkpoint, precision: ExportPrecision) -> ExportMetadata:
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
    )


# Convolutions keep single precision: the small ones of mobile networks get no faster, and lose more.
_PRODUCTS = ["MatMul", "Gemm"]


def quantized(network: onnx.ModelProto) -> onnx.ModelProto:
    """The network with 8-bit integer weights in its matrix products, with one scale for each output.

    The other factor of a product is scaled at run time, one scale for each batch, so that no images are
    needed here.
    """
    excluded = _products_of_stacked_matrices(network)
    # PyTorch's shapes of weights date from before it transposed them; ONNX Runtime rejects them as
    # contradictions.
    del network.graph.value_info[:]
    with TemporaryDirectory(prefix="camloc-") as folder, without_logs():
        path = Path(folder) / "network.onnx"
        quantize_dynamic(
            network,
            path,
            op_types_to_quantize=_PRODUCTS,
            nodes_to_exclude=excluded,
            per_channel=True,
            weight_type=QuantType.QInt8,
            # Processors without VNNI add two products of 8 bits in 16 and saturate: weights of 7 bits do not.
            reduce_range=True,
        )
        return onnx.load(path)


def _products_of_stacked_matrices(network: onnx.ModelProto) -> list[str]:
    """Names of the products with weights of three or more dimensions, which ONNX Runtime cannot quantize."""
    stacked = {each.name for each in network.graph.initializer if len(each.dims) > 2}
    return [node.name for node in network.graph.node if node.op_type in _PRODUCTS and stacked & {*node.input}]


def largest_difference(checkpoint: Checkpoint, path: Path, *, count: int = 3) -> float:
    """The largest difference of any element of the pose matrices of a checkpoint and its exported file.

    Both run on `count` images of noise, which is not the batch size that the network was exported with.
    """
    preprocess = checkpoint.metadata.preprocess
    size = (count, 3, preprocess.height, preprocess.width)
    images = np.random.default_rng(0).random(size, dtype=np.float32)
    width, height = float(preprocess.width), float(preprocess.height)
    camera = Camera(preprocess.width, preprocess.height, width, width, width / 2, height / 2)
    intrinsics = np.broadcast_to(camera.matrix().astype(np.float32), (count, 3, 3))

    def matrices(network: Network) -> NDArray[np.float64]:
        output = network.predict(images).values
        decoded = network.decoding.decode(output, intrinsics=intrinsics)
        return to_numpy(decoded.world_from_cam.matrix())

    return float(np.abs(matrices(TorchNetwork(checkpoint)) - matrices(load_onnx(path))).max())
