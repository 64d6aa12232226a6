"""Training beside the authors' code: the time of a step, and errors over processor time on Red Kitchen.

    uv run python -m benchmarks.training_curves --data FOLDER --backbone-weights FILE [--only AtLoc]

writes `docs/results/training_curves.json`, `.md` and `.svg`; rows that are not measured keep their numbers.
Every side trains in a process of its own, on one thread. Test images are evaluated while the clock stands
still, and decide nothing.
"""

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import tyro
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator
from PIL import Image
from tests.support import authors
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from benchmarks import latency
from benchmarks.page import RESULTS, filled, known, result_page, write
from benchmarks.passes import (
    BATCH,
    camloc_step,
    machine,
    numbers_and_logits,
    published_step,
    random_images,
    shortest_in_processes,
)
from camloc.core.device import CPU
from camloc.data.image_cache import ImageCache, load_image_cache
from camloc.data.types import Frame, poses_of
from camloc.evaluation.report.figures import BLUE, ORANGE, PURPLE, legend_below, log_scale, styled, svg
from camloc.geometry.pose import Pose, PoseError, pose_error
from camloc.geometry.rotation import rotation_vector
from camloc.models import build_model, presets
from camloc.models.decoding import OrientationForm, rotation_from_values
from camloc.models.layers.timm_without_compiler import timm
from camloc.recipes import find_recipe
from camloc.runs.manifest import DataSource, load_scenes
from camloc.runs.prepare import TRAINING_SHARE, Compute, Precision, Training, prepare
from camloc.training.loop import Epoch, Step, fit, steps_per_epoch
from camloc.training.pretrained import fill_network, read_weights
from camloc.training.recipe import Recipe
from camloc.training.validation import validate

NAME = "training_curves"
FIGURE = RESULTS / f"{NAME}.svg"

# Networks of the table of steps, by their labels on the page of latency.
STEPS = (
    "AtLoc", "HyperPose 2025", "PoseNet, MobileNetV2", "PoseNet, ResNet-50", "TransPoseNet", "MS-Transformer",
)  # fmt: skip

# The least ratio that is aimed at, for the first four of them.
AIM, AIMED = 1.5, STEPS[:4]

PRECISIONS: tuple[Precision, ...] = ("32-true", "bf16-mixed")

# Shares of the budget after which test errors are measured: after the next step, or our next epoch.
MOMENTS = (0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 1.0)

# Steps that tell how many fit into the budget, and those before them that do not count.
_TRIAL_STEPS, _WARM_UP_STEPS = 20, 5

STEP_COLUMNS = (
    ("model", "{label}"),
    ("published", "{published:,.0f} ms"),
    ("ours, single precision", "{single:,.0f} ms"),
    ("ratio", "{single_ratio:.2f}"),
    ("ours, bfloat16", "{mixed:,.0f} ms"),
    ("ratio", "{mixed_ratio:.2f}"),
)
CURVE_COLUMNS = (
    ("model", "{label}"),
    ("trained by", "{side}"),
    ("images a second", "{speed:.0f}"),
    ("epochs", "{epochs:.1f}"),
    ("median at the end", "{end}"),
    ("as good as the published end", "{reached}"),
    ("ratio", "{ratio}"),
)


@dataclass(frozen=True)
class Contest:
    """A model that both sides train.

    Attributes:
        label: for the tables.
        published: recipe with the authors' settings: optimiser, losses, batch, random changes, image.
        recipe: ours.
        structure: the authors' network around a CNN of 1280 channels.
    """

    label: str
    published: str
    recipe: str
    structure: Callable[[nn.Module], nn.Module]


class Pooled(nn.Sequential):
    """A CNN, its global average, and a layer."""

    def __init__(self, cnn: nn.Module, layer: nn.Module) -> None:
        super().__init__(cnn, nn.AdaptiveAvgPool2d(1), nn.Flatten(), layer)


