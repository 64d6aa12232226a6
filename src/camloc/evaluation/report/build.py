"""Builds `report.html`: the results of a run, in one file that opens anywhere, offline, and prints.

The page is `template.html.j2` with `style.css`; this module computes the template's values.
"""

import json
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from io import BytesIO

import jinja2
import matplotlib as mpl
import numpy as np
from jaxtyping import Float, UInt8
from numpy.typing import NDArray
from PIL import Image

from camloc.data.image_io import read_image
from camloc.data.types import Located, Lost
from camloc.errors import ImageError
from camloc.evaluation.errors import ScoredSet
from camloc.evaluation.files import best_middle_worst
from camloc.evaluation.multi_scene import ScenesResults
from camloc.evaluation.predicted_points import (
    MappedView,
    PointCloud,
    middle_range,
    point_cloud,
)
from camloc.evaluation.reliability import Reliability
from camloc.evaluation.report import figures, wording
from camloc.evaluation.report.figures import MapPoints
from camloc.evaluation.report.wording import angle, bound, distance, percent
from camloc.evaluation.results import Results, SetResults
from camloc.geometry.pose import Pose, PoseError

_Floats = NDArray[np.float64]

# Images of the worst and of the best frames.
WORST, BEST = 8, 4

# The figure of a set is some tens of kilobytes; further sets have tables alone.
_MOST_SET_FIGURES = 12

# Titles of the images of learned geometry, by their number.
_RANKS = {
    1: ("The only one",),
    2: ("The best", "The worst"),
    3: ("The best", "The middle one", "The worst"),
}


@dataclass(frozen=True)
class Drawing:
    """One figure of one or several drawings, which stand side by side where there is room.

    Attributes:
        sources: the drawings as data URIs.
        title: a description for readers who cannot see it.
        caption: how to read it.
        kind: "wide" fills the page, "map" leaves a margin, "several" is a grid.
    """

    sources: tuple[str, ...]
    title: str
    caption: str
    kind: str = "wide"


@dataclass(frozen=True)
class Card:
    """An image with a headline, a note and a name; `image` is a data URI, or "" where it cannot be read."""

    image: str
    headline: str
    name: str
    note: str = ""
    is_lost: bool = False
    is_pixelated: bool = False


@dataclass(frozen=True)
class Gallery:
    """Cards under a title."""

    title: str
    cards: tuple[Card, ...]


@dataclass(frozen=True)
class LearnedGeometry:
    """The points that a model predicts for test images: Figs. 1 and 3 of the paper.

    Source: "Implicit Learning of Scene Geometry" 2023.

    Attributes:
        cloud: the points of many images on the map.
        galleries: images of points, depths and weights of the best, a middle and the worst image.
        color_key: how to read the colours of the points.
    """

    cloud: Drawing
    galleries: tuple[Gallery, ...]
    color_key: str


@dataclass(frozen=True)
class Report:
    """Everything that the template shows of one scene; each attribute is a section or a part of one."""

    results: Results
    verdict: str
    tiles: tuple[tuple[str, str, str], ...]
    error_curves: Drawing
    camera_map: Drawing
    errors_along: tuple[Drawing, ...]
    best_and_worst: tuple[Gallery, ...]
    map_points: Drawing | None
    reliability: Drawing | None
    learned: LearnedGeometry | None
    attention: Drawing | None
    training: Drawing | None
    record: Sequence[tuple[str, str]]
    settings: str
    terms: Sequence[tuple[str, str]]
    advice: Sequence[str]


def scenes_html(results: ScenesResults) -> str:
    """The report of several scenes."""
    return _rendered(f"{len(results.scenes)} scenes: {results.model}", report=None, scenes=results)


