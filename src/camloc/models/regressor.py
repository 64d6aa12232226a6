"""What regressors of one scene have in common: the form of their output, its frame, decoding and loss."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from camloc.data.batch import Batch
from camloc.geometry.pose import Pose
from camloc.geometry.pose_search import mean_pose
from camloc.models.base import Decoded, Regressor, single_scene
from camloc.models.layers.rotation_output import (
    OrientationForm,
    orientation_size,
    rotation_from_values,
    values_from_rotation,
)
from camloc.models.layers.transformer import Activation, activation_layer
from camloc.models.losses import PoseLossConfig, RelativePoseLoss, UncertaintyWeightedPoseLoss

Positions = Literal["raw", "standardised"]


class RegressedPose(NamedTuple):
    """A regressor's output.

    Attributes:
        position: (b, 3) camera centre in metres, relative to the centre of `WorldFrame`.
        orientation: (b, k) orientation world_from_cam in the numbers of its form: for quaternions four,
            w first, of any length.
    """

    position: Float[Tensor, "b 3"]
    orientation: Float[Tensor, "b k"]


@dataclass(frozen=True)
class RegressionConfig:
    """How a pose is regressed, whatever the network in front.

    Attributes:
        positions: regress world coordinates as they are (published) or standardised ones.
        orientation: the numbers that stand for an orientation.
        balance: the loss and its initial weights.
        relative: the loss of the way between the frames of a window, with initial weights of its own; None
            for none. The recipe's window says which frames these are.
    """

    positions: Positions = "raw"
    orientation: OrientationForm = "quaternion"
    balance: PoseLossConfig = PoseLossConfig()
    relative: PoseLossConfig | None = None

    @property
    def orientation_size(self) -> int:
        """How many numbers an orientation head gives."""
        return orientation_size(self.orientation)


class WorldFrame(nn.Module):
    """Where the numbers of a regressor live within the world of the data set.

    The papers regress world coordinates and quaternions as they are (`raw`). `standardised`
    regresses offsets from the mean training position in units of the training positions' spread, and
    offsets from the mean training orientation's numbers, which starts training where the answers are, and
    keeps single precision enough for worlds whose coordinates have six digits before the point.
    """

    def __init__(self, positions: Positions, form: OrientationForm = "quaternion") -> None:
        super().__init__()
        self.positions = positions
        self.form: OrientationForm = form
        self.register_buffer("center", torch.zeros(3, dtype=torch.float64))
        self.register_buffer("spread", torch.ones((), dtype=torch.float64))
        self.register_buffer("orientation", torch.zeros(orientation_size(form)))

    def observe(self, world_from_cam: Pose) -> None:
        """Take centre, spread and mean orientation from the training poses, if standardised."""
        if self.positions == "raw":
            return
        centers = world_from_cam.translation.double()
        self.get_buffer("center").copy_(centers.mean(0))
        spread = (centers - centers.mean(0)).square().sum(-1).mean().sqrt()
        self.get_buffer("spread").copy_(spread.clamp_min(1e-6))
        mean = mean_pose(world_from_cam).rotation
        self.get_buffer("orientation").copy_(values_from_rotation(self.form, mean.unsqueeze(0))[0])

    def forward(self, position: Float[Tensor, "b 3"], orientation: Float[Tensor, "b k"]) -> RegressedPose:
        """A regressor's output, from its heads' numbers."""
        return RegressedPose(
            position * self.get_buffer("spread").to(position.dtype),
            orientation + self.get_buffer("orientation"),
        )

    def relative(self, position: Float[Tensor, "b 3"]) -> Float[Tensor, "b 3"]:
        """Metres relative to the centre, from world positions."""
        return position - self.get_buffer("center").to(position.device)

    def decode(self, output: RegressedPose) -> Decoded:
        """Poses from a regressor's output: its numbers become proper rotations here."""
        position = output.position.double() + self.get_buffer("center")
        return single_scene(Pose(rotation_from_values(self.form, output.orientation.double()), position))


class SingleSceneRegressor(Regressor[RegressedPose]):
    """A regressor of one scene: a subclass is its network, `describe` and `regress`.

    `regress` ends with `self.world(position, orientation)`.
    """

    def __init__(self, config: RegressionConfig) -> None:
        super().__init__()
        self.world = WorldFrame(config.positions, config.orientation)
        relative = None
        if config.relative is not None:
            relative = RelativePoseLoss(config.relative, config.orientation)
        self.balance = UncertaintyWeightedPoseLoss(config.balance, config.orientation, relative=relative)

    def decode(self, output: RegressedPose, *, intrinsics: Float[Tensor, "b 3 3"] | None = None) -> Decoded:
        """Poses; intrinsics are not needed."""
        del intrinsics
        return self.world.decode(output)

    def losses(self, output: RegressedPose, batch: Batch) -> dict[str, Tensor]:
        """Position and orientation terms with learned balance, of poses and of the way between them."""
        return regression_losses(self.balance, self.world, output, batch)

    def observe(self, world_from_cam: Pose) -> None:
        """Note the centre and spread of the training positions."""
        self.world.observe(world_from_cam)


def regression_losses(
    balance: UncertaintyWeightedPoseLoss, frame: WorldFrame, output: RegressedPose, batch: Batch
) -> dict[str, Tensor]:
    """The loss terms of a regressor's output, in metres relative to the frame's centre."""
    truth = frame.relative(batch.world_from_cam.translation).to(output.position.dtype)
    return balance(output.position, output.orientation, truth, batch)  # type: ignore[no-any-return]


class RegressionHead(nn.Module):
    """Two linear layers, the first of which may read a prior beside the latent vector.

    A prior's share of the hidden layer starts at zero: a head is then what it would be without one, until
    the prior's weights are trained. Together they are one layer that reads both vectors.

    Source: TransPoseNet (2021) section 3.1, "MLP Head", and section 4, "Training", for the prior.
    """

    def __init__(
        self, inputs: int, outputs: int, *, hidden: int, activation: Activation = "gelu", prior: int = 0
    ) -> None:
        """`prior`: size of the vector beside the latent one; 0 for none."""
        super().__init__()
        self.hidden = nn.Linear(inputs, hidden)
        self.activation = activation_layer(activation)
        self.output = nn.Linear(hidden, outputs)
        nn.init.xavier_uniform_(self.hidden.weight)
        nn.init.xavier_uniform_(self.output.weight)
        self.prior: nn.Linear | None = None
        if prior:
            self.prior = nn.Linear(prior, hidden, bias=False)
            nn.init.zeros_(self.prior.weight)

    def forward(
        self, latent: Float[Tensor, "b d"], prior: Float[Tensor, "b e"] | None = None
    ) -> Float[Tensor, "b k"]:
        """The numbers of half a pose; `prior` is read by heads that have one."""
        hidden = self.hidden(latent)
        if self.prior is not None and prior is not None:
            hidden = hidden + self.prior(prior)
        return self.output(self.activation(hidden))  # type: ignore[no-any-return]
