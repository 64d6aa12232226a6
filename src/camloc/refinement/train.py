"""Train the auxiliary networks of a teacher, choose on held-out frames how they refine, and store them.

`prepare_autoencoder` and `train_autoencoder` come first; `train_decoder` and `train_relative` read the
encodings of the stored pose auto-encoder. Nothing is written before a training ends.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from camloc.core.files import write_atomically
from camloc.core.sampling import even_rows
from camloc.data.augment import Draws, centre_cut
from camloc.data.image_cache import ImageCache
from camloc.errors import RecipeError
from camloc.geometry.pose import Pose, pose_error
from camloc.models.base import Latents
from camloc.models.losses import PoseLossConfig
from camloc.refinement.choice import choose_refinement, choose_virtual_view
from camloc.refinement.image_decoder import (
    DecoderMetadata,
    Decoding,
    ImageDecoder,
    decoded_images,
    image_error,
    side_by_side,
    small_images,
)
from camloc.refinement.pairs import joined_pairs, overlapping_pairs
from camloc.refinement.pose_autoencoder import (
    AutoencoderMetadata,
    Distillation,
    HeldOutErrors,
    PoseAutoencoder,
)
from camloc.refinement.position import PositionRefiner
from camloc.refinement.recipe import DecoderRecipe, RelativeRecipe, StudentRecipe
from camloc.refinement.refiner import PositionRefinement, Query
from camloc.refinement.relative_pose import (
    HeldOutPairs,
    Inputs,
    RelativePoseMetadata,
    RelativePoseRegressor,
    RelativePoseTask,
    RelativeStudent,
    VirtualView,
    enlarged,
)
from camloc.refinement.storage import digest
from camloc.refinement.teacher import (
    ImageProgress,
    SceneFrames,
    Teacher,
    TeacherOutputs,
    all_poses,
    scene_numbers,
)
from camloc.training.loop import Epoch, fit_auxiliary

# The figure of true and decoded images, in the decoder's folder, and its number of columns.
IMAGES = "images.png"
_COLUMNS = 6

# The paper's search for one reference: the training pose nearest to a pose.
_NEAREST = PositionRefinement("neighbours", neighbours=1)


@dataclass(frozen=True, eq=False)
class AutoencoderTraining:
    """A pose auto-encoder that is ready to be trained.

    Attributes:
        teacher: the regressor that it is trained from.
        recipe: its settings, with the branches that it really has.
        name: of the recipe.
        task: network and loss of the training.
        seed: of the training.
    """

    teacher: Teacher
    recipe: StudentRecipe
    name: str
    task: Distillation
    seed: int

    @property
    def encoder(self) -> PoseAutoencoder:
        """The pose auto-encoder."""
        return self.task.network.encoder


def prepare_autoencoder(
    teacher: Teacher,
    recipe: StudentRecipe,
    *,
    name: str,
    seed: int = 0,
    outputs: tuple[TeacherOutputs, TeacherOutputs | None] | None = None,
    progress: ImageProgress | None = None,
) -> AutoencoderTraining:
    """Compute the teacher's outputs, unless they are given, and build the encoder.

    Args:
        teacher: the regressor.
        recipe: the settings.
        name: of the recipe.
        seed: of all randomness.
        outputs: the result of `split_outputs`, or None.
        progress: called with the number of images done and of all.
    """
    train, held = outputs or split_outputs(teacher, recipe, progress=progress)
    if train.is_shared:
        recipe = replace(recipe, config=replace(recipe.config, branches="shared"))
    torch.manual_seed(seed)
    position, orientation = (int(half.shape[1]) for half in train.latents)
    encoder = PoseAutoencoder(
        recipe.config, latents=(position, orientation), scenes=len(teacher.checkpoint.metadata.scenes)
    ).to(teacher.device)
    encoder.observe(teacher.training_poses, train.latents)
    task = Distillation(encoder, teacher.model, train, held, recipe.distillation)
    return AutoencoderTraining(teacher, recipe, name, task, seed)


def split_outputs(
    teacher: Teacher, recipe: StudentRecipe, *, progress: ImageProgress | None = None
) -> tuple[TeacherOutputs, TeacherOutputs | None]:
    """The teacher's outputs for the training frames, in variants, and for the held-out frames if any."""
    train = teacher.outputs(teacher.train, recipe.augment, variants=recipe.variants, progress=progress)
    return train, teacher.outputs(teacher.held) if teacher.has_held_out else None


