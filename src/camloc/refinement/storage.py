"""Companions in the run's folder: each a folder with weights and a JSON file, written and read."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from camloc.core.config import from_json, to_json
from camloc.core.files import write_atomically
from camloc.errors import CheckpointError, RecipeError
from camloc.models.checkpoint import Checkpoint
from camloc.refinement.image_decoder import ImageDecoder, ImageDecoderConfig
from camloc.refinement.pose_autoencoder import PoseAutoencoder, PoseAutoencoderConfig
from camloc.refinement.position import PositionRefinement
from camloc.refinement.relative_pose import RelativePoseConfig, RelativePoseRegressor
from camloc.refinement.virtual_view import VirtualView

FORMAT = 1


@dataclass(frozen=True)
class PositionErrors:
    """Position errors on the frames held out of training, in metres.

    Attributes:
        median, mean: of all frames.
        sure_gain: how much less the mean is than that of the network's own answers, less three standard
            errors of the difference; what is positive is no luck of single frames.
    """

    median: float
    mean: float
    sure_gain: float = 0.0


@dataclass(frozen=True)
class HeldOutErrors:
    """Median errors on the frames held out of training."""

    meters: float
    degrees: float


@dataclass(frozen=True)
class AutoencoderMetadata:
    """What `autoencoder/autoencoder.json` holds.

    Attributes:
        teacher: digest of the weights that it has learned from.
        scenes: names of the scenes, in the order of their numbers.
        config: its settings.
        latents: sizes of the teacher's position and orientation latents.
        recipe: name of the recipe that it was taught by.
        answers: the teacher's errors, or None where no frames were held out.
        student: errors of the teacher's heads on the encodings of the true poses, or None.
        student_of_answers: the same on the encodings of the teacher's own answers, or None.
        refined: position errors with each way of refining, by its name; "none" is the teacher's own.
        settings: of every way that were best on held-out frames, by its name; empty where there were none.
        format: version of this layout.
    """

    teacher: str
    scenes: tuple[str, ...]
    config: PoseAutoencoderConfig
    latents: tuple[int, int]
    recipe: str = ""
    answers: HeldOutErrors | None = None
    student: HeldOutErrors | None = None
    student_of_answers: HeldOutErrors | None = None
    refined: dict[str, PositionErrors] = field(default_factory=dict)
    settings: dict[str, PositionRefinement] = field(default_factory=dict)
    format: int = FORMAT


@dataclass(frozen=True)
class DecoderMetadata:
    """What `decoder/decoder.json` holds.

    Attributes:
        encoder: digest of the auto-encoder whose encodings it reads.
        config: its settings.
        latents: sizes of the encodings' halves.
        is_shared: whether they are one.
        differences: mean absolute differences to the images held out, of brightness from 0 to 1, by what
            was compared: "decoded", "nearest image" and "mean image".
        format: version of this layout.
    """

    encoder: str
    config: ImageDecoderConfig
    latents: tuple[int, int]
    is_shared: bool
    differences: dict[str, float] = field(default_factory=dict)
    format: int = FORMAT


@dataclass(frozen=True)
class RelativePoseMetadata:
    """What `relative/relative.json` holds.

    Attributes:
        encoder: digest of the auto-encoder whose encodings it reads.
        config: its settings.
        latents: sizes of the encodings' halves.
        view: the settings of virtual relative pose regression that were best on the held-out frames.
        published: position errors with the paper's settings, or None where no frames were held out.
        refined: with the best ones, or None.
        format: version of this layout.
    """

    encoder: str
    config: RelativePoseConfig
    latents: tuple[int, int]
    view: VirtualView = VirtualView()
    published: PositionErrors | None = None
    refined: PositionErrors | None = None
    format: int = FORMAT


WEIGHTS = "weights.safetensors"
AUTOENCODER = "autoencoder"
DECODER = "decoder"
RELATIVE = "relative"

Metadata = TypeVar("Metadata")


def digest(network: nn.Module) -> str:
    """A digest of a network's weights."""
    metadata = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        metadata.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    return metadata.hexdigest()[:32]


def run_around(folder: Path) -> Path:
    """The run folder of a run folder, or of a checkpoint's folder in it."""
    return folder.parent if folder.name == "checkpoint" else folder


def save_autoencoder(run: Path, metadata: AutoencoderMetadata, encoder: PoseAutoencoder) -> None:
    """Write an auto-encoder beside a run's checkpoint; a reader sees the old one or the new one.

    Raises:
        CamlocError: the folder cannot be written.
    """
    _save(run / AUTOENCODER, metadata, encoder.kept())


