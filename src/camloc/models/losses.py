"""How a position error in metres and an orientation error make one loss."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from camloc.data.batch import Batch
from camloc.errors import RecipeError
from camloc.geometry.alignment import weighted_kabsch
from camloc.geometry.camera import project
from camloc.geometry.pose import Pose
from camloc.geometry.rotation import rotation_angle
from camloc.models.base import Correspondences
from camloc.models.layers.rotation_output import OrientationForm, compared_truths, compared_values

Distance = Literal["euclidean", "absolute"]


@dataclass(frozen=True)
class PoseLossConfig:
    """The two terms of a regressor's loss, and where their learned weights start.

    Attributes:
        position: initial value of the papers' s_x; good values depend on the data set.
        orientation: initial value of the papers' s_q.
        hemisphere_safe: whether the error is taken to the nearer of q and -q, which are the same
            rotation. The published loss (False) takes q as it is labelled.
        distance: length of the difference, or the mean of its absolute components (the L1 loss of MapNet
            and AtLoc).
    """

    position: float = 0.0
    orientation: float = -3.0
    hemisphere_safe: bool = True
    distance: Distance = "euclidean"


class UncertaintyWeightedPoseLoss(nn.Module):
    """Loss of a pose whose two errors are weighed by learned uncertainties.

        L = L_x exp(-s_x) + s_x + L_q exp(-s_q) + s_q

    with L_x the mean distance of positions and L_q that of orientations in their form, such as unit
    quaternions. The optimiser must not decay s_x and s_q: decay would pull them towards equal weights.

    Source: Kendall and Cipolla 2017; HyperPose 2023 Eq. 6, TransPoseNet Eq. 8.
    """

    def __init__(
        self,
        config: PoseLossConfig,
        form: OrientationForm = "quaternion",
        *,
        relative: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.form: OrientationForm = form
        self.position = nn.Parameter(torch.tensor(config.position))
        self.orientation = nn.Parameter(torch.tensor(config.orientation))
        self.relative = relative

    def forward(
        self,
        position: Float[Tensor, "b 3"],
        orientation: Float[Tensor, "b k"],
        truth_position: Float[Tensor, "b 3"],
        batch: Batch,
    ) -> dict[str, Tensor]:
        """The two terms, from positions relative to the same centre and a batch's true orientations.

        Images whose orientation is not known count for the position alone. Where none has one, the
        term is 0 with its s_q, which would otherwise fall without end. The terms of `relative`, a
        `RelativePoseLoss`, are added where there is one.
        """
        turned = compared_values(self.form, orientation)
        truths, known = known_truths(self.config, self.form, turned, batch)
        turns = distance(self.config.distance, turned - truths)
        balanced = turns * torch.exp(-self.orientation) + self.orientation
        total = torch.where(known, balanced, 0.0).sum()
        moved = distance(self.config.distance, position - truth_position).mean()
        terms = {
            "position": moved * torch.exp(-self.position) + self.position,
            "orientation": total / known.sum().clamp_min(1),
        }
        if self.relative is not None:
            terms |= self.relative(position, orientation, truth_position, batch)
        return terms


def known_truths(
    config: PoseLossConfig, form: OrientationForm, turned: Float[Tensor, "b n"], batch: Batch
) -> tuple[Float[Tensor, "b n"], Bool[Tensor, "b"]]:
    """What each image's orientation should have compared as, and for which images that is known.

    Of the ways to say a rotation it is the nearest to `turned`, or the first where that is not asked for.
    Where it is not known it is no NaN, which would be one in the gradient even of rows that do not count.
    """
    # Rows are set aside by a choice, not by picking: to count the picked ones is to wait for the device.
    rotation = batch.world_from_cam.rotation
    known = batch.world_from_cam.has_orientation()
    some = torch.eye(3, dtype=rotation.dtype, device=rotation.device)
    truths = compared_truths(form, torch.where(known[:, None, None], rotation, some)).to(turned.dtype)
    if not config.hemisphere_safe:
        return truths[0], known
    nearest = distance(config.distance, turned.detach() - truths).argmin(0)
    return truths[nearest, torch.arange(len(turned), device=turned.device)], known


def distance(kind: Distance, difference: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch"]:
    """Size of a difference: its length, or the mean of its absolute components."""
    if kind == "absolute":
        return difference.abs().mean(-1)
    length: Tensor = torch.linalg.vector_norm(difference, dim=-1)
    return length


# Pixels of the reprojection term are those of an image of this height, whatever the network's is.
IMAGE_HEIGHT = 480.0


@dataclass(frozen=True)
class GeometryLossConfig:
    """Weights and forms of the terms of Eq. 8; a weight of 0 switches a term off.

    Attributes:
        position: metres of the pose term (Eq. 3).
        orientation: radians of the pose term (Eq. 4).
        consistency: metres between the two point maps under the true pose (Eq. 5).
        reprojection: pixels, of an image 480 high, between a cell and where its world point is seen
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
    image_height: int,
) -> dict[str, Tensor]:
    """The terms whose weight is not 0, weighted.

    Images whose orientation is not known (section IV-F) count for the position term alone; the others
    are means over the images that have one, and 0 where none has.

    Args:
        config: weights and forms.
        cells: n correspondences to each image.
        truth: (b,) poses in the frame of the world points.
        intrinsics: for the pixels of the cells.
        inside: 1 for cells that show the image, 0 for cells that count for nothing; None for all.
        image_height: of the image that the pixels belong to.
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
        error = torch.linalg.vector_norm(pixels, dim=-1) * (IMAGE_HEIGHT / image_height)
        error = _formed(error.clamp_max(config.most_pixels), config, config.clamp_pixels)
        terms["reprojection"] = config.reprojection * _mean(error, shown)
    return terms


def _formed(error: Float[Tensor, "b n"], config: GeometryLossConfig, bend: float) -> Float[Tensor, "b n"]:
    return bend * torch.tanh(error / bend) if config.form == "clamped" else error


def _mean(values: Float[Tensor, "*n"], shown: Float[Tensor, "*n"]) -> Tensor:
    return (values * shown).sum() / shown.sum().clamp_min(1.0)


class RelativePoseLoss(nn.Module):
    """Differences of consecutive frames of a window, against the true ones, with weights of their own.

        L = D_x exp(-r_x) + r_x + D_q exp(-r_q) + r_q

    with D_x the mean distance between `x[i+1] - x[i]` and its truth, and D_q the same of orientations in
    their form: for log quaternions the difference of the logarithms, as in the authors' code, where MapNet's
    text has the logarithm of the relative rotation.

    Source: Brahmbhatt et al., "Geometry-Aware Learning of Maps for Camera Localization" (MapNet), CVPR 2018,
    Eq. 2 and 3; AtLoc (Wang et al., AAAI 2020) uses the same as AtLoc+.
    """

    def __init__(self, config: PoseLossConfig, form: OrientationForm) -> None:
        super().__init__()
        self.config = config
        self.form: OrientationForm = form
        self.position = nn.Parameter(torch.tensor(config.position))
        self.orientation = nn.Parameter(torch.tensor(config.orientation))

    def forward(
        self,
        position: Float[Tensor, "b 3"],
        orientation: Float[Tensor, "b k"],
        truth_position: Float[Tensor, "b 3"],
        batch: Batch,
    ) -> dict[str, Tensor]:
        """The two terms. A pair of which one orientation is not known counts for the position alone.

        Raises:
            RecipeError: the batch has no windows.
        """
        if batch.window < 2:
            raise RecipeError(
                "the relative-pose loss needs windows of 2 frames or more; set the recipe's window, or "
                "`relative` of its regression to None"
            )
        steps = _steps(position - truth_position, batch.window)
        turned = compared_values(self.form, orientation)
        truths, known = known_truths(self.config, self.form, turned, batch)
        turns = distance(self.config.distance, _steps(turned - truths, batch.window))
        balanced = turns * torch.exp(-self.orientation) + self.orientation
        whole = known.unflatten(0, (-1, batch.window))
        whole = (whole[:, 1:] & whole[:, :-1]).flatten()
        return {
            "relative_position": distance(self.config.distance, steps).mean() * torch.exp(-self.position)
            + self.position,
            "relative_orientation": torch.where(whole, balanced, 0.0).sum() / whole.sum().clamp_min(1),
        }


def _steps(values: Float[Tensor, "b n"], window: int) -> Float[Tensor, "p n"]:
    """From each frame of a window to its next."""
    steps: Tensor = values.unflatten(0, (-1, window)).diff(dim=1).flatten(0, 1)
    return steps
