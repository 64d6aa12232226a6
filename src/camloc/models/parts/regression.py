"""What single-picture regressors have in common: the form of their output, its frame, its loss."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from camloc.core.model import Decoded, single_scene
from camloc.core.types import Batch
from camloc.geometry.neighbours import mean_pose
from camloc.geometry.pose import Pose

Positions = Literal["raw", "standardised"]


class RegressedPose(NamedTuple):
    """A regressor's output.

    Attributes:
        position: (b, 3) camera centre in metres, relative to the centre of `WorldFrame`.
        quaternion_wxyz: (b, 4) orientation world_from_cam, w first, of any length.
    """

    position: Float[Tensor, "b 3"]
    quaternion_wxyz: Float[Tensor, "b 4"]


class WorldFrame(nn.Module):
    """Where the numbers of a regressor live within the world of the data set.

    The papers regress world coordinates and quaternions as they are (`raw`). `standardised`
    regresses offsets from the mean training position in units of the training positions' spread, and
    offsets from the mean training quaternion, which starts training where the answers are, and keeps
    single precision enough for worlds whose coordinates have six digits before the point.
    """

    def __init__(self, positions: Positions) -> None:
        super().__init__()
        self.positions = positions
        self.register_buffer("center", torch.zeros(3, dtype=torch.float64))
        self.register_buffer("spread", torch.ones((), dtype=torch.float64))
        self.register_buffer("quaternion_wxyz", torch.zeros(4))

    def observe(self, world_from_cam: Pose) -> None:
        """Take centre, spread and mean orientation from the training poses, if standardised."""
        if self.positions == "raw":
            return
        centers = world_from_cam.translation.double()
        self.get_buffer("center").copy_(centers.mean(0))
        spread = (centers - centers.mean(0)).square().sum(-1).mean().sqrt()
        self.get_buffer("spread").copy_(spread.clamp_min(1e-6))
        self.get_buffer("quaternion_wxyz").copy_(mean_pose(world_from_cam).quaternion_wxyz())

    def forward(self, position: Float[Tensor, "b 3"], quaternion_wxyz: Float[Tensor, "b 4"]) -> RegressedPose:
        """A regressor's output, from its heads' numbers."""
        return RegressedPose(
            position * self.get_buffer("spread").to(position.dtype),
            quaternion_wxyz + self.get_buffer("quaternion_wxyz"),
        )

    def relative(self, position: Float[Tensor, "b 3"]) -> Float[Tensor, "b 3"]:
        """Metres relative to the centre, from world positions."""
        return position - self.get_buffer("center").to(position.device)

    def decode(self, output: RegressedPose) -> Decoded:
        """Poses from a regressor's output: the quaternion gets unit length here."""
        position = output.position.double() + self.get_buffer("center")
        return single_scene(Pose.from_quaternion_wxyz(output.quaternion_wxyz.double(), position))


@dataclass(frozen=True)
class BalanceConfig:
    """How a position error in metres and an orientation error of quaternions make one loss.

    Attributes:
        position: initial value of the papers' s_x; good values depend on the data set.
        orientation: initial value of the papers' s_q.
        hemisphere_safe: whether the error is taken to the nearer of q and -q, which are the same
            rotation. The published loss (False) takes q as it is labelled.
    """

    position: float = 0.0
    orientation: float = -3.0
    hemisphere_safe: bool = True


class LearnedBalance(nn.Module):
    """Loss of a pose whose two errors are weighed by learned uncertainties.

        L = L_x exp(-s_x) + s_x + L_q exp(-s_q) + s_q

    with L_x the mean distance of positions and L_q that of unit quaternions. The optimiser must not
    decay s_x and s_q: decay would pull them towards equal weights.

    Source: Kendall and Cipolla 2017; HyperPose 2023 Eq. 5, TransPoseNet Eq. 8.
    """

    def __init__(self, config: BalanceConfig) -> None:
        super().__init__()
        self.hemisphere_safe = config.hemisphere_safe
        self.position = nn.Parameter(torch.tensor(config.position))
        self.orientation = nn.Parameter(torch.tensor(config.orientation))

    def forward(
        self, output: RegressedPose, truth_position: Float[Tensor, "b 3"], batch: Batch
    ) -> dict[str, Tensor]:
        """The two terms, from positions relative to the same centre and a batch's true poses.

        Pictures whose orientation is not known count for the position alone. Where none has one, the
        term is 0 with its s_q, which would otherwise fall without end.
        """
        position = torch.linalg.vector_norm(output.position - truth_position, dim=-1).mean()
        known = batch.world_from_cam.has_orientation()
        unit = F.normalize(output.quaternion_wxyz[known], dim=-1)
        truth = batch.world_from_cam[known].quaternion_wxyz().to(unit.dtype)
        orientation = torch.linalg.vector_norm(unit - truth, dim=-1)
        if self.hemisphere_safe:
            orientation = orientation.minimum(torch.linalg.vector_norm(unit + truth, dim=-1))
        balanced = orientation * torch.exp(-self.orientation) + self.orientation
        return {
            "position": position * torch.exp(-self.position) + self.position,
            "orientation": balanced.sum() / max(1, len(balanced)),
        }


def regression_losses(
    balance: LearnedBalance, frame: WorldFrame, output: RegressedPose, batch: Batch
) -> dict[str, Tensor]:
    """The loss terms of a regressor with a `WorldFrame` and a `LearnedBalance`."""
    truth = frame.relative(batch.world_from_cam.translation).to(output.position.dtype)
    return balance(output, truth, batch)  # type: ignore[no-any-return]
