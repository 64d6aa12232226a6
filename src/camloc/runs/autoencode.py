"""Teaching a finished run's pose auto-encoder, and what it leaves in the run's folder."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from camloc.core.config import from_builtins
from camloc.core.device import torch_device
from camloc.core.files import write_atomically
from camloc.core.spread import even_indices
from camloc.data.augment import Draws, centre_cut
from camloc.data.image_cache import ImageCache
from camloc.data.splits import HoldOut, hold_out, keep_orientations
from camloc.data.types import Frame, Scene, oriented, poses_of
from camloc.errors import DatasetError, RecipeError
from camloc.evaluation.side_by_side import side_by_side
from camloc.geometry.pose import Pose, PoseError, pose_error
from camloc.models.base import Latents, Regressor
from camloc.models.checkpoint import Checkpoint, load_checkpoint
from camloc.models.losses import PoseLossConfig
from camloc.refinement.choice import choose_refinement, refined_errors
from camloc.refinement.image_decoder import (
    Decoding,
    ImageDecoder,
    decoded_images,
    image_error,
    small_images,
)
from camloc.refinement.pose_autoencoder import Distillation, PoseAutoencoder
from camloc.refinement.position import PositionRefinement, PositionRefiner
from camloc.refinement.query import Query
from camloc.refinement.recipe import DecoderRecipe, RelativeRecipe, StudentRecipe
from camloc.refinement.relative_pose import (
    Examination,
    RelativePoseRegressor,
    RelativePoseTask,
    RelativeStudent,
    Seen,
    joined_pairs,
    overlapping_pairs,
)
from camloc.refinement.storage import (
    DECODER,
    AutoencoderMetadata,
    DecoderMetadata,
    HeldOutErrors,
    PositionErrors,
    RelativePoseMetadata,
    digest,
    load_autoencoder,
    load_decoder,
    run_around,
    save_autoencoder,
    save_decoder,
    save_relative,
)
from camloc.refinement.train import TeacherOutputs, frozen, taught_views
from camloc.refinement.virtual_view import VirtualView, VirtualViewRefiner, enlarged
from camloc.runs.manifest import RunManifest, load_scenes
from camloc.training.loop import Round, learn
from camloc.training.scenes import load_scene_images

ImageProgress = Callable[[int, int], None]

# Frames of each scene.
Scenes = tuple[tuple[Frame, ...], ...]


@dataclass(frozen=True, eq=False)
class Teacher:
    """A run whose regressor can teach.

    Attributes:
        run: its folder.
        checkpoint: its weights and metadata.
        model: the regressor, frozen.
        scenes: the scenes, in the order of their numbers.
        learned, held: of each scene the frames that it learned from and those that chose its weights, all
            with orientations.
        device: where it runs.
    """

    run: Path
    checkpoint: Checkpoint
    model: Regressor[Any]
    scenes: tuple[Scene, ...]
    learned: Scenes
    held: Scenes
    device: torch.device

    @classmethod
    def load(cls, run: Path, *, device: str = "cpu") -> "Teacher":
        """The teacher of a run folder.

        Raises:
            CheckpointError: the run is incomplete or damaged.
            DatasetError: its frames cannot be read any more.
            RecipeError: its model is no regressor, or this machine has no such device.
        """
        target, folder = torch_device(device), run_around(run)
        metadata, checkpoint = RunManifest.load(folder), load_checkpoint(folder)
        if not isinstance(checkpoint.model, Regressor):
            raise RecipeError(
                f"{checkpoint.metadata.model} regresses no pose from latents, so it cannot teach a pose "
                f"auto-encoder; train a regressor such as hyperpose"
            )
        scenes = load_scenes(metadata.data)
        settings = from_builtins(metadata.settings["hold_out"], HoldOut)
        every = int(metadata.settings.get("keep_orientation_every", 0))
        split = [hold_out(scene.train, settings) for scene in scenes]
        learned = tuple(oriented(keep_orientations(kept, every)) for kept, _ in split)
        for frames, source in zip(learned, metadata.data, strict=True):
            if not frames:
                raise DatasetError(f"{source.root} has no training frame with an orientation any more")
        model = frozen(checkpoint.model).to(target)
        return cls(folder, checkpoint, model, scenes, learned, tuple(held for _, held in split), target)

    @property
    def training_poses(self) -> tuple[Pose, ...]:
        """The poses of the frames that were learned from, of each scene, as tensors."""
        return tuple(poses_of(frames).tensor() for frames in self.learned)

    @property
    def holds_out(self) -> bool:
        """Whether any frames were held out."""
        return any(self.held)

    def images(self, scenes: Scenes, *, progress: ImageProgress | None = None) -> ImageCache:
        """The images of frames, as the network's input is cut from them."""
        return load_scene_images(scenes, self.checkpoint.metadata.preprocess, progress=progress)

    def teacher_outputs(
        self,
        scenes: Scenes,
        recipe: StudentRecipe,
        *,
        variants: int | None = None,
        progress: ImageProgress | None = None,
    ) -> TeacherOutputs:
        """What the teacher sees in frames, of each as many views as are asked for, or the recipe says."""
        preprocess = self.checkpoint.metadata.preprocess
        return taught_views(
            self.model,
            self.images(scenes),
            width=preprocess.width,
            height=preprocess.height,
            augment=recipe.augment,
            variants=variants or recipe.variants,
            device=self.device,
            progress=progress,
        ).to(self.device)


