"""Shared by multi-scene regressors: scene frames, scene classification, heads, decoding and loss.

Scenes are learned in groups. Usually there is one group. Scenes that are added later (`camloc extend`) form a
group of their own: their queries do not attend to those of other groups, and their heads add to the shared
heads, so that predictions in the earlier scenes stay exactly the same.
"""

from abc import abstractmethod
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from camloc.data.batch import Batch
from camloc.errors import RecipeError
from camloc.geometry.pose import Pose
from camloc.models.base import FeatureMaps, Latents, Regressor
from camloc.models.decoding import RegressedPose, ScenePose, ScenePoseDecoding, orientation_size
from camloc.models.layers.transformer import Decoder, Encoder, PositionCodes, TransformerConfig
from camloc.models.regressor import RegressionConfig, RegressionHead, WorldFrame


class WorldFrames(nn.Module):
    """The `WorldFrame` of every scene, stacked."""

    def __init__(self, config: RegressionConfig, scenes: int) -> None:
        super().__init__()
        if scenes < 1:
            raise RecipeError(f"a model of {scenes} scenes has nothing to learn; set scenes to 1 or more")
        self.config = config
        size = orientation_size(config.orientation)
        self.register_buffer("center", torch.zeros(scenes, 3, dtype=torch.float64))
        self.register_buffer("camera_radius", torch.ones(scenes, dtype=torch.float64))
        self.register_buffer("orientation", torch.zeros(scenes, size))

    def __len__(self) -> int:
        return int(self.get_buffer("center").shape[0])

    def observe(self, scenes: Sequence[Pose]) -> None:
        """Record centre, camera radius and mean orientation of each scene's training poses."""
        if len(scenes) != len(self):
            raise RecipeError(f"a model of {len(self)} scenes was given the poses of {len(scenes)}")
        for number, world_from_cam in enumerate(scenes):
            frame = WorldFrame(self.config.positions, self.config.orientation)
            frame.observe(world_from_cam)
            for name in ("center", "camera_radius", "orientation"):
                self.get_buffer(name)[number] = frame.get_buffer(name)

    def forward(
        self, position: Float[Tensor, "b 3"], orientation: Float[Tensor, "b k"], scene: Int[Tensor, "b"]
    ) -> RegressedPose:
        """Scale and shift the heads' numbers to poses relative to their scenes' centres."""
        radius = self.get_buffer("camera_radius").to(position.dtype)[scene]
        return RegressedPose(
            position * radius.unsqueeze(-1), orientation + self.get_buffer("orientation")[scene]
        )

    def relative(self, position: Float[Tensor, "b 3"], scene: Int[Tensor, "b"]) -> Float[Tensor, "b 3"]:
        """Subtract the scenes' centres from positions in the scenes' worlds."""
        return position - self.get_buffer("center").to(position.device)[scene]

    @property
    def decoding(self) -> ScenePoseDecoding:
        """The decoding of the output into poses."""
        return ScenePoseDecoding(self.get_buffer("center"), self.config.orientation)


class MultiSceneRegressor(Regressor[ScenePose]):
    """A multi-scene regressor; a subclass implements `describe`, `scene_logits` and `regress_in`.

    The network computes latents for every scene and classifies the scene from all of them. The heads read the
    latents of the most probable scene alone, so that their cost does not depend on the number of scenes. In
    training the loss evaluates the heads in the true scene. Parameters whose name ends in `_of_scene` have
    one row for each scene.

    Args:
        config: how the pose is regressed.
        scenes: number of scenes.
    """

    def __init__(self, config: RegressionConfig, scenes: int) -> None:
        super().__init__()
        self.world = WorldFrames(config, scenes)
        self.pose_loss = config.build_loss()

    @abstractmethod
    def describe(self, feature_maps: FeatureMaps) -> Latents:
        """Compute the latent vectors (b, s, d) and (b, s, e), one for each scene."""

    @abstractmethod
    def scene_logits(self, latents: Latents) -> Float[Tensor, "b s"]:
        """Compute the logits of the scenes from the latents of all scenes."""

    @abstractmethod
    def regress_in(self, latents: Latents, scene: Int[Tensor, "b"]) -> RegressedPose:
        """Compute poses from latent vectors (b, d) and (b, e), each in the given scene."""

    def regress(self, latents: Latents) -> ScenePose:
        """Compute the pose in the most probable scene."""
        logits = self.scene_logits(latents)
        scene = logits.argmax(-1)
        pose = self.regress_in(latents_in(latents, scene), scene)
        return ScenePose(*pose, logits, *latents)

    def pose_in(self, latents: Latents, scene: Int[Tensor, "b"]) -> Pose:
        """Compute poses from latent vectors (b, d) and (b, e), each in the given scene's world."""
        return self.world.decoding.in_scenes(*self.regress_in(latents, scene), scene)

    @property
    def decoding(self) -> ScenePoseDecoding:
        """The decoding of the output into poses."""
        return self.world.decoding

    def losses(self, output: ScenePose, batch: Batch) -> dict[str, Tensor]:
        """Compute the pose terms in the true scenes and the cross entropy of the scene."""
        latents = Latents(output.position_latents, output.orientation_latents)
        pose = self.regress_in(latents_in(latents, batch.scene), batch.scene)
        truth = self.world.relative(batch.world_from_cam.translation, batch.scene).to(pose.position.dtype)
        terms: dict[str, Tensor] = self.pose_loss(pose.position, pose.orientation, truth, batch)
        return terms | {"scene": F.cross_entropy(output.scene_logits, batch.scene)}

    def observe(self, world_from_cam: Pose) -> None:
        """Record the training poses' statistics for a model of one scene."""
        self.observe_scenes([world_from_cam])

    def observe_scenes(self, scenes: Sequence[Pose]) -> None:
        """Record the statistics of each scene's training poses."""
        self.world.observe(scenes)


