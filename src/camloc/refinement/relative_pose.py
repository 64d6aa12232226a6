"""Relative pose regressors, and virtual relative pose regression: refinement by a reference without an image.

A relative pose regressor gives the pose of a query relative to a reference camera. The reference is another
image (a Siamese network, as published) or the encoding of a pose; the query is an image, or the latents that
the teacher computes of it. Virtual relative pose regression needs no reference image:

    predicted pose -> nearest training pose -> encoding -> decoded image -> relative pose -> position

Source: "Camera Pose Auto-Encoders" (ECCV 2022), sections 3.3 and 3.4, Fig. 5. References by encoding, and the
iterated form, are in its code.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from camloc.errors import RecipeError
from camloc.geometry.pose import Pose, motion_of_step, reference_from_query, world_from_query, world_step
from camloc.geometry.pose_search import PoseMetric
from camloc.geometry.rotation import rotation_from_quaternion_wxyz
from camloc.models.base import Latents
from camloc.models.layers.backbone import Backbone, BackboneConfig
from camloc.models.losses import PoseLossConfig
from camloc.refinement.image_decoder import ImageDecoder
from camloc.refinement.pairs import Pairs
from camloc.refinement.pose_autoencoder import DecodedPoseLoss, PoseAutoencoder
from camloc.refinement.position import PositionRefiner
from camloc.refinement.refiner import PositionErrors, PositionRefinement, Query
from camloc.refinement.storage import FORMAT, AuxiliaryMetadata
from camloc.training.tasks import AuxiliaryTask

# "images": the query's image and an image of the reference, through one CNN, as published. "encoding": the
# query's image through a CNN, and the reference's encoding. "latents": the teacher's latents of the query,
# and the reference's encoding, without a CNN.
InputKind = Literal["images", "encoding", "latents"]
Axes = Literal["reference", "world"]

# Images in [0, 1], or latents.
Content = Float[Tensor, "b 3 h w"] | Latents

# Held-out images that are processed together.
_CHUNK = 32


@dataclass(frozen=True)
class RelativePoseConfig:
    """Settings of `RelativePoseRegressor`.

    Attributes:
        sees: its inputs.
        backbone: the CNN.
        grid: (rows, columns) to which its last feature map is averaged; (1, 1) is the published global
            average.
        latent: size of the hidden layers of each half.
        embedding: for images, size of a layer that each of them passes before both are joined; 0 for none.
        hidden: sizes of further layers after both are joined.
        dropout: rate before the outputs.
        axes: of the step: those of the "reference" camera, or of the "world" as in the paper's code.
    """

    sees: InputKind = "images"
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    grid: tuple[int, int] = (1, 1)
    latent: int = 256
    dropout: float = 0.1
    axes: Axes = "reference"
    embedding: int = 0
    hidden: tuple[int, ...] = ()


PRESETS: dict[str, RelativePoseConfig] = {
    # Section 3.4 of the paper.
    "published": RelativePoseConfig(),
    # The authors' code.
    "released": RelativePoseConfig(
        backbone=BackboneConfig("resnet50"), embedding=256, hidden=(512,), dropout=0.0, axes="world"
    ),
}


class RelativePose(NamedTuple):
    """The output of a relative pose regressor.

    Attributes:
        step: (b, 3) metres from the reference camera's centre to the query's, in the axes of the settings.
        quaternion_wxyz: (b, 4) rotation of `reference_from_query`, of any length.
    """

    step: Float[Tensor, "b 3"]
    quaternion_wxyz: Float[Tensor, "b 4"]


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
        """The layers of the step or of the rotation."""
        sees, width = self.config.sees, self.config.latent
        widths = (*self.config.hidden, width)
        if sees == "images":
            size = self.config.embedding or features
            each = nn.Sequential(nn.Linear(features, size), nn.ReLU()) if size != features else nn.Identity()
            joined: nn.Module = _Joined(each, each, 2 * size, widths[0])
        else:
            query = nn.Sequential(nn.Linear(latent if sees == "latents" else features, width), nn.ReLU())
            reference = nn.Sequential(nn.Linear(latent, width), nn.ReLU())
            joined = _Joined(query, reference, 2 * width, widths[0])
        further = [
            layer
            for inputs, outputs_of in pairwise(widths)
            for layer in (nn.Linear(inputs, outputs_of), nn.ReLU())
        ]
        last = (nn.Dropout(self.config.dropout), nn.Linear(width, outputs))
        return nn.ModuleDict({"joined": joined, "output": nn.Sequential(*further, *last)})

    def observe(self, world_from_reference: Pose, world_from_query: Pose) -> None:
        """Set the scale of the steps from (p,) training pairs."""
        steps = world_from_query.translation - world_from_reference.translation
        self.get_buffer("scale").copy_(steps.square().sum(-1).mean().sqrt().clamp_min(1e-6))

    def forward(self, query: Content, reference: Content) -> RelativePose:
        """The relative poses of (b,) queries.

        Args:
            query: images, or the teacher's latents if the config's `sees` is "latents".
            reference: images of the same size if the config's `sees` is "images", otherwise encodings.
        """
        ours, theirs = self._features(query), self._features(reference)
        step, turn = (
            _half_output(getattr(self, half), one, other)
            for half, one, other in zip(Latents._fields, ours, theirs, strict=True)
        )
        # Equal inputs start with no rotation between them.
        identity = turn.new_tensor([1.0, 0.0, 0.0, 0.0])
        return RelativePose(step * self.get_buffer("scale"), turn + identity)

    def _features(self, content: Content) -> Latents:
        """Latents stay; images become features of the CNN, the same for both halves."""
        if isinstance(content, tuple):
            return content
        assert self.backbone is not None, "a regressor without a CNN gets no images"
        features = F.adaptive_avg_pool2d(self.backbone(content)[-1], self.config.grid).flatten(1)
        return Latents(features, features)

    def motion(self, output: RelativePose, world_from_reference: Pose) -> Pose:
        """`reference_from_query` of an output, in its precision."""
        rotation = rotation_from_quaternion_wxyz(output.quaternion_wxyz)
        if self.config.axes == "reference":
            return Pose(rotation, output.step)
        world = world_from_reference.to(output.step.device).to(output.step.dtype)
        return motion_of_step(world, output.step, rotation)

    def truth(self, world_from_reference: Pose, world_from_query: Pose) -> RelativePose:
        """The correct output, with a unit quaternion."""
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
    """A layer that reads two vectors, each after layers of its own."""

    def __init__(self, query: nn.Module, reference: nn.Module, inputs: int, outputs: int) -> None:
        super().__init__()
        self.query, self.reference = query, reference
        self.layer = nn.Linear(inputs, outputs)

    def forward(self, query: Float[Tensor, "b d"], reference: Float[Tensor, "b e"]) -> Float[Tensor, "b n"]:
        """ReLU of the layer."""
        both = torch.cat((self.query(query), self.reference(reference)), dim=-1)
        return F.relu(self.layer(both))


def _half_output(
    half: nn.Module, query: Float[Tensor, "b d"], reference: Float[Tensor, "b e"]
) -> Float[Tensor, "b n"]:
    assert isinstance(half, nn.ModuleDict)
    output: Tensor = half["output"](half["joined"](query, reference))
    return output


@dataclass(frozen=True)
class VirtualView:
    """Settings of `VirtualViewRefiner`; the defaults are the paper's.

    Attributes:
        reference: "nearest": the training pose nearest to the predicted pose. "prediction": the predicted
            pose itself.
        neighbours: number of nearest training poses; the mean of the regressed positions is used.
        iterations: number of repetitions, each from the pose of the one before, orientation included.
        share: of the distance from the predicted to the regressed position that the position moves.
        metric: the distance that defines nearest.
    """

    reference: Literal["nearest", "prediction"] = "nearest"
    neighbours: int = 1
    iterations: int = 1
    share: float = 1.0
    metric: PoseMetric = field(default_factory=PoseMetric)


@dataclass(frozen=True)
class RelativePoseMetadata(AuxiliaryMetadata[RelativePoseRegressor]):
    """The content of `relative/relative.json`.

    Attributes:
        source: digest of the pose auto-encoder whose encodings it reads.
        config: settings of the regressor.
        latents: sizes of the halves of an encoding.
        view: the settings of virtual relative pose regression that were best on the held-out frames.
        published: position errors with the paper's settings, or None if no frames were held out.
        refined: position errors with `view`, or None.
        format: version of this layout.
    """

    NAME: ClassVar[str] = "relative"

    source: str
    config: RelativePoseConfig
    latents: tuple[int, int]
    view: VirtualView = VirtualView()
    published: PositionErrors | None = None
    refined: PositionErrors | None = None
    format: int = FORMAT

    def build(self) -> RelativePoseRegressor:
        """A regressor with fresh weights."""
        return RelativePoseRegressor(self.config, latents=self.latents)


class VirtualViewRefiner:
    """Regresses positions relative to encoded poses. It runs on the device of its networks."""

    def __init__(
        self,
        settings: VirtualView,
        training_poses: Sequence[Pose],
        encoder: PoseAutoencoder,
        regressor: RelativePoseRegressor,
        decoder: ImageDecoder | None = None,
    ) -> None:
        """Build the search index.

        Args:
            settings: of the refinement.
            training_poses: for each scene (n,) poses that can be references.
            encoder: the pose auto-encoder.
            regressor: of relative poses.
            decoder: of encodings; a regressor that sees images needs one.

        Raises:
            RecipeError: the regressor sees images and there is no decoder.
        """
        if decoder is None and regressor.config.sees == "images":
            raise RecipeError(
                "a relative pose regressor that sees images needs an image decoder; train one with "
                "camloc autoencode --decoder"
            )
        self.settings = settings
        self._encoder = copy.deepcopy(encoder).eval()
        self._regressor, self._decoder = regressor.eval(), None if decoder is None else decoder.eval()
        nearest = PositionRefinement("neighbours", neighbours=settings.neighbours, metric=settings.metric)
        self._search = PositionRefiner(nearest, training_poses)

    @torch.no_grad()
    def refined(self, query: Query) -> Pose:
        """(b,) poses with refined positions and unchanged orientations.

        Raises:
            RecipeError: the query lacks the images or latents that the regressor reads.
        """
        known = query.with_poses()
        if not len(known):
            return query.world_from_cam
        current = known.world_from_cam.to("cpu").to(torch.float64)
        for _ in range(self.settings.iterations):
            current = self._regressed(known, current)
        own = known.world_from_cam.translation.cpu().double()
        return query.with_positions(own + self.settings.share * (current.translation - own))

    def _regressed(self, query: Query, current: Pose) -> Pose:
        """Poses regressed from the references: the mean position, and the nearest reference's rotation."""
        references = self._references(query, current)
        batch, count = references.shape
        flat = Pose(references.rotation.flatten(0, 1), references.translation.flatten(0, 1))
        scene = query.scene.cpu().repeat_interleave(count)
        encodings = self._encoder(flat, scene.to(self._device))
        content = self._query_content(query, count)
        output = self._regressor(content, self._reference_content(encodings, content))
        motion = self._regressor.motion(output, flat).to("cpu").to(torch.float64)
        regressed = world_from_query(flat, motion)
        positions = regressed.translation.unflatten(0, (batch, count)).mean(1)
        return Pose(regressed.rotation.unflatten(0, (batch, count))[:, 0], positions)

    def _references(self, query: Query, current: Pose) -> Pose:
        """(b, k) poses of the references."""
        if self.settings.reference == "prediction":
            return Pose(current.rotation.unsqueeze(1), current.translation.unsqueeze(1))
        return self._search.neighbours(Query(current, query.scene))

    def _query_content(self, query: Query, count: int) -> Content:
        """The regressor's input of the query, repeated for each reference."""
        if self._regressor.config.sees == "latents":
            if query.latents is None:
                raise RecipeError("an exported network gives no latents; refine from the run's folder")
            return Latents(*(half.to(self._device).repeat_interleave(count, 0) for half in query.latents))
        if query.images is None:
            raise RecipeError("virtual relative pose regression needs the images of the query, and has none")
        return query.images.to(self._device).repeat_interleave(count, 0)

    def _reference_content(self, encodings: Latents, query: Content) -> Content:
        """The regressor's input of the references: their encodings, or decoded images of the query's size."""
        if self._decoder is None or isinstance(query, tuple) or self._regressor.config.sees != "images":
            return encodings
        height, width = query.shape[-2:]
        return enlarged(self._decoder(encodings), width=width, height=height)

    @property
    def _device(self) -> torch.device:
        return self._regressor.get_buffer("scale").device


