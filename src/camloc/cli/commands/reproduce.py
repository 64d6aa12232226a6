"""`camloc reproduce`: a table of a paper, trained and measured, beside the printed numbers."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from camloc.cli.options import Device, OptionalFolder, ReaderOptions, Scenes, reader_options, seconds
from camloc.errors import UsageError

if TYPE_CHECKING:
    from camloc.evaluation.plain_table import PlainTable
    from camloc.evaluation.published import PrintedTable
    from camloc.runs.reproduce import Settings

Rows = tyro.conf.UseAppendAction[
    Annotated[tuple[str, ...], tyro.conf.arg(metavar="WORD", help_behavior_hint="(repeatable)")]
]
Without = tyro.conf.UseAppendAction[
    Annotated[tuple[Literal["retrieval", "map"], ...], tyro.conf.arg(help_behavior_hint="(repeatable)")]
]


def reproduce(
    table: tyro.conf.Positional[
        Annotated[str, tyro.conf.arg(metavar="[PAPER/TABLE]", help_behavior_hint="")]
    ] = "",
    *,
    data: OptionalFolder = None,
    budget: Annotated[str, tyro.conf.arg(metavar="20m|1.5h", help_behavior_hint="")] = "",
    seeds: Annotated[int, tyro.conf.arg(metavar="NUMBER")] = 1,
    rows: Rows = (),
    scene: Scenes = (),
    jobs: Annotated[int, tyro.conf.arg(metavar="NUMBER")] = 1,
    runs: Annotated[Path, tyro.conf.arg(metavar="FOLDER")] = Path("runs/reproduce"),
    out: Annotated[Path | None, tyro.conf.arg(metavar="STEM", help_behavior_hint="")] = None,
    without: Without = (),
    backbone_weights: Annotated[str, tyro.conf.arg(metavar="none|hub|FILE")] = "none",
    option: ReaderOptions = (),
    device: Device = "cpu",
    list: bool = False,
) -> None:
    """Train the runs of a paper's table, measure them, and write the table with the printed rows.

    Tables of run times need no data, and hyperpose_2025/transfer is a figure; --list shows all.

    Our rows are below the printed rows of networks that camloc has; the baselines are at the end: the nearest
    training pose (an oracle), the mean training pose, retrieval by similar images, and a map of local
    features where the data has intrinsics. Averages and ranks are those of the paper.

    The same command continues after an interruption: finished runs are kept. Without --data only
    finished runs are taken.

    Args:
        table: Name of the table, such as transposenet_2021/1; --list shows all.
        data: Folder of the data set, with one folder for each scene.
        budget: Wall-clock time of every training; the recipes' own schedules, of hours to days, without it.
        seeds: Trainings of every row, with the seeds 0, 1 and so on; the table shows mean and deviation.
        rows: Only train rows whose method contains this word.
        scene: Only these scenes of the table.
        jobs: Trainings at a time.
        runs: Folder of the runs, where finished ones are looked for.
        out: Where to write the table, without an ending; RUNS/PAPER-TABLE by default.
        without: Leave out a baseline that takes minutes.
        backbone_weights: Initial weights of the backbones, as for camloc train.
        option: Option of the reader of the data, such as width=1920.
        device: Device to train on.
        list: List the tables.
    """
    from camloc.evaluation.published import RUN_TIMES, TRANSFER, find_table

    if list or not table:
        if not list:
            raise UsageError("name a table, such as transposenet_2021/1; camloc reproduce --list shows all")
        _print_tables()
        return
    found = None if table in RUN_TIMES or table == TRANSFER else find_table(table)
    if seeds < 1 or jobs < 1:
        raise UsageError("--seeds and --jobs are 1 or more")
    if found is None and rows:
        raise UsageError(f"{table} has no rows to choose")
    from camloc.runs.commands import ended_together
    from camloc.runs.reproduce import FURTHER_BASELINES, Settings

    stem = out or runs / table.replace("/", "-")
    settings = Settings(
        data=data,
        runs=runs,
        budget=budget,
        seeds=seeds,
        rows=rows,
        scenes=scene,
        jobs=jobs,
        device=device,
        backbone_weights=backbone_weights,
        budget_seconds=seconds(budget) if budget else 0.0,
        options=reader_options(option),
        baselines=tuple(each for each in FURTHER_BASELINES if each not in without),
    )
    with ended_together():
        if found is not None:
            _reproduce_table(found, settings, stem)
        elif table == TRANSFER:
            _transfer(settings, stem)
        else:
            from camloc.runs.run_times import run_times

            _show_and_save(run_times(table, device=device), stem)


def _reproduce_table(table: "PrintedTable", settings: "Settings", stem: Path) -> None:
    """A table with its files, and the figure of the retrieval bar where it has one."""
    from camloc.cli.progress import console, show_wide
    from camloc.core.extras import has_extra
    from camloc.core.files import write_atomically
    from camloc.runs.reproduce import reproduce as reproduced

    result = reproduced(table, settings, console.print)
    paths = result.save(stem)
    show_wide(result.rich(), result.width)
    console.print(f"table {', '.join(map(str, paths))}")
    if has_extra("report"):
        from camloc.evaluation.report.model_figures import has_retrieval_bar, retrieval_bar_figure

        if has_retrieval_bar(result):
            write_atomically(stem.with_name(f"{stem.name}.svg"), retrieval_bar_figure(result))
            console.print(f"figure {stem}.svg")


def _transfer(settings: "Settings", stem: Path) -> None:
    """The transfer curve: a table with its files, and the figure."""
    from camloc.cli.progress import console
    from camloc.core.extras import has_extra
    from camloc.core.files import write_atomically
    from camloc.runs.transfer import NEW, transfer

    table, curves = transfer(settings, console.print)
    _show_and_save(table, stem)
    if has_extra("report") and any(curves.values()):
        from camloc.evaluation.report.model_figures import transfer_figure

        write_atomically(stem.with_name(f"{stem.name}.svg"), transfer_figure(curves, NEW))
        console.print(f"figure {stem}.svg")


def _show_and_save(table: "PlainTable", stem: Path) -> None:
    """Print a table and write its files."""
    from camloc.cli.progress import console, show_wide

    paths = table.save(stem)
    show_wide(table.rich(), 24 + 16 * len(table.headings))
    console.print(f"table {', '.join(map(str, paths))}")


def _print_tables() -> None:
    """All tables, paper by paper, with their data sets and trainable rows."""
    from itertools import groupby

    from camloc.cli.progress import show_groups
    from camloc.evaluation.published import PAPERS, RUN_TIMES, TRANSFER, TRANSFER_TITLE, published_tables

    others = {**RUN_TIMES, TRANSFER: TRANSFER_TITLE}
    tables = published_tables().values()
    show_groups(
        (
            PAPERS[paper],
            {
                each.name: [
                    f"{each.title}: {each.layout}, {len(each.rows)} rows, "
                    f"{sum(bool(row.recipes) for row in each.rows)} of them trainable"
                ]
                for each in several
            }
            | {name: [title] for name, title in others.items() if name.startswith(f"{paper}/")},
        )
        for paper, several in groupby(tables, key=lambda each: each.paper)
    )
    print("camloc reproduce NAME --data FOLDER --budget 20m")
