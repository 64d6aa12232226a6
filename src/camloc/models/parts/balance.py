"""How a position error in metres and an orientation error make one loss."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from camloc.core.types import Batch
from camloc.models.parts.orientation import OrientationForm, compared_truths, compared_values

Distance = Literal["euclidean", "absolute"]


@dataclass(frozen=True)
class BalanceConfig:
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


class LearnedBalance(nn.Module):
    """Loss of a pose whose two errors are weighed by learned uncertainties.

        L = L_x exp(-s_x) + s_x + L_q exp(-s_q) + s_q

    with L_x the mean distance of positions and L_q that of orientations in their form, such as unit
    quaternions. The optimiser must not decay s_x and s_q: decay would pull them towards equal weights.

    Source: Kendall and Cipolla 2017; HyperPose 2023 Eq. 6, TransPoseNet Eq. 8.
    """

    def __init__(
        self,
        config: BalanceConfig,
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

        Pictures whose orientation is not known count for the position alone. Where none has one, the
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
    config: BalanceConfig, form: OrientationForm, turned: Float[Tensor, "b n"], batch: Batch
) -> tuple[Float[Tensor, "b n"], Bool[Tensor, "b"]]:
    """What each picture's orientation should have compared as, and for which pictures that is known.

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
