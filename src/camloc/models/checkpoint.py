"""A checkpoint: a folder with `weights.safetensors` and `checkpoint.json`; nothing is pickled."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor
from torch.overrides import TorchFunctionMode

from camloc.core.config import from_builtins
from camloc.core.sealed import SealError, read_settings, size_beyond_bounds, weights_of_pair, write_pair
from camloc.errors import CheckpointError, RecipeError
from camloc.geometry.pose import Pose
from camloc.models import build_model, config_class
from camloc.models.base import PoseModel
from camloc.models.metadata import (
    FORMAT,
    METADATA,
    Metadata,
    checked_metadata,
    checkpoint_folder,
    training_poses,
)
from camloc.models.novelty import NoveltyDetector

WEIGHTS = "weights.safetensors"

# Names of tensors in `weights.safetensors`.
_MODEL = "model."
_TRAINING_POSES = "training_poses."
_SUMMARIES = "novelty_detector.summaries"

# Functions that draw random numbers into the tensor that is their first argument.
_DRAWS = {
    "normal_",
    "uniform_",
    "trunc_normal_",
    "kaiming_normal_",
    "kaiming_uniform_",
    "xavier_normal_",
    "xavier_uniform_",
    "orthogonal_",
}


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A trained model with everything that locating an image needs.

    Attributes:
        metadata: the content of `checkpoint.json`.
        model: the network, in evaluation mode.
        training_poses: for each scene, its (n,) training poses.
        novelty_detector: None if there is none, or if it is part of the network, as in an ONNX file.
    """

    metadata: Metadata
    model: PoseModel[Any]
    training_poses: tuple[Pose, ...]
    novelty_detector: NoveltyDetector | None = None


def save_checkpoint(
    folder: Path,
    metadata: Metadata,
    model: PoseModel[Any],
    training_poses: tuple[Pose, ...],
    novelty_detector: NoveltyDetector | None = None,
) -> None:
    """Write a checkpoint with its checksums; a reader finds the old one or the new one.

    Raises:
        CamlocError: the folder cannot be written.
    """
    tensors = {f"{_MODEL}{name}": value for name, value in model.state_dict().items()}
    for scene, poses in zip(metadata.scenes, training_poses, strict=True):
        rows = torch.cat((poses.translation, poses.quaternion_wxyz()), dim=-1).double()
        tensors[f"{_TRAINING_POSES}{scene}"] = rows
    if novelty_detector is not None:
        tensors[_SUMMARIES] = novelty_detector.summaries
    contiguous = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    write_pair(folder / METADATA, metadata, folder / WEIGHTS, save(contiguous))


def load_checkpoint(folder: Path) -> Checkpoint:
    """Read a checkpoint from its folder, or from the run folder that contains it.

    Raises:
        CheckpointError: it is missing, incomplete, damaged, or of another version of camloc.
    """
    folder = checkpoint_folder(folder)
    metadata, weights_path = _read_pair(folder)
    source = folder / WEIGHTS
    _check_shapes(metadata, weights_path, folder)
    model = model_from_metadata(metadata, source=folder / METADATA)
    tensors = _read_weights(weights_path)
    weights = {name.removeprefix(_MODEL): value for name, value in tensors.items() if name.startswith(_MODEL)}
    try:
        model.load_state_dict(weights)
    except RuntimeError:
        raise _misfit(folder) from None
    poses = tuple(
        training_poses(tensors.get(f"{_TRAINING_POSES}{scene}"), scene=scene, source=source)
        for scene in metadata.scenes
    )
    return Checkpoint(metadata, model.eval(), poses, _novelty_detector(metadata, model, tensors, source))


