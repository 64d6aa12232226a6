"""`camloc autoencode`: a pose auto-encoder for a finished run."""

from typing import TYPE_CHECKING, Annotated

import tyro

from camloc.apps.options import Device, Run, Seed, checked_seed

if TYPE_CHECKING:
    from rich.table import Table

    from camloc.companions import AutoencoderFacts


def autoencode(
    run: tyro.conf.Positional[Run],
    *,
    recipe: Annotated[str, tyro.conf.arg(metavar="NAME")] = "students/quick",
    seed: Seed = 0,
    device: Device = "cpu",
) -> None:
    """Teach a pose auto-encoder by a run's regressor, and write it beside the run's checkpoint.

    It learns to say what the regressor would see from a pose. `camloc locate --refine` and `camloc evaluate
    --refine` then move positions by it; frames held out of training choose how.

    Args:
        run: Folder of a trained run.
        recipe: Settings of the auto-encoder; camloc recipes lists them.
        seed: Of all randomness.
        device: Where to teach.
    """
    from rich.console import Console

    from camloc.apps.progress import console, counted
    from camloc.companions import autoencoder_facts
    from camloc.recipes.autoencode import Teacher, prepare_teaching, teach
    from camloc.recipes.student import find_student

    settings = find_student(recipe)
    teacher = Teacher.load(run, device=device)
    with counted("what it sees") as progress:
        teaching = prepare_teaching(
            teacher, settings, name=recipe, seed=checked_seed(seed), progress=progress
        )
    encoder, views = teaching.encoder, len(teaching.lesson)
    console.print(
        f"{encoder.parameter_count():,} weights ({encoder.megabytes:.2f} MB) learn from {views:,} views what "
        f"{teacher.checkpoint.facts.model} sees"
    )
    for event in teach(teaching):
        if event.measures:
            found = event.measures
            console.print(
                f"epoch {event.epoch:>3} of {event.epochs}   true poses through encoder and heads "
                f"{found['meters']:6.3f} m  {found['degrees']:6.2f}°"
            )
    facts = autoencoder_facts(teacher.run)
    if facts is not None and facts.answers is not None:
        Console(highlight=False).print(_held_out(facts, teacher.scene.unit))
    console.print(
        f"\nnext   camloc locate {run} PHOTO.jpg --refine auto\n       camloc evaluate {run} --refine auto"
    )


def _held_out(facts: "AutoencoderFacts", unit: str) -> "Table":
    """What the frames held out of training say about the auto-encoder and about refining."""
    from rich import box
    from rich.table import Table

    from camloc.evaluation.wording import angle, distance, way_name

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("median error on held-out frames", no_wrap=True)
    table.add_column("position", justify="right")
    table.add_column("orientation", justify="right")
    rows = (
        ("the regressor", facts.answers),
        ("its heads on encoded true poses", facts.student),
        ("its heads on encodings of its own answers", facts.student_of_answers),
    )
    for label, errors in rows:
        if errors is not None:
            table.add_row(label, distance(errors.meters, unit), angle(errors.degrees))
    table.add_section()
    for way, meters in facts.refined.items():
        best = "  (best)" if way == facts.best_way else ""
        table.add_row(f"{way_name(way)}{best}", distance(meters, unit))
    return table
