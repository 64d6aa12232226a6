"""A map of a place: where the cameras of the test frames stood, and where they were estimated to be."""

import numpy as np
from jaxtyping import Bool
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from camloc.evaluation.drawing import (
    BLUE,
    INK,
    MOST_VECTOR_POINTS,
    MUTED,
    legend_below,
    styled,
    svg,
)
from camloc.geometry.pose import Pose

Points = NDArray[np.float64]  # (n, 2)

# More arrows than this hide each other.
_MOST_ARROWS = 80

# Height over width of a map, at the least and at the most.
_LOWEST, _HIGHEST = 0.35, 0.8


def camera_map(
    truth: Pose, estimates: Pose, training: Pose, *, located: Bool[Tensor, "n"], unit: str = "m"
) -> bytes:
    """Cameras seen along the axis in which the place extends least, which is mostly from above: an SVG.

    Which way gravity points is not known, so the two world axes are shown along which the training
    cameras spread most. The map covers true cameras only: estimates beyond its edge are counted.

    Args:
        truth: (n,) true poses of the test frames.
        estimates: (n,) estimated poses; those of lost frames are not read.
        training: (m,) poses of the training frames.
        located: (n,) which frames have an estimate.
        unit: of the world's distances.
    """
    shown = map_axes(training)
    train_places, true_places = on_map(training, shown), on_map(truth, shown)
    found = on_map(estimates[located], shown)
    low, high = map_bounds(np.concatenate((true_places, train_places)))
    with styled():
        across, up = high - low
        figure = Figure(figsize=(7.6, 1.3 + 6.6 * up / across), layout="constrained")
        axes = figure.subplots()
        raster = len(train_places) > MOST_VECTOR_POINTS
        axes.scatter(
            train_places[:, 0],
            train_places[:, 1],
            s=11,
            linewidths=0,
            color="#ccd3da",
            label="training cameras",
            rasterized=raster,
            zorder=1,
        )
        pairs = np.stack((on_map(truth[located], shown), found), axis=1)
        axes.add_collection(LineCollection(list(pairs), colors="#9aa5b1", linewidths=0.7, zorder=2))
        draw_cameras(axes, true_places, directions_on_map(truth, shown), color=INK, label="true cameras")
        looking = directions_on_map(estimates[located], shown)
        draw_cameras(axes, found, looking, color=BLUE, label="estimated cameras")
        axes.set_xlim(low[0], high[0])
        axes.set_ylim(low[1], high[1])
        axes.set_aspect("equal")
        axes.set_xlabel(f"world {'xyz'[shown[0]]} ({unit})")
        axes.set_ylabel(f"world {'xyz'[shown[1]]} ({unit})")
        axes.set_title(
            _note(found, low, high, lost=int((~located).sum())),
            fontsize=9.5,
            fontweight="normal",
            color=MUTED,
        )
        legend_below(figure, axes)
        return svg(figure)


def map_axes(training: Pose) -> tuple[int, int]:
    """The numbers of the two world axes along which the centres of (m,) poses spread most, in order."""
    spread = training.translation.amax(0) - training.translation.amin(0)
    first, second = sorted(spread.argsort(descending=True, stable=True)[:2].tolist())
    return first, second


def on_map(poses: Pose, shown: tuple[int, int]) -> Points:
    """Camera centres on the map."""
    places: Points = poses.translation[:, list(shown)].double().numpy()
    return places


def directions_on_map(poses: Pose, shown: tuple[int, int]) -> Points:
    """Viewing directions (the camera's forward axis) on the map: shorter the more they leave it."""
    views: Points = poses.rotation[:, list(shown), 2].double().numpy()
    return views


def map_bounds(places: Points) -> tuple[Points, Points]:
    """The corners of a map with a margin, neither much higher than wide nor a thin band."""
    low, high = places.min(axis=0), places.max(axis=0)
    extent = np.maximum(high - low, 1e-3) + 0.16 * max(float((high - low).max()), 1e-3)
    across, up = extent
    extent = np.array([max(across, up / _HIGHEST), max(up, across * _LOWEST)])
    middle = (low + high) / 2
    return middle - extent / 2, middle + extent / 2


def draw_cameras(axes: Axes, places: Points, views: Points, *, color: str, label: str) -> None:
    """Dots at the camera centres, and for some of them an arrow along the viewing direction."""
    raster = len(places) > MOST_VECTOR_POINTS
    x, y = places.T
    axes.scatter(x, y, s=12, linewidths=0, color=color, label=label, rasterized=raster, zorder=4)
    some = np.unique(np.linspace(0, len(places) - 1, min(len(places), _MOST_ARROWS)).round().astype(int))
    if not len(places):
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
    """What the map cannot show."""
    outside = int(((found < low) | (found > high)).any(axis=1).sum())
    notes = ((outside, "estimated beyond the edge of this map"), (lost, "lost and not drawn"))
    return "; ".join(f"{count:,} {what}" for count, what in notes if count)
