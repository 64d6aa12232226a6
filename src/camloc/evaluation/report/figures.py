"""The figures of the report as SVG: error curves, training over epochs, maps of cameras and points."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from io import BytesIO

import matplotlib as mpl
import numpy as np
from jaxtyping import Bool, Float, Int64, UInt8
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.collections import LineCollection
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter
from numpy.typing import NDArray

from camloc.core.sampling import even_rows
from camloc.evaluation.baselines import BaselineErrors
from camloc.evaluation.predicted_points import PointCloud, middle_range
from camloc.evaluation.reliability import Reliability
from camloc.geometry.arrays import to_numpy
from camloc.geometry.pose import Pose, PoseError

INK, MUTED, GRID = "#1f2933", "#64707d", "#e4e8ec"
BLUE, ORANGE, PURPLE, GREY, RED = "#0072b2", "#d55e00", "#cc79a7", "#7b8794", "#c0392b"

Points = NDArray[np.float64]  # (n, 2)

# More points than this are stored as pixels inside the SVG, which keeps it small.
MOST_VECTOR_POINTS = 1500

# More arrows than this hide each other.
_MOST_ARROWS = 80

# Height over width of a map, at the least and at the most.
_LOWEST, _HIGHEST = 0.35, 0.8

# Steps of each colour on the map, and hard edges of its dots, keep the report small.
_STEPS = 12

# More points than this hide each other.
_MOST_POINTS = 20_000


def styled() -> AbstractContextManager[None]:
    """The matplotlib settings of all figures, for the time of a `with` block."""
    return mpl.rc_context(
        {
            "font.family": ["DejaVu Sans"],
            "font.size": 10,
            "text.color": INK,
            "axes.edgecolor": "#c3cad1",
            "axes.labelcolor": INK,
            "axes.titlesize": 11,
            "axes.titleweight": "bold",
            "axes.titlelocation": "left",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "axes.axisbelow": True,
            "grid.color": GRID,
            "grid.linewidth": 0.8,
            "xtick.color": MUTED,
            "ytick.color": MUTED,
            "legend.frameon": False,
            "legend.fontsize": 9.5,
            "svg.hashsalt": "camloc",
            "figure.dpi": 100,
        }
    )


def log_scale(axes: Axes, which: str) -> None:
    """Make the "x" or the "y" axis logarithmic, with plain numbers instead of powers of ten.

    An axis of less than two decades, which may have one power of ten or none, also has numbers at 2 and 5.
    """
    axis = axes.xaxis if which == "x" else axes.yaxis
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")

    def between(value: float, _: int | None) -> str:
        low, high = axis.get_view_interval()
        return f"{value:g}" if high < 100 * low and f"{value:e}"[0] in "25" else ""

    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(FuncFormatter(between))


def legend_below(figure: Figure, axes: Axes, *, columns: int = 4) -> None:
    """One legend for all panels, under them, with the entries of `axes`."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=min(columns, len(labels)), markerscale=1.6
    )


