"""What every pose model is: a network in three steps, of which only the first is exported.

    images --forward--> Output (named tensors) --decode--> poses
                           `---losses(batch)--> {name: scalar}, whose sum is minimised

`forward` holds learned weights and plain tensor operations; closed formulas (normalising a
quaternion, aligning points) live in `decode`, so that an exported network stays simple.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Generic, NamedTuple, Protocol, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from camloc.data.batch import Batch
from camloc.errors import RecipeError
from camloc.geometry.pose import Pose

Output = TypeVar("Output", bound=tuple[Tensor, ...])
Output_contra = TypeVar("Output_contra", bound=tuple[Tensor, ...], contravariant=True)


class Decoded(NamedTuple):
    """The poses that a network's output stands for.

    Attributes:
        world_from_cam: (b,) poses, double precision.
        scene: (b,) numbers of the scenes they are in.
        probability: (b,) of the scene being that one.
        residual: (b,) root mean square distance in metres that is left between the points of models
            that align points, or None.
    """

    world_from_cam: Pose
    scene: Int[Tensor, "b"]
    probability: Float[Tensor, "b"]
    residual: Float[Tensor, "b"] | None = None


class Decoder(Protocol[Output_contra]):
    """Anything with a `decode` step: a model, or the model behind an exported network."""

    def decode(self, output: Output_contra, *, intrinsics: Float[Tensor, "b 3 3"] | None = None) -> Decoded:
        """Poses from a network's output."""