def train_autoencoder(training: AutoencoderTraining) -> Iterator[Epoch]:
    """Train the encoder, choose how it refines, and write it into the run's folder, as `autoencoder/`."""
    recipe = training.recipe
    yield from fit_auxiliary(
        training.task, recipe.stage, batch_size=recipe.batch_size, seed=training.seed, validate_every=5
    )
    training.encoder.round_to_stored()
    _autoencoder_metadata(training).save(training.teacher.run, training.encoder)


@torch.no_grad()
def _autoencoder_metadata(training: AutoencoderTraining) -> AutoencoderMetadata:
    """The metadata of a trained encoder, with its errors on held-out frames if there are any."""
    teacher, encoder, held = training.teacher, training.encoder, training.task.held
    metadata = AutoencoderMetadata(
        source=digest(teacher.model),
        scenes=teacher.checkpoint.metadata.scenes,
        config=encoder.config,
        latents=encoder.latents,
        recipe=training.name,
    )
    if held is None:
        return metadata
    truth, scene = held.world_from_cam, held.scene

    def errors(predicted: Pose) -> HeldOutErrors:
        error = pose_error(predicted, truth)
        return HeldOutErrors(float(error.meters.median()), float(error.degrees.median()))

    choice = choose_refinement(encoder, teacher.training_poses, held)
    return replace(
        metadata,
        teacher=errors(held.predicted),
        student=errors(teacher.model.pose_in(encoder(truth, scene), scene)),
        student_of_predictions=errors(teacher.model.pose_in(encoder(held.predicted, scene), scene)),
        refined=choice.errors,
        settings=choice.settings,
    )


def stored_encoder(teacher: Teacher) -> PoseAutoencoder:
    """The pose auto-encoder in the run's folder, frozen, on the teacher's device.

    Raises:
        RecipeError: none was trained from the run's weights.
    """
    found = AutoencoderMetadata.load(teacher.run, teacher.checkpoint.model)
    if found is None:
        raise RecipeError(
            f"{teacher.run} has no pose auto-encoder that was trained from its weights; train one with "
            f"camloc autoencode"
        )
    return found[1].requires_grad_(False).to(teacher.device)


@torch.no_grad()
def _encodings(encoder: PoseAutoencoder, frames: SceneFrames) -> Latents:
    """The encodings of the true poses of the frames of all scenes, in order."""
    scene = scene_numbers(frames).to(next(encoder.parameters()).device)
    latents: Latents = encoder(all_poses(frames), scene)
    return latents


def train_decoder(teacher: Teacher, recipe: DecoderRecipe, *, seed: int = 0) -> Iterator[Epoch]:
    """Train an image decoder, and write it with a figure of true and decoded images, as `decoder/`.

    Raises:
        RecipeError: the run has no pose auto-encoder.
    """
    encoder = stored_encoder(teacher)
    train = _small_images(teacher, teacher.train, recipe)
    held = _small_images(teacher, teacher.held, recipe) if teacher.has_held_out else None
    latents = _encodings(encoder, teacher.train)
    torch.manual_seed(seed)
    is_shared = encoder.config.branches == "shared"
    decoder = ImageDecoder(recipe.config, latents=encoder.latents, is_shared=is_shared).to(teacher.device)
    decoder.observe(latents)
    held_pairs = None if held is None else (_encodings(encoder, teacher.held), held)
    task = Decoding(decoder, (latents, train), held_pairs)
    yield from fit_auxiliary(task, recipe.stage, batch_size=recipe.batch_size, seed=seed, validate_every=5)
    metadata = DecoderMetadata(digest(encoder), recipe.config, encoder.latents, is_shared)
    latents, true = held_pairs or (latents, train)
    decoded = decoded_images(decoder, latents)
    if held is not None:
        metadata = replace(metadata, differences=_differences(teacher, train, held, decoded))
    rows = torch.from_numpy(even_rows(len(true), _COLUMNS))
    figure = side_by_side(true[rows].cpu(), decoded[rows].cpu())
    write_atomically(teacher.run / DecoderMetadata.NAME / IMAGES, figure)
    metadata.save(teacher.run, decoder)