class LastMap(nn.Module):
    """A CNN in the place of the authors' EfficientNet, of whose maps HyperPose reads the last."""

    def __init__(self, cnn: nn.Module) -> None:
        super().__init__()
        self.cnn = cnn

    def maps(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Three times the last map."""
        last = self.cnn(images)
        return last, last, last


def atloc(cnn: nn.Module) -> nn.Module:
    """AtLoc with the initial weights of the authors."""
    network = authors.AtLoc()
    network.feature_extractor = Pooled(cnn, nn.Linear(1280, 2048))
    layers = (network.feature_extractor[-1], network.fc_xyz, network.fc_wpqr)
    _initialise(*layers, *network.att.children())
    network.att = nn.Sequential(network.att, nn.Dropout(0.5))  # type: ignore[assignment]
    return network


def hyperpose(cnn: nn.Module) -> nn.Module:
    """HyperPose of 2025."""
    network = authors.HyperPose()
    network._backbone = LastMap(cnn)  # type: ignore[assignment]
    network.fc1 = nn.Sequential(network.fc1, nn.ReLU(), nn.Dropout(0.1))  # type: ignore[assignment]
    return network


def posenet(cnn: nn.Module) -> nn.Module:
    """The teacher of the pose auto-encoders with the initial weights of the authors."""
    network = latency.PlainPoseNet(nn.Sequential(cnn, nn.Identity()), 1280)
    _initialise(*network.latents, *network.heads)
    network.heads = nn.ModuleList(nn.Sequential(nn.Dropout(0.1), head) for head in network.heads)
    return network


def _initialise(*layers: nn.Module) -> None:
    for layer in layers:
        nn.init.kaiming_normal_(layer.get_parameter("weight"))
        nn.init.zeros_(layer.get_parameter("bias"))


CONTESTS = (
    Contest("AtLoc", "atloc_2020/sevenscenes", "room/atloc", atloc),
    Contest(
        "HyperPose 2025", "hyperpose_2025/sevenscenes-hypernetwork-released", "room/hyperpose", hyperpose
    ),
    Contest("PoseNet", "pose_autoencoders_2022/teacher-mobilenet", "room/posenet", posenet),
)


@dataclass(frozen=True)
class Settings:
    """What to measure.

    Attributes:
        data: folder of Red Kitchen.
        backbone_weights: ImageNet weights of MobileNetV2, in timm's names, of both sides.
        budget: seconds of processor time of each training.
        only: labels of the rows to measure; all by default.
        parts: the tables to measure.
        rounds: steps of each side.
    """

    data: Path
    backbone_weights: Path
    budget: float = 600.0
    only: tuple[str, ...] = ()
    parts: tuple[str, ...] = ("steps", "curves")
    rounds: int = 5


@dataclass(frozen=True)
class StepTimes:
    """Milliseconds of a training step of 8 images."""

    label: str
    published: float
    single: float
    mixed: float


@dataclass(frozen=True)
class Curve:
    """A training.

    Attributes:
        points: seconds of processor time, and the median errors (metres, degrees) of the test images then.
        images: number of images of all steps.
        epochs: passes over the training images.
        before: seconds before the first step: reading images, computing features.
    """

    points: tuple[tuple[float, float, float], ...]
    images: int
    epochs: float
    before: float

    def reached(self, meters: float, degrees: float) -> float | None:
        """Seconds after which both medians were, and stayed, at most these; None if never."""
        found = None
        for seconds, *errors in reversed(self.points):
            if errors[0] > meters or errors[1] > degrees:
                break
            found = seconds
        return found


@dataclass(frozen=True)
class Curves:
    """The trainings of a model, at the same budget in seconds; `curves` by their sides."""

    label: str
    budget: float
    curves: dict[str, Curve]


@dataclass(frozen=True)
class Measured:
    """Everything on the page."""

    steps: tuple[StepTimes, ...] = ()
    curves: tuple[Curves, ...] = ()
    machine: str = ""


PUBLISHED, MIXED, SINGLE = "the authors' code", "camloc, bfloat16", "camloc, single precision"
SIDES = (PUBLISHED, MIXED, SINGLE)


class Clock:
    """Processor time of this process since the start, without that of evaluations."""

    def __init__(self) -> None:
        self.started = time.process_time()
        self.points: list[tuple[float, float, float]] = []

    def now(self) -> float:
        """Seconds."""
        return time.process_time() - self.started

    def is_due(self, budget: float) -> bool:
        """Whether the next moment has come."""
        return self.now() >= MOMENTS[min(len(self.points), len(MOMENTS) - 1)] * budget

    def note(self, medians: Callable[[], tuple[float, float]]) -> None:
        """Evaluate while the clock stands still."""
        seconds = self.now()
        self.points.append((seconds, *medians()))
        self.started = time.process_time() - seconds


class Photographs(Dataset[tuple[Tensor, Tensor]]):
    """Frames, decoded and changed whenever they are needed, as the authors' data sets do."""

    def __init__(self, frames: tuple[Frame, ...], recipe: Recipe, *, of_training: bool) -> None:
        size, augment = recipe.preprocess, recipe.augment
        changes = (augment.brightness, augment.contrast, augment.saturation, augment.hue)
        side = (size.height, size.width)
        self.change = transforms.Compose(
            [
                transforms.Resize(size.short_side),
                transforms.RandomCrop(side) if of_training else transforms.CenterCrop(side),
                *([transforms.ColorJitter(*changes)] if of_training and any(changes) else []),
                transforms.ToTensor(),
                # Of the weights; the authors' are of theirs.
                transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
            ]
        )
        self.frames = frames
        self.numbers = _labels(poses_of(frames), recipe.config.regression.orientation)

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor]:
        return self.change(Image.open(self.frames[row].image).convert("RGB")), self.numbers[row]


