"""Figures of the papers: attention, clusters of embeddings, points, occlusion, retrieval, transfer."""

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import fill
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from camloc.errors import MissingExtraError
from camloc.evaluation.predicted_points import MappedView, middle_range
from camloc.evaluation.report.figures import (
    BLUE,
    GREY,
    ORANGE,
    RED,
    fit_map,
    legend_below,
    log_scale,
    map_axes,
    map_bounds,
    on_map,
    styled,
    svg,
)
from camloc.evaluation.reproduction import Reproduction
from camloc.geometry.pose import Pose

_CLUSTERS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7b8794", "#c0392b")

# Characters of a title above a panel of clusters.
_TITLE = 38

_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "h")

Image = NDArray[np.uint8]
Heat = Float[np.ndarray, "rows columns"]


def attention_figure(
    images: Sequence[Image], heat: Sequence[Mapping[str, Heat]], names: Sequence[str]
) -> bytes:
    """Each image beside its attention maps, laid over it: TransPoseNet Figures 1 and 3.

    Args:
        images: (h, w, 3) 8-bit inputs of the network.
        heat: for each image the maps by the name of the encoder.
        names: of the images.
    """
    columns = ["image", *heat[0]]
    height, width = images[0].shape[:2]
    with styled():
        figure = Figure(
            figsize=(2.5 * len(columns), 0.3 + 2.65 * len(images) * height / width), layout="constrained"
        )
        panels = figure.subplots(len(images), len(columns), squeeze=False)
        for row, (image, maps) in enumerate(zip(images, heat, strict=True)):
            for column, axes in enumerate(panels[row]):
                _bare(axes)
                if row == 0:
                    axes.set_title(columns[column])
                extent = (0, width, height, 0)
                if column == 0:
                    axes.imshow(image, extent=extent)
                    axes.set_xlabel(names[row], fontsize=7)
                    continue
                axes.imshow(image.mean(axis=2), extent=extent, cmap="gray", vmin=0.0, vmax=255.0)
                weights = maps[columns[column]]
                most = max(float(np.quantile(weights, 0.995)), 1e-12)
                axes.imshow(
                    weights,
                    extent=extent,
                    cmap="jet",
                    alpha=0.5,
                    vmin=0.0,
                    vmax=most,
                    interpolation="bicubic",
                )
                axes.set_xlim(0, width)
                axes.set_ylim(height, 0)
        return svg(figure)


@dataclass(frozen=True, eq=False)
class Clustered:
    """Vectors of images in the plane, and their clusters.

    Attributes:
        title: name of the vectors.
        points: (n, 2) their t-SNE projection, or positions on the map.
        clusters: (n,) numbers of the clusters.
    """

    title: str
    points: Float[np.ndarray, "n 2"]
    clusters: NDArray[np.int64]


def clusters_of(title: str, points: Float[np.ndarray, "n 2"], count: int) -> Clustered:
    """K-means of points in the plane; clusters are numbered from left to right.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    count = min(count, len(points))
    labels = _sklearn("cluster").KMeans(count, n_init=10, random_state=0).fit_predict(points)
    order = np.argsort([points[labels == number, 0].mean() for number in range(count)])
    return Clustered(title, points, np.argsort(order)[labels].astype(np.int64))


def projected(vectors: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n 2"]:
    """The t-SNE projection of standardised vectors into the plane.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    centred = vectors - vectors.mean(axis=0)
    dimensions = min(50, *centred.shape)
    short = _sklearn("decomposition").PCA(dimensions, random_state=0).fit_transform(centred)
    perplexity = min(30.0, max(2.0, (len(vectors) - 1) / 3))
    found: Float[np.ndarray, "n 2"] = (
        _sklearn("manifold")
        .TSNE(2, perplexity=perplexity, init="pca", random_state=0, learning_rate="auto")
        .fit_transform(short)
    )
    return found.astype(np.float64)


def agreement(first: NDArray[np.int64], second: NDArray[np.int64]) -> float:
    """How far two clusterings of the same images agree: the adjusted Rand index, 1 for equal, 0 for chance.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    return float(_sklearn("metrics").adjusted_rand_score(first, second))


def clusters_figure(poses: Pose, vectors: Mapping[str, Float[np.ndarray, "n d"]], *, count: int = 4) -> bytes:
    """Clusters of camera positions beside those of t-SNE projections: HyperPose 2023, Figure 3.

    The upper row colours each panel by its own clusters; the lower row colours the projections by the
    clusters of the positions, so that it shows whether images of one place are together.

    Args:
        poses: (n,) true poses.
        vectors: (n, d) of the same images, by name.
        count: of the clusters.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    shown = map_axes(poses)
    places = clusters_of("camera positions", on_map(poses, shown), count)
    planes = [clusters_of(f"t-SNE of {name}", projected(each), count) for name, each in vectors.items()]
    with styled():
        columns = 1 + len(planes)
        figure = Figure(figsize=(3.5 * columns, 7.2), layout="constrained")
        panels = figure.subplots(2, columns, squeeze=False)
        for column, each in enumerate((places, *planes)):
            match = agreement(places.clusters, each.clusters)
            _scatter(panels[0, column], each, each.clusters)
            if column:
                panels[0, column].set_xlabel(
                    f"adjusted Rand index with the positions: {match:.2f}", fontsize=8
                )
                _scatter(panels[1, column], each, places.clusters)
                panels[1, column].set_title("the same, in the colours of the positions", fontsize=9)
        low, high = map_bounds(places.points)
        for axes in panels[:, 0]:
            fit_map(axes, low, high)
        last = planes[-1]
        _scatter(panels[1, 0], places, last.clusters)
        panels[1, 0].set_title(fill(f"positions, in the colours of {last.title}", _TITLE), fontsize=9)
        return svg(figure)