def report_html(
    results: Results,
    sets: Sequence[ScoredSet],
    training_poses: Pose,
    *,
    log: Sequence[Mapping[str, float]] = (),
    mapped: Mapping[int, MappedView] | None = None,
    map_points: MapPoints | None = None,
    attention: bytes | None = None,
) -> str:
    """The report of one scene.

    Args:
        results: statistics of the same sets.
        sets: the test sets, the headline first; images of its best and worst frames are read.
        training_poses: (m,) poses of the training frames.
        log: rows of the training log; see `figures.training_curve`.
        mapped: for models that predict points, the points of some frames of the first set, by the frame's
            row in it.
        map_points: those of the map that verified the answers, or None.
        attention: the figure of a Transformer's attention, or None.
    """
    headline, unit = sets[0], results.unit
    curves = figures.curves_of(headline.errors, headline.baselines)
    training = figures.training_curve(log, unit=unit)
    report = Report(
        results=results,
        verdict=wording.verdict(results),
        tiles=tuple(_tiles(results)),
        error_curves=_drawing(
            *figures.error_curves(curves, unit=unit),
            title="Share of images within an error, over the error",
            caption="The farther left and up a line is, the better. Where it crosses the dotted line is the "
            "median; a line that ends below 100 % has lost images. Errors are on a logarithmic scale.",
            kind="several",
        ),
        camera_map=_camera_map(headline, training_poses, unit),
        errors_along=tuple(_errors_along(each, unit) for each in sets[:_MOST_SET_FIGURES]),
        best_and_worst=_best_and_worst(headline, unit),
        map_points=None if map_points is None else _map_points(map_points, training_poses, unit),
        reliability=_reliability(results.headline.reliability),
        learned=learned_geometry(headline, mapped or {}, training_poses, unit=unit),
        attention=None
        if attention is None
        else _drawing(
            attention,
            title="Attention over images",
            caption="The weight that the last layer of each encoder gives to the parts of the best, a middle "
            "and the worst image, the mean over its heads: red counts most.",
        ),
        training=None
        if training is None
        else _drawing(
            training,
            title="Training over epochs",
            caption="The loss on training images, and the median error on held-out images.",
        ),
        record=wording.run_record(results),
        settings=json.dumps(results.settings, indent=2, ensure_ascii=False) if results.settings else "",
        terms=wording.TERMS,
        advice=wording.advice(results, headline),
    )
    return _rendered(f"{results.scene}: {results.model}", report=report, scenes=None)


def _rendered(title: str, *, report: Report | None, scenes: ScenesResults | None) -> str:
    template = page_templates().get_template("template.html.j2")
    return template.render(title=title, report=report, scenes=scenes) + "\n"


@cache
def page_templates() -> jinja2.Environment:
    """The templates of all pages, which escape every value."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("camloc.evaluation.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )

    def comparison(part: SetResults) -> str:
        return wording.comparison(part.estimates, part.nearest_training_pose, part.mean_training_pose)

    filters = (
        distance,
        angle,
        percent,
        bound,
        wording.method_name,
        wording.map_sentence,
        wording.verification,
        comparison,
    )
    environment.filters |= {each.__name__: each for each in filters}
    return environment


def _drawing(*svgs: bytes, title: str, caption: str, kind: str = "wide") -> Drawing:
    return Drawing(tuple(data_uri("svg+xml", each) for each in svgs), title, caption, kind)


def data_uri(kind: str, data: bytes) -> str:
    """An image as an address within the page."""
    return f"data:image/{kind};base64,{b64encode(data).decode()}"


def _tiles(results: Results) -> Iterable[tuple[str, str, str]]:
    """The numbers that most readers want: term, value and a note."""
    estimates, nearest = results.headline.estimates, results.headline.nearest_training_pose
    unit, limits = results.unit, (0.25, 2.0)
    compared = (
        ("Median position", distance(estimates.meters.median, unit), distance(nearest.meters.median, unit)),
        ("Median orientation", angle(estimates.degrees.median), angle(nearest.degrees.median)),
        (
            f"Within {bound(*limits, unit)}",
            percent(estimates.recall(*limits)),
            percent(nearest.recall(*limits)),
        ),
    )
    yield from ((term, value, f"nearest pose {other}") for term, value, other in compared)
    yield "Lost", f"{estimates.lost:,}", f"of {estimates.frames:,}"
    if decision := results.headline.decision:
        yield "Right scene", percent(decision.share), f"of {decision.frames:,}"
    if counts := results.headline.verification:
        yield "Verified", f"{counts.verified:,}", f"of {estimates.frames:,}"
    if results.timing:
        yield "Time an image", f"{results.timing.median:.0f} ms", results.timing.device


def _camera_map(scored: ScoredSet, training_poses: Pose, unit: str) -> Drawing:
    """The true and the estimated cameras of a test set."""
    poses = [
        answer.world_from_cam.numpy().to(np.float64) if isinstance(answer, Located) else true
        for answer, true in zip(scored.answers, scored.truth, strict=True)
    ]
    located = np.array([isinstance(answer, Located) for answer in scored.answers])
    return _drawing(
        figures.camera_map(scored.truth, Pose.stack(poses), training_poses, located=located, unit=unit),
        kind="map",
        title="Map of true and estimated cameras",
        caption="True and estimated cameras, joined by a line, among the training cameras; arrows point "
        "where cameras look. The map shows the two world axes along which the training cameras extend most, "
        "which in most scenes is the view from above.",
    )


def _map_points(found: MapPoints, training_poses: Pose, unit: str) -> Drawing:
    """The points of the map of local features, from above."""
    return _drawing(
        figures.map_points(found, training_poses, unit=unit),
        kind="map",
        title="Points of the map and training cameras",
        caption="The points of the map among the training cameras, on the axes of the map of cameras; the "
        f"darker, the more training images see a point ({float(np.median(found.frames)):.0f} in the median). "
        "Where there are few points, few images can be verified.",
    )


def _reliability(found: Reliability | None) -> Drawing | None:
    """How honest the covariances of the headline's answers are."""
    if found is None:
        return None
    position, orientation = found.at(0.95)
    return _drawing(
        figures.reliability(found),
        title="Share of true poses inside the stated regions, over the stated confidence",
        caption=f"Of {found.frames:,} answers with a covariance, the region of 95 % holds the true position "
        f"of {percent(position)} and the true orientation of {percent(orientation)}. Below the dotted line "
        "the covariance is too small, above it too large.",
        kind="map",
    )


