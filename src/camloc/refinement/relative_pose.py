"""Where an image was taken, seen from a reference camera: relative pose regressors.

The reference is another image (a Siamese network, as published), the encoding of a pose, or that beside the
latents that an absolute pose regressor has of the image anyway.

Source: "Camera Pose Auto-Encoders" (ECCV 2022), sections 3.3 and 3.4; from encodings, as its code has it.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from statistics import median
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float64, Int
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from camloc.data.depth import read_depth
from camloc.data.types import Frame, poses_of
from camloc.errors import DatasetError
from camloc.geometry.camera import Camera
from camloc.geometry.pose import Pose, motion_of_step, reference_from_query, world_from_query, world_step
from camloc.geometry.pose_search import PoseIndex
from camloc.geometry.rotation import rotation_from_quaternion_wxyz
from camloc.geometry.visibility import in_view, overlap, points_of_depth, points_of_frustum
from camloc.models.base import Latents
from camloc.models.layers.backbone import Backbone, BackboneConfig
from camloc.models.losses import PoseLossConfig
from camloc.refinement.pose_autoencoder import PoseBalance
from camloc.training.loop import AuxiliaryTask

Sees = Literal["images", "encoding", "latents"]
Axes = Literal["reference", "world"]


class RelativePose(NamedTuple):
    """What a relative pose regressor says.

    Attributes:
        step: (b, 3) metres from the reference camera's centre to the image's, in the axes that the
            settings say.
        quaternion_wxyz: (b, 4) rotation of `reference_from_query`, of any length.
    """

    step: Float[Tensor, "b 3"]
    quaternion_wxyz: Float[Tensor, "b 4"]


@dataclass(frozen=True)
class RelativePoseConfig:
    """Settings of `RelativePoseRegressor`.

    Attributes:
        sees: "images": the image and an image of the reference, through one CNN, as published.
            "encoding": the image through a CNN, and the reference's encoding. "latents": the teacher's
            latents of the image, and the reference's encoding, without a CNN of its own.
        backbone: the CNN.
        grid: (rows, columns) that its last map is averaged to; (1, 1) is the published global average.
        latent: size of the two layers before the answers.
        dropout: rate before the answers.
        axes: of the step: the "reference" camera's, or the "world"'s as in the paper's code.
    """

    sees: Sees = "images"
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
        if sees == "images":
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
        """What the CNN sees in images in [0, 1]."""
        assert self.backbone is not None, "without a CNN no images are looked at"
        maps = self.backbone(images)[-1]
        return F.adaptive_avg_pool2d(maps, self.config.grid).flatten(1)

    def forward(
        self,
        query: Float[Tensor, "b 3 h w"] | Latents,
        reference: Float[Tensor, "b 3 h w"] | Latents,
    ) -> RelativePose:
        """What is seen of (b,) images from (b,) references.

        Args:
            query: images, or the teacher's latents where these are what it sees.
            reference: images of the same size, or encodings where these are what it sees.
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


# Rays of a depth image, and points of a scene, that stand for what a frame sees.
_RAYS_ACROSS = 24
_MOST_POINTS = 400

# Of a phone, held upright or not: regressors do not need to know it.
USUAL_CAMERA = Camera(width=640, height=640, fx=640.0, fy=640.0, cx=320.0, cy=320.0)

# Where nothing says how far things are: this many spreads of the cameras.
_DEPTH_SPREADS = 2.0


