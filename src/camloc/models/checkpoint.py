"""A checkpoint: a folder with `weights.safetensors` and `checkpoint.json`, and nothing to unpickle."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from camloc.core.config import from_builtins, from_json, to_builtins, to_json
from camloc.core.files import write_atomically
from camloc.data.image_io import Preprocess
from camloc.data.types import ExpectedError, Unit
from camloc.errors import CheckpointError, RecipeError
from camloc.geometry.camera import Camera
from camloc.geometry.pose import Pose
from camloc.models import build_model, config_class
from camloc.models.base import PoseModel
from camloc.models.novelty import NoveltyDetector

FORMAT = 1
WEIGHTS = "weights.safetensors"
METADATA = "checkpoint.json"

_MODEL = "model."
_TRAINING_POSES = "training_poses."
_KNOWN = "recognition.known"


@dataclass(frozen=True)
class Metadata:
    """What `checkpoint.json` holds.

    Attributes:
        format: version of this layout.
        model: name of the model, which is the name of its file.
        config: its settings.
        preprocess: how an image becomes its input.
        scenes: names of the scenes, in the order of their numbers.
        spread: median error on held-out frames of training, or None; of several scenes the mean of theirs.
        spreads: of several scenes the median errors of each, by name.
        recipe: name of the recipe that it was trained by.
        epoch: when the weights were reached.
        backbone_weights: what the backbone started from.
        outlier_filter: for models that align points, the filter that was best on held-out frames.
        focal: typical focal length of the training images in units of their longer side, or None.
        cameras: the different cameras of the training images, as these are stored.
        units: of the positions in each scene; "m" where empty.
        novelty_threshold: how unlike the training images one of these scenes may be
            (`camloc.models.novelty`), or None where that was not learned.
    """

    format: int
    model: str
    config: dict[str, Any]
    preprocess: Preprocess
    scenes: tuple[str, ...]
    spread: tuple[float, float] | None = None
    spreads: dict[str, tuple[float, float]] = field(default_factory=dict)
    recipe: str = ""
    epoch: int = 0
    backbone_weights: str = "none"
    focal: float | None = None
    cameras: tuple[Camera, ...] = ()
    units: tuple[Unit, ...] = ()
    outlier_filter: Literal["weights", "none", "rigid-ransac", "pnp-ransac"] = "weights"
    novelty_threshold: float | None = None


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A trained model with everything that answering a new image needs.

    Attributes:
        metadata: what it is.
        model: the network, in evaluation mode.
        training_poses: for each scene the (n,) poses that it was learned from.
        recognition: what images of these scenes are told from others by, or None where that was not learned
            or the network itself does it, as an exported one.
    """

    metadata: Metadata
    model: PoseModel[Any]
    training_poses: tuple[Pose, ...]
    recognition: NoveltyDetector | None = None

    def unit_in(self, scene: int) -> Unit:
        """The unit of positions in a scene."""
        return self.metadata.units[scene] if self.metadata.units else "m"

    def expected_error_in(self, scene: int) -> ExpectedError | None:
        """The accuracy to expect of an answer in a scene, or None where that was never validated."""
        found = self.metadata.spread
        if len(self.metadata.scenes) > 1:
            found = self.metadata.spreads.get(self.metadata.scenes[scene])
        return None if found is None else ExpectedError(*found)


def save_checkpoint(
    folder: Path,
    metadata: Metadata,
    model: PoseModel[Any],
    training_poses: tuple[Pose, ...],
    recognition: NoveltyDetector | None = None,
) -> None:
    """Write a checkpoint; a reader sees the old one or the new one.

    Raises:
        CamlocError: the folder cannot be written.
    """
    tensors = {f"{_MODEL}{name}": value for name, value in model.state_dict().items()}
    for scene, poses in zip(metadata.scenes, training_poses, strict=True):
        seven = torch.cat((poses.translation, poses.quaternion_wxyz()), dim=-1).double()
        tensors[f"{_TRAINING_POSES}{scene}"] = seven
    if recognition is not None:
        tensors[_KNOWN] = recognition.known
    contiguous = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    write_atomically(folder / WEIGHTS, save(contiguous))
    write_atomically(folder / METADATA, to_json(metadata))


def metadata_for(model_name: str, config: Any, preprocess: Preprocess, scenes: tuple[str, ...]) -> Metadata:
    """The metadata of a model that is about to be trained."""
    return Metadata(FORMAT, model_name, to_builtins(config), preprocess, scenes)


