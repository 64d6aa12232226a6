"""`camloc autoencode`: a pose auto-encoder for a finished run."""

from typing import TYPE_CHECKING, Annotated

import tyro

from camloc.cli.options import Device, Run, Seed, checked_seed
from camloc.errors import RecipeError

if TYPE_CHECKING:
    from rich.table import Table

    from camloc.refinement.recipe import StudentRecipe
    from camloc.refinement.storage import AutoencoderMetadata, PositionErrors
    from camloc.runs.autoencode import Teacher


def autoencode(
    run: tyro.conf.Positional[Run],
    *,
    recipe: Annotated[str, tyro.conf.arg(metavar="NAME")] = "students/quick",
    decoder: bool = False,
    virtual: bool = False,
    seed: Seed = 0,
    device: Device = "cpu",
) -> None:
    """Teach a pose auto-encoder by a run's regressor, and write it beside the run's checkpoint.

    It learns to say what the regressor would see from a pose. `camloc locate --refine` and `camloc evaluate
    --refine` then move positions by it; frames held out of training choose how.

    Args:
        run: Folder of a trained run.
        recipe: Settings of the auto-encoder and of what learns from it; students/quick suits every run.
        decoder: Also teach an image decoder, which draws what the regressor sees from a pose.
        virtual: Also teach a relative pose regressor, for --refine virtual, and the decoder if it looks at
            images.
        seed: Of all randomness.
        device: Where to teach.
    """
    from rich.console import Console

    from camloc.cli.progress import console
    from camloc.recipes import find_student
    from camloc.refinement.choice import errors_of
    from camloc.refinement.storage import load_autoencoder, load_relative
    from camloc.runs.autoencode import Teacher

    settings, seed = find_student(recipe), checked_seed(seed)
    teacher = Teacher.load(run, device=device)
    _encoder(teacher, settings, name=recipe, seed=seed)
    looks = settings.relative is not None and settings.relative.config.sees == "images"
    if decoder or (virtual and looks):
        _decoder(teacher, settings, seed=seed)
    if virtual:
        _relative(teacher, settings, seed=seed)
    found = load_autoencoder(teacher.run, teacher.checkpoint)
    if found is not None and found[0].answers is not None:
        relative = load_relative(teacher.run, found[1])
        errors = errors_of(found[0], None if relative is None else relative[0])
        Console(highlight=False).print(_held_out(found[0], errors, teacher.scenes[0].unit))
    console.print(
        f"\nnext   camloc locate {run} IMAGE.jpg --refine auto\n       camloc evaluate {run} --refine auto"
    )


def _encoder(teacher: "Teacher", settings: "StudentRecipe", *, name: str, seed: int) -> None:
    from camloc.cli.progress import console, counted
    from camloc.runs.autoencode import prepare_teaching, teach

    with counted("what it sees") as progress:
        teaching = prepare_teaching(teacher, settings, name=name, seed=seed, progress=progress)
    encoder, views = teaching.encoder, len(teaching.task)
    console.print(
        f"{encoder.parameter_count():,} weights ({encoder.megabytes:.2f} MB) learn from {views:,} views what "
        f"{teacher.checkpoint.metadata.model} sees"
    )
    for event in teach(teaching):
        if event.measures:
            found = event.measures
            console.print(
                f"epoch {event.epoch:>3} of {event.epochs}   true poses through encoder and heads "
                f"{found['meters']:6.3f} m  {found['degrees']:6.2f}°"
            )


def _decoder(teacher: "Teacher", settings: "StudentRecipe", *, seed: int) -> None:
    from camloc.cli.progress import console
    from camloc.refinement.storage import DECODER
    from camloc.runs.autoencode import IMAGES, teach_decoder

    if settings.decoder is None:
        raise RecipeError("this recipe has no image decoder; choose one that has, such as students/quick")
    for event in teach_decoder(teacher, settings.decoder, seed=seed):
        if "score" in event.measures:
            console.print(
                f"epoch {event.epoch:>3} of {event.epochs}   decoded images differ by "
                f"{event.measures['score']:.4f} from held-out ones"
            )
    console.print(f"images {teacher.run / DECODER / IMAGES}")


def _relative(teacher: "Teacher", settings: "StudentRecipe", *, seed: int) -> None:
    from camloc.cli.progress import console, counted
    from camloc.runs.autoencode import teach_relative

    with counted("what it sees") as progress:
        for event in teach_relative(teacher, settings, seed=seed, progress=progress):
            if "meters" in event.measures:
                console.print(
                    f"epoch {event.epoch:>3} of {event.epochs}   held-out frames, seen from remembered poses "
                    f"{event.measures['meters']:6.3f} m"
                )


def _held_out(metadata: "AutoencoderMetadata", errors: "dict[str, PositionErrors]", unit: str) -> "Table":
    """What the frames held out of training say about the auto-encoder and about refining."""
    from rich import box
    from rich.table import Table

    from camloc.evaluation.report.wording import angle, distance, method_name
    from camloc.refinement.choice import surest

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("median error on held-out frames", no_wrap=True)
    table.add_column("position", justify="right")
    table.add_column("orientation", justify="right")
    rows = (
        ("the regressor", metadata.answers),
        ("its heads on encoded true poses", metadata.student),
        ("its heads on encodings of its own answers", metadata.student_of_answers),
    )
    for label, both in rows:
        if both is not None:
            table.add_row(label, distance(both.meters, unit), angle(both.degrees))
    table.add_section()
    best = surest(errors)
    for way, each in errors.items():
        table.add_row(
            f"{method_name(way)}{'  (surest to help)' if way == best else ''}", distance(each.median, unit)
        )
    return table