def autoencoder_metadata(run: Path) -> AutoencoderMetadata | None:
    """What is known about the auto-encoder in a run folder, whichever weights taught it, or None.

    Raises:
        CheckpointError: it is damaged.
    """
    return _metadata(run_around(run) / AUTOENCODER, AutoencoderMetadata)


def load_autoencoder(run: Path, checkpoint: Checkpoint) -> tuple[AutoencoderMetadata, PoseAutoencoder] | None:
    """The auto-encoder of a checkpoint in a run folder, or None where none has learned from its weights.

    Raises:
        CheckpointError: it is damaged.
    """
    metadata = autoencoder_metadata(run)
    if (
        metadata is None
        or metadata.scenes != checkpoint.metadata.scenes
        or metadata.teacher != digest(checkpoint.model)
    ):
        return None
    encoder = PoseAutoencoder(metadata.config, latents=metadata.latents, scenes=len(metadata.scenes))
    _fill(encoder, run_around(run) / AUTOENCODER)
    return metadata, encoder


def save_decoder(run: Path, metadata: DecoderMetadata, decoder: ImageDecoder) -> None:
    """Write an image decoder beside a run's auto-encoder.

    Raises:
        CamlocError: the folder cannot be written.
    """
    _save(run / DECODER, metadata, decoder.state_dict())


def load_decoder(run: Path, encoder: PoseAutoencoder) -> tuple[DecoderMetadata, ImageDecoder] | None:
    """The image decoder of an auto-encoder in a run folder, or None where none has learned from it.

    Raises:
        CheckpointError: it is damaged.
    """
    folder = run_around(run) / DECODER
    metadata = _metadata(folder, DecoderMetadata)
    if metadata is None or metadata.encoder != digest(encoder):
        return None
    decoder = ImageDecoder(metadata.config, latents=metadata.latents, is_shared=metadata.is_shared)
    _fill(decoder, folder)
    return metadata, decoder


def save_relative(run: Path, metadata: RelativePoseMetadata, regressor: RelativePoseRegressor) -> None:
    """Write a relative pose regressor beside a run's auto-encoder.

    Raises:
        CamlocError: the folder cannot be written.
    """
    _save(run / RELATIVE, metadata, regressor.state_dict())


def load_relative(
    run: Path, encoder: PoseAutoencoder
) -> tuple[RelativePoseMetadata, RelativePoseRegressor] | None:
    """The relative pose regressor of an auto-encoder in a run folder, or None where none learned from it.

    Raises:
        CheckpointError: it is damaged.
    """
    folder = run_around(run) / RELATIVE
    metadata = _metadata(folder, RelativePoseMetadata)
    if metadata is None or metadata.encoder != digest(encoder):
        return None
    regressor = RelativePoseRegressor(metadata.config, latents=metadata.latents)
    _fill(regressor, folder)
    return metadata, regressor


def _save(folder: Path, metadata: object, state: Mapping[str, Tensor]) -> None:
    tensors = {name: value.detach().cpu().contiguous() for name, value in state.items()}
    write_atomically(folder / WEIGHTS, save(tensors))
    write_atomically(folder / f"{folder.name}.json", to_json(metadata))


def _metadata(folder: Path, kind: type[Metadata]) -> Metadata | None:
    """What a companion's JSON file says, or None where there is no companion."""
    path = folder / f"{folder.name}.json"
    if not path.exists():
        return None
    try:
        metadata = from_json(path.read_bytes(), kind)
    except (RecipeError, OSError) as problem:
        raise CheckpointError(
            f"{path} cannot be read: {problem}; teach it anew with camloc autoencode"
        ) from None
    found = getattr(metadata, "format", None)
    if found != FORMAT:
        raise CheckpointError(f"{path} has format {found}, this version of camloc reads {FORMAT}")
    return metadata


def _fill(network: nn.Module, folder: Path) -> None:
    """Put a companion's weights into a network of its structure, in evaluation mode."""
    path = folder / WEIGHTS
    try:
        tensors: dict[str, Tensor] = load_file(path)
        network.load_state_dict(tensors)
    except (SafetensorError, OSError, RuntimeError):
        raise CheckpointError(
            f"{path} is missing, damaged or does not fit {folder.name}.json; teach it anew with camloc "
            f"autoencode"
        ) from None
    network.eval()


__all__ = [
    "AUTOENCODER",
    "DECODER",
    "RELATIVE",
    "WEIGHTS",
    "AutoencoderMetadata",
    "DecoderMetadata",
    "HeldOutErrors",
    "PositionErrors",
    "RelativePoseMetadata",
    "autoencoder_metadata",
    "digest",
    "load_autoencoder",
    "load_decoder",
    "load_relative",
    "run_around",
    "save_autoencoder",
    "save_decoder",
    "save_relative",
]