@dataclass(frozen=True)
class PairSettings:
    """Which frames make a pair.

    Attributes:
        per_frame: most references of each frame.
        candidates: nearest frames by pose, among which references are looked for.
        least_overlap: share of what each of the two sees that the other sees too.
    """

    per_frame: int = 12
    candidates: int = 40
    least_overlap: float = 0.3


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs of frames, by their numbers.

    Attributes:
        query, reference: (p,) the two frames.
        overlap: (p,) the smaller of the two shares.
        measured: how many frames' sights were told by "depth", by "points" and by the "frustum".
    """

    query: Int[Tensor, "p"]
    reference: Int[Tensor, "p"]
    overlap: Float[Tensor, "p"]
    measured: dict[str, int]

    def __len__(self) -> int:
        return len(self.query)


def overlapping_pairs(
    frames: Sequence[Frame],
    settings: PairSettings,
    *,
    points: Float64[NDArray[np.float64], "n 3"] | None = None,
    seed: int = 0,
) -> Pairs:
    """Pairs of frames with enough in common, at most so many to each frame, drawn evenly from all that are.

    What a frame sees is told by its depth image; by points of the scene that lie in its image where it
    has none; where there are none either, by points of its frustum around the usual depth. What is hidden
    from the query is noticed in the query's depth image. A frame whose camera is unknown is taken to be
    from a usual one.

    Args:
        frames: with orientations.
        settings: which make a pair.
        points: of the scene.
        seed: of the draw.

    Raises:
        DatasetError: no two frames have enough in common.
        ImageError: a depth image cannot be read.
    """
    poses, cameras = poses_of(frames).tensor(), [frame.camera or USUAL_CAMERA for frame in frames]
    depths = [None if frame.depth is None else torch.from_numpy(read_depth(frame.depth)) for frame in frames]
    usual = _usual_depths(depths, poses)
    known = None if points is None else torch.from_numpy(points)
    seen = [_seen(cameras[row], poses[row], depths[row], known, usual) for row in range(len(frames))]
    near, _ = PoseIndex(poses).nearest(poses, settings.candidates + 1)
    generator = torch.Generator().manual_seed(seed)
    found: list[tuple[Tensor, Tensor, Tensor]] = []
    for row in range(len(frames)):
        others = near[row][near[row] != row]
        there = overlap(seen[row], cameras[row], poses[others])
        others, there = others[there >= settings.least_overlap], there[there >= settings.least_overlap]
        back = _seen_from([seen[other] for other in others.tolist()], cameras[row], poses[row], depths[row])
        both = torch.minimum(there, back)
        kept = (both >= settings.least_overlap).nonzero().squeeze(1)
        drawn = kept[torch.randperm(len(kept), generator=generator)[: settings.per_frame]]
        found.append((torch.full((len(drawn),), row), others[drawn], both[drawn]))
    query, reference, share = (torch.cat(part) for part in zip(*found, strict=True))
    if not len(query):
        raise DatasetError(
            f"no two of the {len(frames)} training frames see {settings.least_overlap:.0%} of the same; take "
            f"images that overlap"
        )
    with_depth = sum(depth is not None for depth in depths)
    rest = "frustum" if points is None else "points"
    return Pairs(query, reference, share, {"depth": with_depth, rest: len(frames) - with_depth})


def joined_pairs(scenes: Sequence[Pairs], counts: Sequence[int]) -> Pairs:
    """Pairs of several scenes as one, of frames that are numbered scene after scene.

    Args:
        scenes: the pairs of each.
        counts: how many frames each scene has.
    """
    firsts = list(accumulate(counts, initial=0))
    measured: Counter[str] = Counter()
    for pairs in scenes:
        measured.update(pairs.measured)
    return Pairs(
        torch.cat([pairs.query + first for pairs, first in zip(scenes, firsts, strict=False)]),
        torch.cat([pairs.reference + first for pairs, first in zip(scenes, firsts, strict=False)]),
        torch.cat([pairs.overlap for pairs in scenes]),
        dict(measured),
    )


def _seen_from(
    feature_maps: Sequence[Tensor], camera: Camera, pose: Pose, depth: Tensor | None
) -> Float[Tensor, "b"]:
    """The share of each of b frames' points that one camera sees."""
    if not feature_maps:
        return torch.zeros(0, dtype=torch.float64)
    if depth is not None:
        camera = camera.resized(width=depth.shape[1], height=depth.shape[0])
    single = Pose(pose.rotation[None], pose.translation[None])
    hits = in_view(torch.cat(list(feature_maps)), camera, single, depth=depth)[0].double()
    shares = [
        part.mean() if len(part) else part.new_zeros(())
        for part in hits.split([len(each) for each in feature_maps])
    ]
    return torch.stack(shares)


def _usual_depths(depths: Sequence[Tensor | None], poses: Pose) -> Float[Tensor, "d"]:
    """How far things are, from the depth images that there are or else from the cameras' spread."""
    known = [float(each[each > 0].median()) for each in depths if each is not None and bool((each > 0).any())]
    away = poses.translation - poses.translation.mean(0)
    spread = float(away.square().sum(-1).mean().sqrt())
    usual = median(known) if known else _DEPTH_SPREADS * spread
    return usual * torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)


