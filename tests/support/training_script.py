"""Trainings in processes of their own, which can be killed or can share a batch.

    python -m tests.support.training_script killed FOLDER
    python -m tests.support.training_script shared FOLDER

`killed` trains the scene in FOLDER/scene twice: into FOLDER/undisturbed in one go, and into FOLDER/killed
with a SIGKILL at every moment of `KILLS`. Its trainings are forks of one process, which has done the slow
imports.
`shared` trains in two processes with a common batch: the scene in FOLDER/scene into FOLDER/shared, and images
in memory, whose loss curves it writes into FOLDER/shared.json.
"""

import importlib
import json
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from camloc.data.augment import Augment
from camloc.runs import prepare as preparation
from camloc.runs.manifest import STATE, DataSource
from camloc.runs.prepare import Compute, prepare
from camloc.runs.train import train
from camloc.training.loop import Epoch, Step, fit
from camloc.training.recipe import Recipe, Stage, Window
from tests.support.tiny_training import recipe_for_images, tiny_images, tiny_model, window_model
from tests.support.trained import tiny_recipe

AUGMENT = Augment(
    random_crop=True,
    yaw_degrees=5.0,
    roll_degrees=5.0,
    brightness=0.3,
    contrast=0.3,
    saturation=0.3,
    erase=0.2,
)

STAGES = (
    Stage(
        epochs=3,
        learning_rate=2e-3,
        optimizer="adamw",
        weight_decay=0.01,
        schedule="one_cycle",
        average=0.9,
        gradient_clip=5.0,
    ),
    Stage(epochs=3, learning_rate=1e-3, trains=("*head*", "*hyper*", "pose_loss.*"), schedule="cosine"),
)

WINDOW = Window(frames=3, apart=2)

Moment = Callable[[Step | Epoch], bool]


def in_the_middle_of_epoch_2(event: Step | Epoch) -> bool:
    return isinstance(event, Step) and event.epoch == 2 and event.step == 1


def when_the_first_stage_is_done(event: Step | Epoch) -> bool:
    """Its last epoch was reported and logged, and its state is not written yet."""
    return isinstance(event, Epoch) and event.epoch == 3


def when_the_second_stage_has_begun(event: Step | Epoch) -> bool:
    return isinstance(event, Step) and event.epoch == 4


def when_all_is_done(event: Step | Epoch) -> bool:
    return isinstance(event, Epoch) and event.epoch == 6


KILLS: tuple[Moment, ...] = (
    in_the_middle_of_epoch_2,
    when_the_first_stage_is_done,
    when_the_second_stage_has_begun,
    when_all_is_done,
)


def two_stage_recipe() -> Recipe:
    """A recipe with all state and randomness: averaging, momentum, batch norm, dropout, augmentation."""
    recipe = tiny_recipe()
    config = replace(recipe.config, dropout=0.2)
    return replace(recipe, config=config, stages=STAGES, augment=AUGMENT, batch_size=4, validate_every=2)


def learn(scene: Path, folder: Path, moment: Moment | None) -> None:
    """Train into a run folder, and be killed at a moment."""
    data = DataSource(str(scene))
    for event in train(prepare(two_stage_recipe(), name="tiny/two-stages", data=data, folder=folder)):
        if moment is not None and moment(event):
            os.kill(os.getpid(), signal.SIGKILL)


def killed_trainings(folder: Path) -> None:
    """The undisturbed training, the killed one, and how their processes ended."""
    for module in (
        "pycolmap",
        "tensorboard.summary.writer.record_writer",
    ):  # else every fork would import them anew
        importlib.import_module(module)
    endings = []

    def start(name: str, moment: Moment | None, *, kill_when: Path | None = None) -> None:
        forking = multiprocessing.get_context("fork")
        process = forking.Process(target=learn, args=(folder / "scene", folder / name, moment))
        process.start()
        while kill_when is not None and process.is_alive():
            if kill_when.exists():
                assert process.pid is not None
                os.kill(process.pid, signal.SIGKILL)
                break
            time.sleep(0.001)
        process.join()
        endings.append([name, process.exitcode])

    start("undisturbed", None)
    # The first kill comes from outside, as soon as the first epoch is saved.
    start("killed", None, kill_when=folder / "killed" / STATE)
    for moment in KILLS:
        start("killed", moment)
    start("killed", None)
    start("killed", None)  # a finished training does nothing
    (folder / "endings.json").write_text(json.dumps(endings))


def loss_curve(
    fabric: Fabric | None, *, window: Window | None = None
) -> tuple[list[dict[str, float]], dict[str, torch.Tensor]]:
    """Loss terms of every epoch of a small training in double precision, and the last weights."""
    settings = replace(STAGES[0], average=0.8, gradient_clip=1.0)
    if window is None:
        model = tiny_model(dropout=0.2)
        recipe = recipe_for_images(settings, STAGES[1], batch_size=8, augment=AUGMENT)
    else:
        model = window_model()
        recipe = recipe_for_images(settings, batch_size=4 * window.frames, augment=AUGMENT)
        recipe = replace(recipe, window=window)
    curve = []
    for event in fit(model, tiny_images(24), recipe, validation=tiny_images(8, seed=1), fabric=fabric):
        if isinstance(event, Epoch):
            assert event.validation is not None
            meters, degrees = event.validation
            curve.append({**event.losses, "meters": meters, "degrees": degrees})
    return curve, model.state_dict()


def shared_run(folder: Path, *, name: str, devices: int) -> None:
    """A run of the scene, as `camloc train --devices` makes it."""
    recipe = two_stage_recipe()
    training = prepare(
        replace(recipe, stages=tuple(replace(stage, epochs=1) for stage in recipe.stages)),
        name="tiny/shared",
        data=DataSource(str(folder / "scene")),
        folder=folder / name,
        compute=Compute(devices=devices, precision="64-true"),
    )
    for _ in train(training):
        pass


def late(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, half a second later."""

    def called(*args: Any, **kwargs: Any) -> Any:
        time.sleep(0.5)
        return function(*args, **kwargs)

    return called


def shared_training(folder: Path) -> None:
    """The loss curve of two processes, and a run of two processes whose second lags behind."""
    torch.set_num_threads(1)
    fabric = Compute(devices=2, precision="64-true").launch()
    if not fabric.is_global_zero:
        preparation.first_model = late(preparation.first_model)
    shared_run(folder, name="shared", devices=2)
    curve, weights = loss_curve(fabric)
    windows, _ = loss_curve(fabric, window=WINDOW)
    checksums: Any = fabric.all_gather(torch.stack([weight.double().sum() for weight in weights.values()]))
    if fabric.is_global_zero:
        result = {"curve": curve, "windows": windows, "checksums": checksums.tolist()}
        (folder / "shared.json").write_text(json.dumps(result))


def main() -> None:
    """Run the task of the command line."""
    task, folder = sys.argv[1], Path(sys.argv[2])
    {"killed": killed_trainings, "shared": shared_training}[task](folder)


if __name__ == "__main__":
    main()