def points_figure(views: Sequence[MappedView], names: Sequence[str]) -> bytes:
    """Each image beside its world points as colours, its depths and its weights.

    Source: "Implicit Learning of Scene Geometry" 2023, Figure 3.

    Args:
        views: predictions for images.
        names: of the images.
    """
    low, high = middle_range(np.concatenate([view.world.reshape(-1, 3) for view in views]))
    near, far = middle_range(np.concatenate([view.depth.ravel() for view in views]))
    height, width = views[0].image.shape[:2]
    with styled():
        figure = Figure(figsize=(10.4, 0.3 + 2.75 * len(views) * height / width), layout="constrained")
        panels = figure.subplots(len(views), 4, squeeze=False)
        for row, (view, name) in enumerate(zip(views, names, strict=True)):
            colors = np.clip((view.world - low) / np.maximum(high - low, 1e-12), 0.0, 1.0)
            drawn: tuple[tuple[str, dict[str, Any]], ...] = (
                ("image", {"X": view.image}),
                ("points as colours", {"X": colors}),
                ("depth", {"X": view.depth, "cmap": "viridis", "vmin": near, "vmax": far}),
                ("weight", {"X": view.weight, "cmap": "magma", "vmin": 0.0}),
            )
            for axes, (title, content) in zip(panels[row], drawn, strict=True):
                _bare(axes)
                axes.imshow(**content, extent=(0, width, height, 0), interpolation="nearest")
                if row == 0:
                    axes.set_title(title)
            panels[row, 0].set_xlabel(name, fontsize=7)
        return svg(figure)


def occlusion_figure(
    images: Sequence[Image],
    rows: Sequence[int],
    numbers: NDArray[np.int64],
    errors: Mapping[str, Float[np.ndarray, "n"]],
    *,
    unit: str = "m",
) -> bytes:
    """Position errors along a part of a sequence, under some of its images.

    Source: HyperPose 2025, supplement, Figure 5, where a car hides the scene for some frames.

    Args:
        images: (h, w, 3) some images, 8 bits.
        rows: their places among the frames.
        numbers: (n,) of the frames in the test set.
        errors: (n,) position errors by method; infinite for lost frames.
        unit: of the errors.
    """
    with styled():
        figure = Figure(figsize=(9.0, 4.6), layout="constrained")
        grid = figure.add_gridspec(2, len(images), height_ratios=(1.0, 1.9))
        for column, (image, row) in enumerate(zip(images, rows, strict=True)):
            axes = figure.add_subplot(grid[0, column])
            _bare(axes)
            axes.imshow(image)
            axes.set_xlabel(f"image {numbers[row]}", fontsize=8)
        axes = figure.add_subplot(grid[1, :])
        for (name, values), color in zip(errors.items(), (BLUE, ORANGE, GREY), strict=False):
            known = np.where(np.isfinite(values), values, np.nan)
            axes.plot(numbers, known, color=color, marker="o", markersize=3, linewidth=1.6, label=name)
        for row in rows:
            axes.axvline(numbers[row], color=GREY, linewidth=0.8, linestyle=(0, (2, 3)))
        axes.set_ylim(bottom=0.0)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_ylabel(f"position error ({unit})")
        axes.set_xlabel("image, in the order of the test set")
        legend_below(figure, axes, columns=1 if max(map(len, errors)) > 40 else 4)
        return svg(figure)


def decoded_figure(pairs: Image) -> bytes:
    """Images above those that are decoded from their poses alone: pose auto-encoders, Figure 6.

    Args:
        pairs: (h, w, 3) the images in a row, and the decoded ones in a row below.
    """
    height, width = pairs.shape[:2]
    with styled():
        figure = Figure(figsize=(9.0, 9.0 * height / width + 0.3), layout="constrained")
        axes = figure.subplots()
        _bare(axes)
        axes.imshow(pairs, interpolation="nearest")
        axes.set_yticks([height / 4, 3 * height / 4], ["image", "decoded"])
        return svg(figure)


def has_retrieval_bar(table: Reproduction) -> bool:
    """Whether a table prints an image-retrieval row for scenes."""
    return len(table.columns) > 1 and any(row.group == "IR" for row in table.rows)


