"""The curves of the report: errors over frames, and training over epochs; each function gives an SVG."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray
from torch import Tensor

from camloc.evaluation.baselines import BaselineErrors
from camloc.evaluation.drawing import (
    BLUE,
    GREY,
    INK,
    MOST_VECTOR_POINTS,
    MUTED,
    ORANGE,
    PURPLE,
    RED,
    legend_below,
    log_scale,
    styled,
    svg,
)
from camloc.geometry.pose import PoseError


@dataclass(frozen=True)
class Curve:
    """One method in a figure: its errors, its name, and how its line looks."""

    label: str
    error: PoseError
    color: str
    dashes: str = "-"
    width: float = 1.6


def curves_of(estimates: PoseError, baselines: BaselineErrors) -> tuple[Curve, ...]:
    """The result and its baselines, in the colours that they have in every figure."""
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
    rows: Sequence[tuple[Curve, Float[Tensor, "n"]]], *, floor: float, title: str, label: str
) -> bytes:
    with styled():
        figure = Figure(figsize=(4.7, 3.9), layout="constrained")
        axes = figure.subplots()
        _cumulative(axes, rows, floor=floor)
        axes.set_title(title)
        axes.set_xlabel(label)
        axes.set_ylabel("share of photographs")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f} %"))
        legend_below(figure, axes, columns=2)
        return svg(figure)


def errors_along(curves: Sequence[Curve], *, sequences: Sequence[str] = (), unit: str = "m") -> bytes:
    """The error of each frame, in the order of the frames, with lost frames marked at the top edge.

    Args:
        curves: the result first; of the rest one is enough.
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
        bottom.set_xlabel("photograph, in the order of the test set")
        bottom.xaxis.set_major_locator(MaxNLocator(integer=True))
        legend_below(figure, top)
        return svg(figure)


def training_curve(log: Sequence[Mapping[str, float]], *, unit: str = "m") -> bytes | None:
    """Loss, and median error on held-out frames, over epochs; None where the log has neither.

    Args:
        log: rows with "epoch" and any of "loss_<term>" (which are added up), "validation_meters" and
            "validation_degrees"; a row may lack some.
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


def _cumulative(axes: Axes, rows: Sequence[tuple[Curve, Float[Tensor, "n"]]], *, floor: float) -> None:
    finite = torch.cat([values[values.isfinite()] for _, values in rows]).clamp_min(floor)
    low, high = (finite.min().item(), finite.max().item()) if len(finite) else (floor, 1.0)
    low, high = low / 1.3, max(high * 1.3, low * 10)
    for curve, values in rows:
        count = len(values)
        found = values[values.isfinite()].clamp_min(floor).sort().values.numpy()
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


def _along(axes: Axes, rows: Sequence[tuple[Curve, Float[Tensor, "n"]]], *, floor: float) -> None:
    (result, errors), *others = rows
    place = np.arange(len(errors))
    raster = len(errors) > MOST_VECTOR_POINTS
    axes.scatter(
        place,
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
            place,
            height,
            color=curve.color,
            linestyle=curve.dashes,
            linewidth=1.1,
            label=curve.label,
            rasterized=raster,
        )
    lost = np.flatnonzero(errors.isinf().numpy())
    if len(lost):
        edge = axes.get_xaxis_transform()
        height = np.ones(len(lost))
        axes.scatter(
            lost, height, marker="x", s=26, color=RED, label="lost", transform=edge, clip_on=False, zorder=4
        )
    log_scale(axes, "y")


def _heights(values: Float[Tensor, "n"], floor: float) -> NDArray[np.float64]:
    return values.double().masked_fill(values.isinf(), torch.nan).clamp_min(floor).numpy()
