"""Shared by regressors of one scene: settings, output, world frame, decoding, loss and a regression head."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from camloc.data.batch import Batch
from camloc.geometry.pose import Pose
from camloc.geometry.pose_search import camera_radius, mean_pose
from camloc.models.base import Regressor
from camloc.models.decoding import OrientationForm, PoseDecoding, RegressedPose, orientation_size
from camloc.models.layers.transformer import Activation, activation_layer
from camloc.models.losses import (
    PoseLossConfig,
    RelativePoseLoss,
    UncertaintyWeightedPoseLoss,
    values_from_rotation,
)

Positions = Literal["raw", "standardised"]


@dataclass(frozen=True)
class RegressionConfig:
    """How a pose is regressed, independently of the network in front.

    Attributes:
        positions: "raw" regresses world coordinates (as published), "standardised" coordinates relative to
            the training cameras; see `WorldFrame`.
        orientation: representation of the orientation.
        pose_loss: the loss of single poses.
        relative: the loss of differences between the frames of a window, with learned weights of its own;
            None for none. The recipe's `window` chooses the frames.
    """

    positions: Positions = "raw"
    orientation: OrientationForm = "quaternion"
    pose_loss: PoseLossConfig = PoseLossConfig()
    relative: PoseLossConfig | None = None

    @property
    def orientation_size(self) -> int:
        """How many numbers an orientation head outputs."""
        return orientation_size(self.orientation)

    def build_loss(self) -> UncertaintyWeightedPoseLoss:
        """Build the loss with its learned weights at their initial values."""
        relative = None if self.relative is None else RelativePoseLoss(self.relative, self.orientation)
        return UncertaintyWeightedPoseLoss(self.pose_loss, self.orientation, relative=relative)


class WorldFrame(nn.Module):
    """The frame and units of a regressor's numbers, relative to the data set's world.

    The papers regress world coordinates and quaternions directly ("raw"). "standardised" regresses offsets
    from the mean training position, in units of the camera radius, and offsets from the mean training
    orientation's numbers. Training then starts at the mean pose, and single precision is sufficient for
    worlds whose coordinates have six digits before the decimal point.
    """

    def __init__(self, positions: Positions, form: OrientationForm = "quaternion") -> None:
        super().__init__()
        self.positions = positions
        self.form: OrientationForm = form
        self.register_buffer("center", torch.zeros(3, dtype=torch.float64))
        self.register_buffer("camera_radius", torch.ones((), dtype=torch.float64))
        self.register_buffer("orientation", torch.zeros(orientation_size(form)))

    def observe(self, world_from_cam: Pose) -> None:
        """Record centre, camera radius and mean orientation of the training poses, if standardised."""
        if self.positions == "raw":
            return
        centers = world_from_cam.translation.double()
        self.get_buffer("center").copy_(centers.mean(0))
        radius = camera_radius(Pose(world_from_cam.rotation, centers))
        self.get_buffer("camera_radius").copy_(radius.clamp_min(1e-6))
        mean = mean_pose(world_from_cam).rotation
        self.get_buffer("orientation").copy_(values_from_rotation(self.form, mean.unsqueeze(0))[0])

    def forward(self, position: Float[Tensor, "b 3"], orientation: Float[Tensor, "b k"]) -> RegressedPose:
        """Scale and shift the heads' numbers to the regressor's output."""
        return RegressedPose(
            position * self.get_buffer("camera_radius").to(position.dtype),
            orientation + self.get_buffer("orientation"),
        )

    def relative(self, position: Float[Tensor, "b 3"]) -> Float[Tensor, "b 3"]:
        """Subtract the centre from world positions."""
        return position - self.get_buffer("center").to(position.device)

    @property
    def decoding(self) -> PoseDecoding:
        """The decoding of the output into poses, which makes proper rotations of its orientations."""
        return PoseDecoding(self.get_buffer("center")[None], self.form)


class SingleSceneRegressor(Regressor[RegressedPose]):
    """A regressor of one scene; a subclass implements `describe` and `regress`.

    `regress` must end with `self.world(position, orientation)`.
    """

    def __init__(self, config: RegressionConfig) -> None:
        super().__init__()
        self.world = WorldFrame(config.positions, config.orientation)
        self.pose_loss = config.build_loss()

    @property
    def decoding(self) -> PoseDecoding:
        """The decoding of the output into poses."""
        return self.world.decoding

    def losses(self, output: RegressedPose, batch: Batch) -> dict[str, Tensor]:
        """Compute the uncertainty-weighted terms of single poses and, if configured, of pairs of frames."""
        return regression_losses(self.pose_loss, self.world, output, batch)

    def observe(self, world_from_cam: Pose) -> None:
        """Record the training poses' statistics that `WorldFrame` needs."""
        self.world.observe(world_from_cam)


def regression_losses(
    pose_loss: UncertaintyWeightedPoseLoss, world: WorldFrame, output: RegressedPose, batch: Batch
) -> dict[str, Tensor]:
    """Compute the loss terms of a regressor's output, in metres relative to the world frame's centre."""
    truth = world.relative(batch.world_from_cam.translation).to(output.position.dtype)
    return pose_loss(output.position, output.orientation, truth, batch)  # type: ignore[no-any-return]


class RegressionHead(nn.Module):
    """Two linear layers, the first of which may read a prior beside the latent vector.

    The prior's weights start at zero, so that the head starts as one without a prior. Together with the
    latent vector's weights they form one linear layer on both vectors.

    Source: TransPoseNet (2021) section 3.1, "MLP Head", and section 4, "Training", for the prior.
    """

    def __init__(
        self, inputs: int, outputs: int, *, hidden: int, activation: Activation = "gelu", prior: int = 0
    ) -> None:
        """`prior`: size of the prior; 0 for none."""
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
        """Compute the numbers of half a pose; a head without a prior ignores `prior`."""
        hidden = self.hidden(latent)
        if self.prior is not None and prior is not None:
            hidden = hidden + self.prior(prior)
        return self.output(self.activation(hidden))  # type: ignore[no-any-return]