def _labels(poses: Pose, orientation: str) -> Tensor:
    """The numbers that the authors' networks learn."""
    pose = poses.tensor()
    turned = pose.quaternion_wxyz() if orientation == "quaternion" else 0.5 * rotation_vector(pose.rotation)
    return torch.cat((pose.translation, turned), dim=1).float()


def published_curve(contest: Contest, settings: Settings) -> Curve:
    """Train the authors' structure as their code does, on the pretrained weights of ours."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    recipe = find_recipe(contest.published)
    (stage, *_), loss = recipe.stages, recipe.config.regression.pose_loss
    (scene,) = load_scenes((DataSource(str(settings.data.resolve())),))
    tested = Photographs(scene.test, recipe, of_training=False)
    images = torch.stack([image for image, _ in tested])  # type: ignore[attr-defined]  # ends by an IndexError
    clock = Clock()
    train = Photographs(scene.train, recipe, of_training=True)
    cnn = pretrained_cnn(settings.backbone_weights, torch.stack([train[row][0] for row in range(0, 750, 30)]))
    network = contest.structure(cnn).train()
    weights = nn.Parameter(torch.tensor([loss.position, loss.orientation]))
    optimizer = torch.optim.Adam(
        [*network.parameters(), weights],
        lr=stage.learning_rate,
        betas=stage.betas,
        eps=stage.epsilon,
        weight_decay=stage.weight_decay,
    )
    before, count, epoch = clock.now(), 0, 0
    while True:
        for group in optimizer.param_groups:
            group["lr"] = stage.learning_rate * stage.rate_factor(0, steps=1, epoch=epoch)
        for batch, wanted in DataLoader(train, recipe.batch_size, shuffle=True):
            numbers, _ = numbers_and_logits(network(batch))
            optimizer.zero_grad()
            terms = published_loss(numbers, wanted, distance=loss.distance)
            (terms * torch.exp(-weights) + weights).sum().backward()
            optimizer.step()
            count += len(batch)
            if clock.is_due(settings.budget):
                clock.note(lambda: published_medians(network, images, poses_of(scene.test)))
                if clock.now() >= settings.budget:
                    return Curve(tuple(clock.points), count, count / len(train), before)
        epoch += 1


def pretrained_cnn(weights: Path, images: Tensor) -> nn.Module:
    """MobileNetV2 with pretrained weights, whose batch norms have the statistics of images.

    Those of the file have mean 0 and variance 1, with the true ones folded into the convolutions; a network
    whose batch norms train, as the authors' do, would lose its features. The network computes the same.
    """
    network: nn.Module = timm.create_model(
        "mobilenetv2_100", pad_type="same", num_classes=0, global_pool="", pretrained=False
    )
    fill_network(network, read_weights(weights), source=str(weights))
    inputs: dict[nn.BatchNorm2d, Tensor] = {}
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    handles = [
        norm.register_forward_pre_hook(lambda own, given: inputs.update({own: given[0]})) for norm in norms
    ]
    with torch.no_grad():
        network.eval()(images)
        for norm in norms:
            assert norm.running_mean is not None
            assert norm.running_var is not None
            variance, mean = torch.var_mean(inputs[norm], (0, 2, 3))
            scale = norm.weight / (norm.running_var + norm.eps).sqrt()
            norm.bias.add_(scale * (mean - norm.running_mean))
            norm.weight.copy_(scale * (variance + norm.eps).sqrt())
            norm.running_mean.copy_(mean)
            norm.running_var.copy_(variance)
    for handle in handles:
        handle.remove()
    return network


def published_loss(numbers: Tensor, wanted: Tensor, *, distance: str) -> Tensor:
    """The authors' two errors of a batch, of positions and of quaternions or their logarithms."""
    position, turned = numbers[:, :3] - wanted[:, :3], numbers[:, 3:]
    if distance == "absolute":
        return torch.stack((position.abs().mean(), (turned - wanted[:, 3:]).abs().mean()))
    turned = F.normalize(turned, dim=1) - wanted[:, 3:]
    return torch.stack([torch.linalg.vector_norm(each, dim=1).mean() for each in (position, turned)])