def svg(figure: Figure) -> bytes:
    """The figure as SVG; the same figure gives the same bytes."""
    FigureCanvasSVG(figure)
    data = BytesIO()
    figure.savefig(data, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return data.getvalue()


@dataclass(frozen=True)
class Curve:
    """The errors of one method, its name, and the style of its line."""

    label: str
    error: PoseError
    color: str
    dashes: str = "-"
    width: float = 1.6


def curves_of(estimates: PoseError, baselines: BaselineErrors) -> tuple[Curve, ...]:
    """The result and its baselines, in the same colours in every figure."""
    return (
        Curve("Estimate", estimates, BLUE, "-", 2.4),
        Curve("Nearest training pose", baselines.nearest_pose, ORANGE, "--"),
        Curve("Nearest training position", baselines.nearest_position, PURPLE, "-."),
        Curve("Mean training pose", baselines.mean_pose, GREY, ":"),
    )


def error_curves(curves: Sequence[Curve], *, unit: str = "m") -> tuple[bytes, bytes]:
    """The share of frames within a bound, over the bound: for positions, and for orientations.

    A lost frame is within no bound, so a curve with lost frames ends below 100 %.
    """
    positions = [(curve, curve.error.meters) for curve in curves]
    orientations = [(curve, curve.error.degrees) for curve in curves]
    return (
        _cumulative_figure(positions, floor=1e-3, title="Position", label=f"error at most ({unit})"),
        _cumulative_figure(orientations, floor=1e-2, title="Orientation", label="error at most (degrees)"),
    )


def _cumulative_figure(
    rows: Sequence[tuple[Curve, Float[NDArray[np.float64], "_"]]], *, floor: float, title: str, label: str
) -> bytes:
    with styled():
        figure = Figure(figsize=(4.7, 3.9), layout="constrained")
        axes = figure.subplots()
        _cumulative(axes, rows, floor=floor)
        axes.set_title(title)
        axes.set_xlabel(label)
        axes.set_ylabel("share of images")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f} %"))
        legend_below(figure, axes, columns=2)
        return svg(figure)


def reliability(found: Reliability) -> bytes:
    """The share of true poses inside the stated regions, over the stated confidence."""
    with styled():
        figure = Figure(figsize=(7.6, 4.6), layout="constrained")
        axes = figure.subplots()
        axes.plot((0, 100), (0, 100), color=MUTED, linestyle=":", label="honest")
        for name, shares, color in (
            ("position", found.position, BLUE),
            ("orientation", found.orientation, ORANGE),
        ):
            levels, inside = 100 * np.array(found.levels), 100 * np.array(shares)
            axes.plot(levels, inside, color=color, marker="o", markersize=4, label=name)
        axes.set_xlabel("stated confidence")
        axes.set_ylabel("true poses inside")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f} %"))
        legend_below(figure, axes, columns=3)
        return svg(figure)


def errors_along(curves: Sequence[Curve], *, sequences: Sequence[str] = (), unit: str = "m") -> bytes:
    """The error of each frame, in the order of the frames, with lost frames marked at the top edge.

    Args:
        curves: the result first, then one or more baselines.
        sequences: the frames' sequences; a line is drawn where one ends and another begins.
        unit: of the world's distances.
    """
    with styled():
        figure = Figure(figsize=(9.0, 4.3), layout="constrained")
        top, bottom = figure.subplots(2, 1, sharex=True)
        _along(top, [(curve, curve.error.meters) for curve in curves], floor=1e-3)
        _along(bottom, [(curve, curve.error.degrees) for curve in curves], floor=1e-2)
        for axes in (top, bottom):
            for number in range(1, len(sequences)):
                if sequences[number] != sequences[number - 1]:
                    axes.axvline(number - 0.5, color=MUTED, linewidth=0.8, linestyle=(0, (2, 3)))
        top.set_ylabel(f"position ({unit})")
        bottom.set_ylabel("orientation (°)")
        bottom.set_xlabel("image, in the order of the test set")
        bottom.xaxis.set_major_locator(MaxNLocator(integer=True))
        legend_below(figure, top)
        return svg(figure)


def training_curve(log: Sequence[Mapping[str, float]], *, unit: str = "m") -> bytes | None:
    """Loss, and median error on held-out frames, over epochs; None where the log has neither.

    Args:
        log: rows with "epoch" and any of "loss_<term>" (which are added up), "validation_meters" and
            "validation_degrees"; a row may omit some.
        unit: of the world's distances.
    """
    panels = [
        ("Training loss", "loss_", INK),
        (f"Held-out position ({unit})", "validation_meters", BLUE),
        ("Held-out orientation (°)", "validation_degrees", ORANGE),
    ]
    shown = [(title, color, *_column(log, key)) for title, key, color in panels if _column(log, key)[0]]
    if not shown:
        return None
    with styled():
        figure = Figure(figsize=(9.0, 2.9), layout="constrained")
        for axes, (title, color, epochs, values) in zip(
            figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True
        ):
            marker = "o" if len(epochs) < 30 else ""
            axes.plot(epochs, values, color=color, linewidth=1.8, marker=marker, markersize=3.5)
            if min(values) > 0 and max(values) > 20 * min(values):
                log_scale(axes, "y")
            axes.set_title(title)
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
        return svg(figure)