def scene_numbers(scenes: Sequence[Sequence[Frame]]) -> Tensor:
    """The number of its scene for each frame, scene after scene."""
    counts = torch.tensor([len(frames) for frames in scenes])
    return torch.arange(len(scenes)).repeat_interleave(counts)


def all_poses(scenes: Scenes) -> Pose:
    """The poses of all frames, scene after scene, as tensors."""
    return Pose.cat([poses_of(frames) for frames in scenes if frames]).tensor()


@dataclass(frozen=True, eq=False)
class Teaching:
    """An auto-encoder that is about to learn.

    Attributes:
        teacher: of it.
        recipe: its settings, with the branches that it really has.
        name: of the recipe.
        lesson: what it learns.
        seed: of the lesson.
    """

    teacher: Teacher
    recipe: StudentRecipe
    name: str
    task: Distillation
    seed: int

    @property
    def encoder(self) -> PoseAutoencoder:
        """The auto-encoder."""
        return self.task.network.encoder


def prepare_teaching(
    teacher: Teacher,
    recipe: StudentRecipe,
    *,
    name: str,
    seed: int = 0,
    seen: tuple[TeacherOutputs, TeacherOutputs | None] | None = None,
    progress: ImageProgress | None = None,
) -> Teaching:
    """Compute the teacher's latents, unless they are `seen` already, and build the encoder."""
    train, held = seen or what_it_sees(teacher, recipe, progress=progress)
    if train.is_shared:
        recipe = replace(recipe, config=replace(recipe.config, branches="shared"))
    torch.manual_seed(seed)
    position, orientation = (int(half.shape[1]) for half in train.latents)
    encoder = PoseAutoencoder(
        recipe.config, latents=(position, orientation), scenes=len(teacher.checkpoint.metadata.scenes)
    ).to(teacher.device)
    encoder.observe(teacher.training_poses, train.latents)
    task = Distillation(encoder, teacher.model, train, held, recipe.distillation)
    return Teaching(teacher, recipe, name, task, seed)


def what_it_sees(
    teacher: Teacher, recipe: StudentRecipe, *, progress: ImageProgress | None = None
) -> tuple[TeacherOutputs, TeacherOutputs | None]:
    """The teacher's latents of the frames to learn from and of those held out, if any are."""
    train = teacher.teacher_outputs(teacher.learned, recipe, progress=progress)
    return train, teacher.teacher_outputs(teacher.held, recipe, variants=1) if teacher.holds_out else None


def teach(teaching: Teaching) -> Iterator[Round]:
    """Teach, let the held-out frames choose how to refine, and write it all beside the checkpoint.

    Nothing is written before the end.
    """
    recipe = teaching.recipe
    yield from learn(
        teaching.task, recipe.stage, batch_size=recipe.batch_size, seed=teaching.seed, measure_every=5
    )
    teaching.encoder.round_off()
    save_autoencoder(teaching.teacher.run, manifest_of(teaching), teaching.encoder)


