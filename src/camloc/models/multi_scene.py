"""What regressors of several scenes have in common: which scene, its world, decoding and loss."""

from abc import abstractmethod
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from camloc.data.batch import Batch
from camloc.errors import RecipeError
from camloc.geometry.pose import Pose
from camloc.models.base import Decoded, Latents, Regressor
from camloc.models.layers.rotation_output import orientation_size, rotation_from_values
from camloc.models.layers.transformer import Decoder, Encoder, PositionCodes, TransformerConfig
from camloc.models.losses import RelativePoseLoss, UncertaintyWeightedPoseLoss
from camloc.models.regressor import RegressedPose, RegressionConfig, RegressionHead, WorldFrame


class ScenePose(NamedTuple):
    """The output of a regressor of several scenes.

    Attributes:
        position: (b, 3) camera centre in metres, in the likeliest scene, relative to that scene's centre.
        orientation: (b, k) orientation world_from_cam there, in the numbers of its form.
        scene_logits: (b, s) of every scene.
        position_latents, orientation_latents: (b, s, d) what the pose in each scene is regressed from.
    """

    position: Float[Tensor, "b 3"]
    orientation: Float[Tensor, "b k"]
    scene_logits: Float[Tensor, "b s"]
    position_latents: Float[Tensor, "b s d"]
    orientation_latents: Float[Tensor, "b s e"]


class SceneFrames(nn.Module):
    """Where the numbers of a regressor live within the world of each scene: a `WorldFrame` for every one."""

    def __init__(self, config: RegressionConfig, scenes: int) -> None:
        super().__init__()
        if scenes < 1:
            raise RecipeError(f"a model of {scenes} scenes has nothing to learn; let it be 1 or more")
        self.config = config
        size = orientation_size(config.orientation)
        self.register_buffer("center", torch.zeros(scenes, 3, dtype=torch.float64))
        self.register_buffer("spread", torch.ones(scenes, dtype=torch.float64))
        self.register_buffer("orientation", torch.zeros(scenes, size))

    def __len__(self) -> int:
        return int(self.get_buffer("center").shape[0])

    def observe(self, scenes: Sequence[Pose]) -> None:
        """Take centre, spread and mean orientation of each scene from its training poses."""
        if len(scenes) != len(self):
            raise RecipeError(f"a model of {len(self)} scenes was given the poses of {len(scenes)}")
        for number, world_from_cam in enumerate(scenes):
            frame = WorldFrame(self.config.positions, self.config.orientation)
            frame.observe(world_from_cam)
            for name in ("center", "spread", "orientation"):
                self.get_buffer(name)[number] = frame.get_buffer(name)

    def forward(
        self, position: Float[Tensor, "b 3"], orientation: Float[Tensor, "b k"], scene: Int[Tensor, "b"]
    ) -> RegressedPose:
        """Poses relative to the centre of their scenes, from the heads' numbers."""
        spread = self.get_buffer("spread").to(position.dtype)[scene]
        return RegressedPose(
            position * spread.unsqueeze(-1), orientation + self.get_buffer("orientation")[scene]
        )

    def relative(self, position: Float[Tensor, "b 3"], scene: Int[Tensor, "b"]) -> Float[Tensor, "b 3"]:
        """Metres relative to the centre of their scenes, from positions in their worlds."""
        return position - self.get_buffer("center").to(position.device)[scene]

    def decode(self, pose: RegressedPose, scene: Int[Tensor, "b"]) -> Pose:
        """Poses in the worlds of their scenes, double precision."""
        position = pose.position.double() + self.get_buffer("center")[scene]
        rotation = rotation_from_values(self.config.orientation, pose.orientation.double())
        return Pose(rotation, position)