def enlarged(images: Float[Tensor, "b 3 _ _"], *, width: int, height: int) -> Float[Tensor, "b 3 h w"]:
    """Small images, enlarged."""
    return F.interpolate(images, (height, width), mode="bilinear", align_corners=False)


class Inputs(NamedTuple):
    """A regressor's input of some frames, and their poses.

    Attributes:
        content: images in [0, 1], or latents.
        world_from_cam: (b,) true poses.
    """

    content: Content
    world_from_cam: Pose


# The inputs of the frames with some numbers. The generator is for random changes of the images.
InputSource = Callable[[Int[Tensor, "b"], torch.Generator], Inputs]


class HeldOutPairs(NamedTuple):
    """Held-out frames, each with the reference that it would have in use.

    Attributes:
        query: inputs without random changes.
        reference: for each query the training frame whose pose is nearest to the teacher's prediction.
    """

    query: Inputs
    reference: Inputs


class RelativeStudent(nn.Module):
    """A relative pose regressor with its loss, whose weights are trained with it."""

    def __init__(self, regressor: RelativePoseRegressor, loss: PoseLossConfig) -> None:
        super().__init__()
        self.regressor = regressor
        self.pose_loss = DecodedPoseLoss(loss)


class RelativePoseTask(AuxiliaryTask):
    """The task of regressing `reference_from_query` over pairs of training frames."""

    network: RelativeStudent

    def __init__(
        self,
        student: RelativeStudent,
        pairs: Pairs,
        *,
        query: InputSource,
        reference: InputSource,
        held: HeldOutPairs | None,
    ) -> None:
        """Prepare the task.

        Args:
            student: to be trained; `observe` has been called.
            pairs: of training frames.
            query, reference: give the inputs of frames in either role.
            held: for the measurements.
        """
        self.network, self.pairs, self.held = student, pairs, held
        self.query, self.reference = query, reference

    def __len__(self) -> int:
        return len(self.pairs)

    def losses(self, network: Any, rows: Int[Tensor, "b"], generator: torch.Generator) -> dict[str, Tensor]:
        """The two terms of the pose loss of the motions."""
        query = self.query(self.pairs.query[rows], generator)
        reference = self.reference(self.pairs.reference[rows], generator)
        output = network.regressor(query.content, reference.content)
        motion = network.regressor.motion(output, reference.world_from_cam)
        truth = reference_from_query(reference.world_from_cam, query.world_from_cam)
        terms: dict[str, Tensor] = network.pose_loss(
            Pose(motion.rotation.double(), motion.translation.double()), truth.to(motion.translation.device)
        )
        return terms

    def measures(self, network: Any) -> dict[str, float]:
        """Position errors in metres on held-out frames: the median, and as `score` median plus mean."""
        if self.held is None:
            return {}
        query, reference = self.held
        motions = [
            network.regressor.motion(
                network.regressor(_rows_of(query.content, rows), _rows_of(reference.content, rows)),
                reference.world_from_cam[rows],
            )
            for rows in torch.arange(len(query.world_from_cam)).split(_CHUNK)
        ]
        motion = Pose.cat(motions).to("cpu").to(torch.float64)
        regressed = world_from_query(reference.world_from_cam.to("cpu"), motion)
        errors = torch.linalg.vector_norm(
            regressed.translation - query.world_from_cam.to("cpu").translation, dim=-1
        )
        median, mean = float(errors.median()), float(errors.mean())
        return {"score": median + mean, "meters": median}


def _rows_of(content: Content, rows: Int[Tensor, "c"]) -> Content:
    if isinstance(content, tuple):
        return Latents(*(half[rows.to(half.device)] for half in content))
    return content[rows.to(content.device)]