def _column(log: Sequence[Mapping[str, float]], prefix: str) -> tuple[list[float], list[float]]:
    """Epochs, and the sums of the values whose names start with `prefix`, where there are any."""
    epochs, sums = [], []
    for number, row in enumerate(log):
        values = [value for name, value in row.items() if name.startswith(prefix)]
        if values and np.isfinite(sum(values)):
            epochs.append(float(row.get("epoch", number)))
            sums.append(float(sum(values)))
    return epochs, sums


def _cumulative(
    axes: Axes, rows: Sequence[tuple[Curve, Float[NDArray[np.float64], "_"]]], *, floor: float
) -> None:
    finite = np.concatenate([values[np.isfinite(values)] for _, values in rows]).clip(floor)
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (floor, 1.0)
    low, high = low / 1.3, max(high * 1.3, low * 10)
    for curve, values in rows:
        count = len(values)
        found = np.sort(values[np.isfinite(values)].clip(floor))
        share = np.arange(1, len(found) + 1) / count * 100
        last = share[-1] if len(found) else 0.0
        axes.step(
            np.concatenate(([low], found, [high])),
            np.concatenate(([0.0], share, [last])),
            where="post",
            color=curve.color,
            linestyle=curve.dashes,
            linewidth=curve.width,
            label=curve.label,
            zorder=3 if curve.width > 2 else 2,
        )
    axes.axhline(50, color=MUTED, linewidth=0.8, linestyle=(0, (2, 3)))
    axes.set_xlim(low, high)
    axes.set_ylim(0, 103)
    log_scale(axes, "x")


def _along(
    axes: Axes, rows: Sequence[tuple[Curve, Float[NDArray[np.float64], "n"]]], *, floor: float
) -> None:
    (result, errors), *others = rows
    numbers = np.arange(len(errors))
    raster = len(errors) > MOST_VECTOR_POINTS
    axes.scatter(
        numbers,
        _heights(errors, floor),
        s=13,
        linewidths=0,
        color=result.color,
        label=result.label,
        rasterized=raster,
        zorder=3,
    )
    for curve, values in others:
        height = _heights(values, floor)
        axes.plot(
            numbers,
            height,
            color=curve.color,
            linestyle=curve.dashes,
            linewidth=1.1,
            label=curve.label,
            rasterized=raster,
        )
    lost = np.flatnonzero(np.isinf(errors))
    if len(lost):
        edge = axes.get_xaxis_transform()
        height = np.ones(len(lost))
        axes.scatter(
            lost, height, marker="x", s=26, color=RED, label="lost", transform=edge, clip_on=False, zorder=4
        )
    log_scale(axes, "y")


def _heights(values: Float[NDArray[np.float64], "n"], floor: float) -> NDArray[np.float64]:
    return np.where(np.isinf(values), np.nan, values).clip(floor)