class MultiSceneRegressor(Regressor[ScenePose]):
    """A regressor of several scenes: a subclass is its network, `describe`, `scene_logits` and `regress_in`.

    An image's latents are told for every scene, and which scene it is by all of them; the heads see those of
    the likeliest scene alone, so that what they cost does not grow with the scenes. The loss asks the heads
    about the true scene. Parameters whose name ends in `_of_scene` have a row for every scene.

    Args:
        config: how the pose is regressed.
        scenes: number of scenes.
    """

    def __init__(self, config: RegressionConfig, scenes: int) -> None:
        super().__init__()
        self.world = SceneFrames(config, scenes)
        relative = None
        if config.relative is not None:
            relative = RelativePoseLoss(config.relative, config.orientation)
        self.balance = UncertaintyWeightedPoseLoss(config.balance, config.orientation, relative=relative)

    @abstractmethod
    def describe(self, maps: list[Float[Tensor, "b _ _ _"]]) -> Latents:
        """The latent vectors of images, (b, s, d) and (b, s, e): what they would be in each scene."""

    @abstractmethod
    def scene_logits(self, latents: Latents) -> Float[Tensor, "b s"]:
        """How likely each scene is, from the latents of all."""

    @abstractmethod
    def regress_in(self, latents: Latents, scene: Int[Tensor, "b"]) -> RegressedPose:
        """The poses that latent vectors (b, d) and (b, e) stand for, in the scenes that they are of."""

    def regress(self, latents: Latents) -> ScenePose:
        """The pose in the likeliest scene."""
        logits = self.scene_logits(latents)
        scene = logits.argmax(-1)
        pose = self.regress_in(latents_in(latents, scene), scene)
        return ScenePose(*pose, logits, *latents)

    def pose_in(self, latents: Latents, scene: Int[Tensor, "b"]) -> Pose:
        """The poses that latent vectors (b, d) and (b, e) stand for, in the scenes that they are of."""
        return self.world.decode(self.regress_in(latents, scene), scene)

    def decode(self, output: ScenePose, *, intrinsics: Float[Tensor, "b 3 3"] | None = None) -> Decoded:
        """Poses in the likeliest scenes; intrinsics are not needed."""
        del intrinsics
        probability, scene = output.scene_logits.double().softmax(-1).max(-1)
        pose = self.world.decode(RegressedPose(output.position, output.orientation), scene)
        return Decoded(pose, scene, probability)

    def losses(self, output: ScenePose, batch: Batch) -> dict[str, Tensor]:
        """Position and orientation in the true scenes, with learned balance; and which scenes these are."""
        latents = Latents(output.position_latents, output.orientation_latents)
        pose = self.regress_in(latents_in(latents, batch.scene), batch.scene)
        truth = self.world.relative(batch.world_from_cam.translation, batch.scene).to(pose.position.dtype)
        terms: dict[str, Tensor] = self.balance(pose.position, pose.orientation, truth, batch)
        return terms | {"scene": F.cross_entropy(output.scene_logits, batch.scene)}

    def observe(self, world_from_cam: Pose) -> None:
        """Note the centre and spread of the training positions of the one scene there is."""
        self.observe_scenes([world_from_cam])

    def observe_scenes(self, scenes: Sequence[Pose]) -> None:
        """Note the centre and spread of the training positions of each scene."""
        self.world.observe(scenes)


def latents_in(latents: Latents, scene: Int[Tensor, "b"]) -> Latents:
    """The latents (b, d) and (b, e) of one scene for each image, of those of all scenes."""

    def picked(values: Tensor) -> Tensor:
        rows = scene.view(-1, 1, 1).expand(-1, 1, values.shape[-1])
        return values.gather(1, rows).squeeze(1)

    return Latents(picked(latents.position), picked(latents.orientation))


def group_sizes(scenes: int, groups: tuple[int, ...]) -> tuple[int, ...]:
    """How many scenes each group has; all are in one where `groups` is empty.

    Raises:
        RecipeError: the groups are not of so many scenes.
    """
    sizes = groups or (scenes,)
    if sum(sizes) != scenes or min(sizes) < 1:
        raise RecipeError(
            f"groups of {', '.join(map(str, sizes))} scenes cannot be those of a model of {scenes}; let each "
            f"have 1 or more and their sum be {scenes}"
        )
    return sizes