def _errors_along(scored: ScoredSet, unit: str) -> Drawing:
    return _drawing(
        figures.errors_along(
            figures.curves_of(scored.errors, scored.baselines)[:2],
            sequences=[frame.sequence for frame in scored.frames],
            unit=unit,
        ),
        title=f"Error of each image of {scored.name}",
        caption="The error of each image in turn, on a logarithmic scale; red crosses at the upper edge "
        "are lost images, dotted upright lines separate sequences.",
    )


def _best_and_worst(scored: ScoredSet, unit: str) -> tuple[Gallery, ...]:
    """The worst frames and the best ones; no frame is in both."""
    order = np.argsort(scored.combined(scored.errors), kind="stable").tolist()
    best = [row for row in order[:BEST] if not isinstance(scored.answers[row], Lost)]
    worst = [row for row in reversed(order) if row not in best][:WORST]
    return tuple(
        Gallery(
            f"The {kind}" if len(rows) == 1 else f"The {kind} {len(rows)}",
            tuple(_frame_card(scored, row, unit) for row in rows),
        )
        for kind, rows in (("worst", worst), ("best", best))
    )


def _frame_card(scored: ScoredSet, row: int, unit: str) -> Card:
    """A frame under its error, beside the error of the nearest training pose.

    The latter tells a frame far from all training cameras from one that the model should locate.
    """
    frame, answer = scored.frames[row], scored.answers[row]
    headline, is_lost = _both(scored.errors, row, unit), isinstance(answer, Lost)
    if isinstance(answer, Lost):
        headline = f"Lost: {answer.reason}" if answer.reason else "Lost"
    try:
        image = _jpeg(read_image(frame.image))
    except ImageError:
        image = ""
    nearest = f"nearest training pose {_both(scored.baselines.nearest_pose, row, unit)}"
    return Card(image, headline, frame.name, nearest, is_lost=is_lost)


def _both(errors: PoseError, row: int, unit: str) -> str:
    """Position and orientation of one frame, without a line break inside a number."""
    text = f"{distance(float(errors.meters[row]), unit)}, {angle(float(errors.degrees[row]))}"
    return text.replace(" ", "\N{NO-BREAK SPACE}")


def _jpeg(pixels: UInt8[NDArray[np.uint8], "h w 3"]) -> str:
    """An image, at most 360 pixels wide, as the data URI of a JPEG."""
    image = Image.fromarray(pixels)
    image.thumbnail((360, 720))
    data = BytesIO()
    image.save(data, format="JPEG", quality=72, optimize=True)
    return data_uri("jpeg", data.getvalue())