@torch.no_grad()
def manifest_of(teaching: Teaching) -> AutoencoderMetadata:
    """What is written beside the weights of an encoder that has learned."""
    teacher, encoder, held = teaching.teacher, teaching.encoder, teaching.task.held
    metadata = AutoencoderMetadata(
        teacher=digest(teacher.model),
        scenes=teacher.checkpoint.metadata.scenes,
        config=encoder.config,
        latents=encoder.latents,
        recipe=teaching.name,
    )
    if held is None:
        return metadata
    choice = choose_refinement(encoder, teacher.training_poses, held)
    truth = held.world_from_cam
    return replace(
        metadata,
        answers=_errors(pose_error(held.answers, truth)),
        student=_errors(pose_error(_through(teacher, encoder, truth, held), truth)),
        student_of_answers=_errors(pose_error(_through(teacher, encoder, held.answers, held), truth)),
        refined=choice.errors,
        settings=choice.settings,
    )


def _through(teacher: Teacher, encoder: PoseAutoencoder, poses: Pose, held: TeacherOutputs) -> Pose:
    """Poses through the encoder and the teacher's heads."""
    return teacher.model.pose_in(encoder(poses, held.scene), held.scene)


def _errors(error: PoseError) -> HeldOutErrors:
    return HeldOutErrors(float(error.meters.median()), float(error.degrees.median()))


# Images side by side in the figure.
SHOWN = 6
IMAGES = "images.png"


def encoder_of(teacher: Teacher) -> PoseAutoencoder:
    """The auto-encoder of a run, frozen, where the teacher runs.

    Raises:
        RecipeError: none has learned from the run's weights.
    """
    found = load_autoencoder(teacher.run, teacher.checkpoint)
    if found is None:
        raise RecipeError(f"{teacher.run} has no pose auto-encoder of its weights; teach one first")
    return found[1].requires_grad_(False).to(teacher.device)


@torch.no_grad()
def encoded(encoder: PoseAutoencoder, scenes: Scenes) -> Latents:
    """The encodings of the true poses of frames, scene after scene."""
    scene = scene_numbers(scenes).to(next(encoder.parameters()).device)
    latents: Latents = encoder(all_poses(scenes), scene)
    return latents


def teach_decoder(teacher: Teacher, recipe: DecoderRecipe, *, seed: int = 0) -> Iterator[Round]:
    """Teach an image decoder, and write it with a figure of true and decoded images.

    Leaves `decoder/` in the run's folder: weights, metadata and `images.png`.
    """
    encoder = encoder_of(teacher)
    train = _small(teacher, teacher.learned, recipe)
    held = _small(teacher, teacher.held, recipe) if teacher.holds_out else None
    latents = encoded(encoder, teacher.learned)
    torch.manual_seed(seed)
    is_shared = encoder.config.branches == "shared"
    decoder = ImageDecoder(recipe.config, latents=encoder.latents, is_shared=is_shared).to(teacher.device)
    decoder.observe(latents)
    predict = None if held is None else (encoded(encoder, teacher.held), held)
    task = Decoding(decoder, (latents, train), predict)
    yield from learn(task, recipe.stage, batch_size=recipe.batch_size, seed=seed, measure_every=5)
    metadata = DecoderMetadata(digest(encoder), recipe.config, encoder.latents, is_shared)
    latents, true = (latents, train) if predict is None else predict
    made = decoded_images(decoder, latents)
    if held is not None:
        metadata = replace(metadata, differences=_differences(teacher, train, held, made))
    rows = even_indices(len(true), SHOWN)
    write_atomically(teacher.run / DECODER / IMAGES, side_by_side(true[rows].cpu(), made[rows].cpu()))
    save_decoder(teacher.run, metadata, decoder)


def _small(teacher: Teacher, scenes: Scenes, recipe: DecoderRecipe) -> Tensor:
    preprocess, config = teacher.checkpoint.metadata.preprocess, recipe.config
    cut = (preprocess.width, preprocess.height)
    small = small_images(teacher.images(scenes), cut=cut, width=config.width, height=config.height)
    return small.to(teacher.device)


