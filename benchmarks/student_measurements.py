"""Measures a run's pose auto-encoder, in every form and with every refinement method, into a file.

    uv run python -m benchmarks.student_measurements RUN [--device cuda --virtual]

writes `RUN/students.json`. Settings are chosen on held-out frames; test frames only measure.
"""

import time
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Literal

import torch
import tyro
from torch import Tensor

from camloc.core.config import from_json, to_json
from camloc.core.device import CPU
from camloc.core.files import write_atomically
from camloc.data.augment import centre_cut
from camloc.evaluation.results import RESULTS_NAME, Results, TrainingRecord
from camloc.geometry.pose import Pose, PoseError, pose_error
from camloc.geometry.pose_search import Nearness, PoseMetric, camera_radius
from camloc.recipes import demo, students
from camloc.refinement.choice import AuxiliaryNetworks, choose_refinement, refined_errors, surest
from camloc.refinement.image_decoder import PUBLISHED, DecoderMetadata
from camloc.refinement.pose_autoencoder import PoseAutoencoder
from camloc.refinement.position import PositionRefiner
from camloc.refinement.recipe import DecoderRecipe, StudentRecipe
from camloc.refinement.refiner import LatentHalf, PositionErrors, PositionRefinement, RefinementMethod
from camloc.refinement.relative_pose import (
    InputKind,
    RelativePoseMetadata,
    VirtualView,
    VirtualViewRefiner,
)
from camloc.refinement.teacher import SceneFrames, Teacher, TeacherOutputs
from camloc.refinement.train import (
    AutoencoderTraining,
    prepare_autoencoder,
    split_outputs,
    stored_encoder,
    train_autoencoder,
    train_decoder,
    train_relative,
)
from camloc.runs.autoencode import load_teacher
from camloc.runs.evaluate import evaluate_run
from camloc.training.loop import fit_auxiliary

NAME = "students.json"

# The forms with further tables on the page: `students/quick` with the published Fourier features, and
# `students/four-layers` without.
WITH_FOURIER, WITHOUT_FOURIER = "Fourier features, four layers, whole pose", "four layers"

# Numbers of neighbours that are tried.
NEIGHBOURS = (1, 3, 5, 10, 30)

FORMS = (
    (WITH_FOURIER, students.quick),
    ("the same, last layer whole, single precision", students.whole),
    ("Fourier features, four layers, own half", students.separate),
    (WITHOUT_FOURIER, students.four_layers),
    ("two layers", students.two_layers),
)

# Noise of the noisy starts, in camera radii of the training poses.
NOISES = (0.0, 0.02, 0.05, 0.1, 0.2)


@dataclass(frozen=True)
class Medians:
    """Median errors in metres and degrees."""

    meters: float
    degrees: float


@dataclass(frozen=True)
class Form:
    """One form of auto-encoder.

    Attributes:
        label: of the form.
        parameters: learned values.
        megabytes: of its file.
        seconds: of its training, without computing the teacher's latents.
        held, test: errors of its encodings of true poses through the teacher's heads.
        held_of_answers, test_of_answers: the same of the teacher's own answers.
        refined: errors on held-out frames, by refinement method.
        refined_test: on test frames, with the settings that the held-out frames chose.
    """

    label: str
    parameters: int
    megabytes: float
    seconds: float
    held: Medians
    held_of_answers: Medians
    test: Medians
    test_of_answers: Medians
    refined: dict[str, PositionErrors]
    refined_test: dict[str, PositionErrors]

    @property
    def auto(self) -> str:
        """The method that `--refine auto` chooses by the gains on held-out frames."""
        return surest(self.refined)


@dataclass(frozen=True)
class Setting:
    """One refinement method with one setting, and its median metres on held-out frames."""

    method: RefinementMethod
    neighbours: int
    metric: Nearness
    turn_weight: float
    latents: LatentHalf
    ridge: float
    median: float


@dataclass(frozen=True)
class Start:
    """Noisy true positions of test frames: median metres before and after refinement, by method."""

    off: float
    before: float
    after: dict[str, float]


@dataclass(frozen=True)
class Drawn:
    """One image decoder: its size, and how far its images are from those held out."""

    label: str
    parameters: int
    metadata: DecoderMetadata


@dataclass(frozen=True)
class Seen:
    """One relative pose regressor.

    Attributes:
        sees: its inputs.
        references: kind of the references in its training.
        metadata: with the errors on held-out frames.
        test: on test frames, with the paper's settings and with settings chosen on the held-out frames.
    """

    sees: InputKind
    references: str
    metadata: RelativePoseMetadata
    test_published: PositionErrors
    test: PositionErrors


