"""ONNX out, and ONNX Runtime back in as a model: one file that needs no torch weights beside it."""

import json
import warnings
from pathlib import Path
from typing import Any

import onnxruntime
import torch
from jaxtyping import Float
from torch import Tensor

from camloc.checkpoint import Checkpoint, Facts, model_from_facts
from camloc.core.config import from_builtins, to_builtins
from camloc.core.files import write_atomically
from camloc.core.model import Decoded, PoseModel
from camloc.core.types import Batch
from camloc.errors import CheckpointError, RecipeError
from camloc.geometry.pose import Pose

_METADATA_KEY = "camloc"


class OnnxModel(PoseModel[Any]):
    """An exported network behind the interface of the model that it was exported from.

    `forward` runs in ONNX Runtime; `decode` is the original model's.
    """

    def __init__(self, session: onnxruntime.InferenceSession, original: PoseModel[Any]) -> None:
        super().__init__()
        self.session = session
        # In a tuple, so that it is not a submodule: its weights were never loaded.
        self._original = (original,)

    @property
    def original(self) -> PoseModel[Any]:
        """The model that was exported: its structure and constants, without weights."""
        return self._original[0]

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> tuple[Tensor, ...]:
        """The network's outputs, in the original's order."""
        outputs = self.session.run(None, {"images": images.detach().cpu().numpy()})
        named: tuple[Tensor, ...] = _output_type(self.original)(*map(torch.from_numpy, outputs))
        return named

    def decode(self, output: Any, *, intrinsics: Float[Tensor, "b 3 3"] | None = None) -> Decoded:
        """Poses from the network's output."""
        return self.original.decode(output, intrinsics=intrinsics)

    def losses(self, output: Any, batch: Batch) -> dict[str, Tensor]:
        """The original's losses; there is nothing to train in an exported network."""
        return self.original.losses(output, batch)


def export_onnx(checkpoint: Checkpoint, path: Path) -> None:
    """Write a checkpoint's network as ONNX, with everything an answer needs in its metadata.

    Input `images`: (batch, 3, height, width) float32 RGB in [0, 1], any batch. Outputs: the fields of
    the model's output, by name. Decoding them into poses stays outside (see the model's page).

    Raises:
        CamlocError: the file cannot be written.
    """
    facts = checkpoint.facts
    size = (facts.preprocess.height, facts.preprocess.width)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            checkpoint.model.cpu().eval(),
            (torch.zeros(2, 3, *size),),
            input_names=["images"],
            output_names=list(_output_type(checkpoint.model)._fields),
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            dynamo=True,
            verbose=False,
        )
        assert program is not None
        exported = program.model_proto
    entry = exported.metadata_props.add()
    entry.key = _METADATA_KEY
    entry.value = json.dumps(_metadata(checkpoint))
    write_atomically(path, exported.SerializeToString())


def load_onnx(path: Path) -> Checkpoint:
    """An exported network as a checkpoint whose model runs in ONNX Runtime.

    Raises:
        CheckpointError: the file is missing, damaged, or was not exported by camloc.
    """
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist; export a run with `camloc export RUN` first")
    try:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        data = json.loads(session.get_modelmeta().custom_metadata_map[_METADATA_KEY])
        facts = from_builtins(data["facts"], Facts)
    except KeyError:
        raise CheckpointError(f"{path} was not exported by camloc: its metadata say nothing of it") from None
    except RecipeError as problem:
        raise CheckpointError(f"{path} is of another version of camloc: {problem}") from None
    except Exception as problem:  # ONNX Runtime's errors have no common public root
        raise CheckpointError(f"{path} is damaged: {str(problem).splitlines()[0]}") from None
    with torch.device("meta"):
        original = model_from_facts(facts, source=path)
    for name, values in data["constants"].items():
        owner, _, leaf = name.rpartition(".")
        setattr(original.get_submodule(owner), leaf, torch.tensor(values, dtype=torch.float64))
    poses = tuple(_poses(rows) for rows in data["training_poses"])
    return Checkpoint(facts, OnnxModel(session, original).eval(), poses)


def _metadata(checkpoint: Checkpoint) -> dict[str, Any]:
    return {
        "facts": to_builtins(checkpoint.facts),
        "constants": {
            name: value.tolist()
            for name, value in checkpoint.model.state_dict().items()
            if value.dtype == torch.float64
        },
        "training_poses": [
            torch.cat((poses.translation, poses.quaternion_wxyz()), dim=-1).tolist()
            for poses in checkpoint.training_poses
        ],
    }


def _poses(rows: list[list[float]]) -> Pose:
    seven = torch.tensor(rows, dtype=torch.float64)
    return Pose.from_quaternion_wxyz(seven[:, 3:], seven[:, :3])


def _output_type(model: PoseModel[Any]) -> Any:
    """The NamedTuple that a model's `forward` returns, from its type parameter."""
    for kind in type(model).__mro__:
        for base in getattr(kind, "__orig_bases__", ()):
            for argument in getattr(base, "__args__", ()):
                if hasattr(argument, "_fields"):
                    return argument
    raise TypeError(f"{type(model).__name__} does not say what its output is")


def largest_difference(checkpoint: Checkpoint, path: Path, *, pictures: int = 3) -> float:
    """Largest difference of any number of the poses of an exported network and of its original.

    Compared on pictures of noise, in a batch of another size than the network was exported with.
    """
    preprocess = checkpoint.facts.preprocess
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(pictures, 3, preprocess.height, preprocess.width, generator=generator)
    exported = load_onnx(path).model
    with torch.inference_mode():
        ours, theirs = (
            model.decode(model(images)).world_from_cam.matrix() for model in (checkpoint.model, exported)
        )
    return float((ours - theirs).abs().max())
