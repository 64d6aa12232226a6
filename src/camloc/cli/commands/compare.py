"""`camloc compare`: runs, seeds and other programs' trajectories side by side."""

from pathlib import Path
from typing import Annotated

import tyro

from camloc.cli.options import OptionalFile, Scene


def compare(
    sources: tyro.conf.Positional[Annotated[tuple[Path, ...], tyro.conf.arg(metavar="RUN|FILE.tum")]],
    *,
    scene: Scene = "",
    truth: OptionalFile = None,
    out: Annotated[Path, tyro.conf.arg(metavar="FOLDER")] = Path("comparison"),
) -> None:
    """Compare evaluated runs and TUM trajectories on the same frames.

    Runs with the same recipe and budget are the seeds of one method. The table shows means and deviations
    over the seeds; each difference has an interval from a bootstrap over blocks of frames and over seeds,
    which says whether it is noise. Writes index.html, errors.csv, table.tex and the figures.

    Args:
        sources: Evaluated runs, folders of runs, or trajectories in TUM's format whose times are those of the
            frames, or their numbers.
        scene: Scene to compare, for runs of several scenes.
        truth: Trajectory of the true poses; a run beside the files has them.
        out: Folder to write into.
    """
    from camloc.cli.progress import console, show_wide
    from camloc.core.files import write_atomically
    from camloc.evaluation.report.comparison import comparison_figures, comparison_page
    from camloc.runs.compare import compare_sources

    found = compare_sources(sources, scene=scene, truth=truth)
    figures = comparison_figures(found)
    for name, content in figures.items():
        write_atomically(out / f"{name}.svg", content)
    write_atomically(out / "errors.csv", found.csv())
    write_atomically(out / "table.tex", found.table().latex())
    write_atomically(out / "index.html", comparison_page(found, figures))
    show_wide(found.table().rich(), 120)
    console.print(f"page {out / 'index.html'}")
