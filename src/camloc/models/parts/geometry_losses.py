"""Pose, consistency and reprojection losses of point maps, each of which can be switched off."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from camloc.core.model import Correspondences
from camloc.geometry.alignment import weighted_kabsch
from camloc.geometry.camera import project
from camloc.geometry.pose import Pose
from camloc.geometry.rotation import rotation_angle

# Pixels of the reprojection term are those of a picture of this height, whatever the network's is.
PICTURE_HEIGHT = 480.0


@dataclass(frozen=True)
class GeometryLossConfig:
    """Weights and forms of the terms of Eq. 8; a weight of 0 switches a term off.

    Attributes:
        position: metres of the pose term (Eq. 3).
        orientation: radians of the pose term (Eq. 4).
        consistency: metres between the two point maps under the true pose (Eq. 5).
        reprojection: pixels, of a picture 480 high, between a cell and where its world point is seen
            by the true camera (Eq. 7).
        form: "distance" as published; "clamped" lets far outliers go: `b tanh(e / b)` as in ACE.
        clamp_meters, clamp_pixels: where the clamped form bends, for consistency and reprojection.
        nearest: depth in metres below which a world point counts as behind the camera. Its pixels mean
            nothing then, and the term is its distance to where the predicted depth puts it instead.
        most_pixels: what one cell's reprojection error can be at most.
    """

    position: float = 1.0
    orientation: float = 1.0
    consistency: float = 1.0
    reprojection: float = 0.001
    form: Literal["distance", "clamped"] = "distance"
    clamp_meters: float = 1.0
    clamp_pixels: float = 50.0
    nearest: float = 0.1
    most_pixels: float = 1000.0


def geometry_losses(
    config: GeometryLossConfig,
    cells: Correspondences,
    truth: Pose,
    *,
    intrinsics: Float[Tensor, "b 3 3"],
    inside: Float[Tensor, "b n"] | None,
    picture_height: int,
) -> dict[str, Tensor]:
    """The terms whose weight is not 0, weighted.

    Pictures whose orientation is not known (section IV-F) count for the position term alone; the others
    are means over the pictures that have one, and 0 where none has.

    Args:
        config: weights and forms.
        cells: n correspondences to each picture.
        truth: (b,) poses in the frame of the world points.
        intrinsics: for the pixels of the cells.
        inside: 1 for cells that show the photograph, 0 for cells that count for nothing; None for all.
        picture_height: of the picture that the pixels belong to.
    """
    shown = torch.ones_like(cells.weight) if inside is None else inside
    # Rows are picked before anything is computed from them: a NaN that is masked afterwards is still a
    # NaN in the gradient.
    known = truth.has_orientation()
    terms: dict[str, Tensor] = {}
    if config.position or config.orientation:
        estimate = weighted_kabsch(cells.camera, cells.world, cells.weight * shown + 1e-8)
        meters = torch.linalg.vector_norm(estimate.translation - truth.translation, dim=-1)
        if config.position:
            terms["position"] = config.position * meters.mean()
        if config.orientation:
            radians = rotation_angle(truth.rotation[known], estimate.rotation[known])
            terms["orientation"] = config.orientation * _mean(radians, torch.ones_like(radians))
    if config.consistency or config.reprojection:
        cells = Correspondences(*(value[known] for value in cells))
        truth, intrinsics, shown = truth[known], intrinsics[known], shown[known]
    if config.consistency:
        meters = torch.linalg.vector_norm(cells.world - truth.apply(cells.camera), dim=-1)
        terms["consistency"] = config.consistency * _mean(_formed(meters, config, config.clamp_meters), shown)
    if config.reprojection:
        # Eq. 7 writes the camera-to-world T of Eq. 5; what projects is its inverse.
        seen = truth.inverse().apply(cells.world)
        pixels = project(seen, intrinsics, nearest=config.nearest) - cells.pixels
        error = torch.linalg.vector_norm(pixels, dim=-1) * (PICTURE_HEIGHT / picture_height)
        error = _formed(error.clamp_max(config.most_pixels), config, config.clamp_pixels)
        terms["reprojection"] = config.reprojection * _mean(error, shown)
    return terms


def _formed(error: Float[Tensor, "b n"], config: GeometryLossConfig, bend: float) -> Float[Tensor, "b n"]:
    return bend * torch.tanh(error / bend) if config.form == "clamped" else error


def _mean(values: Float[Tensor, "*n"], shown: Float[Tensor, "*n"]) -> Tensor:
    return (values * shown).sum() / shown.sum().clamp_min(1.0)