@dataclass(frozen=True)
class Measured:
    """Everything about one run.

    Attributes:
        scene, recipe: of the teacher.
        latent: sizes of the teacher's latents.
        held, test: the teacher's errors.
        frames: numbers of frames learned from, held out, and tested on.
        training: of the teacher.
        software: versions of the packages.
        forms, settings, starts, decoders, virtual: the parts.
    """

    scene: str
    recipe: str
    latent: tuple[int, int]
    held: Medians
    test: Medians
    frames: tuple[int, int, int]
    training: TrainingRecord
    software: dict[str, str]
    forms: tuple[Form, ...]
    settings: tuple[Setting, ...]
    starts: tuple[Start, ...]
    decoders: tuple[Drawn, ...] = ()
    virtual: tuple[Seen, ...] = ()

    def form(self, label: str) -> Form:
        """The form of a label."""
        (found,) = (each for each in self.forms if each.label == label)
        return found

    @classmethod
    def load(cls, run: Path) -> "Measured":
        """What was written into a run's folder."""
        return from_json((run / NAME).read_bytes(), cls)


def measure(run: Path, *, device: str, is_virtual: bool) -> Measured:
    """Train and measure all forms. The files that stay beside the checkpoint are of `students/quick`."""
    teacher = load_teacher(run, device=device)
    recipe = students.quick()
    outputs = split_outputs(teacher, recipe)
    held = outputs[1]
    assert held is not None, "without held-out frames nothing can be chosen"
    tested = tuple(scene.test for scene in teacher.scenes)
    test = teacher.outputs(tested)
    forms = tuple(_form(label, form(), teacher, outputs, test) for label, form in FORMS)
    kept = prepare_autoencoder(teacher, recipe, name="students/quick", outputs=outputs)
    for _ in train_autoencoder(kept):
        pass
    encoder = stored_encoder(teacher)
    images = _images(teacher, tested)
    results = Results.load(run / RESULTS_NAME)
    assert results.training is not None, "it is a run of `camloc train`"
    measured = Measured(
        scene=", ".join(scene.name for scene in teacher.scenes),
        recipe=teacher.checkpoint.metadata.recipe,
        latent=encoder.latents,
        held=_medians(pose_error(held.predicted, held.world_from_cam)),
        test=_medians(pose_error(test.predicted, test.world_from_cam)),
        frames=(sum(map(len, teacher.train)), len(held), len(test)),
        training=results.training,
        software=results.software,
        forms=forms,
        settings=tuple(_settings(encoder, teacher, held)),
        starts=tuple(_starts(teacher, test)),
    )
    if is_virtual:
        measured = replace(measured, decoders=tuple(_decoders(teacher)))
    from_images = (("images", "images"), ("images", "decoded"), ("encoding", "decoded")) if is_virtual else ()
    kinds: tuple[tuple[InputKind, str], ...] = (*from_images, ("latents", "decoded"))  # the last one stays
    return replace(
        measured, virtual=tuple(_virtual(teacher, sees, kind, test, images) for sees, kind in kinds)
    )


def _form(
    label: str,
    recipe: StudentRecipe,
    teacher: Teacher,
    outputs: tuple[TeacherOutputs, TeacherOutputs | None],
    test: TeacherOutputs,
) -> Form:
    trained = prepare_autoencoder(teacher, recipe, name=label, outputs=outputs)
    started = time.monotonic()
    for _ in fit_auxiliary(trained.task, recipe.stage, batch_size=recipe.batch_size, validate_every=5):
        pass
    seconds = time.monotonic() - started
    held, encoder = trained.task.held, trained.encoder
    encoder.round_to_stored()
    assert held is not None, "without held-out frames nothing can be chosen"
    choice = choose_refinement(encoder, teacher.training_poses, held)
    refiners = {
        method: PositionRefiner(settings, teacher.training_poses, encoder)
        for method, settings in choice.settings.items()
    }
    return Form(
        label,
        encoder.parameter_count(),
        encoder.megabytes,
        seconds,
        held=_student(trained, held.world_from_cam, held),
        held_of_answers=_student(trained, held.predicted, held),
        test=_student(trained, test.world_from_cam, test),
        test_of_answers=_student(trained, test.predicted, test),
        refined=choice.errors,
        refined_test={
            "none": refined_errors(None, test),
            **{method: refined_errors(refiner, test) for method, refiner in refiners.items()},
        },
    )


@torch.no_grad()
def _student(trained: AutoencoderTraining, poses: Pose, views: TeacherOutputs) -> Medians:
    """Poses through the encoder and the teacher's heads, against the truth."""
    latents = trained.encoder(poses, views.scene)
    answers = trained.teacher.model.pose_in(latents, views.scene)
    return _medians(pose_error(answers, views.world_from_cam))