def latents_in(latents: Latents, scene: Int[Tensor, "b"]) -> Latents:
    """Select one scene's latents (b, d) and (b, e) for each image."""

    def select(values: Tensor) -> Tensor:
        rows = scene.view(-1, 1, 1).expand(-1, 1, values.shape[-1])
        return values.gather(1, rows).squeeze(1)

    return Latents(select(latents.position), select(latents.orientation))


def group_sizes(scenes: int, groups: tuple[int, ...]) -> tuple[int, ...]:
    """The number of scenes in each group; one group of all scenes if `groups` is empty.

    Raises:
        RecipeError: the groups do not add up to `scenes`, or one of them is empty.
    """
    sizes = groups or (scenes,)
    if sum(sizes) != scenes or min(sizes) < 1:
        raise RecipeError(
            f"groups of {', '.join(map(str, sizes))} scenes cannot be those of a model of {scenes}; give "
            f"each group 1 or more, {scenes} in total"
        )
    return sizes


def _later_ranges(sizes: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    """The first scene of each group but the first one, and the scene after the group's last."""
    return tuple(pairwise(accumulate(sizes)))


class LaterHeads(nn.Module):
    """Heads for half a pose, one for each group that was added later; they start at zero output."""

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
        """Add the output of the scene's group to `values`; those of the first group are unchanged."""
        for (first, end), head in zip(self.ranges, self.of_group, strict=True):
            is_in_group = ((scene >= first) & (scene < end)).unsqueeze(-1)
            values = torch.where(is_in_group, values + head(latent), values)
        return values


class LaterLogits(nn.Module):
    """Linear layers for scene logits, one for each group that was added later; they start at zero output."""

    def __init__(self, sizes: tuple[int, ...], inputs: int) -> None:
        super().__init__()
        self.ranges = _later_ranges(sizes)
        self.of_group = nn.ModuleList(nn.Linear(inputs, 1) for _ in self.ranges)
        for linear in self.of_group:
            assert isinstance(linear, nn.Linear)
            nn.init.zeros_(linear.weight)
            nn.init.zeros_(linear.bias)

    def forward(self, logits: Float[Tensor, "b s"], latents: Float[Tensor, "b s d"]) -> Float[Tensor, "b s"]:
        """Add each later group's output to the logits of its scenes."""
        if not self.ranges:
            return logits
        parts = [logits[:, : self.ranges[0][0]]]
        for (first, end), linear in zip(self.ranges, self.of_group, strict=True):
            parts.append(logits[:, first:end] + linear(latents[:, first:end]).squeeze(-1))
        return torch.cat(parts, dim=1)


Heads = Literal["shared", "own"]


def scene_heads(
    kind: Heads, inputs: int, outputs: int, *, hidden: int, scenes: int
) -> "SharedHead | OwnHeads":
    """Build the heads for half a pose: one for all scenes, or one for each."""
    if kind == "own":
        return OwnHeads(inputs, outputs, hidden=hidden, scenes=scenes)
    return SharedHead(inputs, outputs, hidden=hidden)


class SharedHead(nn.Module):
    """One head for all scenes."""

    def __init__(self, inputs: int, outputs: int, *, hidden: int) -> None:
        super().__init__()
        self.head = RegressionHead(inputs, outputs, hidden=hidden)

    def forward(self, latent: Float[Tensor, "b d"], scene: Int[Tensor, "b"]) -> Float[Tensor, "b k"]:
        """Compute the numbers of half a pose."""
        del scene
        return self.head(latent)  # type: ignore[no-any-return]


class OwnHeads(nn.Module):
    """One head for each scene; a batch may have images of different scenes."""

    def __init__(self, inputs: int, outputs: int, *, hidden: int, scenes: int) -> None:
        super().__init__()
        heads = [RegressionHead(inputs, outputs, hidden=hidden) for _ in range(scenes)]
        self.hidden_of_scene = nn.Parameter(torch.stack([head.hidden.weight.detach().mT for head in heads]))
        self.hidden_bias_of_scene = nn.Parameter(torch.stack([head.hidden.bias.detach() for head in heads]))
        self.output_of_scene = nn.Parameter(torch.stack([head.output.weight.detach().mT for head in heads]))
        self.output_bias_of_scene = nn.Parameter(torch.stack([head.output.bias.detach() for head in heads]))
        self.activation = heads[0].activation

    def forward(self, latent: Float[Tensor, "b d"], scene: Int[Tensor, "b"]) -> Float[Tensor, "b k"]:
        """Compute the numbers of half a pose, each row by its scene's head."""
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
    """An encoder over the cells of a feature map, and a decoder with one learned query for each scene.

    Args:
        channels: of the feature map.
        config: of encoder and decoder.
        groups: number of scenes in each group; queries attend to those of their group alone.
        codes: position codes of its own, or None if `forward` is given codes that several maps share.

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
        self, feature_map: Float[Tensor, "b c h w"], shared_codes: PositionCodes | None = None
    ) -> Float[Tensor, "b s d"]:
        """Compute the decoder's output for each scene's query."""
        codes = self.codes if shared_codes is None else shared_codes
        assert codes is not None, "a Transformer without codes of its own needs shared codes"
        positions = codes(feature_map.shape[-2], feature_map.shape[-1])
        memory = self.encoder(self.projection(feature_map.flatten(2).mT), positions)
        parts = [
            self.decoder(queries, memory, positions) for queries in self.query_of_scene.split(self.groups)
        ]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