def learned_geometry(
    scored: ScoredSet, mapped: Mapping[int, MappedView], training_poses: Pose, *, unit: str
) -> LearnedGeometry | None:
    """The cloud on the map, and images of the points of some frames; None where there are no points.

    Args:
        scored: the headline set.
        mapped: the predicted points of some of its frames, by their row.
        training_poses: (m,) poses of the training frames.
        unit: of the world's distances.
    """
    cloud = point_cloud(mapped.values())
    if not len(cloud.points):
        return None
    shown = {row: mapped[row] for row in best_middle_worst(scored, mapped)}
    count = "one test image" if len(mapped) == 1 else f"{len(mapped):,} test images"
    low, high = middle_range(cloud.points)
    return LearnedGeometry(
        cloud=_drawing(
            figures.cloud_map(cloud, scored.truth, training_poses, unit=unit),
            kind="map",
            title="The predicted points, with the true cameras",
            caption=f"The points that the model predicts for {count}, in the colours of the images, and the "
            "true cameras of the test set. Only the half of each image that counts most is drawn, without "
            "stray points. The two world axes are those of the map of cameras, which in most scenes show "
            "the view from above.",
        ),
        galleries=_geometry_galleries(scored, shown, cloud, unit),
        color_key=_color_key(low, high, unit),
    )


def _geometry_galleries(
    scored: ScoredSet, shown: Mapping[int, MappedView], cloud: PointCloud, unit: str
) -> tuple[Gallery, ...]:
    """Four images of each view under its error; the ranges of colours are common to all views."""
    low, high = middle_range(cloud.points)
    near, far = middle_range(np.nan_to_num(np.concatenate([view.depth.ravel() for view in shown.values()])))
    depths = f"{distance(float(near), unit)} dark, {distance(float(far), unit)} bright"
    galleries = []
    for rank, (row, view) in zip(_RANKS[len(shown)], shown.items(), strict=True):
        error = _both(scored.errors, row, unit).replace("\N{NO-BREAK SPACE}", " ")
        most = middle_range(np.nan_to_num(view.weight.ravel()))[1]
        points = _share_of_range(view.world, low, high)
        depth = _colored(_share_of_range(view.depth, near, far), "viridis")
        weight = _colored(_share_of_range(view.weight, np.zeros_like(most), most), "magma")
        cards = (
            Card(_jpeg(view.image), "Image", scored.frames[row].name),
            Card(_png(points), "Position in the world", "a colour for each position", is_pixelated=True),
            Card(_png(depth), "Depth", depths, is_pixelated=True),
            Card(_png(weight), "Weight", "bright counts most", is_pixelated=True),
        )
        galleries.append(Gallery(f"{rank}: {error}", cards))
    return tuple(galleries)


def _share_of_range(values: _Floats, low: _Floats, high: _Floats) -> _Floats:
    """Values as shares of a range, from 0 to 1; 0 where they are not numbers."""
    return np.nan_to_num((values - low) / np.maximum(high - low, 1e-12)).clip(0.0, 1.0)


def _colored(share: Float[_Floats, "h w"], colors: str) -> Float[_Floats, "h w 3"]:
    return np.asarray(mpl.colormaps[colors](share)[..., :3])


def _png(shares: Float[_Floats, "h w 3"]) -> str:
    """Colours from 0 to 1, one pixel a cell, as the data URI of a PNG."""
    data = BytesIO()
    Image.fromarray((shares * 255.0).round().astype(np.uint8)).save(data, format="PNG", optimize=True)
    return data_uri("png", data.getvalue())


def _color_key(low: _Floats, high: _Floats, unit: str) -> str:
    """How to read the colours of the world points."""
    axes = ", ".join(
        f"{color} grows with {axis} from {float(start):.3g} to {float(end):.3g} {unit}"
        for color, axis, start, end in zip(("red", "green", "blue"), "xyz", low, high, strict=True)
    )
    return (
        f"Positions in the world as colours: {axes}. One spot of the scene should have one colour in every "
        f"image. The ranges of positions and depths are the same for all images; weights are relative to the "
        f"largest of their image."
    )