def _small_images(
    teacher: Teacher, frames: SceneFrames, recipe: DecoderRecipe
) -> UInt8[Tensor, "n 3 height width"]:
    preprocess, config = teacher.checkpoint.metadata.preprocess, recipe.config
    cut = (preprocess.width, preprocess.height)
    small = small_images(teacher.images(frames), cut=cut, width=config.width, height=config.height)
    return small.to(teacher.device)


def _differences(
    teacher: Teacher,
    train: UInt8[Tensor, "n 3 h w"],
    held: UInt8[Tensor, "m 3 h w"],
    decoded: UInt8[Tensor, "m 3 h w"],
) -> dict[str, float]:
    """Differences from the held-out images: of the decoded images, and of two baselines without a decoder."""
    query = Query(all_poses(teacher.held), scene_numbers(teacher.held))
    nearest = PositionRefiner(_NEAREST, teacher.training_poses).nearest(query)
    mean = train.float().mean(0).round().to(torch.uint8).expand_as(held)
    return {
        "decoded": image_error(decoded, held),
        "nearest image": image_error(train[nearest[:, 0].to(train.device)], held),
        "mean image": image_error(mean, held),
    }


def train_relative(
    teacher: Teacher, recipe: StudentRecipe, *, seed: int = 0, progress: ImageProgress | None = None
) -> Iterator[Epoch]:
    """Train a relative pose regressor, choose how it refines, and write it, as `relative/`.

    Raises:
        RecipeError: the recipe has no such regressor, or the run lacks the networks whose outputs it reads.
    """
    settings = recipe.relative
    if settings is None:
        raise RecipeError(
            "this recipe has no relative pose regressor; choose one that has, such as students/quick"
        )
    encoder = stored_encoder(teacher)
    decoder = _stored_decoder(teacher, encoder) if settings.config.sees == "images" else None
    source = _RelativeInputs(teacher, recipe, settings, encoder, decoder, progress)
    torch.manual_seed(seed)
    regressor = RelativePoseRegressor(settings.config, latents=encoder.latents)
    _start_from_teacher(regressor, teacher)
    pairs = joined_pairs(
        [
            overlapping_pairs(frames, settings.pairs, points=scene.points, seed=seed)
            for frames, scene in zip(teacher.train, teacher.scenes, strict=True)
        ],
        [len(frames) for frames in teacher.train],
    )
    poses = all_poses(teacher.train)
    regressor.observe(poses[pairs.reference], poses[pairs.query])
    student = RelativeStudent(regressor.to(teacher.device), PoseLossConfig(0.0, -3.0)).to(teacher.device)
    task = RelativePoseTask(
        student, pairs, query=source.query, reference=source.reference, held=source.held_out_pairs()
    )
    yield from fit_auxiliary(
        task, settings.stage, batch_size=settings.batch_size, seed=seed, validate_every=2
    )
    metadata = RelativePoseMetadata(digest(encoder), settings.config, encoder.latents)
    if source.held is not None:
        view, errors = choose_virtual_view(
            regressor, encoder, decoder, teacher.training_poses, source.held, images=source.held_images
        )
        metadata = replace(metadata, view=view, published=errors[VirtualView()], refined=errors[view])
    metadata.save(teacher.run, regressor)


def _stored_decoder(teacher: Teacher, encoder: PoseAutoencoder) -> ImageDecoder:
    found = DecoderMetadata.load(teacher.run, encoder)
    if found is None:
        raise RecipeError(
            f"{teacher.run} has no image decoder of its pose auto-encoder; train one with "
            f"camloc autoencode --decoder"
        )
    return found[1].requires_grad_(False).to(teacher.device)


def _start_from_teacher(regressor: RelativePoseRegressor, teacher: Teacher) -> None:
    """Copy the teacher's backbone weights into a backbone of the same kind."""
    backbone = getattr(teacher.model, "backbone", None)
    if regressor.backbone is None or backbone is None:
        return
    weights, own = backbone.state_dict(), regressor.backbone.state_dict()
    if {name: value.shape for name, value in weights.items()} == {
        name: value.shape for name, value in own.items()
    }:
        regressor.backbone.load_state_dict(weights)


