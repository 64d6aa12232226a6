"""A checkpoint's network as ONNX: one file with everything that an answer needs."""

import json
from pathlib import Path

import torch
from torch import nn

from camloc.checkpoint import Checkpoint
from camloc.core.config import to_builtins
from camloc.core.files import write_atomically
from camloc.core.model import GeometryModel, Regressor
from camloc.core.recognition import Recognising
from camloc.core.silence import without_logs, without_warnings
from camloc.exported import METADATA_KEY, ExportPrecision, Metadata, constants_of, output_names


def export_onnx(checkpoint: Checkpoint, path: Path, *, precision: ExportPrecision = "float32") -> None:
    """Write a checkpoint's network as ONNX, with everything an answer needs in its metadata.

    Input `images`: (batch, 3, height, width) float32 RGB in [0, 1], any batch. Outputs: the fields of
    the model's output, by name, and `unlikeness` (batch,) where the places are told from others: up to
    `recognised_within` of the facts a picture is of one of them. Decoding outputs into poses stays outside
    (see the model's page).

    Args:
        checkpoint: of the network.
        path: of the file.
        precision: "int8" for matrix products of 8-bit whole numbers, four of which take the room of one
            number and on most processors the time of one; answers then differ a little.

    Raises:
        CamlocError: the file cannot be written.
    """
    facts = checkpoint.facts
    size = (facts.preprocess.height, facts.preprocess.width)
    model = checkpoint.model.cpu().eval()
    network: nn.Module = model
    if checkpoint.recognition is not None:
        assert isinstance(model, GeometryModel | Regressor), "no other model tells its places from others"
        network = Recognising(model, checkpoint.recognition.cpu())
    with without_warnings, without_logs():
        program = torch.onnx.export(
            network,
            (torch.zeros(2, 3, *size),),
            input_names=["images"],
            output_names=output_names(model, facts),
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            dynamo=True,
            verbose=False,
        )
        assert program is not None
        exported = program.model_proto
    if precision == "int8":
        # Here, because it loads what answering from a file does not need.
        from camloc.quantization import in_whole_numbers

        exported = in_whole_numbers(exported)
    entry = exported.metadata_props.add()
    entry.key = METADATA_KEY
    entry.value = json.dumps(to_builtins(_metadata(checkpoint, precision)), allow_nan=False)
    write_atomically(path, exported.SerializeToString())


def _metadata(checkpoint: Checkpoint, precision: ExportPrecision) -> Metadata:
    seven = [
        torch.cat((poses.translation, poses.quaternion_wxyz()), dim=-1).tolist()
        for poses in checkpoint.training_poses
    ]
    return Metadata(
        facts=checkpoint.facts,
        constants={name: value.tolist() for name, value in constants_of(checkpoint.model).items()},
        training_poses=tuple(tuple((*row,) for row in rows) for rows in seven),
        precision=precision,
    )
