"""Where a photograph was taken, seen from a reference camera: relative pose regressors.

The reference is another picture (a Siamese network, as published), the encoding of a pose, or that beside the
latents that an absolute pose regressor has of the photograph anyway.

Source: "Camera Pose Auto-Encoders" (ECCV 2022), sections 3.3 and 3.4; from encodings, as its code has it.
"""

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from camloc.core.model import Latents
from camloc.geometry.pose import Pose
from camloc.geometry.relative import motion_of_step, reference_from_query, world_step
from camloc.geometry.rotation import rotation_from_quaternion_wxyz
from camloc.models.parts.backbone import Backbone, BackboneConfig

Sees = Literal["pictures", "encoding", "latents"]
Axes = Literal["reference", "world"]


class RelativePose(NamedTuple):
    """What a relative pose regressor says.

    Attributes:
        step: (b, 3) metres from the reference camera's centre to the photograph's, in the axes that the
            settings say.
        quaternion_wxyz: (b, 4) rotation of `reference_from_query`, of any length.
    """

    step: Float[Tensor, "b 3"]
    quaternion_wxyz: Float[Tensor, "b 4"]


@dataclass(frozen=True)
class RelativePoseConfig:
    """Settings of `RelativePoseRegressor`.

    Attributes:
        sees: "pictures": the photograph and a picture of the reference, through one CNN, as published.
            "encoding": the photograph through a CNN, and the reference's encoding. "latents": the teacher's
            latents of the photograph, and the reference's encoding, without a CNN of its own.
        backbone: the CNN.
        grid: (rows, columns) that its last map is averaged to; (1, 1) is the published global average.
        latent: size of the two layers before the answers.
        dropout: rate before the answers.
        axes: of the step: the "reference" camera's, or the "world"'s as in the paper's code.
    """

    sees: Sees = "pictures"
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    grid: tuple[int, int] = (1, 1)
    latent: int = 256
    dropout: float = 0.1
    axes: Axes = "reference"


class RelativePoseRegressor(nn.Module):
    """A network that regresses `reference_from_query`."""

    def __init__(self, config: RelativePoseConfig, *, latents: tuple[int, int]) -> None:
        """A network with fresh weights.

        Args:
            config: its settings.
            latents: sizes of the teacher's position and orientation latents.
        """
        super().__init__()
        self.config = config
        self.backbone = None if config.sees == "latents" else Backbone(config.backbone)
        cells = config.grid[0] * config.grid[1]
        features = 0 if self.backbone is None else self.backbone.channels[-1] * cells
        for half, size in zip(Latents._fields, latents, strict=True):
            setattr(self, half, self._half(features, size, outputs=3 if half == "position" else 4))
        self.register_buffer("scale", torch.ones(()))

    def _half(self, features: int, latent: int, *, outputs: int) -> nn.Module:
        """The layers of one half of the answer."""
        sees, width = self.config.sees, self.config.latent
        if sees == "pictures":
            joined: nn.Module = _Joined(nn.Identity(), nn.Identity(), 2 * features, width)
        else:
            query = nn.Sequential(nn.Linear(latent if sees == "latents" else features, width), nn.ReLU())
            joined = _Joined(query, nn.Sequential(nn.Linear(latent, width), nn.ReLU()), 2 * width, width)
        return nn.ModuleDict(
            {
                "joined": joined,
                "answer": nn.Sequential(nn.Dropout(self.config.dropout), nn.Linear(width, outputs)),
            }
        )

    def observe(self, world_from_reference: Pose, world_from_query: Pose) -> None:
        """Note how large steps are in training."""
        away = world_from_query.translation - world_from_reference.translation
        self.get_buffer("scale").copy_(away.square().sum(-1).mean().sqrt().clamp_min(1e-6))

    def seen(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d"]:
        """What the CNN sees in pictures in [0, 1]."""
        assert self.backbone is not None, "without a CNN no pictures are looked at"
        maps = self.backbone(images)[-1]
        return F.adaptive_avg_pool2d(maps, self.config.grid).flatten(1)

    def forward(
        self,
        query: Float[Tensor, "b 3 h w"] | Latents,
        reference: Float[Tensor, "b 3 h w"] | Latents,
    ) -> RelativePose:
        """What is seen of (b,) photographs from (b,) references.

        Args:
            query: pictures, or the teacher's latents where these are what it sees.
            reference: pictures of the same size, or encodings where these are what it sees.
        """
        ours = query if isinstance(query, tuple) else Latents(*[self.seen(query)] * 2)
        theirs = reference if isinstance(reference, tuple) else Latents(*[self.seen(reference)] * 2)
        step, turn = (
            _answered(getattr(self, half), one, other)
            for half, one, other in zip(Latents._fields, ours, theirs, strict=True)
        )
        # What looks the same has not turned.
        ahead = turn.new_tensor([1.0, 0.0, 0.0, 0.0])
        return RelativePose(step * self.get_buffer("scale"), turn + ahead)

    def motion(self, output: RelativePose, world_from_reference: Pose) -> Pose:
        """`reference_from_query` of what the network says, in its precision."""
        rotation = rotation_from_quaternion_wxyz(output.quaternion_wxyz)
        if self.config.axes == "reference":
            return Pose(rotation, output.step)
        world = world_from_reference.to(output.step.device).to(output.step.dtype)
        return motion_of_step(world, output.step, rotation)

    def truth(self, world_from_reference: Pose, world_from_query: Pose) -> RelativePose:
        """What the network should say, with a unit quaternion."""
        motion = reference_from_query(world_from_reference, world_from_query)
        step = (
            motion.translation
            if self.config.axes == "reference"
            else world_step(world_from_reference, motion)
        )
        return RelativePose(step, motion.quaternion_wxyz())

    def parameter_count(self) -> int:
        """Number of learned values."""
        return sum(parameter.numel() for parameter in self.parameters())


class _Joined(nn.Module):
    """A layer over two vectors, each after layers of its own."""

    def __init__(self, query: nn.Module, reference: nn.Module, inputs: int, outputs: int) -> None:
        super().__init__()
        self.query, self.reference = query, reference
        self.layer = nn.Linear(inputs, outputs)

    def forward(self, query: Float[Tensor, "b d"], reference: Float[Tensor, "b e"]) -> Float[Tensor, "b n"]:
        """ReLU of the layer."""
        both = torch.cat((self.query(query), self.reference(reference)), dim=-1)
        return F.relu(self.layer(both))


def _answered(half: nn.Module, query: Tensor, reference: Tensor) -> Tensor:
    assert isinstance(half, nn.ModuleDict)
    answer: Tensor = half["answer"](half["joined"](query, reference))
    return answer