def model_from_metadata(metadata: Metadata, *, source: Path) -> PoseModel[Any]:
    """Build the network that the metadata describe, its weights not initialised.

    Raises:
        CheckpointError: this version of camloc has no such model or settings, or the settings are invalid.
    """
    if giant := size_beyond_bounds(metadata.config):
        raise CheckpointError(f"{source} describes a network that is too large: {giant}; {_AGAIN}")
    scenes = metadata.config.get("scenes", 1)
    if scenes != len(metadata.scenes):
        raise CheckpointError(
            f"{source} names {len(metadata.scenes)} scenes for a model of {scenes}; copy the run again"
        )
    try:
        config: Any = from_builtins(metadata.config, config_class(metadata.model))
        with _WithoutRandomWeights():
            return build_model(metadata.model, config)
    except RecipeError as problem:
        raise CheckpointError(f"{source} is of another version of camloc: {problem}") from None
    except (RuntimeError, ValueError, TypeError, ArithmeticError, MemoryError) as problem:
        reason = (str(problem).splitlines() or [type(problem).__name__])[0]
        raise CheckpointError(f"{source} describes a network that cannot be built: {reason}") from None


class _WithoutRandomWeights(TorchFunctionMode):
    """Inside it, no random numbers are drawn into tensors, which hold anything.

    The weights of a checkpoint replace them all. Drawing them would take as long as reading them, and on
    torch's `meta` device it would import torch's compiler, which takes a second.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") in _DRAWS:
            return args[0] if args else kwargs["tensor"]
        return (torch.empty if func in (torch.rand, torch.randn) else func)(*args, **kwargs)


def _novelty_detector(
    metadata: Metadata, model: PoseModel[Any], tensors: dict[str, Tensor], source: Path
) -> NoveltyDetector | None:
    """The novelty detector, if the metadata have a novelty threshold.

    Raises:
        CheckpointError: its summaries are missing, do not fit the model, or are not finite.
    """
    if metadata.novelty_threshold is None:
        return None
    summaries = tensors.get(_SUMMARIES)
    channels = model.backbone.novelty_channels
    if summaries is None or summaries.ndim != 2 or len(summaries) == 0 or summaries.shape[1] != channels:
        raise CheckpointError(
            f"{source} lacks the summaries for novelty detection, or they do not fit the model; "
            f"train the model again or copy the run again"
        )
    if not bool(summaries.isfinite().all()):
        raise CheckpointError(f"{source} is damaged: the summaries for novelty detection are not finite")
    return NoveltyDetector(summaries)


def _read_pair(folder: Path) -> tuple[Metadata, Path]:
    """The metadata, and the path of the weights that belong to them."""
    for attempt in (1, 2):
        name = METADATA
        try:
            metadata, sha256 = read_settings(folder / METADATA, Metadata, format=FORMAT)
            checked_metadata(metadata, source=folder / METADATA)
            name = WEIGHTS
            return metadata, weights_of_pair(folder / WEIGHTS, sha256)
        except SealError as problem:
            # Another process may just have replaced both files between these lines.
            if attempt == 2 or name == METADATA:
                raise CheckpointError(f"{folder / name} {problem}; {_AGAIN}") from None
    raise AssertionError("unreachable")


_AGAIN = "train the model again or copy the run again"


def _check_shapes(metadata: Metadata, weights_path: Path, folder: Path) -> None:
    """Raise CheckpointError if the weights do not have the shapes of the network that the metadata describe.

    Only the header of the file is read, and a network without memory for its weights is built, so that
    metadata that describe a giant are refused before anything is allocated.
    """
    with torch.device("meta"):
        model = model_from_metadata(metadata, source=folder / METADATA)
    expected = {f"{_MODEL}{name}": list(value.shape) for name, value in model.state_dict().items()}
    try:
        with safe_open(weights_path, "pt") as file:
            names = [name for name in file.keys() if name.startswith(_MODEL)]  # noqa: SIM118 - no mapping
            found = {name: list(file.get_slice(name).get_shape()) for name in names}
    except (SafetensorError, OSError):
        raise CheckpointError(f"{folder / WEIGHTS} is damaged; {_AGAIN}") from None
    if found != expected:
        raise _misfit(folder)


def _misfit(folder: Path) -> CheckpointError:
    return CheckpointError(f"{folder / WEIGHTS} does not fit the model in {METADATA}; {_AGAIN}")


def _read_weights(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError):
        raise CheckpointError(f"{path} is damaged; {_AGAIN}") from None