def camera_map(
    truth: Pose, estimates: Pose, training: Pose, *, located: Bool[NDArray[np.bool_], "n"], unit: str = "m"
) -> bytes:
    """Cameras on the two world axes along which the training cameras extend most, mostly seen from above.

    The direction of gravity is not known, hence this choice of axes. The map covers true cameras only:
    estimates beyond its edge are counted.

    Args:
        truth: (n,) true poses of the test frames.
        estimates: (n,) estimated poses; those of lost frames are not read.
        training: (m,) poses of the training frames.
        located: (n,) which frames have an estimate.
        unit: of the world's distances.
    """
    shown = map_axes(training)
    train_centres, true_centres = on_map(training, shown), on_map(truth, shown)
    found = on_map(estimates[located], shown)
    low, high = map_bounds(np.concatenate((true_centres, train_centres)))
    with styled():
        across, up = high - low
        figure = Figure(figsize=(7.6, 1.3 + 6.6 * up / across), layout="constrained")
        axes = figure.subplots()
        raster = len(train_centres) > MOST_VECTOR_POINTS
        axes.scatter(
            train_centres[:, 0],
            train_centres[:, 1],
            s=11,
            linewidths=0,
            color="#ccd3da",
            label="training cameras",
            rasterized=raster,
            zorder=1,
        )
        pairs = np.stack((on_map(truth[located], shown), found), axis=1)
        axes.add_collection(LineCollection(list(pairs), colors="#9aa5b1", linewidths=0.7, zorder=2))
        draw_cameras(axes, true_centres, directions_on_map(truth, shown), color=INK, label="true cameras")
        looking = directions_on_map(estimates[located], shown)
        draw_cameras(axes, found, looking, color=BLUE, label="estimated cameras")
        fit_map(axes, low, high)
        label_map(axes, shown, unit)
        axes.set_title(
            _note(found, low, high, lost=int((~located).sum())),
            fontsize=9.5,
            fontweight="normal",
            color=MUTED,
        )
        legend_below(figure, axes)
        return svg(figure)


def map_axes(training: Pose) -> tuple[int, int]:
    """The numbers of the two world axes along which the centres of (m,) poses extend most, in order."""
    centers = to_numpy(training.translation)
    extent = centers.max(axis=0) - centers.min(axis=0)
    first, second = sorted(np.argsort(-extent, kind="stable")[:2].tolist())
    return first, second


def on_map(poses: Pose, shown: tuple[int, int]) -> Points:
    """Camera centres on the map."""
    return to_numpy(poses.translation)[:, list(shown)].astype(np.float64)


def directions_on_map(poses: Pose, shown: tuple[int, int]) -> Points:
    """Viewing directions (the camera's forward axis) on the map: the shorter, the steeper."""
    return to_numpy(poses.rotation)[:, list(shown), 2].astype(np.float64)


def map_bounds(positions: Points) -> tuple[Points, Points]:
    """The corners of a map with a margin, neither much higher than wide nor a thin band."""
    low, high = positions.min(axis=0), positions.max(axis=0)
    extent = np.maximum(high - low, 1e-3) + 0.16 * max(float((high - low).max()), 1e-3)
    across, up = extent
    extent = np.array([max(across, up / _HIGHEST), max(up, across * _LOWEST)])
    middle = (low + high) / 2
    return middle - extent / 2, middle + extent / 2


def fit_map(axes: Axes, low: Points, high: Points) -> None:
    """Show the part of a map from `low` to `high`, both axes to one scale."""
    axes.set_xlim(low[0], high[0])
    axes.set_ylim(low[1], high[1])
    axes.set_aspect("equal")


def label_map(axes: Axes, shown: tuple[int, int], unit: str, *, note: str = "") -> None:
    """Name the two world axes of a map, with a note behind the first."""
    across, up = (f"world {'xyz'[axis]} ({unit})" for axis in shown)
    axes.set_xlabel("; ".join(filter(None, (across, note))))
    axes.set_ylabel(up)


def draw_cameras(axes: Axes, centres: Points, views: Points, *, color: str, label: str) -> None:
    """Dots at the camera centres, and for some of them an arrow along the viewing direction."""
    raster = len(centres) > MOST_VECTOR_POINTS
    x, y = centres.T
    axes.scatter(x, y, s=12, linewidths=0, color=color, label=label, rasterized=raster, zorder=4)
    some = even_rows(len(centres), _MOST_ARROWS)
    if not len(centres):
        return
    axes.quiver(
        x[some],
        y[some],
        *views[some].T,
        color=color,
        alpha=0.75,
        zorder=3,
        units="inches",
        scale=3.6,
        scale_units="inches",
        width=0.016,
        headwidth=4,
    )


