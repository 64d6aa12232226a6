"""The losses of all models, and the orientation representations that they compare.

1. Regressors: `UncertaintyWeightedPoseLoss` (Kendall and Cipolla 2017, with the papers' s_x and s_q) and
   `RelativePoseLoss` (MapNet 2018) for windows of frames.
2. Scene geometry: `geometry_losses` (Implicit Learning of Scene Geometry 2023, Eq. 2 to 8).
3. Orientation representations: from a rotation to the numbers of a head and to the values of a loss.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from camloc.data.batch import Batch
from camloc.errors import RecipeError
from camloc.geometry.alignment import weighted_kabsch
from camloc.geometry.camera import project
from camloc.geometry.pose import Pose
from camloc.geometry.rotation import quaternion_wxyz_from_rotation, rotation_angle
from camloc.models.decoding import Correspondences, OrientationForm, rotation_from_values

# --- 1. Regressors ------------------------------------------------------------------------------------------

Distance = Literal["euclidean", "absolute"]


@dataclass(frozen=True)
class PoseLossConfig:
    """Settings of the pose loss of a regressor.

    Attributes:
        position: initial value of the papers' s_x; good values depend on the data set.
        orientation: initial value of the papers' s_q.
        hemisphere_safe: whether the error is measured to the nearer of q and -q, which are the same rotation.
            The published loss (False) compares with the label's sign.
        distance: the length of the difference, or the mean of its absolute components (the L1 loss of MapNet
            and AtLoc).
    """

    position: float = 0.0
    orientation: float = -3.0
    hemisphere_safe: bool = True
    distance: Distance = "euclidean"


class UncertaintyWeightedPoseLoss(nn.Module):
    """Position and orientation errors, weighted by learned uncertainties.

        L = L_x exp(-s_x) + s_x + L_q exp(-s_q) + s_q

    L_x is the mean distance between predicted and true positions, L_q the same of orientations in their
    representation, such as unit quaternions. The optimiser must not apply weight decay to s_x and s_q (the
    parameters `position` and `orientation`): decay would pull them towards equal weights.

    Source: Kendall and Cipolla 2017; HyperPose 2023 Eq. 6, TransPoseNet Eq. 8.
    """

    def __init__(
        self,
        config: PoseLossConfig,
        form: OrientationForm = "quaternion",
        *,
        relative: nn.Module | None = None,
    ) -> None:
        """`relative`: a `RelativePoseLoss` whose terms are added; None for none."""
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
        true_position: Float[Tensor, "b 3"],
        batch: Batch,
    ) -> dict[str, Tensor]:
        """Compute the terms from predicted and true positions, relative to the same centre, and a batch.

        Images of unknown orientation count for the position term alone. If no image of the batch has an
        orientation, the orientation term including s_q is 0; otherwise s_q would decrease without bound.
        """
        values = comparable_values(self.form, orientation)
        true_values, known = comparable_truths(self.config, self.form, values, batch)
        orientation_errors = distance(self.config.distance, values - true_values)
        weighted = orientation_errors * torch.exp(-self.orientation) + self.orientation
        total = torch.where(known, weighted, 0.0).sum()
        position_error = distance(self.config.distance, position - true_position).mean()
        terms = {
            "position": position_error * torch.exp(-self.position) + self.position,
            "orientation": total / known.sum().clamp_min(1),
        }
        if self.relative is not None:
            terms |= self.relative(position, orientation, true_position, batch)
        return terms


class RelativePoseLoss(nn.Module):
    """The loss of differences between consecutive frames of a window, with learned uncertainties of its own.

        L = D_x exp(-r_x) + r_x + D_q exp(-r_q) + r_q

    D_x is the mean distance between `x[i+1] - x[i]` and its true value, D_q the same of orientations in their
    representation. For log quaternions this is the difference of the logarithms, as in the authors' code;
    MapNet's text has the logarithm of the relative rotation instead.

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
        true_position: Float[Tensor, "b 3"],
        batch: Batch,
    ) -> dict[str, Tensor]:
        """Compute the two terms. A pair with an unknown orientation counts for the position term alone.

        Raises:
            RecipeError: the batch has no windows.
        """
        if batch.window < 2:
            raise RecipeError(
                "the relative-pose loss needs windows of 2 frames or more; set the recipe's window, or "
                "`relative` of its regression to None"
            )
        position_steps = _steps(position - true_position, batch.window)
        values = comparable_values(self.form, orientation)
        true_values, known = comparable_truths(self.config, self.form, values, batch)
        orientation_errors = distance(self.config.distance, _steps(values - true_values, batch.window))
        weighted = orientation_errors * torch.exp(-self.orientation) + self.orientation
        known_in_window = known.unflatten(0, (-1, batch.window))
        known_pairs = (known_in_window[:, 1:] & known_in_window[:, :-1]).flatten()
        position_error = distance(self.config.distance, position_steps).mean()
        return {
            "relative_position": position_error * torch.exp(-self.position) + self.position,
            "relative_orientation": torch.where(known_pairs, weighted, 0.0).sum()
            / known_pairs.sum().clamp_min(1),
        }


