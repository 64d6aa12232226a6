"""The page and the figures of `camloc compare`, and trajectories as the papers draw them."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from camloc.evaluation.comparison import Comparison, Estimates
from camloc.evaluation.report.build import data_uri, page_templates
from camloc.evaluation.report.figures import (
    BLUE,
    GREY,
    ORANGE,
    PURPLE,
    RED,
    Curve,
    Points,
    error_curves,
    errors_along,
    fit_map,
    label_map,
    legend_below,
    map_axes,
    map_bounds,
    on_map,
    styled,
    svg,
)
from camloc.geometry.pose import PoseError

# Colours of methods, then of further ones again.
COLORS = (BLUE, ORANGE, PURPLE, "#009e73", RED, "#e69f00", GREY)

Figures = dict[str, bytes]


def comparison_figures(comparison: Comparison) -> Figures:
    """The figures by name: cumulative curves, errors along the sequence, and trajectories.

    Cumulative curves are those of all runs of a method; its first run stands for it in the others.
    """
    first = {name: runs[0] for name, runs in comparison.estimates.items()}
    styles = {name: (COLORS[number % len(COLORS)], "-", 2.0) for number, name in enumerate(first)}
    curves = [Curve(name, each.errors(), *styles[name]) for name, each in first.items()]
    pooled = [
        Curve(name, _pooled([run.errors() for run in runs]), *styles[name])
        for name, runs in comparison.estimates.items()
    ]
    position, orientation = error_curves(pooled, unit=comparison.unit)
    some = next(iter(first.values()))
    return {
        "position": position,
        "orientation": orientation,
        "along": errors_along(curves, sequences=some.sequences, unit=comparison.unit),
        "trajectories": trajectories(first, unit=comparison.unit),
        "differences": differences_on_map(first, unit=comparison.unit),
    }


def _pooled(errors: Sequence[PoseError]) -> PoseError:
    """The errors of several runs as one."""
    return PoseError(*map(np.concatenate, zip(*errors, strict=True)))


def trajectories(estimates: Mapping[str, Estimates], *, unit: str = "m") -> bytes:
    """Trajectories from above: the truth black, each estimate coloured, stars where sequences start.

    Source: HyperPose 2025, supplement, Figure 2.

    Args:
        estimates: of the same frames, by the name of the method.
        unit: of positions.
    """
    first = next(iter(estimates.values()))
    shown = map_axes(first.truth)
    truth = on_map(first.truth, shown)
    low, high = map_bounds(truth)
    stretches = _stretches(first.sequences, truth)
    names = list(estimates)
    with styled():
        across, up = high - low
        columns = min(len(names), 2)
        rows = -(-len(names) // columns)
        figure = Figure(
            figsize=(min(9.0, 5.4 * columns), (1.0 + 4.2 * up / across) * rows + 0.4), layout="constrained"
        )
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for number, (name, axes) in enumerate(zip(names, panels, strict=False)):
            each = estimates[name]
            color = COLORS[number % len(COLORS)] if len(names) > 1 else RED
            points = on_map(each.poses, shown)
            for start, end, is_first in stretches:
                label = start == 0
                axes.plot(
                    truth[start:end, 0],
                    truth[start:end, 1],
                    color="black",
                    linewidth=1.6,
                    label="truth" if label else None,
                    zorder=3,
                )
                found = points[start:end].copy()
                found[~each.located[start:end]] = np.nan
                axes.plot(
                    found[:, 0],
                    found[:, 1],
                    color=color,
                    linewidth=0.9,
                    marker="o",
                    markersize=2.2,
                    alpha=0.85,
                    label="estimate" if label else None,
                    zorder=2,
                )
                if not is_first:
                    continue
                axes.scatter(
                    *truth[start],
                    marker="*",
                    s=150,
                    color="#ffc107",
                    edgecolor="black",
                    linewidths=0.8,
                    label="start" if label else None,
                    zorder=5,
                )
            fit_map(axes, low, high)
            axes.set_title(name)
            beyond = np.any((points < low) | (points > high), axis=1)
            outside = int(np.count_nonzero(beyond & each.located))
            lost = int((~each.located).sum())
            notes = ((outside, "beyond the edge"), (lost, "lost"))
            note = "; ".join(f"{count} {what}" for count, what in notes if count)
            label_map(axes, shown, unit, note=note)
        for axes in panels[len(names) :]:
            axes.set_visible(False)
        legend_below(figure, panels[0])
        return svg(figure)


def differences_on_map(estimates: Mapping[str, Estimates], *, unit: str = "m") -> bytes:
    """Maps of the cameras, coloured by the position errors of the first method minus those of each other one.

    Source: HyperPose 2025, supplement, Figure 4. A frame that either method lost is a cross.

    Args:
        estimates: of the same frames, by the name of the method.
        unit: of positions.
    """
    (name, first), *others = estimates.items()
    shown = map_axes(first.truth)
    places = on_map(first.truth, shown)
    low, high = map_bounds(places)
    errors = {other: first.errors().meters - each.errors().meters for other, each in others}
    known = np.concatenate([values[np.isfinite(values)] for values in errors.values()] + [np.zeros(1)])
    most = max(float(np.quantile(np.abs(known), 0.95)), 1e-9)
    with styled():
        across, up = high - low
        columns = min(max(len(others), 1), 2)
        rows = -(-max(len(others), 1) // columns)
        figure = Figure(
            figsize=(min(10.0, 6.2 * columns), (1.0 + 4.2 * up / across) * rows), layout="constrained"
        )
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for (other, gains), axes in zip(errors.items(), panels, strict=False):
            both = np.isfinite(gains)
            order = np.argsort(np.abs(gains[both]))  # the largest differences are on top
            drawn = axes.scatter(
                *places[both][order].T,
                c=gains[both][order],
                cmap="RdBu",
                vmin=-most,
                vmax=most,
                s=22,
                edgecolors="#7b8794",
                linewidths=0.3,
            )
            axes.scatter(*places[~both].T, marker="x", color=GREY, s=18, linewidths=0.8)
            fit_map(axes, low, high)
            axes.set_title(f"{other} beside {name}")
            lost = int((~both).sum())
            label_map(axes, shown, unit, note=f"{lost} lost by either method" if lost else "")
            bar = figure.colorbar(drawn, ax=axes, extend="both", shrink=0.85)
            bar.set_label(f"nearer by ({unit})")
        for axes in panels[len(others) :]:
            axes.set_visible(False)
        return svg(figure)


def comparison_page(comparison: Comparison, figures: Figures) -> str:
    """One HTML page with the table, the differences and the figures; it opens offline."""
    uris = {name: data_uri("svg+xml", content) for name, content in figures.items()}
    template = page_templates().get_template("comparison.html.j2")
    return template.render(comparison=comparison, figures=uris) + "\n"


# A step longer than this multiple of the median step is a gap between blocks of a test set.
_GAP = 10.0


def _stretches(sequences: Sequence[str], positions: Points) -> list[tuple[int, int, bool]]:
    """Start and end of each stretch of frames without a gap, and whether a sequence starts there."""
    steps = np.linalg.norm(np.diff(positions, axis=0), axis=1)
    moving = steps[steps > 0]
    longest = _GAP * float(np.median(moving)) if len(moving) else np.inf
    edges = {0: True}
    for row in range(1, len(sequences)):
        if sequences[row] != sequences[row - 1]:
            edges[row] = True
        elif steps[row - 1] > longest:
            edges[row] = False
    ends = [*list(edges)[1:], len(sequences)]
    return [(start, end, first) for (start, first), end in zip(edges.items(), ends, strict=True)]