def _seen(
    camera: Camera, pose: Pose, depth: Tensor | None, points: Tensor | None, usual: Tensor
) -> Float[Tensor, "n 3"]:
    """Points that stand for what a frame sees."""
    if depth is not None:
        sized = camera.resized(width=depth.shape[1], height=depth.shape[0])
        shown: Tensor = points_of_depth(depth, sized, pose, stride=max(1, depth.shape[1] // _RAYS_ACROSS))
        return shown
    if points is None:
        possible: Tensor = points_of_frustum(camera, pose, depths=usual)
        return possible
    known = points.double()
    visible = known[in_view(known, camera, Pose(pose.rotation[None], pose.translation[None]))[0]]
    return visible[:: max(1, len(visible) // _MOST_POINTS)]


# Held-out images that are looked at together.
CHUNK = 32


class Seen(NamedTuple):
    """What a regressor is given of some frames, and their poses.

    Attributes:
        content: images in [0, 1], or latents.
        world_from_cam: (b,) true poses.
    """

    content: Float[Tensor, "b 3 h w"] | Latents
    world_from_cam: Pose


# What is seen of the frames with some numbers; images may be changed at random.
See = Callable[[Tensor, torch.Generator], Seen]


class Examination(NamedTuple):
    """Held-out frames, each with the reference that it would get in use.

    Attributes:
        query: images, as they are.
        reference: of each, the training frame whose pose is nearest to the teacher's answer.
    """

    query: Seen
    reference: Seen


class RelativeStudent(nn.Module):
    """A relative pose regressor with the weights of its loss."""

    def __init__(self, regressor: RelativePoseRegressor, balance: PoseLossConfig) -> None:
        super().__init__()
        self.regressor = regressor
        self.balance = PoseBalance(balance)


class RelativePoseTask(AuxiliaryTask):
    """Learning `reference_from_query` over pairs of training frames."""

    network: RelativeStudent

    def __init__(
        self,
        student: RelativeStudent,
        pairs: Pairs,
        *,
        query: See,
        reference: See,
        held: Examination | None,
    ) -> None:
        """Prepare.

        Args:
            student: that learns; `observe` has been called.
            pairs: of training frames.
            query, reference: what is seen of frames in either role.
            held: what measures it.
        """
        self.network, self.pairs, self.held = student, pairs, held
        self.query, self.reference = query, reference

    def __len__(self) -> int:
        return len(self.pairs)

    def losses(self, network: Any, rows: Int[Tensor, "b"], generator: torch.Generator) -> dict[str, Tensor]:
        """The two terms of a pose loss, of the motion."""
        query = self.query(self.pairs.query[rows], generator)
        reference = self.reference(self.pairs.reference[rows], generator)
        output = network.regressor(query.content, reference.content)
        answer = network.regressor.motion(output, reference.world_from_cam)
        truth = reference_from_query(reference.world_from_cam, query.world_from_cam)
        balanced: dict[str, Tensor] = network.balance(
            Pose(answer.rotation.double(), answer.translation.double()), truth.to(answer.translation.device)
        )
        return balanced

    def measures(self, network: Any) -> dict[str, float]:
        """Position errors on held-out frames, seen from the references that they would get in use."""
        if self.held is None:
            return {}
        query, reference = self.held
        motions = [
            network.regressor.motion(
                network.regressor(_part(query.content, rows), _part(reference.content, rows)),
                reference.world_from_cam[rows],
            )
            for rows in torch.arange(len(query.world_from_cam)).split(CHUNK)
        ]
        motion = Pose.cat(motions).to("cpu").to(torch.float64)
        found = world_from_query(reference.world_from_cam.to("cpu"), motion)
        away = torch.linalg.vector_norm(
            found.translation - query.world_from_cam.to("cpu").translation, dim=-1
        )
        median, mean = float(away.median()), float(away.mean())
        return {"score": median + mean, "meters": median}


def _part(
    content: Float[Tensor, "b 3 h w"] | Latents, rows: Int[Tensor, "c"]
) -> Float[Tensor, "c 3 h w"] | Latents:
    if isinstance(content, tuple):
        return Latents(*(half[rows.to(half.device)] for half in content))
    return content[rows.to(content.device)]
