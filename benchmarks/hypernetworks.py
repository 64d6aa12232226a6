"""When a hypernetwork helps: by light, occlusion, training frames and kind of head.

    uv run python -m benchmarks.hypernetworks

reads the errors from the files of `robustness`, `scenes` and `regressors`, and writes
`docs/results/hypernetworks.json`, `.md` and a figure, and the summary on the page of HyperPose. Nothing is
trained.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import geometric_mean

from matplotlib.figure import Figure

from benchmarks import regressors, robustness, scenes
from benchmarks.page import RESULTS, known, replace_block, result_page, table, write
from benchmarks.trainings import MODEL_PAGE, Ratios, Table, ratios_of, verdict_of
from camloc.evaluation.report.figures import BLUE, GREY, INK, ORANGE, log_scale, styled, svg

NAME = "hypernetworks"
FIGURE = RESULTS / f"{NAME}.svg"

# The block of the model's page.
BLOCK = "when hypernetworks help"

# Test sets of the corner in words.
_SETS = {
    "day": "the light of training",
    "evening": "evening",
    "night": "night",
    "winter": "winter",
    "occluded": "people in front",
}


@dataclass(frozen=True)
class Row:
    """The errors with a hypernetwork over those without, for each seed, in one condition.

    Attributes:
        group: the quantity that is varied.
        label: the condition.
        meters, degrees: a factor for each seed.
    """

    group: str
    label: str
    meters: list[float]
    degrees: list[float]


@dataclass(frozen=True)
class Measured:
    """The factors of all conditions."""

    rows: tuple[Row, ...]


def measured() -> Measured:
    """The factors, by the files of the other pages."""
    seen, rooms = known("robustness", Table({})), known("regressors", regressors.Measured({}))

    def corner(label: str, without: str, test_set: int) -> Ratios:
        return ratios_of(seen.results(label), seen.results(without), test_set=test_set)

    rows = [
        Row("light and occlusion", _SETS[part.name], *corner("HyperPose 2025", "baseline APR", number))
        for number, part in enumerate(seen.first.sets)
    ]
    joined = known("scenes", scenes.Measured("", (), ()))
    infused, plain = (
        next(each.results for each in joined.extensions if each.label == label)
        for label in ("MS-HyperPose", "MS-Transformer")
    )
    for one, other in zip(infused, plain, strict=True):
        a, b = one.new.headline.estimates, other.new.headline.estimates
        medians = (a.meters.median, b.meters.median, a.degrees.median, b.degrees.median)
        if None not in medians:
            meters, other_meters, degrees, other_degrees = map(float, medians)  # type: ignore[arg-type]
            label = f"{one.fraction:.0%} of its frames"
            rows.append(Row("frames, new scene", label, [meters / other_meters], [degrees / other_degrees]))
    for label, without in robustness.PAIRS:
        rows.append(Row("head, corner", label, *corner(label, without, 0)))
    for name, trained in rooms.tables.items():
        rows += [
            Row(f"head, kitchen, {name.split(',')[0]}", each.label,
                *ratios_of(trained.results(each.label), trained.results(each.without)))
            for each in regressors.ROWS if each.without
        ]  # fmt: skip
    return Measured(tuple(rows))


def figure(rows: Sequence[Row]) -> bytes:
    """The factors of all conditions, a dot for each seed and a line for their mean; SVG."""
    with styled():
        drawn = Figure(figsize=(9.0, 0.7 + 0.26 * (len(rows) + len({row.group for row in rows}))),
                       layout="constrained")  # fmt: skip
        panels = drawn.subplots(1, 2, sharey=True)
        heights, labels, groups = _places(rows)
        for axes, half, title, color in zip(
            panels,
            ("meters", "degrees"),
            ("position error", "orientation error"),
            (BLUE, ORANGE),
            strict=True,
        ):
            axes.axvline(1.0, color=INK, linewidth=1.0)
            for row, height in zip(rows, heights, strict=True):
                factors = getattr(row, half)
                axes.scatter(factors, [height] * len(factors), s=20, color=color, alpha=0.6, linewidths=0)
                axes.plot(
                    [geometric_mean(factors)] * 2, [height - 0.32, height + 0.32], color=color, linewidth=2.4
                )
            log_scale(axes, "x")
            axes.set_xticks([0.6, 0.8, 1.0, 1.25, 1.6])
            axes.set_title(title)
            axes.set_xlabel("with a hypernetwork, over without it")
            axes.grid(visible=False, axis="y")
        panels[0].set_yticks(heights, labels, fontsize=8.5)
        panels[0].set_ylim(max(heights) + 0.7, -0.9)
        for group, height in groups.items():
            panels[0].text(-0.02, height, group, transform=panels[0].get_yaxis_transform(), ha="right",
                           va="center", fontsize=8.5, fontweight="bold", color=GREY)  # fmt: skip
        return svg(drawn)


def _places(rows: Sequence[Row]) -> tuple[list[float], list[str], dict[str, float]]:
    """Heights of the rows, their labels, and heights of the headings."""
    heights: list[float] = []
    groups: dict[str, float] = {}
    height = 0.0
    for row in rows:
        if row.group not in groups:
            height += 0.3 * bool(groups)
            groups[row.group] = height
            height += 1.0
        heights.append(height)
        height += 1.0
    return heights, [row.label for row in rows], groups


def page(measured: Measured) -> str:
    """The page without its figure."""
    cells = [
        (row.group, row.label, _factors(row.meters), _factors(row.degrees), str(len(row.meters)))
        for row in measured.rows
    ]
    return result_page(
        "When a hypernetwork helps",
        NAME,
        "Errors with a hypernetwork over those without it, at equal schedules: the geometric mean over the "
        "seeds, and in brackets the least and the largest. Below 1 it helps.",
        f"![Factors of all conditions]({FIGURE.name})",
        table(("varied", "condition", "position", "orientation", "seeds"), cells, text_columns=2),
        summary(measured),
        "*Light and occlusion* is of HyperPose 2025 on the embedded square's corner, from random weights. "
        "*Frames, new scene* are shares of Red Kitchen that networks of several scenes learned as a further "
        "one, MS-HyperPose over MS-Transformer. *Head* compares each regressor with the same without its "
        "hypernetwork; *kitchen*: Red Kitchen, behind ImageNet features. The other pages say how those were "
        "trained: [light](robustness.md), [several scenes](scenes.md), [heads](regressors.md).",
    )


def _factors(values: Sequence[float]) -> str:
    return f"{geometric_mean(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def summary(measured: Measured) -> str:
    """Whether a hypernetwork helps, over all conditions and seeds of each group."""
    groups: dict[str, list[Ratios]] = {}
    for row in measured.rows:
        groups.setdefault(row.group, []).append((row.meters, row.degrees))
    return "\n".join(f"- {name}: {verdict_of(pairs)}." for name, pairs in groups.items())


def main() -> None:
    """Read the files, and write the page."""
    found = measured()
    write(NAME, found, page(found))
    FIGURE.write_bytes(figure(found.rows))
    replace_block(MODEL_PAGE, BLOCK, model_block(found))


def model_block(measured: Measured) -> str:
    """The figure and the summary, for the page of the model."""
    return f"![When a hypernetwork helps](../results/{FIGURE.name})\n\n{summary(measured)}"


if __name__ == "__main__":
    main()