def _settings(encoder: PoseAutoencoder, teacher: Teacher, held: TeacherOutputs) -> list[Setting]:
    """The median error of each choice of neighbours, metric, latents and ridge, on held-out frames."""
    metrics = [PoseMetric(turn_weight=weight) for weight in (0.03, 0.1, 0.3, 1.0)] + [PoseMetric("published")]
    methods: tuple[RefinementMethod, ...] = ("neighbours", "affine")
    tried = [
        PositionRefinement(method, neighbours=count, metric=metric)
        for method, count, metric in product(methods, NEIGHBOURS, metrics)
    ]
    halves: tuple[LatentHalf, ...] = ("both", "position", "orientation")
    tried += [
        PositionRefinement("affine", metric=metric, latents=half)
        for metric, half in product(metrics, halves[1:])
    ]
    tried += [
        PositionRefinement("anchored", neighbours=count, metric=metric, latents=half, ridge=ridge)
        for count, metric, half, ridge in product((3, 10, 30), metrics, halves, (0.01, 0.1, 1.0, 3.0, 10.0))
    ]
    found = []
    for each in tried:
        errors = refined_errors(PositionRefiner(each, teacher.training_poses, encoder), held)
        metric = each.metric
        found.append(
            Setting(
                each.method,
                each.neighbours,
                metric.kind,
                metric.turn_weight,
                each.latents,
                each.ridge,
                errors.median,
            )
        )
    return found


def _starts(teacher: Teacher, test: TeacherOutputs) -> list[Start]:
    """Noisy true positions instead of the teacher's estimates, as in the paper's verification."""
    networks = AuxiliaryNetworks.load(teacher.run, teacher.checkpoint)
    assert networks is not None, "it has just been trained"
    refiners = networks.refiners(teacher.checkpoint.training_poses, CPU)
    radius = float(camera_radius(teacher.training_poses[0]))
    generator = torch.Generator().manual_seed(0)
    found = []
    for noise in NOISES:
        truth = test.world_from_cam.to("cpu")
        moved = noise * radius * torch.randn(len(test), 3, generator=generator, dtype=torch.float64) / 3**0.5
        noisy = replace(test, predicted=Pose(truth.rotation, truth.translation + moved))
        after = {
            method: refined_errors(refiner, noisy).median
            for method, refiner in refiners.items()
            if isinstance(refiner, PositionRefiner)
        }
        found.append(Start(noise * radius, refined_errors(None, noisy).median, after))
    return found


def _decoders(teacher: Teacher) -> list[Drawn]:
    """The published decoder and that of camloc; the latter stays, with its figure."""
    ours = students.quick().decoder
    assert ours is not None
    published = DecoderRecipe(PUBLISHED, replace(ours.stage, learning_rate=1e-3))
    found = []
    for label, recipe in (("perceptron, the published layers", published), ("convolutional", ours)):
        for _ in train_decoder(teacher, recipe):
            pass
        loaded = DecoderMetadata.load(teacher.run, stored_encoder(teacher))
        assert loaded is not None
        found.append(Drawn(label, loaded[1].parameter_count(), loaded[0]))
    return found


def _virtual(teacher: Teacher, sees: InputKind, kind: str, test: TeacherOutputs, images: Tensor) -> Seen:
    recipe = students.quick() if sees == "latents" else demo.virtual()
    assert recipe.relative is not None
    config = replace(recipe.relative.config, sees=sees)
    references: Literal["images", "decoded"] = "images" if kind == "images" else "decoded"
    recipe = replace(recipe, relative=replace(recipe.relative, config=config, references=references))
    for _ in train_relative(teacher, recipe):
        pass
    encoder = stored_encoder(teacher)
    loaded = RelativePoseMetadata.load(teacher.run, encoder)
    decoder = DecoderMetadata.load(teacher.run, encoder)
    assert loaded is not None
    metadata, regressor = loaded

    def errors(view: VirtualView) -> PositionErrors:
        drawn = None if decoder is None else decoder[1].to(teacher.device)
        refiner = VirtualViewRefiner(
            view, teacher.training_poses, encoder, regressor.to(teacher.device), drawn
        )
        return refined_errors(refiner, test, images=images)

    return Seen(sees, kind, metadata, test_published=errors(VirtualView()), test=errors(metadata.view))


def _images(teacher: Teacher, scenes: SceneFrames) -> Tensor:
    """The images of frames, preprocessed for the teacher."""
    images, preprocess = teacher.images(scenes), teacher.checkpoint.metadata.preprocess
    whole = images.batch(torch.arange(len(images)))
    return centre_cut(whole, width=preprocess.width, height=preprocess.height).images


def _medians(error: PoseError) -> Medians:
    return Medians(float(error.meters.median()), float(error.degrees.median()))


def main(run: tyro.conf.Positional[Path], *, device: str = "cpu", virtual: bool = False) -> None:
    """Measure, and write the file.

    Args:
        run: Folder of a trained run of a regressor.
        device: Where to train.
        virtual: Also measure image decoders and relative poses from images.
    """
    measured = measure(run, device=device, is_virtual=virtual)
    evaluate_run(run, device=device)  # with every refinement method
    write_atomically(run / NAME, to_json(measured))


if __name__ == "__main__":
    tyro.cli(main)