class PoseModel(nn.Module, ABC, Generic[Output]):
    """A network that finds the pose of the camera that took an image.

    A subclass is one paper's network. It lives in a file of its own under `camloc.models`, whose
    name is the model's name, takes its settings (a frozen dataclass) as its one argument, and has a
    NamedTuple of tensors as its output. It keeps no state between calls.
    """

    # Prefix of the parameters that only the loss uses: they are not part of the network's size.
    LOSS_PREFIX: ClassVar[str] = "balance."

    # Whether `decode` and `losses` need the camera's intrinsics.
    NEEDS_INTRINSICS: ClassVar[bool] = False

    @abstractmethod
    def forward(self, images: Float[Tensor, "b 3 h w"]) -> Output:
        """The network: RGB images in [0, 1] to named tensors."""

    @abstractmethod
    def decode(self, output: Output, *, intrinsics: Float[Tensor, "b 3 3"] | None = None) -> Decoded:
        """Poses from the network's output.

        Args:
            output: what `forward` returned.
            intrinsics: (b, 3, 3) pinhole calibration matrices, for models that need them.
        """

    @abstractmethod
    def losses(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Named scalars whose sum is minimised."""

    def observe(self, world_from_cam: Pose) -> None:
        """Note constants of the training poses (such as their mean) before training starts."""

    def observe_scenes(self, scenes: Sequence[Pose]) -> None:
        """The same of the training poses of each scene, every one in that scene's own world.

        Raises:
            RecipeError: the model does not learn so many scenes.
        """
        if len(scenes) != 1:
            raise RecipeError(
                f"{type(self).__name__} learns one scene, not {len(scenes)}; train a model of several, such "
                f"as ms_transformer"
            )
        self.observe(scenes[0])

    def parameter_count(self) -> int:
        """Number of learned values of the network, without those that only the loss uses."""
        return sum(
            parameter.numel()
            for name, parameter in self.named_parameters()
            if not name.startswith(self.LOSS_PREFIX)
        )


class Latents(NamedTuple):
    """A regressor's description of an image, one half for each half of the pose.

    Attributes:
        position: (b, d) what the position is regressed from; of models of several scenes (b, s, d), one
            description for each scene.
        orientation: (b, d) what the orientation is regressed from, likewise.
    """

    position: Float[Tensor, "b *scenes d"]
    orientation: Float[Tensor, "b *scenes e"]


class Regressor(PoseModel[Output]):
    """A model that describes an image by latent vectors and regresses the pose from these.

    A camera pose auto-encoder learns to predict the latents from a pose, with the heads frozen.

    Attributes:
        backbone: gives the maps of RGB images in [0, 1], and nothing else of an image is seen.
    """

    backbone: nn.Module

    def encode(self, images: Float[Tensor, "b 3 h w"]) -> Latents:
        """The latent vectors of images."""
        return self.describe(self.backbone(images))

    @abstractmethod
    def describe(self, maps: list[Float[Tensor, "b _ _ _"]]) -> Latents:
        """The latent vectors of images of which the backbone gave these maps."""

    @abstractmethod
    def regress(self, latents: Latents) -> Output:
        """The output that latent vectors stand for."""

    def from_maps(self, maps: list[Float[Tensor, "b _ _ _"]], *, width: int, height: int) -> Output:
        """The output for images of a size of which the backbone gave these maps."""
        del width, height
        return self.regress(self.describe(maps))

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> Output:
        """The network: RGB images in [0, 1] to named tensors."""
        return self.regress(self.encode(images))

    def pose_in(self, latents: Latents, scene: Int[Tensor, "b"]) -> Pose:
        """The poses that latent vectors (b, d) and (b, e) stand for, in the scenes that they are of."""
        del scene
        return self.decode(self.regress(latents)).world_from_cam


class Correspondences(NamedTuple):
    """What each of n cells of b images says about the camera.

    Attributes:
        pixels: (b, n, 2) the cell's centre in the network's image.
        camera: (b, n, 3) what it sees, in camera axes and metres.
        world: (b, n, 3) the same point in the world, relative to the model's centre.
        weight: (b, n) how much it counts, not negative.
    """

    pixels: Float[Tensor, "b n 2"]
    camera: Float[Tensor, "b n 3"]
    world: Float[Tensor, "b n 3"]
    weight: Float[Tensor, "b n"]

    def double(self) -> "Correspondences":
        """The same in double precision."""
        return Correspondences(*(value.double() for value in self))


class GeometryModel(PoseModel[Output]):
    """A model that finds points of the scene in an image and the pose from these.

    Its `decode` needs intrinsics. `forward` is `from_features(features(images))`, so that the features
    of a backbone that stands still can be computed once.

    Attributes:
        backbone: gives the maps of RGB images in [0, 1], which `features` is made of.
    """

    NEEDS_INTRINSICS: ClassVar[bool] = True
    backbone: nn.Module

    @property
    @abstractmethod
    def feature_settings(self) -> tuple[Any, ...]:
        """The settings that `features` depends on."""

    def features(self, images: Float[Tensor, "b 3 _ _"]) -> Float[Tensor, "b c h w"]:
        """What the heads see of RGB images in [0, 1]."""
        return self.features_of(self.backbone(images), width=images.shape[-1], height=images.shape[-2])

    @abstractmethod
    def features_of(
        self, maps: list[Float[Tensor, "b _ _ _"]], *, width: int, height: int
    ) -> Float[Tensor, "b c h w"]:
        """What the heads see of images of a size of which the backbone gave these maps."""

    def from_maps(self, maps: list[Float[Tensor, "b _ _ _"]], *, width: int, height: int) -> Output:
        """The output for images of a size of which the backbone gave these maps."""
        return self.from_features(self.features_of(maps, width=width, height=height))

    @abstractmethod
    def from_features(self, features: Float[Tensor, "b c h w"]) -> Output:
        """The output that features stand for."""

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> Output:
        """The network: RGB images in [0, 1] to named tensors."""
        return self.from_features(self.features(images))

    @abstractmethod
    def correspondences(self, output: Output, *, intrinsics: Float[Tensor, "b 3 3"]) -> Correspondences:
        """What every cell of the output says, in the precision of the network."""

    @abstractmethod
    def placed(self, centered_from_cam: Pose) -> Pose:
        """Poses in the data set's world, of poses in the frame of the correspondences' world points."""


# The models that see nothing of an image but the maps of a backbone.
WithBackbone = GeometryModel[Any] | Regressor[Any]


def single_scene(world_from_cam: Pose, *, residual: Tensor | None = None) -> Decoded:
    """The decoding of a model that knows one scene only."""
    count = len(world_from_cam)
    device = world_from_cam.translation.device
    scene = torch.zeros(count, dtype=torch.int64, device=device)
    certain = torch.ones(count, dtype=torch.float64, device=device)
    return Decoded(world_from_cam, scene, certain, residual)
