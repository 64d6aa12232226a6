"""The page of `benchmarks.many_scenes`: what is measured, and how it is shown."""

from dataclasses import dataclass

from benchmarks.latency_page import Times, times_table


@dataclass(frozen=True)
class Step:
    """A training step of 8 images with Adam.

    Attributes:
        ours_ms, published_ms: the shortest.
        ours_mb, published_mb: the most memory that it holds beside weights and the optimiser's.
    """

    ours_ms: float
    published_ms: float
    ours_mb: float
    published_mb: float


@dataclass(frozen=True)
class Pair:
    """A model of ours beside the published structure.

    Attributes:
        label: of the row.
        cpu: milliseconds of the processor for an image, on one thread; other programs hardly change it.
        wall: by the clock, on several threads, or None where the machine was not free for that.
        difference: largest difference of our poses, in PyTorch and in ONNX Runtime, from the published ones,
            over the largest number of these; None where ours is another network.
        step: of training.
        generated_mb: of the layers that generate weights, or 0.
        threads, rounds, device, machine: how it was measured; the device is that of the steps.
    """

    label: str
    cpu: Times
    wall: Times | None
    difference: float | None
    step: Step
    generated_mb: float
    threads: int
    rounds: int
    device: str
    machine: str


@dataclass(frozen=True)
class Growth:
    """One image in milliseconds of the processor, for each number of scenes."""

    label: str
    scenes: tuple[int, ...]
    answer_ms: tuple[float, ...]


@dataclass(frozen=True)
class Costs:
    """Everything on the page."""

    pairs: tuple[Pair, ...]
    growth: tuple[Growth, ...]


def page(costs: Costs) -> str:
    """The page."""
    first = costs.pairs[0]
    return "\n".join(
        [
            "# What many scenes cost",
            "",
            "<!-- Written by benchmarks/many_scenes.py; do not edit. -->",
            "",
            "Models of 7 scenes, images of 224 x 224, random weights, single precision, the shortest of "
            f"{first.rounds} passes, the columns in turn. The published structures run the CNN to its end, "
            "and twice for MS-HyperPose, compute attention with its weights and a mask, and select the scene "
            "by a mask over all; TransPoseNet's is told the scene of its classifier. The third ratio is of "
            "`camloc export --precision int8`, whose answers differ a little: [by how much](exported.md).",
            "",
            "## One image, time of the processor, 1 thread",
            "",
            "Other programs on the machine hardly change these.",
            "",
            *times_table([(pair.label, pair.cpu) for pair in costs.pairs]),
            "",
            *_by_the_clock(costs.pairs),
            "## A training step of 8 images",
            "",
            *_steps_words(first),
            "",
            *_steps(costs.pairs),
            "",
            "## Over the number of scenes",
            "",
            "One image, time of the processor on 1 thread, in PyTorch. The heads, and the generation "
            "of their weights, see the scene that was decided on alone. What grows is the decoder, whose "
            "queries ask each other and the map, and of TransPoseNet the last layer of its encoders.",
            "",
            *_growth(costs.growth),
            "",
            f"{first.machine}.",
            "",
            "    uv run python -m benchmarks.many_scenes",
            "",
        ]
    )


def _by_the_clock(pairs: tuple[Pair, ...]) -> list[str]:
    named = [(pair.label, pair.wall) for pair in pairs if pair.wall is not None]
    if not named:
        return []
    return [f"## One image by the clock, {pairs[0].threads} threads", "", *times_table(named), ""]


def _steps_words(first: Pair) -> list[str]:
    how = "time of the processor, 1 thread" if first.device == "cpu" else f"by the clock, on {first.device}"
    return [
        f"With Adam; {how}. Memory is the most that a step holds beside the weights and what the optimiser "
        "keeps: everything computed for the gradients, and these."
    ]


def _steps(pairs: tuple[Pair, ...]) -> list[str]:
    lines = [
        "| model | published | ours | ratio | memory, published | ours | ratio | generators | "
        "poses differ by |",
        "| --- | --: | --: | --: | --: | --: | --: | --: | --: |",
    ]
    for pair in pairs:
        step = pair.step
        cells = (
            pair.label,
            f"{step.published_ms:,.0f} ms",
            f"{step.ours_ms:,.0f} ms",
            f"{step.published_ms / step.ours_ms:.2f}",
            f"{step.published_mb:,.0f} MB",
            f"{step.ours_mb:,.0f} MB",
            f"{step.published_mb / step.ours_mb:.2f}",
            f"{pair.generated_mb:.1f} MB" if pair.generated_mb else "",
            "another network" if pair.difference is None else f"{pair.difference:.0e}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _growth(rows: tuple[Growth, ...]) -> list[str]:
    heads = " | ".join(f"{count:,} scenes" for count in rows[0].scenes)
    return [
        f"| | {heads} |",
        f"| --- |{' --: |' * len(rows[0].scenes)}",
        *(f"| {row.label} | {' | '.join(f'{value:.0f} ms' for value in row.answer_ms)} |" for row in rows),
    ]