def retrieval_bar_figure(table: Reproduction) -> bytes:
    """The errors of every regressor beside the bar of image retrieval, scene by scene.

    Source: TransPoseNet, Figure 2. The bar is the last printed row of image retrieval; ours, where it was
    measured, is dashed.
    """
    printed = [row for row in table.rows if row.group == "IR"][-1]
    bars = [(f"{printed.label} (printed)", printed, "black", "-")]
    bars += [(f"{row.label} (ours)", row, GREY, "--") for row in table.rows
             if row.kind == "baseline" and row.label.startswith("retrieval, VLAD inter")]  # fmt: skip
    methods = [row for row in table.rows if row.kind != "baseline" and not row.group]
    scenes = np.arange(len(table.columns))
    with styled():
        figure = Figure(figsize=(10.0, 4.6), layout="constrained")
        panels = figure.subplots(1, 2)
        for axes, half, title in zip(panels, ("meters", "degrees"), ("position (m)", "orientation (°)"),
                                     strict=True):  # fmt: skip
            for label, row, color, dashes in bars:
                for scene, cell in zip(scenes, row.cells, strict=True):
                    value = None if cell is None else getattr(cell, half)
                    if value is not None:
                        ends = (scene - 0.42, scene + 0.42)
                        axes.plot(ends, (value, value), dashes, color=color, linewidth=2.2,
                                  label=label if scene == scenes[0] else None)  # fmt: skip
            for number, row in enumerate(methods):
                values = [None if cell is None else getattr(cell, half) for cell in row.cells]
                shown = [
                    (scene, value) for scene, value in zip(scenes, values, strict=True) if value is not None
                ]
                if not shown:
                    continue
                is_ours, is_paper = row.kind == "ours", "(Ours)" in row.label and row.kind == "printed"
                offset = -0.36 + 0.72 * number / max(len(methods) - 1, 1)
                places, heights = zip(*shown, strict=True)
                axes.scatter(
                    np.array(places) + offset,
                    heights,
                    marker="*" if is_ours else _MARKERS[number % len(_MARKERS)],
                    s=110 if is_ours else 34,
                    color=RED if is_paper else BLUE if is_ours else _CLUSTERS[number % len(_CLUSTERS)],
                    alpha=1.0 if is_ours or is_paper else 0.75,
                    label=row.label,
                    zorder=4 if is_ours or is_paper else 3,
                )
            axes.set_xticks(scenes, [column.replace("|", " ") for column in table.columns],
                            rotation=20 if len(scenes) > 4 else 0, fontsize=8)  # fmt: skip
            axes.set_title(title)
            log_scale(axes, "y")
        legend_below(figure, panels[0], columns=5)
        return svg(figure)


def transfer_figure(
    curves: Mapping[str, Sequence[tuple[float, float | None, float | None]]], scene: str
) -> bytes:
    """Errors in a new scene over the learned part of its frames: HyperPose 2025, supplement, Figure 6.

    Args:
        curves: by network, the part and the median errors in metres and degrees; None, where most images are
            lost, is not drawn.
        scene: its name.
    """
    with styled():
        figure = Figure(figsize=(8.4, 3.5), layout="constrained")
        panels = figure.subplots(1, 2)
        for axes, half, title in zip(panels, (1, 2), ("position (m)", "orientation (°)"), strict=True):
            for (name, curve), (color, dashes) in zip(curves.items(), ((BLUE, "-"), (ORANGE, "--")),
                                                      strict=False):  # fmt: skip
                errors = [np.nan if point[half] is None else point[half] for point in curve]
                axes.plot([point[0] for point in curve], errors, dashes, color=color, marker="o",
                          linewidth=1.8, label=name)  # fmt: skip
            axes.set_title(f"{scene}, {title}")
            axes.set_xlabel("part of its frames that was learned")
            axes.set_xlim(0.0, 1.02)
            axes.set_ylim(bottom=0.0)
            axes.xaxis.set_major_formatter(PercentFormatter(1.0))
        legend_below(figure, panels[0])
        return svg(figure)


def _bare(axes: Axes) -> None:
    """An image without ticks and frame."""
    axes.grid(visible=False)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _scatter(axes: Axes, points: Clustered, clusters: NDArray[np.int64]) -> None:
    colors = [_CLUSTERS[number % len(_CLUSTERS)] for number in clusters]
    axes.scatter(points.points[:, 0], points.points[:, 1], s=14, linewidths=0, c=colors)
    axes.set_title(fill(points.title, _TITLE), fontsize=9)
    axes.set_xticks([])
    axes.set_yticks([])


def _sklearn(module: str) -> Any:
    """A module of scikit-learn, which is optional."""
    try:
        return importlib.import_module(f"sklearn.{module}")
    except ImportError:
        raise MissingExtraError(
            "clusters need scikit-learn; install it with pip install 'camloc[report]'"
        ) from None
