"""Small networks that stand beside a checkpoint: folders in the run, each with its weights and a JSON file.

A companion belongs to the weights that it has learned from. Their digest stands in its JSON, and beside other
weights it is no companion.
"""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from camloc.checkpoint import Checkpoint
from camloc.core.config import from_json, to_json
from camloc.core.files import write_atomically
from camloc.errors import CheckpointError, RecipeError
from camloc.geometry.pose_index import PoseMetric
from camloc.refiners.pose_autoencoder import PoseAutoencoder, PoseAutoencoderConfig
from camloc.refiners.position import WAYS, PositionRefinement, PositionRefiner, Way
from camloc.refiners.query import Refiner

FORMAT = 1
WEIGHTS = "weights.safetensors"
AUTOENCODER = "autoencoder"

Facts = TypeVar("Facts")

# Where no frames were held out that could choose.
UNTRIED = PositionRefinement("anchored", neighbours=10, ridge=1.0, metric=PoseMetric(turn_weight=0.3))


@dataclass(frozen=True)
class HeldOutErrors:
    """Median errors on the frames held out of training."""

    meters: float
    degrees: float


@dataclass(frozen=True)
class AutoencoderFacts:
    """What `autoencoder/autoencoder.json` holds.

    Attributes:
        teacher: digest of the weights that it has learned from.
        scenes: names of the places, in the order of their numbers.
        config: its settings.
        latents: sizes of the teacher's position and orientation latents.
        recipe: name of the recipe that it was taught by.
        answers: the teacher's errors, or None where no frames were held out.
        student: errors of the teacher's heads on the encodings of the true poses, or None.
        student_of_answers: the same on the encodings of the teacher's own answers, or None.
        refined: median position errors in metres with each way of refining, by its name.
        best_way: the way that was best on the held-out frames, or "none".
        settings: of every way that were best on them, by its name; empty where no frames were held out.
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
    refined: dict[str, float] = field(default_factory=dict)
    best_way: Way | Literal["none"] = "none"
    settings: dict[str, PositionRefinement] = field(default_factory=dict)
    format: int = FORMAT


def digest(network: nn.Module) -> str:
    """A digest of a network's weights."""
    facts = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        facts.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    return facts.hexdigest()[:32]


def run_around(folder: Path) -> Path:
    """The run folder of a run folder, or of a checkpoint's folder in it."""
    return folder.parent if folder.name == "checkpoint" else folder


def save_autoencoder(run: Path, facts: AutoencoderFacts, encoder: PoseAutoencoder) -> None:
    """Write an auto-encoder beside a run's checkpoint; a reader sees the old one or the new one.

    Raises:
        CamlocError: the folder cannot be written.
    """
    _save(run / AUTOENCODER, facts, encoder)


def autoencoder_facts(run: Path) -> AutoencoderFacts | None:
    """What is known about the auto-encoder in a run folder, whichever weights taught it, or None.

    Raises:
        CheckpointError: it is damaged.
    """
    return _facts(run_around(run) / AUTOENCODER, AutoencoderFacts)


def load_autoencoder(run: Path, checkpoint: Checkpoint) -> tuple[AutoencoderFacts, PoseAutoencoder] | None:
    """The auto-encoder of a checkpoint in a run folder, or None where none has learned from its weights.

    Raises:
        CheckpointError: it is damaged.
    """
    facts = autoencoder_facts(run)
    if facts is None or facts.scenes != checkpoint.facts.scenes or facts.teacher != digest(checkpoint.model):
        return None
    encoder = PoseAutoencoder(facts.config, latents=facts.latents, scenes=len(facts.scenes))
    _fill(encoder, run_around(run) / AUTOENCODER)
    return facts, encoder


def refiners_of(run: Path, checkpoint: Checkpoint) -> dict[str, Refiner]:
    """All that can refine a checkpoint's answers, by name; nothing without an auto-encoder of its own.

    Raises:
        CheckpointError: the auto-encoder is damaged.
    """
    found = load_autoencoder(run, checkpoint)
    if found is None:
        return {}
    facts, encoder = found
    return {way: PositionRefiner(settings_of(way, facts), checkpoint.training_poses, encoder) for way in WAYS}


def chosen_refiner(run: Path, checkpoint: Checkpoint, refine: str) -> tuple[str, dict[str, Refiner]]:
    """The way that is meant, and what refines so: nothing for "none".

    Args:
        run: its folder, or an exported network.
        checkpoint: of it.
        refine: a way, "none", or "auto" for what was best on held-out frames.

    Raises:
        CheckpointError: the auto-encoder is damaged.
        RecipeError: there is no such way, or no auto-encoder of these weights for it.
    """
    if refine == "none":
        return refine, {}
    known = ("none", "auto", *WAYS)
    if refine not in known:
        raise RecipeError(f"there is no way '{refine}' to refine positions; choose one of {', '.join(known)}")
    if refine == "neighbours":
        control = PositionRefinement("neighbours")
        return refine, {refine: PositionRefiner(control, checkpoint.training_poses)}
    found = load_autoencoder(run, checkpoint)
    if found is None:
        raise RecipeError(
            f"{run_around(run)} has no pose auto-encoder that learned from its weights; teach one with "
            f"camloc autoencode, or refine by 'neighbours'"
        )
    way = found[0].best_way if refine == "auto" else refine
    return way, {} if way == "none" else {way: refiners_of(run, checkpoint)[way]}


def settings_of(way: Way, facts: AutoencoderFacts) -> PositionRefinement:
    """The settings of a way that held-out frames chose, or usual ones."""
    return facts.settings.get(way, UNTRIED if way == "anchored" else PositionRefinement(way))


def _save(folder: Path, facts: object, network: nn.Module) -> None:
    tensors = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    write_atomically(folder / WEIGHTS, save(tensors))
    write_atomically(folder / f"{folder.name}.json", to_json(facts))


def _facts(folder: Path, kind: type[Facts]) -> Facts | None:
    """What a companion's JSON file says, or None where there is no companion."""
    path = folder / f"{folder.name}.json"
    if not path.exists():
        return None
    try:
        facts = from_json(path.read_bytes(), kind)
    except (RecipeError, OSError) as problem:
        raise CheckpointError(
            f"{path} cannot be read: {problem}; teach it anew with camloc autoencode"
        ) from None
    found = getattr(facts, "format", None)
    if found != FORMAT:
        raise CheckpointError(f"{path} has format {found}, this version of camloc reads {FORMAT}")
    return facts


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
