"""The refiners of a run, and the choice of their settings on held-out frames."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import NamedTuple, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from camloc.core.device import CPU
from camloc.errors import RecipeError
from camloc.geometry.pose import Pose
from camloc.geometry.pose_search import PoseMetric
from camloc.models.checkpoint import Checkpoint
from camloc.refinement.image_decoder import DecoderMetadata, ImageDecoder
from camloc.refinement.pose_autoencoder import AutoencoderMetadata, PoseAutoencoder
from camloc.refinement.position import PositionRefiner
from camloc.refinement.refiner import (
    REFINEMENT_METHODS,
    PositionErrors,
    PositionRefinement,
    Query,
    RefinementMethod,
    Refiner,
)
from camloc.refinement.relative_pose import (
    RelativePoseMetadata,
    RelativePoseRegressor,
    VirtualView,
    VirtualViewRefiner,
)
from camloc.refinement.storage import run_around
from camloc.refinement.teacher import TeacherOutputs

# The method of `VirtualViewRefiner`.
VIRTUAL = "virtual"

Settings = TypeVar("Settings")


@dataclass(frozen=True, eq=False)
class AuxiliaryNetworks:
    """The auxiliary networks of a checkpoint, read from its run's folder.

    Attributes:
        metadata: of the pose auto-encoder.
        encoder: the pose auto-encoder.
        relative: the relative pose regressor with its metadata, or None.
        decoder: the image decoder, or None.
    """

    metadata: AutoencoderMetadata
    encoder: PoseAutoencoder
    relative: tuple[RelativePoseMetadata, RelativePoseRegressor] | None
    decoder: ImageDecoder | None

    @classmethod
    def load(cls, run: Path, checkpoint: Checkpoint) -> "AuxiliaryNetworks | None":
        """The networks in a run's folder that were trained from these weights; None without an auto-encoder.

        Raises:
            CheckpointError: the files of a network are damaged.
        """
        found = AutoencoderMetadata.load(run, checkpoint.model)
        if found is None:
            return None
        metadata, encoder = found
        relative = RelativePoseMetadata.load(run, encoder)
        decoder = None if relative is None else DecoderMetadata.load(run, encoder)
        return cls(metadata, encoder, relative, None if decoder is None else decoder[1])

    def errors(self) -> dict[str, PositionErrors]:
        """The position errors on held-out frames by refinement method; "none" is the network's own."""
        errors = dict(self.metadata.refined)
        if errors and self.relative is not None and self.relative[0].refined is not None:
            errors[VIRTUAL] = self.relative[0].refined
        return errors

    def refiners(self, training_poses: tuple[Pose, ...], device: torch.device) -> dict[str, Refiner]:
        """A refiner for each method, by name. Those of positions run on the CPU, the others on `device`."""
        refiners: dict[str, Refiner] = {
            method: PositionRefiner(
                self.metadata.settings.get(method, default_settings(method)), training_poses, self.encoder
            )
            for method in REFINEMENT_METHODS
        }
        if self.relative is None:
            return refiners
        metadata, regressor = self.relative
        if regressor.config.sees != "images" or self.decoder is not None:
            decoder = None if self.decoder is None else self.decoder.to(device)
            refiners[VIRTUAL] = VirtualViewRefiner(
                metadata.view, training_poses, self.encoder.to(device), regressor.to(device), decoder
            )
        return refiners


def load_refiners(
    run: Path,
    checkpoint: Checkpoint | None,
    refine: str,
    *,
    training_poses: tuple[Pose, ...],
    every_method: bool = False,
    device: torch.device = CPU,
) -> tuple[str, dict[str, Refiner]]:
    """The refinement method to use, and the refiners by method; none for "none".

    Args:
        run: its folder, or an exported file.
        checkpoint: of the run; None for an exported network, which has no auxiliary networks.
        refine: a method, "none", or "auto" for the method that was best on held-out frames.
        training_poses: of each scene.
        every_method: also return the refiners of the other methods that the run has.
        device: of the networks that see images.

    Raises:
        CheckpointError: the files of an auxiliary network are damaged.
        RecipeError: there is no such method, or the run has no auxiliary network for it.
    """
    known = ("none", "auto", *REFINEMENT_METHODS, VIRTUAL)
    if refine not in known:
        raise RecipeError(f"there is no refinement method '{refine}'; choose one of {', '.join(known)}")
    needs_networks = refine not in ("none", "neighbours")
    networks = None
    if checkpoint is not None and (needs_networks or every_method):
        networks = AuxiliaryNetworks.load(run, checkpoint)
    if networks is None and needs_networks:
        raise RecipeError(
            f"{run_around(run)} has no pose auto-encoder that was trained from its weights; train one with "
            f"camloc autoencode, or refine by 'neighbours'"
        )
    refiners = {} if networks is None else networks.refiners(training_poses, device)
    if refine == "auto":
        refine = "none" if networks is None else surest(networks.errors())
    if refine == "neighbours":  # the control, with the paper's settings
        refiners[refine] = PositionRefiner(PositionRefinement("neighbours"), training_poses)
    if refine != "none" and refine not in refiners:
        raise RecipeError(
            f"{run_around(run)} has no relative pose regressor that can be used; train one with "
            f"camloc autoencode --virtual"
        )
    if every_method:
        return refine, refiners
    return refine, {name: refiner for name, refiner in refiners.items() if name == refine}


