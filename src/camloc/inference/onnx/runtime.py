"""Load an exported `.onnx` file as a checkpoint whose network runs in ONNX Runtime.

The file is complete: beside the network, its metadata hold the checkpoint's metadata, the training poses and
the constants that decoding needs. `camloc.inference.onnx.export` writes it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnxruntime
import torch
from jaxtyping import Float
from torch import Tensor

from camloc.core.config import from_json
from camloc.core.sealed import SealError, check_own_checksum
from camloc.data.batch import Batch
from camloc.errors import CheckpointError, RecipeError
from camloc.models.base import Decoded, FeatureMaps, PoseModel, Prediction
from camloc.models.checkpoint import (
    Checkpoint,
    Metadata,
    checked_metadata,
    model_from_metadata,
    training_poses,
)

# Key of the JSON text in the file's metadata.
METADATA_KEY = "camloc"

# Name of the novelty output, which follows the outputs of the model.
NOVELTY = "novelty"

# Number format of the weights of matrix products.
ExportPrecision = Literal["float32", "int8"]

# A position and a quaternion, w first.
_Row = tuple[float, float, float, float, float, float, float]


@dataclass(frozen=True)
class ExportMetadata:
    """The JSON text in an exported file.

    Attributes:
        metadata: of the checkpoint.
        constants: the model's double precision values, which decoding needs, by name.
        training_poses: for each scene its training poses: positions and quaternions (w first).
        precision: of the matrix products.
    """

    metadata: Metadata
    constants: dict[str, Any]
    training_poses: tuple[tuple[_Row, ...], ...]
    precision: ExportPrecision = "float32"


class OnnxModel(PoseModel[Any]):
    """An exported network with the interface of the model that it was exported from.

    `predict` runs in ONNX Runtime; `decode` is the original model's.
    """

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        original: PoseModel[Any],
        precision: ExportPrecision,
        shapes: tuple[tuple[int, ...], ...],
        path: Path,
    ) -> None:
        """Put a session in front of a model.

        Args:
            session: of the exported network.
            original: the model that it was exported from.
            precision: of its matrix products.
            shapes: of its outputs for one image, without the batch.
            path: of the file, for messages.
        """
        super().__init__()
        self.session = session
        self.precision = precision
        self.shapes, self.path = shapes, path
        # In a tuple, so that it is not a submodule: its weights are not loaded.
        self._original = (original,)

    @property
    def original(self) -> PoseModel[Any]:
        """The model that was exported: its structure and constants, without weights."""
        return self._original[0]

    def predict(
        self,
        images: Float[Tensor, "b 3 h w"],
        *,
        novelty_detector: Callable[[FeatureMaps], Float[Tensor, "b"]] | None = None,
    ) -> Prediction:
        """Run the exported network, which contains the novelty detector if there is one.

        Raises:
            CheckpointError: the network cannot run, or its outputs have other shapes than the model's.
        """
        del novelty_detector
        try:
            outputs = self.session.run(None, {"images": images.detach().cpu().numpy()})
        except Exception:  # ONNX Runtime's errors have no common public base class
            raise CheckpointError(
                f"{self.path} is damaged: its network does not run; export it again"
            ) from None
        expected = [(len(images), *shape) for shape in self.shapes]
        if [each.shape for each in outputs] != expected or any(each.dtype != np.float32 for each in outputs):
            raise CheckpointError(
                f"{self.path} is damaged: its network's outputs are not those of the model in its metadata; "
                f"export it again"
            )
        output_type = _output_type(self.original)
        count = len(output_type._fields)
        output: tuple[Tensor, ...] = output_type(*map(torch.from_numpy, outputs[:count]))
        novelty = torch.from_numpy(outputs[count]) if len(outputs) > count else None
        return Prediction(output, novelty=novelty)

    def heads(self, feature_maps: FeatureMaps, *, width: int, height: int) -> tuple[Tensor, ...]:
        """Not available: an exported network runs as a whole, by `predict`."""
        raise NotImplementedError("an exported network cannot be run from feature maps")

    def decode(self, output: Any, *, intrinsics: Float[Tensor, "b 3 3"] | None = None) -> Decoded:
        """Poses from the network's output, which ONNX Runtime leaves on the CPU."""
        return self.original.decode(output, intrinsics=None if intrinsics is None else intrinsics.cpu())

    def losses(self, output: Any, batch: Batch) -> dict[str, Tensor]:
        """The original's losses. An exported network cannot be trained."""
        return self.original.losses(output, batch)


def is_exported(path: Path) -> bool:
    """Whether a path names an exported file, not a run."""
    return path.suffix == ".onnx"


def runtime_of(checkpoint: Checkpoint) -> str:
    """The name of what runs a checkpoint's network: "PyTorch", "ONNX Runtime" or "ONNX Runtime, int8"."""
    model = checkpoint.model
    if not isinstance(model, OnnxModel):
        return "PyTorch"
    return "ONNX Runtime" if model.precision == "float32" else f"ONNX Runtime, {model.precision}"


