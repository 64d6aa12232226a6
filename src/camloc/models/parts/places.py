"""What regressors of several places have in common: which place, its world, decoding and loss."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from camloc.core.model import Decoded, Latents, Regressor
from camloc.core.types import Batch
from camloc.errors import RecipeError
from camloc.geometry.pose import Pose
from camloc.models.parts.balance import LearnedBalance
from camloc.models.parts.orientation import orientation_size, rotation_from_values
from camloc.models.parts.regression import RegressedPose, RegressionConfig, WorldFrame
from camloc.models.parts.relative_pose import RelativePoseLoss


class PlacePose(NamedTuple):
    """The output of a regressor of several places.

    Attributes:
        position: (b, 3) camera centre in metres, in the likeliest place, relative to that place's centre.
        orientation: (b, k) orientation world_from_cam there, in the numbers of its form.
        scene_logits: (b, s) of every place.
        position_latents, orientation_latents: (b, s, d) what the pose in each place is regressed from.
    """

    position: Float[Tensor, "b 3"]
    orientation: Float[Tensor, "b k"]
    scene_logits: Float[Tensor, "b s"]
    position_latents: Float[Tensor, "b s d"]
    orientation_latents: Float[Tensor, "b s e"]


class PlaceFrames(nn.Module):
    """Where the numbers of a regressor live within the world of each place: a `WorldFrame` for every one."""

    def __init__(self, config: RegressionConfig, places: int) -> None:
        super().__init__()
        if places < 1:
            raise RecipeError(f"a model of {places} places has nothing to learn; let it be 1 or more")
        self.config = config
        size = orientation_size(config.orientation)
        self.register_buffer("center", torch.zeros(places, 3, dtype=torch.float64))
        self.register_buffer("spread", torch.ones(places, dtype=torch.float64))
        self.register_buffer("orientation", torch.zeros(places, size))

    def __len__(self) -> int:
        return int(self.get_buffer("center").shape[0])

    def observe(self, places: Sequence[Pose]) -> None:
        """Take centre, spread and mean orientation of each place from its training poses."""
        if len(places) != len(self):
            raise RecipeError(f"a model of {len(self)} places was given the poses of {len(places)}")
        for number, world_from_cam in enumerate(places):
            frame = WorldFrame(self.config.positions, self.config.orientation)
            frame.observe(world_from_cam)
            for name in ("center", "spread", "orientation"):
                self.get_buffer(name)[number] = frame.get_buffer(name)

    def forward(
        self, position: Float[Tensor, "b 3"], orientation: Float[Tensor, "b k"], scene: Int[Tensor, "b"]
    ) -> RegressedPose:
        """Poses relative to the centre of their places, from the heads' numbers."""
        spread = self.get_buffer("spread").to(position.dtype)[scene]
        return RegressedPose(
            position * spread.unsqueeze(-1), orientation + self.get_buffer("orientation")[scene]
        )

    def relative(self, position: Float[Tensor, "b 3"], scene: Int[Tensor, "b"]) -> Float[Tensor, "b 3"]:
        """Metres relative to the centre of their places, from positions in their worlds."""
        return position - self.get_buffer("center").to(position.device)[scene]

    def decode(self, pose: RegressedPose, scene: Int[Tensor, "b"]) -> Pose:
        """Poses in the worlds of their places, double precision."""
        position = pose.position.double() + self.get_buffer("center")[scene]
        rotation = rotation_from_values(self.config.orientation, pose.orientation.double())
        return Pose(rotation, position)


class PlaceRegressor(Regressor[PlacePose]):
    """A regressor of several places: a subclass is its network, `describe`, `scene_logits` and `regress_in`.

    A picture's latents are told for every place, and which place it is by all of them; the heads see those of
    the likeliest place alone, so that what they cost does not grow with the places. The loss asks the heads
    about the true place. Parameters whose name ends in `_of_place` have a row for every place.

    Args:
        config: how the pose is regressed.
        scenes: number of places.
    """

    def __init__(self, config: RegressionConfig, scenes: int) -> None:
        super().__init__()
        self.world = PlaceFrames(config, scenes)
        relative = None
        if config.relative is not None:
            relative = RelativePoseLoss(config.relative, config.orientation)
        self.balance = LearnedBalance(config.balance, config.orientation, relative=relative)

    @abstractmethod
    def describe(self, maps: list[Float[Tensor, "b _ _ _"]]) -> Latents:
        """The latent vectors of pictures, (b, s, d) and (b, s, e): what they would be in each place."""

    @abstractmethod
    def scene_logits(self, latents: Latents) -> Float[Tensor, "b s"]:
        """How likely each place is, from the latents of all."""

    @abstractmethod
    def regress_in(self, latents: Latents, scene: Int[Tensor, "b"]) -> RegressedPose:
        """The poses that latent vectors (b, d) and (b, e) stand for, in the places that they are of."""

    def regress(self, latents: Latents) -> PlacePose:
        """The pose in the likeliest place."""
        logits = self.scene_logits(latents)
        scene = logits.argmax(-1)
        pose = self.regress_in(latents_in(latents, scene), scene)
        return PlacePose(*pose, logits, *latents)

    def pose_in(self, latents: Latents, scene: Int[Tensor, "b"]) -> Pose:
        """The poses that latent vectors (b, d) and (b, e) stand for, in the places that they are of."""
        return self.world.decode(self.regress_in(latents, scene), scene)

    def decode(self, output: PlacePose, *, intrinsics: Float[Tensor, "b 3 3"] | None = None) -> Decoded:
        """Poses in the likeliest places; intrinsics are not needed."""
        del intrinsics
        probability, scene = output.scene_logits.double().softmax(-1).max(-1)
        pose = self.world.decode(RegressedPose(output.position, output.orientation), scene)
        return Decoded(pose, scene, probability)

    def losses(self, output: PlacePose, batch: Batch) -> dict[str, Tensor]:
        """Position and orientation in the true places, with learned balance; and which places these are."""
        latents = Latents(output.position_latents, output.orientation_latents)
        pose = self.regress_in(latents_in(latents, batch.scene), batch.scene)
        truth = self.world.relative(batch.world_from_cam.translation, batch.scene).to(pose.position.dtype)
        terms: dict[str, Tensor] = self.balance(pose.position, pose.orientation, truth, batch)
        return terms | {"scene": F.cross_entropy(output.scene_logits, batch.scene)}

    def observe(self, world_from_cam: Pose) -> None:
        """Note the centre and spread of the training positions of the one place there is."""
        self.observe_places([world_from_cam])

    def observe_places(self, places: Sequence[Pose]) -> None:
        """Note the centre and spread of the training positions of each place."""
        self.world.observe(places)


def latents_in(latents: Latents, scene: Int[Tensor, "b"]) -> Latents:
    """The latents (b, d) and (b, e) of one place for each picture, of those of all places."""

    def picked(values: Tensor) -> Tensor:
        rows = scene.view(-1, 1, 1).expand(-1, 1, values.shape[-1])
        return values.gather(1, rows).squeeze(1)

    return Latents(picked(latents.position), picked(latents.orientation))
