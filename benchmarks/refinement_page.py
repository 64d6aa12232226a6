"""The page of `benchmarks.refinement`: what is measured, and how it is shown."""

from dataclasses import dataclass

from camloc.geometry.pose_search import Nearness


@dataclass(frozen=True)
class Times:
    """Milliseconds of a call.

    Attributes:
        processor: of the thread that calls, the median.
        clock, clock_90: by the clock, median and 90 % quantile.
    """

    processor: float
    clock: float
    clock_90: float


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        label: what was timed.
        times: over the queries.
        published: milliseconds on the paper's machine, or None.
    """

    label: str
    times: Times
    published: float | None = None


@dataclass(frozen=True)
class Search:
    """The nearest three of many poses.

    Attributes:
        poses: how many.
        kind: of the metric.
        build_seconds: that the tree takes once, of the processor.
        tree, brute_force: of one search.
    """

    poses: int
    kind: Nearness
    build_seconds: float
    tree: Times
    brute_force: Times


@dataclass(frozen=True)
class Size:
    """What the file of an auto-encoder takes.

    Attributes:
        label: of its form.
        megabytes: of the file.
        published: of the paper's, or None.
    """

    label: str
    megabytes: float
    published: float | None = None


@dataclass(frozen=True)
class Measured:
    """All that the page shows.

    Attributes:
        poses: that are remembered where rows were timed.
        rows, searches, sizes: the tables.
        machine: on what.
    """

    poses: int
    rows: tuple[Row, ...]
    searches: tuple[Search, ...]
    sizes: tuple[Size, ...]
    machine: str


def page(measured: Measured) -> str:
    """The page of what was measured."""
    poses = measured.poses
    lines = [
        "# What refining a position costs",
        "",
        "<!-- Written by benchmarks/refinement.py; do not edit. -->",
        "",
        f"{poses:,} remembered poses, one answer at a time, one thread of a CPU. Medians of the "
        f"processor's time, which other programs change less, and by the clock. Refining is search, encoding "
        f"and weights together, as are the paper's 7.51 ms; its times are from a GTX 1080.",
        "",
        "| | processor | by the clock | 90 % of them | paper |",
        "| --- | --: | --: | --: | --: |",
        *(
            f"| {row.label} | {row.times.processor:.3f} ms | {row.times.clock:.3f} ms | "
            f"{row.times.clock_90:.3f} ms | {'' if row.published is None else f'{row.published:g} ms'} |"
            for row in measured.rows
        ),
        "",
        "## Nearest poses",
        "",
        "Three of them. Comparing with all poses was timed in the same run, vectorised, on the same thread. "
        "The ratio and the building of the tree are of the processor's time.",
        "",
        "| poses | metric | tree, built once | search, processor | by the clock | all poses | ratio |",
        "| --: | --- | --: | --: | --: | --: | --: |",
        *(
            f"| {each.poses:,} | {each.kind} | {each.build_seconds:.2f} s | {each.tree.processor:.3f} ms | "
            f"{each.tree.clock:.3f} ms | {each.brute_force.processor:.2f} ms | "
            f"{each.brute_force.processor / each.tree.processor:.0f} |"
            for each in measured.searches
        ),
        "",
        "## Memory",
        "",
        "| | ours | paper |",
        "| --- | --: | --: |",
        *(
            f"| pose auto-encoder, {each.label} | {each.megabytes:.2f} MB | "
            f"{'' if each.published is None else f'{each.published:g} MB'} |"
            for each in measured.sizes
        ),
        f"| {poses:,} poses, seven numbers of double precision | {poses * 7 * 8 / 1e6:.2f} MB | 2.15 MB |",
        "",
        f"{measured.machine}.",
        "",
        "    uv run python -m benchmarks.refinement",
        "",
    ]
    return "\n".join(lines)