def _later_ranges(sizes: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    """The first place of each group but the first one, and the scene behind its last."""
    return tuple(pairwise(accumulate(sizes)))


class LaterHeads(nn.Module):
    """What groups that joined later add to the numbers of half a pose: a head for each such group."""

    def __init__(self, sizes: tuple[int, ...], inputs: int, outputs: int, *, hidden: int) -> None:
        super().__init__()
        self.ranges = _later_ranges(sizes)
        self.of_group = nn.ModuleList(RegressionHead(inputs, outputs, hidden=hidden) for _ in self.ranges)
        for head in self.of_group:
            assert isinstance(head, RegressionHead)
            nn.init.zeros_(head.output.weight)
            nn.init.zeros_(head.output.bias)

    def forward(
        self, values: Float[Tensor, "b k"], latent: Float[Tensor, "b d"], scene: Int[Tensor, "b"]
    ) -> Float[Tensor, "b k"]:
        """The numbers with what is added in the scenes `scene`; those of the first group as they are."""
        for (first, end), head in zip(self.ranges, self.of_group, strict=True):
            joined = ((scene >= first) & (scene < end)).unsqueeze(-1)
            values = torch.where(joined, values + head(latent), values)
        return values


class LaterLogits(nn.Module):
    """What groups that joined later add to how likely their scenes are: a linear layer for each."""

    def __init__(self, sizes: tuple[int, ...], inputs: int) -> None:
        super().__init__()
        self.ranges = _later_ranges(sizes)
        self.of_group = nn.ModuleList(nn.Linear(inputs, 1) for _ in self.ranges)
        for linear in self.of_group:
            assert isinstance(linear, nn.Linear)
            nn.init.zeros_(linear.weight)
            nn.init.zeros_(linear.bias)

    def forward(self, logits: Float[Tensor, "b s"], answers: Float[Tensor, "b s d"]) -> Float[Tensor, "b s"]:
        """The logits of all scenes with what is added to those of later groups."""
        if not self.ranges:
            return logits
        parts = [logits[:, : self.ranges[0][0]]]
        for (first, end), linear in zip(self.ranges, self.of_group, strict=True):
            parts.append(logits[:, first:end] + linear(answers[:, first:end]).squeeze(-1))
        return torch.cat(parts, dim=1)


Heads = Literal["shared", "own"]


def scene_heads(
    kind: Heads, inputs: int, outputs: int, *, hidden: int, scenes: int
) -> "SharedHead | OwnHeads":
    """The heads of one half of the pose."""
    if kind == "own":
        return OwnHeads(inputs, outputs, hidden=hidden, scenes=scenes)
    return SharedHead(inputs, outputs, hidden=hidden)


class SharedHead(nn.Module):
    """One head, whatever the scene."""

    def __init__(self, inputs: int, outputs: int, *, hidden: int) -> None:
        super().__init__()
        self.head = RegressionHead(inputs, outputs, hidden=hidden)

    def forward(self, latent: Float[Tensor, "b d"], scene: Int[Tensor, "b"]) -> Float[Tensor, "b k"]:
        """The numbers of half a pose."""
        del scene
        return self.head(latent)  # type: ignore[no-any-return]


class OwnHeads(nn.Module):
    """A head for each scene; images of different scenes pass through theirs together."""

    def __init__(self, inputs: int, outputs: int, *, hidden: int, scenes: int) -> None:
        super().__init__()
        heads = [RegressionHead(inputs, outputs, hidden=hidden) for _ in range(scenes)]
        self.hidden_of_scene = nn.Parameter(torch.stack([head.hidden.weight.detach().mT for head in heads]))
        self.hidden_bias_of_scene = nn.Parameter(torch.stack([head.hidden.bias.detach() for head in heads]))
        self.output_of_scene = nn.Parameter(torch.stack([head.output.weight.detach().mT for head in heads]))
        self.output_bias_of_scene = nn.Parameter(torch.stack([head.output.bias.detach() for head in heads]))
        self.activation = heads[0].activation

    def forward(self, latent: Float[Tensor, "b d"], scene: Int[Tensor, "b"]) -> Float[Tensor, "b k"]:
        """The numbers of half a pose, each by its scene's head."""
        hidden = torch.baddbmm(
            self.hidden_bias_of_scene[scene].unsqueeze(1), latent.unsqueeze(1), self.hidden_of_scene[scene]
        )
        output = torch.baddbmm(
            self.output_bias_of_scene[scene].unsqueeze(1),
            self.activation(hidden),
            self.output_of_scene[scene],
        )
        return output.squeeze(1)


class SceneTransformer(nn.Module):
    """The cells of a map through an encoder, and a query for each scene, which asks a decoder about them.

    Args:
        channels: of the map.
        config: of encoder and decoder alike.
        groups: how many scenes are in each group; the queries of a group ask each other and no others.
        codes: of its own, or None where it is called with codes that several maps share.

    Source: MS-Transformer (Shavit, Ferens and Keller 2021), section 3.
    """

    def __init__(
        self,
        channels: int,
        config: TransformerConfig,
        *,
        groups: tuple[int, ...],
        codes: PositionCodes | None = None,
    ) -> None:
        super().__init__()
        self.projection = nn.Linear(channels, config.width)  # the paper's 1 x 1 convolution
        self.encoder = Encoder(config)
        self.query_of_scene = nn.Parameter(torch.randn(sum(groups), config.width))
        self.groups = groups
        self.decoder = Decoder(config)
        self.codes = codes

    def forward(
        self, maps: Float[Tensor, "b c h w"], shared_codes: PositionCodes | None = None
    ) -> Float[Tensor, "b s d"]:
        """What the map says on each scene's behalf."""
        codes = self.codes if shared_codes is None else shared_codes
        assert codes is not None, "a Transformer without codes of its own is called with shared ones"
        positions = codes(maps.shape[-2], maps.shape[-1])
        memory = self.encoder(self.projection(maps.flatten(2).mT), positions)
        parts = [
            self.decoder(queries, memory, positions) for queries in self.query_of_scene.split(self.groups)
        ]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