def published_medians(network: nn.Module, images: Tensor, poses: Pose) -> tuple[float, float]:
    """Median metres and degrees of the test images."""
    network.eval()
    with torch.no_grad():
        numbers = torch.cat([numbers_and_logits(network(each))[0] for each in images.split(25)]).double()
    network.train()
    form: OrientationForm = "quaternion" if numbers.shape[1] == 7 else "log_quaternion"
    found = Pose(rotation_from_values(form, numbers[:, 3:]), numbers[:, :3])
    return _medians(pose_error(found, poses.tensor()))


def _medians(error: PoseError) -> tuple[float, float]:
    return float(error.meters.median()), float(error.degrees.median())


def camloc_curve(contest: Contest, settings: Settings, precision: Precision) -> Curve:
    """Train our recipe, with a schedule for the budget, as `camloc train --budget` does.

    The schedule is for seconds of processor time, where the command counts those of the clock.
    """
    torch.set_num_threads(1)
    recipe = find_recipe(contest.recipe)
    source = DataSource(str(settings.data.resolve()))
    (scene,) = load_scenes((source,))
    with TemporaryDirectory() as folder:
        os.environ["CAMLOC_CACHE"] = f"{folder}/tested"
        tested = load_image_cache(scene.test, recipe.preprocess)
        os.environ["CAMLOC_CACHE"] = f"{folder}/cache"
        prepared = partial(
            prepare,
            recipe,
            name=contest.recipe,
            data=source,
            weights=settings.backbone_weights,
            compute=Compute(precision=precision),
        )
        clock = Clock()
        training = prepared(folder=Path(folder) / "trial")
        before = clock.now()
        left = max(0.0, settings.budget - before)
        share = left * TRAINING_SHARE / _schedule_seconds(training)
        training = prepared(folder=Path(folder) / "run")  # from the cache; the trial has changed the network
        steps = 0
        for event in _events(training, training.recipe.scaled(share)):
            if isinstance(event, Step):
                steps += 1
            elif clock.is_due(settings.budget) or event.epoch == event.epochs:
                clock.note(partial(camloc_medians, event.model, tested, recipe))
    batch = training.recipe.batch_size
    return Curve(tuple(clock.points), steps * batch, steps / _steps(training), before)


def _events(training: Training, recipe: Recipe) -> Iterator[Step | Epoch]:
    return fit(training.model, training.train, recipe, validation=training.validation, fabric=training.fabric)


def _steps(training: Training) -> int:
    """Steps of an epoch."""
    return steps_per_epoch(len(training.train), training.recipe.batch_size)


