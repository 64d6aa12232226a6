"""What a relative pose regressor is shown of frames, as photographs that are located and as references."""

import torch
from torch import Tensor

from camloc.core.augment import Draws, centre_cut
from camloc.core.model import Latents
from camloc.recipes.student import RelativeRecipe, StudentRecipe
from camloc.refiners.image_decoder import ImageDecoder
from camloc.refiners.pose_autoencoder import PoseAutoencoder
from camloc.refiners.position import PositionRefinement, PositionRefiner
from camloc.refiners.query import Query
from camloc.refiners.virtual_view import enlarged
from camloc.runs.teach_decoder import encoded
from camloc.runs.teacher import PictureProgress, Teacher, all_poses
from camloc.training.decoding import decoded_pictures
from camloc.training.pictures import Pictures
from camloc.training.plan import Plan
from camloc.training.relative_lesson import Examination, Seen
from camloc.training.teacher import Taught


class Sights:
    """What is seen of a run's frames; built once, with everything that does not change computed."""

    def __init__(
        self,
        teacher: Teacher,
        recipe: StudentRecipe,
        settings: RelativeRecipe,
        encoder: PoseAutoencoder,
        decoder: ImageDecoder | None,
        progress: PictureProgress | None,
    ) -> None:
        self.teacher, self.settings = teacher, settings
        self.preprocess, self.poses = teacher.checkpoint.facts.preprocess, all_poses(teacher.learned)
        self.pictures = teacher.pictures(teacher.learned)
        self.encodings = encoded(encoder, teacher.learned)
        self.decoded = None if decoder is None else decoded_pictures(decoder, self.encodings)
        is_latent = settings.config.sees == "latents"
        self.taught = teacher.taught(teacher.learned, recipe, progress=progress) if is_latent else None
        self.held: Taught | None = None
        if teacher.holds_out:
            self.held = teacher.taught(teacher.held, recipe, variants=1)
        looks = teacher.holds_out and not is_latent
        self.held_images = self._whole(teacher.pictures(teacher.held)) if looks else None

    def query(self, rows: Tensor, generator: torch.Generator) -> Seen:
        """Photographs, changed at random, or the teacher's latents of one of their variants."""
        device = self.teacher.device
        if self.taught is not None:
            count = len(self.poses)
            variants = len(self.taught) // count
            chosen = rows + count * torch.randint(variants, (len(rows),), generator=generator)
            content = Latents(*(half[chosen.to(device)] for half in self.taught.latents))
            return Seen(content, self.taught.world_from_cam[chosen.to(device)])
        plan = Plan((), self.preprocess.width, self.preprocess.height, augment=self.settings.augment)
        draws = Draws(generator, len(rows), slice(0, len(rows)))
        batch = self.pictures.drawn(rows, plan, draws, device=device)
        return Seen(batch.images, batch.world_from_cam)

    def reference(self, rows: Tensor, generator: torch.Generator) -> Seen:
        """Training frames as references: encodings, decoded pictures, or the photographs."""
        del generator
        if self.decoded is not None and self.settings.references == "photographs":
            return Seen(self._whole(self.pictures, rows), self.poses[rows].to(self.teacher.device))
        return self._remembered(rows)

    def examination(self) -> Examination | None:
        """The held-out frames, with the references that they would get in use: never a photograph."""
        if self.held is None:
            return None
        one = PositionRefinement("neighbours", neighbours=1)
        search = PositionRefiner(one, self.teacher.training_poses)
        near = search.nearest(Query(self.held.answers.to("cpu"), self.held.scene))
        content = self.held.latents if self.held_images is None else self.held_images
        return Examination(Seen(content, self.held.world_from_cam), self._remembered(near[:, 0]))

    def _remembered(self, rows: Tensor) -> Seen:
        """Training frames as references without their photographs."""
        device = self.teacher.device
        rows, poses = rows.to(device), self.poses[rows].to(device)
        if self.decoded is None:
            return Seen(Latents(*(half[rows] for half in self.encodings)), poses)
        width, height = self.preprocess.width, self.preprocess.height
        return Seen(enlarged(self.decoded[rows].float() / 255.0, width=width, height=height), poses)

    def _whole(self, pictures: Pictures, rows: Tensor | None = None) -> Tensor:
        """Photographs as they are."""
        chosen = torch.arange(len(pictures)) if rows is None else rows
        batch = pictures.batch(chosen, device=self.teacher.device)
        return centre_cut(batch, width=self.preprocess.width, height=self.preprocess.height).images
