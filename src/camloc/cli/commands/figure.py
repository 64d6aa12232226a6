"""`camloc figure`: the papers' figures of a run."""

from pathlib import Path
from typing import Annotated, Literal

import tyro

from camloc.cli.options import Run, Scene
from camloc.errors import UsageError

# The same as in `camloc.runs.figure`, whose import loads torch.
Name = Literal["attention", "clusters", "trajectories", "errors", "occlusion", "points", "decoded"]


def figure(
    name: tyro.conf.Positional[Annotated[Name, tyro.conf.arg(metavar="NAME")]],
    run: tyro.conf.Positional[Run],
    *,
    out: Annotated[Path | None, tyro.conf.arg(metavar="FILE.svg", help_behavior_hint="")] = None,
    scene: Scene = "",
    images: Annotated[int, tyro.conf.arg(metavar="NUMBER")] = 3,
    clusters: Annotated[int, tyro.conf.arg(metavar="NUMBER")] = 4,
    baseline: Annotated[Path | None, tyro.conf.arg(metavar="RUN", help_behavior_hint="")] = None,
) -> None:
    """Draw a figure of the papers for a run, as SVG.

    attention lays the attention of a Transformer's last layer over images, for the position and for the
    orientation. clusters shows K-means of camera positions beside those of the t-SNE projection of embeddings
    and of generated weights. trajectories draws the truth black, the estimates red, and a star where a
    sequence starts. errors are those of each image in turn. occlusion shows the images around the largest
    error, or around the one that --baseline has beyond it. points are the world points, depths and weights of
    a network that aligns points. decoded are images that a pose auto-encoder's decoder draws from poses.

    Args:
        name: attention, clusters, trajectories, errors, occlusion, points or decoded.
        run: Folder of a run; evaluated, for trajectories, errors and occlusion.
        out: File to write; RUN/NAME.svg by default.
        scene: Scene of a run of several.
        images: Number of images with their attention or points.
        clusters: Number of clusters.
        baseline: Run whose embeddings or errors stand beside those of this one.
    """
    from camloc.cli.progress import console
    from camloc.core.files import write_atomically
    from camloc.runs.figure import draw

    if out is not None and out.suffix != ".svg":
        raise UsageError(f"figures are written as SVG; name a file that ends in .svg instead of {out.name}")
    content = draw(name, run, scene=scene, images=images, clusters=clusters, baseline=baseline)
    path = out or run / f"{name}.svg"
    write_atomically(path, content)
    console.print(f"figure {path}")