def load_onnx(path: Path) -> Checkpoint:
    """Load an exported file as a checkpoint whose model runs in ONNX Runtime.

    Raises:
        CheckpointError: the file is missing, damaged, or was not exported by camloc.
    """
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist; export a run with `camloc export RUN` first")
    try:
        check_own_checksum(path, near="end")
    except SealError as problem:
        raise CheckpointError(f"{path} {problem}; export the run again with `camloc export`") from None
    session = _session(path)
    exported = _read_metadata(session, path)
    metadata = checked_metadata(exported.metadata, source=path)
    with torch.device("meta"):
        original = model_from_metadata(metadata, source=path)
    _check_network(session, original, metadata, path)
    shapes = _output_shapes(original, metadata)
    _set_constants(original, exported.constants, path)
    if len(exported.training_poses) != len(metadata.scenes):
        raise CheckpointError(
            f"{path} is damaged: it does not have training poses for each of its scenes; export it again"
        )
    poses = tuple(
        training_poses(torch.tensor(rows, dtype=torch.float64), scene=scene, source=path)
        for rows, scene in zip(exported.training_poses, metadata.scenes, strict=True)
    )
    return Checkpoint(metadata, OnnxModel(session, original, exported.precision, shapes, path).eval(), poses)


def _session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # an error is reported once, by the exception
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception:  # ONNX Runtime's errors have no common public base class
        raise CheckpointError(f"{path} is damaged or not an ONNX file; export the run again") from None


def _read_metadata(session: onnxruntime.InferenceSession, path: Path) -> ExportMetadata:
    try:
        text = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
    except Exception:  # metadata that are not text
        text = None
    if text is None:
        raise CheckpointError(
            f"{path} was not exported by camloc: it has no metadata of camloc; use `camloc export`"
        )
    try:
        return from_json(text.encode(), ExportMetadata)
    except RecipeError as problem:
        raise CheckpointError(f"{path} is of another version of camloc: {problem}") from None


def _check_network(
    session: onnxruntime.InferenceSession, original: PoseModel[Any], metadata: Metadata, path: Path
) -> None:
    """Raise CheckpointError if the network's inputs and outputs are not those of the metadata."""
    inputs = {each.name: list(each.shape[1:]) for each in session.get_inputs()}
    outputs = [each.name for each in session.get_outputs()]
    size = [3, metadata.preprocess.height, metadata.preprocess.width]
    if inputs != {"images": size} or outputs != output_names(original, metadata):
        raise CheckpointError(f"{path} is damaged: its network does not fit its metadata; export it again")


def _output_shapes(original: PoseModel[Any], metadata: Metadata) -> tuple[tuple[int, ...], ...]:
    """The shapes of an exported network's outputs for one image, without the batch."""
    size = metadata.preprocess
    with torch.no_grad(), torch.device("meta"):
        output = original.eval()(torch.zeros(1, 3, size.height, size.width))
    novelty: list[tuple[int, ...]] = [] if metadata.novelty_threshold is None else [()]
    return (*(tuple(each.shape[1:]) for each in output), *novelty)


def _set_constants(original: PoseModel[Any], constants: dict[str, Any], path: Path) -> None:
    """Set the values that `decode` needs in a model without weights."""
    expected = constants_of(original)
    try:
        values = {name: torch.tensor(value, dtype=torch.float64) for name, value in constants.items()}
    except (TypeError, ValueError, RuntimeError, OverflowError):
        values = {}
    if {name: value.shape for name, value in values.items()} != {
        name: value.shape for name, value in expected.items()
    }:
        raise CheckpointError(
            f"{path} is damaged: its constants do not fit the model in its metadata; export it again"
        )
    for name, value in values.items():
        owner, _, leaf = name.rpartition(".")
        setattr(original.get_submodule(owner), leaf, value)


def constants_of(model: PoseModel[Any]) -> dict[str, Tensor]:
    """The double precision values that a model's `decode` needs, by name."""
    return {name: value for name, value in model.state_dict().items() if value.dtype == torch.float64}


def output_names(model: PoseModel[Any], metadata: Metadata) -> list[str]:
    """The names of an exported network's outputs."""
    return [*_output_type(model)._fields, *([] if metadata.novelty_threshold is None else [NOVELTY])]


def _output_type(model: PoseModel[Any]) -> Any:
    """The NamedTuple that a model's `forward` returns, from its type parameter."""
    for kind in type(model).__mro__:
        for base in getattr(kind, "__orig_bases__", ()):
            for argument in getattr(base, "__args__", ()):
                if hasattr(argument, "_fields"):
                    return argument
    raise TypeError(f"{type(model).__name__} does not declare the type of its output")
