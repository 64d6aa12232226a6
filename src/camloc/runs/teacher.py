"""A finished run whose regressor can teach, with its frames as the run itself held them out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from camloc.checkpoint import Checkpoint, load_checkpoint
from camloc.companions import run_around
from camloc.core.config import from_builtins
from camloc.core.device import torch_device
from camloc.core.model import Regressor
from camloc.core.types import Frame, Scene, oriented, poses_of
from camloc.errors import DatasetError, RecipeError
from camloc.geometry.pose import Pose
from camloc.recipes.student import StudentRecipe
from camloc.runs.facts import RunFacts, load_scenes
from camloc.training.held_out import HoldOut, hold_out, keep_orientations
from camloc.training.pictures import Pictures
from camloc.training.places import load_places
from camloc.training.teacher import Taught, frozen, taught_views

PictureProgress = Callable[[int, int], None]

# Frames of each place.
Places = tuple[tuple[Frame, ...], ...]


@dataclass(frozen=True, eq=False)
class Teacher:
    """A run whose regressor can teach.

    Attributes:
        run: its folder.
        checkpoint: its weights and facts.
        model: the regressor, frozen.
        scenes: the places, in the order of their numbers.
        learned, held: of each place the frames that it learned from and those that chose its weights, all
            with orientations.
        device: where it runs.
    """

    run: Path
    checkpoint: Checkpoint
    model: Regressor[Any]
    scenes: tuple[Scene, ...]
    learned: Places
    held: Places
    device: torch.device

    @classmethod
    def load(cls, run: Path, *, device: str = "cpu") -> "Teacher":
        """The teacher of a run folder.

        Raises:
            CheckpointError: the run is incomplete or damaged.
            DatasetError: its frames cannot be read any more.
            RecipeError: its model is no regressor, or this machine has no such device.
        """
        place, folder = torch_device(device), run_around(run)
        facts, checkpoint = RunFacts.load(folder), load_checkpoint(folder)
        if not isinstance(checkpoint.model, Regressor):
            raise RecipeError(
                f"{checkpoint.facts.model} regresses no pose from latents, so it cannot teach a pose "
                f"auto-encoder; train a regressor such as hyperpose"
            )
        scenes = load_scenes(facts.data)
        settings = from_builtins(facts.settings["hold_out"], HoldOut)
        every = int(facts.settings.get("keep_orientation_every", 0))
        split = [hold_out(scene.train, settings) for scene in scenes]
        learned = tuple(oriented(keep_orientations(kept, every)) for kept, _ in split)
        for frames, source in zip(learned, facts.data, strict=True):
            if not frames:
                raise DatasetError(f"{source.root} has no training frame with an orientation any more")
        model = frozen(checkpoint.model).to(place)
        return cls(folder, checkpoint, model, scenes, learned, tuple(held for _, held in split), place)

    @property
    def training_poses(self) -> tuple[Pose, ...]:
        """The poses of the frames that were learned from, of each place."""
        return tuple(poses_of(frames) for frames in self.learned)

    @property
    def holds_out(self) -> bool:
        """Whether any frames were held out."""
        return any(self.held)

    def pictures(self, places: Places, *, progress: PictureProgress | None = None) -> Pictures:
        """The pictures of frames, as the network's input is cut from them."""
        return load_places(places, self.checkpoint.facts.preprocess, progress=progress)

    def taught(
        self,
        places: Places,
        recipe: StudentRecipe,
        *,
        variants: int | None = None,
        progress: PictureProgress | None = None,
    ) -> Taught:
        """What the teacher sees in frames, of each as many views as are asked for, or the recipe says."""
        preprocess = self.checkpoint.facts.preprocess
        return taught_views(
            self.model,
            self.pictures(places),
            width=preprocess.width,
            height=preprocess.height,
            augment=recipe.augment,
            variants=variants or recipe.variants,
            device=self.device,
            progress=progress,
        ).to(self.device)


def scene_numbers(places: Sequence[Sequence[Frame]]) -> Tensor:
    """The number of its place for each frame, place after place."""
    counts = torch.tensor([len(frames) for frames in places])
    return torch.arange(len(places)).repeat_interleave(counts)


def all_poses(places: Places) -> Pose:
    """The poses of all frames, place after place."""
    return Pose.cat([poses_of(frames) for frames in places if frames])
