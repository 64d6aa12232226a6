"""The points of a place that a model has learned, on a map with the true cameras."""

import numpy as np
import torch
from jaxtyping import Float, UInt8
from matplotlib.figure import Figure
from torch import Tensor

from camloc.evaluation.drawing import INK, legend_below, styled, svg
from camloc.evaluation.map_figure import directions_on_map, draw_cameras, map_axes, map_bounds, on_map
from camloc.evaluation.point_cloud import PointCloud, middle_range
from camloc.geometry.pose import Pose

# Steps of each colour on the map, and hard edges of its dots, keep the report small.
_STEPS = 12

# More points than this hide each other.
_MOST_POINTS = 20_000


def cloud_map(cloud: PointCloud, truth: Pose, training: Pose, *, unit: str = "m") -> bytes:
    """The points in the colours of the photographs, seen as the map of the cameras is: an SVG.

    Args:
        cloud: (k,) points, k > 0.
        truth: (n,) true poses of the test frames.
        training: (m,) poses of the training frames, whose spread says which two world axes are shown.
        unit: of the world's distances.
    """
    shown = map_axes(training)
    cameras = on_map(truth, shown)
    # In a mixed order, so that no photograph hides another one.
    order = torch.randperm(len(cloud.points), generator=torch.Generator().manual_seed(0))[:_MOST_POINTS]
    points = cloud.points[order][:, list(shown)].numpy()
    most = torch.stack(middle_range(cloud.points))[:, list(shown)].numpy()
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
            c=_few_colors(cloud.colors[order]).numpy(),
            alpha=0.6,
            antialiased=False,
            rasterized=True,
            zorder=1,
        )
        draw_cameras(axes, cameras, directions_on_map(truth, shown), color=INK, label="true cameras")
        axes.set_xlim(low[0], high[0])
        axes.set_ylim(low[1], high[1])
        axes.set_aspect("equal")
        axes.set_xlabel(f"world {'xyz'[shown[0]]} ({unit})")
        axes.set_ylabel(f"world {'xyz'[shown[1]]} ({unit})")
        legend_below(figure, axes)
        return svg(figure)


def _few_colors(colors: UInt8[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
    """Colours from 0 to 1, rounded."""
    return (colors.double() / 255.0 * _STEPS).round() / _STEPS
