"""Figures of what a network computes: attention over images, and clusters of embeddings."""

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from camloc.errors import MissingExtraError
from camloc.evaluation.report.figures import fit_map, map_axes, map_bounds, on_map, styled, svg
from camloc.geometry.pose import Pose

_CLUSTERS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7b8794", "#c0392b")

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
                axes.grid(visible=False)
                axes.set_xticks([])
                axes.set_yticks([])
                for spine in axes.spines.values():
                    spine.set_visible(False)
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
        title: what the vectors are.
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
                panels[0, column].set_xlabel(f"agrees with the positions: {match:.2f}")
                _scatter(panels[1, column], each, places.clusters)
                panels[1, column].set_title("the same, in the colours of the positions", fontsize=9)
        low, high = map_bounds(places.points)
        for axes in panels[:, 0]:
            fit_map(axes, low, high)
        last = planes[-1]
        _scatter(panels[1, 0], places, last.clusters)
        panels[1, 0].set_title(f"positions, in the colours of {last.title}", fontsize=9)
        return svg(figure)


def _scatter(axes: Axes, points: Clustered, clusters: NDArray[np.int64]) -> None:
    colors = [_CLUSTERS[number % len(_CLUSTERS)] for number in clusters]
    axes.scatter(points.points[:, 0], points.points[:, 1], s=14, linewidths=0, c=colors)
    axes.set_title(points.title)
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