def surest(errors: Mapping[str, PositionErrors]) -> str:
    """The method with the largest sure gain; "none" if no method has a positive one."""
    best = max(errors, key=lambda method: errors[method].sure_gain, default="none")
    return best if best != "none" and errors[best].sure_gain > 0.0 else "none"


def default_settings(method: RefinementMethod) -> PositionRefinement:
    """The settings of a method when held-out frames have chosen none."""
    if method == "anchored":
        return PositionRefinement(method, neighbours=10, ridge=1.0, metric=PoseMetric(turn_weight=0.3))
    return PositionRefinement(method)


# The settings that compete. The paper has three neighbours and leaves the metric open. The method "anchored"
# gains from more neighbours, and the ridge limits how far it moves.
TURN_WEIGHTS = (0.03, 0.1, 0.3, 1.0)
NEIGHBOURS = (3, 10, 30)
RIDGES = (0.01, 0.1, 1.0, 3.0, 10.0)

# Held-out frames are consecutive frames of a recording and similar, so they prove less than their number
# suggests.
STANDARD_ERRORS = 3.0

# Fewer held-out frames have no standard error, and choose nothing.
FEWEST_FRAMES = 2


class RefinementChoice(NamedTuple):
    """The result of trying all refinement methods on held-out frames.

    Attributes:
        settings: the best settings of each method.
        errors: of each method with these settings; "none" is the network's own.
    """

    settings: dict[str, PositionRefinement]
    errors: dict[str, PositionErrors]


def choose_refinement(
    encoder: PoseAutoencoder, training_poses: tuple[Pose, ...], held: TeacherOutputs
) -> RefinementChoice:
    """Choose the settings of each method on held-out frames, which must not be among the training poses.

    With fewer than two held-out frames the methods keep their default settings.
    """
    can_choose = int(held.predicted.is_finite().sum()) >= FEWEST_FRAMES
    settings: dict[str, PositionRefinement] = {}
    errors = {"none": refined_errors(None, held)}
    for method in REFINEMENT_METHODS:
        tried = {
            each: refined_errors(PositionRefiner(each, training_poses, encoder), held)
            for each in (candidates(method) if can_choose else (default_settings(method),))
        }
        settings[method] = most_gaining(tried)
        errors[method] = tried[settings[method]]
    return RefinementChoice(settings, errors)


def candidates(method: RefinementMethod) -> Iterator[PositionRefinement]:
    """The settings of a method that compete."""
    for weight in TURN_WEIGHTS:
        published = PositionRefinement(method, metric=PoseMetric(turn_weight=weight))
        if method != "anchored":
            yield published
            continue
        for count, ridge in product(NEIGHBOURS, RIDGES):
            yield replace(published, neighbours=count, ridge=ridge)


def most_gaining(tried: Mapping[Settings, PositionErrors]) -> Settings:
    """The settings with the largest sure gain; of equal ones the first."""
    return max(tried, key=lambda each: tried[each].sure_gain)


def refined_errors(
    refiner: Refiner | None, held: TeacherOutputs, *, images: Float[Tensor, "n 3 h w"] | None = None
) -> PositionErrors:
    """The errors of a teacher's positions on held-out frames after refinement; unrefined for None."""
    query = Query(held.predicted.to("cpu"), held.scene.cpu(), held.latents, images)
    truth, own = held.world_from_cam.to("cpu"), query.world_from_cam
    refined = own if refiner is None else refiner.refined(query)
    before, after = (
        torch.linalg.vector_norm(poses.translation - truth.translation, dim=-1) for poses in (own, refined)
    )
    gain = (before - after)[query.has_pose()]
    after = after.nan_to_num(nan=torch.inf)
    return PositionErrors(
        median=float(after.median()),
        mean=float(after.mean()),
        sure_gain=0.0 if refiner is None else _sure_gain(gain),
    )


def _sure_gain(gain: Float[Tensor, "n"]) -> float:
    """The mean gain minus some standard errors; 0 for too few frames, which prove no gain."""
    if len(gain) < FEWEST_FRAMES:
        return 0.0
    return float(gain.mean() - STANDARD_ERRORS * gain.std() / math.sqrt(len(gain)))


def choose_virtual_view(
    regressor: RelativePoseRegressor,
    encoder: PoseAutoencoder,
    decoder: ImageDecoder | None,
    training_poses: tuple[Pose, ...],
    held: TeacherOutputs,
    *,
    images: Float[Tensor, "n 3 h w"] | None,
) -> tuple[VirtualView, dict[VirtualView, PositionErrors]]:
    """Choose the settings of virtual relative pose regression on held-out frames, and the errors of all.

    With fewer than two held-out frames these are the paper's settings.
    """
    tried = {
        view: refined_errors(
            VirtualViewRefiner(view, training_poses, encoder, regressor, decoder), held, images=images
        )
        for view in virtual_views()
    }
    return most_gaining(tried), tried


# Shares of the distance to the regressed position; the paper covers all of it.
SHARES = (1.0, 0.75, 0.5, 0.25)


def virtual_views() -> Iterator[VirtualView]:
    """The settings of virtual relative pose regression that compete, the paper's first."""
    nearest = [VirtualView(neighbours=count) for count in (1, 3)]
    repeated = [VirtualView("prediction", iterations=count) for count in (1, 3)]
    for view, share in product([*nearest, *repeated], SHARES):
        yield replace(view, share=share)
