"""What a model that finds points has learned of the scene, as images: the paper's Figs. 1 and 3.

Source: "Implicit Learning of Scene Geometry" 2023.
"""

from collections.abc import Mapping, Sequence
from html import escape

import matplotlib as mpl
import torch
from jaxtyping import Float
from torch import Tensor

from camloc.core.device import even_indices
from camloc.data.types import Located
from camloc.evaluation.baselines import balance_of
from camloc.evaluation.errors import EvaluatedSet
from camloc.evaluation.predicted_points import MappedView, PointCloud, middle_range, point_cloud
from camloc.evaluation.report import page
from camloc.evaluation.report.figures import cloud_map
from camloc.evaluation.report.frames import ranking
from camloc.evaluation.report.wording import angle, distance
from camloc.geometry.pose import Pose

# Images whose points make the cloud.
MOST_MAPPED = 60

_INTRODUCTION = (
    "This model was never shown where anything in the place is, only where images were taken from. To "
    "find the camera it has learned, for every spot of an image, where in the world that spot is, how "
    "far away it is, and how much to rely on it."
)

# What the images shown are called, by how many there are.
_NAMES = {
    1: ("The only one",),
    2: ("The best", "The worst"),
    3: ("The best", "The middle one", "The worst"),
}


def rows_to_map(evaluated: EvaluatedSet, training_poses: Pose) -> list[int]:
    """Which frames of a set to show: some evenly chosen among the located, and the best, middle and worst."""
    located = [row for row, answer in enumerate(evaluated.answers()) if isinstance(answer, Located)]
    if not located:
        return []
    steps = even_indices(len(located), MOST_MAPPED)
    chosen = {located[step] for step in steps.tolist()}
    return sorted(chosen | set(_best_middle_worst(evaluated, training_poses, located)))


def what_it_has_learned(
    evaluated: EvaluatedSet, mapped: Mapping[int, MappedView], training_poses: Pose, *, unit: str
) -> str:
    """The cloud from above, and the maps of the best, a middle and the worst image, as HTML.

    Args:
        evaluated: the headline set.
        mapped: what the model says about some of its frames, by their row.
        training_poses: (m,) poses of the training frames.
        unit: of the world's distances.
    """
    cloud = point_cloud(mapped.values())
    if not len(cloud.points):
        return ""
    rows = _best_middle_worst(evaluated, training_poses, list(mapped))
    drawn = page.drawing(
        cloud_map(cloud, evaluated.truth(), training_poses, unit=unit),
        kind="map",
        title="The points that the model has learned, with the true cameras",
        caption=f"The points that the model sees in {_images(len(mapped))}, in the colours of the "
        "images, and the true cameras of the test set. Only the half of each image that counts "
        "most is drawn, without stray points. The two world axes are those of the map of cameras, which in "
        "most scenes show the view from above.",
    )
    return "\n".join(
        [
            "<h2>What it has learned of the scene</h2>",
            f"<p>{_INTRODUCTION}</p>",
            drawn,
            *_galleries(evaluated, {row: mapped[row] for row in rows}, cloud, unit),
        ]
    )


def _images(count: int) -> str:
    return "one test image" if count == 1 else f"{count:,} test images"


def _best_middle_worst(evaluated: EvaluatedSet, training_poses: Pose, rows: Sequence[int]) -> list[int]:
    """At most three different ones of the rows, the best first."""
    scores = ranking(evaluated.errors(), meters_per_degree=balance_of(training_poses))
    order = sorted(rows, key=lambda row: (float(scores[row]), row))
    return list(dict.fromkeys((order[0], order[len(order) // 2], order[-1])))


def _galleries(
    evaluated: EvaluatedSet, shown: Mapping[int, MappedView], cloud: PointCloud, unit: str
) -> list[str]:
    """The four images of each view under its error; the ranges of colours are common to all views."""
    low, high = middle_range(cloud.points)
    near, far = middle_range(torch.cat([view.depth.flatten() for view in shown.values()]).nan_to_num())
    errors = evaluated.errors()
    parts = []
    for name, (row, view) in zip(_NAMES[len(shown)], shown.items(), strict=True):
        error = f"{distance(float(errors.meters[row]), unit)}, {angle(float(errors.degrees[row]))}"
        most = middle_range(view.weight.flatten().nan_to_num())[1]
        range_of_depths = f"{distance(float(near), unit)} dark, {distance(float(far), unit)} bright"
        cards = (
            (page.image(view.image), "Image", evaluated.frames[row].name),
            (_map(_share(view.world, low, high)), "PosedScene in the world", "a colour for each scene"),
            (_map(_colored(_share(view.depth, near, far), "viridis")), "Depth", range_of_depths),
            (_map(_colored(_share(view.weight, most * 0, most), "magma")), "Weight", "bright counts most"),
        )
        parts += [f"<h3>{escape(f'{name}: {error}')}</h3>", _gallery(cards)]
    return [*parts, f'<p class="note">{escape(_key(low, high, unit))}</p>']


def _gallery(cards: Sequence[tuple[str, str, str]]) -> str:
    """Images (HTML) in a row, each over its title and a remark (text)."""
    items = "".join(
        f'<li>{image}<div class="text"><strong>{escape(title)}</strong>'
        f'<span class="name">{escape(remark)}</span></div></li>\n'
        for image, title, remark in cards
    )
    return f'<ul class="frames">\n{items}</ul>'


def _share(values: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Where values lie in a range, from 0 to 1; 0 where they are no numbers."""
    return ((values - low) / (high - low).clamp_min(1e-12)).nan_to_num(0.0).clamp(0.0, 1.0)


def _colored(share: Float[Tensor, "h w"], colors: str) -> Float[Tensor, "h w 3"]:
    return torch.from_numpy(mpl.colormaps[colors](share.numpy())[..., :3])


def _map(shares: Float[Tensor, "h w 3"]) -> str:
    return page.sharp_image((shares * 255.0).round().to(torch.uint8).movedim(-1, 0))


def _key(low: Tensor, high: Tensor, unit: str) -> str:
    """How to read the colours of the world points."""
    axes = ", ".join(
        f"{color} grows with {axis} from {float(start):.3g} to {float(end):.3g} {unit}"
        for color, axis, start, end in zip(("red", "green", "blue"), "xyz", low, high, strict=True)
    )
    return (
        f"Scenes in the world as colours: {axes}. One spot of the scene should have one colour in every "
        f"image. The ranges of scenes and depths are the same for all images; weights are "
        f"relative to the largest of their image."
    )