def _schedule_seconds(training: Training) -> float:
    """Seconds of all training steps of the recipe's schedule, at the speed of some trial steps."""
    events = (event for event in _events(training, training.recipe.scaled(1e6)) if isinstance(event, Step))
    for _ in range(_WARM_UP_STEPS):
        next(events)
    started = time.process_time()
    for _ in range(_TRIAL_STEPS):
        next(events)
    taken = (time.process_time() - started) / _TRIAL_STEPS
    return taken * training.recipe.epochs * _steps(training)


def camloc_medians(model: Any, images: ImageCache, recipe: Recipe) -> tuple[float, float]:
    """Median metres and degrees of the test images."""
    return validate(model, images, recipe.preprocess, CPU).mean


def step_times(label: str, rounds: int) -> StepTimes:
    """A training step of the authors' structure and of ours, each in its own process."""
    prepared: dict[str, Callable[[], Callable[[], None]]] = {"published": partial(_published_step, label)}
    prepared |= {precision: partial(_camloc_step, label, precision) for precision in PRECISIONS}
    times = shortest_in_processes(prepared, rounds)
    return StepTimes(label, times["published"], *(times[precision] for precision in PRECISIONS))


def _case(label: str) -> latency.Case:
    return next(case for case in latency.cases() if case.label == label)


def _published_step(label: str) -> Callable[[], None]:
    torch.manual_seed(0)
    return published_step(_case(label).published(), random_images())


def _camloc_step(label: str, precision: Precision) -> Callable[[], None]:
    torch.manual_seed(0)
    case, images = _case(label), random_images()
    config = presets(case.model)[case.preset]
    model = build_model(case.model, config)
    model.observe_scenes([images.world_from_cam] * getattr(config, "scenes", 1))
    return camloc_step(model, images, Compute(precision=precision))


def measured_curve(contest: Contest, side: str, settings: Settings) -> Curve:
    """The training of a model by one side, in its own process."""
    train: dict[str, Callable[[], Curve]] = {
        PUBLISHED: partial(published_curve, contest, settings),
        MIXED: partial(camloc_curve, contest, settings, "bf16-mixed"),
        SINGLE: partial(camloc_curve, contest, settings, "32-true"),
    }
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(train[side]).result()


def page(measured: Measured) -> str:
    """The page."""
    steps = [
        {
            **vars(row),
            "single_ratio": row.published / row.single,
            "mixed_ratio": row.published / row.mixed,
        }
        for row in measured.steps
    ]
    below = [
        f"{row.label} ({row.published / row.mixed:.2f})"
        for row in measured.steps
        if row.label in AIMED and row.published / row.mixed < AIM
    ]
    return result_page(
        "Training beside the authors' code",
        NAME,
        "## A training step",
        f"{BATCH} images of 224 x 224, random weights, processor time of the shortest of some steps on one "
        "thread, the columns in turn, each in a process of its own: forward pass, losses, backward pass and "
        "Adam. *Published* is the structure of the authors' code as PyTorch runs it by default. Ours has "
        "channels last, one kernel for Adam, freed memory that is kept, attention without its weights, no "
        "layers without effect and, in bfloat16, products by the processor's instructions for it: the steps "
        "of `camloc train --precision 32-true` and `bf16-mixed` where nothing is frozen.",
        filled(STEP_COLUMNS, steps),
        f"In bfloat16 the ratio is below {AIM} for {', '.join(below)}."
        if below
        else f"In bfloat16 the ratios of {', '.join(AIMED)} are at least {AIM}.",
        *_of_curves(measured.curves),
        f"{measured.machine}.",
        command="--data FOLDER --backbone-weights FILE",
    )


def _of_curves(several: tuple[Curves, ...]) -> list[str]:
    if not several:
        return []
    rows = [row for each in several for row in _curve_rows(each)]
    budgets = sorted({each.budget for each in several})
    seconds = " or ".join(f"{budget:.0f}" for budget in budgets)
    return [
        "## Errors over time",
        f"Red Kitchen, {seconds} seconds of processor time on one thread for each training, which include "
        "reading the images and computing features, and not the evaluation of the 250 test images. Both "
        "sides start from the same ImageNet weights of MobileNetV2, also AtLoc and HyperPose, whose authors "
        "have larger CNNs. *The authors' code* decodes, scales, cuts and colours an image whenever a step "
        "needs it, and trains all layers with the authors' losses, Adam, learning rate, batch and image "
        "size. *camloc* is `camloc train` with a recipe of `room/`: images of 160 x 120 that are decoded "
        "once, 16 turned and coloured variants of each that passed once through the frozen half of the CNN, "
        "a tenth of the images held out, and a schedule that ends with the budget. No test image decided "
        "anything.",
        "*As good as the published end*: seconds after which both medians stay at or below the last ones of "
        "the authors' code; the ratio is that of the times.",
        filled(CURVE_COLUMNS, rows, text_columns=2),
        f"![Test errors over processor time]({FIGURE.name})",
    ]