def _differences(teacher: Teacher, train: Tensor, held: Tensor, made: Tensor) -> dict[str, float]:
    """How far decoded images are from the true ones, beside images that need no decoder."""
    predict = Query(all_poses(teacher.held), scene_numbers(teacher.held))
    one = PositionRefinement("neighbours", neighbours=1)
    nearest = PositionRefiner(one, teacher.training_poses).nearest(predict)
    mean = train.float().mean(0).round().to(torch.uint8).expand_as(held)
    return {
        "decoded": image_error(made, held),
        "nearest image": image_error(train[nearest[:, 0].to(train.device)], held),
        "mean image": image_error(mean, held),
    }


class FeatureMaps:
    """What is seen of a run's frames; built once, with everything that does not change computed."""

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
        self.preprocess, self.poses = teacher.checkpoint.metadata.preprocess, all_poses(teacher.learned)
        self.images = teacher.images(teacher.learned)
        self.encodings = encoded(encoder, teacher.learned)
        self.decoded = None if decoder is None else decoded_images(decoder, self.encodings)
        is_latent = settings.config.sees == "latents"
        self.teacher_outputs = (
            teacher.teacher_outputs(teacher.learned, recipe, progress=progress) if is_latent else None
        )
        self.held: TeacherOutputs | None = None
        if teacher.holds_out:
            self.held = teacher.teacher_outputs(teacher.held, recipe, variants=1)
        looks = teacher.holds_out and not is_latent
        self.held_images = self._whole(teacher.images(teacher.held)) if looks else None

    def query(self, rows: Tensor, generator: torch.Generator) -> Seen:
        """Images, changed at random, or the teacher's latents of one of their variants."""
        device = self.teacher.device
        if self.teacher_outputs is not None:
            count = len(self.poses)
            variants = len(self.teacher_outputs) // count
            chosen = rows + count * torch.randint(variants, (len(rows),), generator=generator)
            content = Latents(*(half[chosen.to(device)] for half in self.teacher_outputs.latents))
            return Seen(content, self.teacher_outputs.world_from_cam[chosen.to(device)])
        draws = Draws(generator, len(rows), slice(0, len(rows)))
        batch = self.images.drawn(
            rows,
            draws,
            augment=self.settings.augment,
            width=self.preprocess.width,
            height=self.preprocess.height,
            device=device,
        )
        return Seen(batch.images, batch.world_from_cam)

    def reference(self, rows: Tensor, generator: torch.Generator) -> Seen:
        """Training frames as references: encodings, decoded images, or the images."""
        del generator
        if self.decoded is not None and self.settings.references == "images":
            return Seen(self._whole(self.images, rows), self.poses[rows].to(self.teacher.device))
        return self._remembered(rows)

    def examination(self) -> Examination | None:
        """The held-out frames, with the references that they would get in use: never an image."""
        if self.held is None:
            return None
        one = PositionRefinement("neighbours", neighbours=1)
        search = PositionRefiner(one, self.teacher.training_poses)
        near = search.nearest(Query(self.held.answers.to("cpu"), self.held.scene))
        content = self.held.latents if self.held_images is None else self.held_images
        return Examination(Seen(content, self.held.world_from_cam), self._remembered(near[:, 0]))

    def _remembered(self, rows: Tensor) -> Seen:
        """Training frames as references without their images."""
        device = self.teacher.device
        rows, poses = rows.to(device), self.poses[rows].to(device)
        if self.decoded is None:
            return Seen(Latents(*(half[rows] for half in self.encodings)), poses)
        width, height = self.preprocess.width, self.preprocess.height
        return Seen(enlarged(self.decoded[rows].float() / 255.0, width=width, height=height), poses)

    def _whole(self, images: ImageCache, rows: Tensor | None = None) -> Tensor:
        """Images as they are."""
        chosen = torch.arange(len(images)) if rows is None else rows
        batch = images.batch(chosen, device=self.teacher.device)
        return centre_cut(batch, width=self.preprocess.width, height=self.preprocess.height).images


# How far towards the regressed position; 1 is the paper's.
SHARES = (1.0, 0.75, 0.5, 0.25)