def _note(found: Points, low: Points, high: Points, *, lost: int) -> str:
    """Counts of the estimates that the map does not show."""
    outside = int(((found < low) | (found > high)).any(axis=1).sum())
    notes = ((outside, "estimated beyond the edge of this map"), (lost, "lost and not drawn"))
    return "; ".join(f"{count:,} {what}" for count, what in notes if count)


@dataclass(frozen=True, eq=False)
class MapPoints:
    """The points of a map of local features.

    Attributes:
        points: (n, 3) in the world, n > 0.
        frames: (n,) how many training images see each.
    """

    points: Float[NDArray[np.float64], "n 3"]
    frames: Int64[NDArray[np.int64], "n"]


def map_points(found: MapPoints, training: Pose, *, unit: str = "m") -> bytes:
    """The points of a map on the axes of `camera_map`, coloured by how many frames see them.

    Args:
        found: the points.
        training: (m,) poses of the training frames, which determine the two world axes of the map.
        unit: of the world's distances.
    """
    shown = map_axes(training)
    cameras = on_map(training, shown)
    # Those that most frames see are drawn last, over the others.
    order = np.random.default_rng(0).permutation(len(found.points))[:_MOST_POINTS]
    order = order[np.argsort(found.frames[order], kind="stable")]
    points = found.points[order][:, list(shown)]
    most = np.quantile(found.points[:, list(shown)], (0.02, 0.98), axis=0)
    low, high = map_bounds(np.concatenate((most, cameras)))
    with styled():
        across, up = high - low
        figure = Figure(figsize=(7.6, 1.1 + 6.0 * up / across), layout="constrained")
        axes = figure.subplots()
        dots = axes.scatter(
            points[:, 0],
            points[:, 1],
            s=5,
            linewidths=0,
            c=found.frames[order],
            cmap="viridis_r",
            norm=LogNorm(2, max(int(found.frames.max()), 3)),
            alpha=0.7,
            antialiased=False,
            rasterized=True,
            zorder=1,
        )
        bar = figure.colorbar(dots, ax=axes, shrink=0.8, pad=0.02)
        bar.set_label("training images that see the point")
        bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        bar.ax.yaxis.set_minor_formatter(NullFormatter())
        draw_cameras(axes, cameras, directions_on_map(training, shown), color=INK, label="training cameras")
        fit_map(axes, low, high)
        label_map(axes, shown, unit)
        legend_below(figure, axes)
        return svg(figure)


def cloud_map(cloud: PointCloud, truth: Pose, training: Pose, *, unit: str = "m") -> bytes:
    """The points in the colours of the images, on the axes of `camera_map`.

    Args:
        cloud: (k,) points, k > 0.
        truth: (n,) true poses of the test frames.
        training: (m,) poses of the training frames, which determine the two world axes of the map.
        unit: of the world's distances.
    """
    shown = map_axes(training)
    cameras = on_map(truth, shown)
    # In a mixed order, so that no image hides another one.
    order = np.random.default_rng(0).permutation(len(cloud.points))[:_MOST_POINTS]
    points = cloud.points[order][:, list(shown)]
    most = np.stack(middle_range(cloud.points))[:, list(shown)]
    low, high = map_bounds(np.concatenate((most, cameras)))
    with styled():
        across, up = high - low
        figure = Figure(figsize=(7.6, 1.1 + 6.6 * up / across), layout="constrained")
        axes = figure.subplots()
        axes.scatter(
            points[:, 0],
            points[:, 1],
            s=5,
            linewidths=0,
            c=_few_colors(cloud.colors[order]),
            alpha=0.6,
            antialiased=False,
            rasterized=True,
            zorder=1,
        )
        draw_cameras(axes, cameras, directions_on_map(truth, shown), color=INK, label="true cameras")
        fit_map(axes, low, high)
        label_map(axes, shown, unit)
        legend_below(figure, axes)
        return svg(figure)


def _few_colors(colors: UInt8[NDArray[np.uint8], "n 3"]) -> Points:
    """Colours from 0 to 1, rounded."""
    return np.asarray((colors / 255.0 * _STEPS).round() / _STEPS)