def _curve_rows(each: Curves) -> Iterator[dict[str, Any]]:
    end, *medians = each.curves[PUBLISHED].points[-1]
    for side, curve in each.curves.items():
        seconds, meters, degrees = curve.points[-1]
        reached = end if side == PUBLISHED else curve.reached(*medians)
        yield {
            "label": each.label,
            "side": side,
            "speed": curve.images / max(seconds - curve.before, 1e-9),
            "epochs": curve.epochs,
            "end": f"{meters:.3f} m, {degrees:.2f}°",
            "reached": "never" if reached is None else f"{reached:.0f} s",
            "ratio": "" if reached is None else f"{end / reached:.1f}",
        }


def figure(measured: Measured) -> bytes:
    """Test errors over processor time, as SVG."""
    colors = {contest.label: color for contest, color in zip(CONTESTS, (BLUE, ORANGE, PURPLE), strict=True)}
    styles = {PUBLISHED: ":", MIXED: "-", SINGLE: "--"}
    with styled():
        drawn = Figure(figsize=(8.4, 4.0), layout="constrained")
        panels = drawn.subplots(1, 2)
        for axes, column, title in zip(panels, (1, 2), ("position (m)", "orientation (°)"), strict=True):
            for each in measured.curves:
                for side, curve in each.curves.items():
                    axes.plot(
                        [point[0] for point in curve.points],
                        [point[column] for point in curve.points],
                        color=colors[each.label],
                        linestyle=styles[side],
                        linewidth=1.8,
                        label=f"{each.label}, {side}",
                    )
            axes.set_title(f"Test {title}")
            axes.set_xlabel("seconds of processor time")
            axes.set_xlim(left=0.0)
            log_scale(axes, "y")
            axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        legend_below(drawn, panels[0], columns=2)
        return svg(drawn)


def main(settings: Settings) -> None:
    """Measure, and write the page after each row."""
    jobs: list[Callable[[], Measured]] = []
    if "steps" in settings.parts:
        jobs += [partial(_with_steps, label, settings) for label in STEPS if _is_wanted(label, settings)]
    if "curves" in settings.parts:
        wanted = [each for each in CONTESTS if _is_wanted(each.label, settings)]
        jobs += [partial(_with_curve, each, side, settings) for each in wanted for side in SIDES]
    for job in jobs:
        measured = replace(job(), machine=machine())
        FIGURE.write_bytes(figure(measured))
        write(NAME, measured, page(measured))


def _is_wanted(label: str, settings: Settings) -> bool:
    return not settings.only or label in settings.only


def _with_steps(label: str, settings: Settings) -> Measured:
    times = step_times(label, settings.rounds)
    measured = known(NAME, Measured())  # read now: another process may have written meanwhile
    rows = {row.label: row for row in measured.steps} | {label: times}
    return replace(measured, steps=tuple(rows[each] for each in STEPS if each in rows))


def _with_curve(contest: Contest, side: str, settings: Settings) -> Measured:
    """With the training of one side, after that of the authors' code, which replaces earlier ones."""
    curve = measured_curve(contest, side, settings)
    measured = known(NAME, Measured())
    rows = {row.label: row for row in measured.curves}
    kept = {} if side == PUBLISHED else rows[contest.label].curves
    curves = kept | {side: curve}
    rows[contest.label] = Curves(contest.label, settings.budget, curves)
    return replace(measured, curves=tuple(rows[each.label] for each in CONTESTS if each.label in rows))


if __name__ == "__main__":
    main(tyro.cli(Settings))
