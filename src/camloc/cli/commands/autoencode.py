"""`camloc autoencode`: train the auxiliary networks that refine the poses of a finished run."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import tyro

from camloc.cli.options import Device, Run, Seed, checked_seed
from camloc.errors import RecipeError

if TYPE_CHECKING:
    from rich.table import Table

    from camloc.refinement.choice import AuxiliaryNetworks
    from camloc.training.loop import Epoch


def autoencode(
    run: tyro.conf.Positional[Run],
    *,
    recipe: Annotated[str, tyro.conf.arg(metavar="NAME")] = "students/quick",
    decoder: bool = False,
    virtual: bool = False,
    seed: Seed = 0,
    device: Device = "cpu",
) -> None:
    """Train a pose auto-encoder from a run's regressor, and write it beside the run's checkpoint.

    It predicts from a pose the latents that the regressor computes from an image. `camloc locate --refine`
    and `camloc evaluate --refine` refine positions with it; the held-out frames choose the settings.

    Args:
        run: Folder of a trained run.
        recipe: Settings of the auto-encoder and its training; students/quick suits every run.
        decoder: Also train an image decoder, which draws the view from a pose.
        virtual: Also train a relative pose regressor, for --refine virtual, and the image decoder if it needs
            one.
        seed: Of all randomness.
        device: Where to train.
    """
    from rich.console import Console

    from camloc.cli.progress import console, counted
    from camloc.recipes import find_student
    from camloc.refinement.choice import AuxiliaryNetworks
    from camloc.refinement.image_decoder import DecoderMetadata
    from camloc.refinement.train import (
        IMAGES,
        prepare_autoencoder,
        train_autoencoder,
        train_decoder,
        train_relative,
    )
    from camloc.runs.autoencode import load_teacher

    settings, seed = find_student(recipe), checked_seed(seed)
    teacher = load_teacher(run, device=device)
    with counted("latents") as progress:
        training = prepare_autoencoder(teacher, settings, name=recipe, seed=seed, progress=progress)
    encoder = training.encoder
    console.print(
        f"{encoder.parameter_count():,} weights ({encoder.megabytes:.2f} MB) learn the latents of "
        f"{teacher.checkpoint.metadata.model} from {len(training.task):,} views"
    )
    unit = teacher.scenes[0].unit
    _show(
        train_autoencoder(training),
        f"true poses through encoder and heads {{meters:6.3f}} {unit}  {{degrees:6.2f}}°",
    )
    needs_images = settings.relative is not None and settings.relative.config.sees == "images"
    if decoder or (virtual and needs_images):
        if settings.decoder is None:
            raise RecipeError("this recipe has no image decoder; choose one that has, such as students/quick")
        _show(
            train_decoder(teacher, settings.decoder, seed=seed),
            "decoded images differ by {score:.4f} from held-out ones",
        )
        console.print(f"images {teacher.run / DecoderMetadata.NAME / IMAGES}")
    if virtual:
        with counted("latents") as progress:
            _show(
                train_relative(teacher, settings, seed=seed, progress=progress),
                f"held-out frames from encoded reference poses {{meters:6.3f}} {unit}",
            )
    networks = AuxiliaryNetworks.load(teacher.run, teacher.checkpoint)
    if networks is not None and networks.metadata.teacher is not None:
        Console(highlight=False).print(_held_out_table(networks, teacher.scenes[0].unit))
    console.print(
        f"\nnext   camloc locate {run} IMAGE.jpg --refine auto\n       camloc evaluate {run} --refine auto"
    )


def _show(rounds: "Iterable[Epoch]", measures: str) -> None:
    """Print a line for each epoch that was measured; `measures` is a template for the measured values."""
    from camloc.cli.progress import console

    for event in rounds:
        if event.measures:
            values = measures.format(**event.measures)
            console.print(f"epoch {event.epoch:>3} of {event.epochs}   {values}")


def _held_out_table(networks: "AuxiliaryNetworks", unit: str) -> "Table":
    """The errors of the networks and of the refinement methods on held-out frames."""
    from camloc.evaluation.plain_table import terminal_table
    from camloc.evaluation.report.wording import angle, distance, method_name
    from camloc.refinement.choice import surest

    table = terminal_table(("median error on held-out frames", "position", "orientation"))
    rows = (
        ("the regressor", networks.metadata.teacher),
        ("its heads on encoded true poses", networks.metadata.student),
        ("its heads on encodings of its own poses", networks.metadata.student_of_predictions),
    )
    for label, errors in rows:
        if errors is not None:
            table.add_row(label, distance(errors.meters, unit), angle(errors.degrees))
    table.add_section()
    by_method = networks.errors()
    best = surest(by_method)
    for method, refined in by_method.items():
        mark = "  (surest to help)" if method == best else ""
        table.add_row(f"{method_name(method)}{mark}", distance(refined.median, unit))
    return table