def _steps(values: Float[Tensor, "b n"], window: int) -> Float[Tensor, "p n"]:
    """The difference between each frame of a window and the next one."""
    steps: Tensor = values.unflatten(0, (-1, window)).diff(dim=1).flatten(0, 1)
    return steps


def distance(kind: Distance, difference: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch"]:
    """Size of a difference: its length, or the mean of its absolute components."""
    if kind == "absolute":
        return difference.abs().mean(-1)
    length: Tensor = torch.linalg.vector_norm(difference, dim=-1)
    return length


def comparable_truths(
    config: PoseLossConfig, form: OrientationForm, values: Float[Tensor, "b n"], batch: Batch
) -> tuple[Float[Tensor, "b n"], Bool[Tensor, "b"]]:
    """Compute the true values that a loss compares `values` with, and which images have a known orientation.

    A rotation may have two equivalent values (q and -q): with `hemisphere_safe` the one nearer to `values` is
    returned, otherwise the first. Rows of unknown orientation are finite, because NaN would reach the
    gradient even of rows that do not count.
    """
    # Rows are masked, not indexed: indexing by a mask would wait for the device to count the rows.
    rotation = batch.world_from_cam.rotation
    known = batch.world_from_cam.has_orientation()
    identity = torch.eye(3, dtype=rotation.dtype, device=rotation.device)
    rotation = torch.where(known[:, None, None], rotation, identity)
    equivalents = equivalent_values(form, rotation).to(values.dtype)
    if not config.hemisphere_safe:
        return equivalents[0], known
    nearest = distance(config.distance, values.detach() - equivalents).argmin(0)
    return equivalents[nearest, torch.arange(len(values), device=values.device)], known


# --- 2. Scene geometry --------------------------------------------------------------------------------------

# The reprojection error is in pixels of an image of this height, whatever the size of the network's image.
IMAGE_HEIGHT = 480.0


@dataclass(frozen=True)
class GeometryLossConfig:
    """Weights and form of the terms of Eq. 8; a weight of 0 switches a term off.

    Attributes:
        position: weight of metres in the pose term (Eq. 3).
        orientation: weight of radians in the pose term (Eq. 4).
        consistency: weight of metres between the two point maps under the true pose (Eq. 5).
        reprojection: weight of pixels, of an image 480 high, between a cell and the projection of its world
            point by the true camera (Eq. 7).
        map: weight of the distances between the points of a map and what the network predicts in the cells
            that they project to, as shares of their depth; not in the paper. It counts in trainings that have
            a map.
        form: "distance" as published; "clamped" bounds the error of outliers, `b tanh(e / b)` as in ACE.
        clamp_meters, clamp_pixels: the bound b of the clamped form, for consistency and reprojection.
        nearest: depth in metres below which a world point counts as behind the camera. Its pixel is then
            meaningless, and the point is projected as if at this depth.
        most_pixels: upper bound of one cell's reprojection error.
    """

    position: float = 1.0
    orientation: float = 1.0
    consistency: float = 1.0
    reprojection: float = 0.001
    map: float = 0.0
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
    """Compute the weighted terms whose weight is not 0.

    Images of unknown orientation (section IV-F) count for the position term alone. The other terms are means
    over the images of known orientation, and 0 if there is none.

    Args:
        config: weights and form.
        cells: n correspondences for each image.
        truth: (b,) poses in the frame of the world points.
        intrinsics: for the pixels of the cells.
        inside: 1 for cells inside the image, 0 for cells that do not count; None if all count.
        image_height: height of the image that the pixels belong to.
    """
    counted = torch.ones_like(cells.weight) if inside is None else inside
    # Rows are selected before anything is computed from them: a NaN that is masked afterwards is still a NaN
    # in the gradient.
    known = truth.has_orientation()
    terms: dict[str, Tensor] = {}
    if config.position or config.orientation:
        estimate = weighted_kabsch(cells.camera, cells.world, cells.weight * counted + 1e-8)
        if config.position:
            meters = torch.linalg.vector_norm(estimate.translation - truth.translation, dim=-1)
            terms["position"] = config.position * meters.mean()
        if config.orientation:
            radians = rotation_angle(truth.rotation[known], estimate.rotation[known])
            terms["orientation"] = config.orientation * _mean(radians, torch.ones_like(radians))
    if config.consistency or config.reprojection:
        cells = Correspondences(*(value[known] for value in cells))
        truth, intrinsics, counted = truth[known], intrinsics[known], counted[known]
    if config.consistency:
        meters = torch.linalg.vector_norm(cells.world - truth.apply(cells.camera), dim=-1)
        meters = _clamped(meters, config, config.clamp_meters)
        terms["consistency"] = config.consistency * _mean(meters, counted)
    if config.reprojection:
        # Eq. 7 writes the camera-to-world T of Eq. 5; a projection needs its inverse.
        in_camera = truth.inverse().apply(cells.world)
        offsets = project(in_camera, intrinsics, nearest=config.nearest) - cells.pixels
        pixels = torch.linalg.vector_norm(offsets, dim=-1) * (IMAGE_HEIGHT / image_height)
        pixels = _clamped(pixels.clamp_max(config.most_pixels), config, config.clamp_pixels)
        terms["reprojection"] = config.reprojection * _mean(pixels, counted)
    return terms


def map_loss(
    config: GeometryLossConfig,
    cells: Correspondences,
    truth: Pose,
    points: Float[Tensor, "b p 3"],
    *,
    intrinsics: Float[Tensor, "b 3 3"],
    inside: Float[Tensor, "b n"] | None,
    grid: tuple[int, int],
    stride: int,
) -> Tensor:
    """Compute the weighted mean distance of predicted points to those of a map, as a share of their depth.

    Poses alone do not say where along a cell's ray its point is; points that were triangulated do. Distances
    in the world and in camera axes are added. In metres, far points would outweigh near ones, and the
    network's poses became worse.

    Args:
        config: weight and form.
        cells: n correspondences for each image, row after row of the grid.
        truth: (b,) poses in the frame of the world points.
        points: of the map, in that frame, which each image sees; NaN for none.
        intrinsics: for the pixels of the cells.
        inside: 1 for cells inside the image, 0 for cells that do not count; None if all count.
        grid: rows and columns of the cells.
        stride: side of a cell in pixels.

    Returns:
        0 if no point projects to a cell that counts.
    """
    rows, columns = grid
    in_camera = truth.inverse().apply(points)
    steps = torch.floor(project(in_camera, intrinsics, nearest=config.nearest) / stride)
    column, row = steps.nan_to_num(-1.0).clamp(-1, max(grid)).long().unbind(-1)
    hits = (
        (in_camera[..., 2] > config.nearest) & (column >= 0) & (column < columns) & (row >= 0) & (row < rows)
    )
    cell = torch.where(hits, row * columns + column, 0)
    if inside is not None:
        hits = hits & (inside.gather(1, cell) > 0)
    depth = torch.where(hits, in_camera[..., 2], 1.0)
    error = torch.zeros_like(depth)
    for predicted, true in ((cells.world, points), (cells.camera, in_camera)):
        offsets = predicted.gather(1, cell.unsqueeze(-1).expand(-1, -1, 3)) - true
        # Where there is no point, a NaN would be one in the gradient too.
        distance_to_point = torch.linalg.vector_norm(torch.where(hits.unsqueeze(-1), offsets, 1.0), dim=-1)
        error = error + distance_to_point / depth
    return config.map * _mean(error, hits.to(error.dtype))


def _clamped(error: Float[Tensor, "b n"], config: GeometryLossConfig, bound: float) -> Float[Tensor, "b n"]:
    return bound * torch.tanh(error / bound) if config.form == "clamped" else error


def _mean(values: Float[Tensor, "*n"], weight: Float[Tensor, "*n"]) -> Tensor:
    return (values * weight).sum() / weight.sum().clamp_min(1.0)


# --- 3. Orientation representations -------------------------------------------------------------------------


def values_from_rotation(form: OrientationForm, rotation: Float[Tensor, "b 3 3"]) -> Float[Tensor, "b k"]:
    """Convert rotation matrices to the numbers that a regressor should output; quaternions have w >= 0."""
    match form:
        case "quaternion" | "4d_norm":
            quaternion_wxyz: Tensor = quaternion_wxyz_from_rotation(rotation)
            return quaternion_wxyz
        case "6d":
            return rotation[..., :2].mT.flatten(-2)
        case "9d":
            return rotation.mT.flatten(-2)
        case "log_quaternion":
            vector = _rotvec(rotation)
            return 0.5 * vector


def comparable_values(form: OrientationForm, values: Float[Tensor, "b k"]) -> Float[Tensor, "b n"]:
    """Convert a regressor's numbers to the values of the loss: unit quaternions, matrices or logarithms."""
    match form:
        case "quaternion":
            return F.normalize(values, dim=-1)
        case "4d_norm" | "6d" | "9d":
            rotation: Tensor = rotation_from_values(form, values)
            return rotation.flatten(-2)
        case "log_quaternion":
            return values


def equivalent_values(form: OrientationForm, rotation: Float[Tensor, "b 3 3"]) -> Float[Tensor, "a b n"]:
    """Compute the comparable values of true rotations, one row for each of their a equivalents.

    q and -q are the same rotation, so a quaternion has two equivalents, and so does its logarithm: the
    rotation about the same axis in the other direction. A matrix has one. The first row has w >= 0, as
    published.
    """
    match form:
        case "quaternion":
            quaternion_wxyz = quaternion_wxyz_from_rotation(rotation)
            return torch.stack((quaternion_wxyz, -quaternion_wxyz))
        case "4d_norm" | "6d" | "9d":
            return rotation.flatten(-2).unsqueeze(0)
        case "log_quaternion":
            half = 0.5 * _rotvec(rotation)
            length = torch.linalg.vector_norm(half, dim=-1, keepdim=True)
            axis = half / length.clamp_min(torch.finfo(half.dtype).tiny)
            return torch.stack((half, half - math.pi * axis))


def _rotvec(rotation: Float[Tensor, "b 3 3"]) -> Float[Tensor, "b 3"]:
    """The rotation vectors of rotations."""
    import roma  # here, since it imports torch's compiler, and who locates has no loss

    vector: Tensor = roma.rotmat_to_rotvec(rotation)
    return vector