class _RelativeInputs:
    """The inputs of a relative pose regressor for a run's frames, with constant parts computed once.

    Attributes:
        held: the teacher's outputs for the held-out frames, or None if there are none.
        held_images: (n, 3, h, w) their images, if the regressor sees images.
    """

    def __init__(
        self,
        teacher: Teacher,
        recipe: StudentRecipe,
        settings: RelativeRecipe,
        encoder: PoseAutoencoder,
        decoder: ImageDecoder | None,
        progress: ImageProgress | None,
    ) -> None:
        self.teacher, self.settings = teacher, settings
        self.preprocess, self.poses = teacher.checkpoint.metadata.preprocess, all_poses(teacher.train)
        self.images = teacher.images(teacher.train)
        self.encodings = _encodings(encoder, teacher.train)
        self.decoded = None if decoder is None else decoded_images(decoder, self.encodings)
        self.outputs: TeacherOutputs | None = None
        if settings.config.sees == "latents":
            self.outputs = teacher.outputs(
                teacher.train, recipe.augment, variants=recipe.variants, progress=progress
            )
        self.held = teacher.outputs(teacher.held) if teacher.has_held_out else None
        self.held_images: Float[Tensor, "n 3 h w"] | None = None
        if teacher.has_held_out and self.outputs is None:
            self.held_images = self._unchanged(teacher.images(teacher.held))

    def query(self, rows: Int[Tensor, "b"], generator: torch.Generator) -> Inputs:
        """Training frames as queries: augmented images, or the teacher's latents of one of their variants."""
        device = self.teacher.device
        if self.outputs is not None:
            count = len(self.poses)
            variants = len(self.outputs) // count
            chosen = rows + count * torch.randint(variants, (len(rows),), generator=generator)
            latents = Latents(*(half[chosen.to(device)] for half in self.outputs.latents))
            return Inputs(latents, self.outputs.world_from_cam[chosen.to(device)])
        batch = self.images.drawn(
            rows,
            Draws(generator, len(rows), slice(0, len(rows))),
            augment=self.settings.augment,
            width=self.preprocess.width,
            height=self.preprocess.height,
            device=device,
        )
        return Inputs(batch.images, batch.world_from_cam)

    def reference(self, rows: Int[Tensor, "b"], generator: torch.Generator) -> Inputs:
        """Training frames as references: their encodings, decoded images, or images."""
        del generator
        if self.decoded is not None and self.settings.references == "images":
            return Inputs(self._unchanged(self.images, rows), self.poses[rows].to(self.teacher.device))
        return self._without_images(rows)

    def held_out_pairs(self) -> HeldOutPairs | None:
        """The held-out frames with the references that they would have in use, which have no images."""
        if self.held is None:
            return None
        search = PositionRefiner(_NEAREST, self.teacher.training_poses)
        nearest = search.nearest(Query(self.held.predicted.to("cpu"), self.held.scene))[:, 0]
        content = self.held.latents if self.held_images is None else self.held_images
        return HeldOutPairs(Inputs(content, self.held.world_from_cam), self._without_images(nearest))

    def _without_images(self, rows: Int[Tensor, "b"]) -> Inputs:
        """Training frames as references in use: their encodings or decoded images."""
        device = self.teacher.device
        rows, poses = rows.to(device), self.poses[rows].to(device)
        if self.decoded is None:
            return Inputs(Latents(*(half[rows] for half in self.encodings)), poses)
        width, height = self.preprocess.width, self.preprocess.height
        return Inputs(enlarged(self.decoded[rows].float() / 255.0, width=width, height=height), poses)

    def _unchanged(
        self, images: ImageCache, rows: Int[Tensor, "b"] | None = None
    ) -> Float[Tensor, "b 3 h w"]:
        """Images (all without `rows`) without random changes."""
        chosen = torch.arange(len(images)) if rows is None else rows
        batch = images.batch(chosen, device=self.teacher.device)
        return centre_cut(batch, width=self.preprocess.width, height=self.preprocess.height).images