def load_checkpoint(folder: Path) -> Checkpoint:
    """Read a checkpoint, from its folder or from the run folder around it.

    Raises:
        CheckpointError: it is missing, incomplete, damaged, or of another version of camloc.
    """
    inner = folder / "checkpoint"
    folder = inner if (inner / METADATA).exists() else folder
    if not (folder / METADATA).exists():
        raise CheckpointError(
            f"{folder} holds no checkpoint: {METADATA} is missing; train a model into it first"
        )
    metadata = _read_metadata(folder / METADATA)
    tensors = _read_weights(folder / WEIGHTS)
    model = model_from_metadata(metadata, source=folder / METADATA)
    weights = {name.removeprefix(_MODEL): value for name, value in tensors.items() if name.startswith(_MODEL)}
    try:
        model.load_state_dict(weights)
    except RuntimeError:
        raise CheckpointError(f"{folder / WEIGHTS} does not fit the model in {METADATA}") from None
    poses = tuple(
        training_poses(tensors.get(f"{_TRAINING_POSES}{scene}"), scene=scene, source=folder / WEIGHTS)
        for scene in metadata.scenes
    )
    return Checkpoint(metadata, model.eval(), poses, _recognition(metadata, model, tensors, folder / WEIGHTS))


def model_from_metadata(metadata: Metadata, *, source: Path) -> PoseModel[Any]:
    """A network with the structure that the metadata describe, and any weights.

    Raises:
        CheckpointError: this version of camloc has no such model or settings, or they make no network.
    """
    scenes = metadata.config.get("scenes", 1)
    if scenes != len(metadata.scenes):
        raise CheckpointError(f"{source} names {len(metadata.scenes)} scenes for a model of {scenes}")
    try:
        return build_model(metadata.model, from_builtins(metadata.config, config_class(metadata.model)))
    except RecipeError as problem:
        raise CheckpointError(f"{source} is of another version of camloc: {problem}") from None
    except (RuntimeError, ValueError, TypeError, ArithmeticError, MemoryError) as problem:
        reason = (str(problem).splitlines() or [type(problem).__name__])[0]
        raise CheckpointError(f"{source} describes a network that cannot be built: {reason}") from None


def checked_metadata(metadata: Metadata, *, source: Path) -> Metadata:
    """The metadata, if this version of camloc reads their format.

    Raises:
        CheckpointError: it does not, or they name no scene.
    """
    if metadata.format != FORMAT:
        raise CheckpointError(f"{source} has format {metadata.format}, this version of camloc reads {FORMAT}")
    within = metadata.novelty_threshold
    if within is not None and not within > 0.0:
        raise CheckpointError(f"{source} is damaged: no image can be within {within} of others")
    if not metadata.scenes:
        raise CheckpointError(f"{source} names no scene; train the model again or copy it anew")
    return metadata


def training_poses(rows: Tensor | None, *, scene: str, source: Path) -> Pose:
    """The (n,) poses that a scene was learned from, of (n, 7) positions and quaternions, w first.

    Raises:
        CheckpointError: they are missing, or are no poses.
    """
    if rows is None or rows.ndim != 2 or rows.shape[0] == 0 or rows.shape[1] != 7:
        raise CheckpointError(f"{source} lacks the training poses of '{scene}'")
    pose = Pose.from_quaternion_wxyz(rows[:, 3:].double(), rows[:, :3].double())
    if not bool(pose.is_finite().all()):
        raise CheckpointError(f"{source} is damaged: training poses of '{scene}' are no numbers")
    return pose


def _recognition(
    metadata: Metadata, model: PoseModel[Any], tensors: dict[str, Tensor], source: Path
) -> NoveltyDetector | None:
    """What is told from others by, if that was learned.

    Raises:
        CheckpointError: it was, and is missing or does not fit the model.
    """
    if metadata.novelty_threshold is None:
        return None
    known = tensors.get(_KNOWN)
    channels = getattr(getattr(model, "backbone", None), "novelty_channels", 0)
    if known is None or known.ndim != 2 or len(known) == 0 or known.shape[1] != channels:
        raise CheckpointError(
            f"{source} lacks what its scenes are recognised by, or it does not fit the model"
        )
    if not bool(known.isfinite().all()):
        raise CheckpointError(f"{source} is damaged: what its scenes are recognised by are no numbers")
    return NoveltyDetector(known)


def _read_metadata(path: Path) -> Metadata:
    try:
        metadata = from_json(path.read_bytes(), Metadata)
    except (RecipeError, OSError) as problem:
        raise CheckpointError(f"{path} cannot be read: {problem}") from None
    return checked_metadata(metadata, source=path)


def _read_weights(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing; the checkpoint is incomplete") from None
    except (SafetensorError, OSError):
        raise CheckpointError(f"{path} is damaged; train the model again or copy it anew") from None