def teach_relative(
    teacher: Teacher, recipe: StudentRecipe, *, seed: int = 0, progress: ImageProgress | None = None
) -> Iterator[Round]:
    """Teach a relative pose regressor, and let the held-out frames choose how it refines.

    Leaves `relative/` in the run's folder.

    Raises:
        RecipeError: the recipe has no such regressor, or there is no decoder for what it sees.
    """
    settings = recipe.relative
    if settings is None:
        raise RecipeError(
            "this recipe has no relative pose regressor; choose one that has, such as students/quick"
        )
    encoder = encoder_of(teacher)
    decoder = _decoder(teacher, encoder, settings)
    feature_maps = FeatureMaps(teacher, recipe, settings, encoder, decoder, progress)
    torch.manual_seed(seed)
    regressor = RelativePoseRegressor(settings.config, latents=encoder.latents)
    _start_from(teacher, regressor)
    pairs = joined_pairs(
        [
            overlapping_pairs(frames, settings.pairs, points=scene.points, seed=seed)
            for frames, scene in zip(teacher.learned, teacher.scenes, strict=True)
        ],
        [len(frames) for frames in teacher.learned],
    )
    poses = all_poses(teacher.learned)
    regressor.observe(poses[pairs.reference], poses[pairs.query])
    student = RelativeStudent(regressor.to(teacher.device), PoseLossConfig(0.0, -3.0)).to(teacher.device)
    task = RelativePoseTask(
        student,
        pairs,
        query=feature_maps.query,
        reference=feature_maps.reference,
        held=feature_maps.examination(),
    )
    yield from learn(task, settings.stage, batch_size=settings.batch_size, seed=seed, measure_every=2)
    metadata = RelativePoseMetadata(digest(encoder), settings.config, encoder.latents)
    if teacher.holds_out:
        metadata = _with_choice(metadata, teacher, feature_maps, encoder, regressor, decoder)
    save_relative(teacher.run, metadata, regressor)


def _decoder(teacher: Teacher, encoder: PoseAutoencoder, settings: RelativeRecipe) -> ImageDecoder | None:
    if settings.config.sees != "images":
        return None
    found = load_decoder(teacher.run, encoder)
    if found is None:
        raise RecipeError(f"{teacher.run} has no image decoder of its auto-encoder; teach one first")
    return found[1].requires_grad_(False).to(teacher.device)


def _start_from(teacher: Teacher, regressor: RelativePoseRegressor) -> None:
    """Let a CNN of the teacher's kind start from the teacher's weights."""
    theirs = getattr(teacher.model, "backbone", None)
    if regressor.backbone is None or theirs is None:
        return
    weights, wanted = theirs.state_dict(), regressor.backbone.state_dict()
    if {name: value.shape for name, value in weights.items()} == {
        name: value.shape for name, value in wanted.items()
    }:
        regressor.backbone.load_state_dict(weights)


def views() -> Iterator[VirtualView]:
    """The settings of virtual relative pose regression that compete, the paper's first."""
    nearest = (VirtualView(neighbours=count) for count in (1, 3))
    repeated = (VirtualView("answer", iterations=count) for count in (1, 3))
    for view, share in product(chain(nearest, repeated), SHARES):
        yield replace(view, share=share)


def _with_choice(
    metadata: RelativePoseMetadata,
    teacher: Teacher,
    feature_maps: FeatureMaps,
    encoder: PoseAutoencoder,
    regressor: RelativePoseRegressor,
    decoder: ImageDecoder | None,
) -> RelativePoseMetadata:
    """The metadata with the settings that are best on the held-out frames."""
    held = feature_maps.held
    assert held is not None, "there is nothing to choose by"

    def errors(view: VirtualView) -> PositionErrors:
        refiner = VirtualViewRefiner(view, teacher.training_poses, encoder, regressor, decoder)
        return refined_errors(refiner, held, images=feature_maps.held_images)

    tried = {view: errors(view) for view in views()}
    best = max(tried, key=lambda view: tried[view].sure_gain)
    return replace(metadata, view=best, published=tried[VirtualView()], refined=tried[best])
