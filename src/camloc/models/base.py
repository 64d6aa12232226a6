"""The interface of all pose models.

    images --backbone--> feature maps --heads--> output (named tensors) --decode--> poses
                                                   `--losses(batch)--> {name: scalar}, whose sum is minimised

The network (`forward`: backbone and heads) holds learned weights and plain tensor operations; ONNX files
contain it. Closed formulas, such as normalising a quaternion or aligning points, live in `decode`,
which is written in `camloc.models.decoding` for NumPy arrays and tensors.

A paper's model implements `heads`, in two halves: `describe` and `regress` for a `Regressor`, `grid_features`
and `from_grid` for a `GeometryModel`. `forward` and `predict` are written once, here.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar, final

from jaxtyping import Float, Int
from torch import Tensor, nn

from camloc.data.batch import Batch
from camloc.errors import RecipeError
from camloc.geometry.pose import Pose
from camloc.models.decoding import Correspondences, Decoded, Decoding, PointDecoding
from camloc.models.layers.backbone import Backbone

Output = TypeVar("Output", bound=tuple[Tensor, ...])

# One map (b, channels, rows, columns) for each tap of the backbone; each tap has its own channels and stride.
FeatureMaps = list[Float[Tensor, "b _ _ _"]]


class Latents(NamedTuple):
    """A regressor's description of an image: one latent vector for each half of the pose.

    Attributes:
        position: (b, d) input of the position head; (b, s, d) in a model of s scenes, one vector for each
            scene.
        orientation: (b, e) input of the orientation head; (b, s, e) in a model of s scenes.
    """

    position: Float[Tensor, "b *scenes d"]
    orientation: Float[Tensor, "b *scenes e"]


class Prediction(NamedTuple):
    """A model's prediction for b images, before decoding.

    Attributes:
        output: named tensors, the input of `decode`.
        latents: of a regressor in PyTorch; None for other models and for ONNX files.
        novelty: (b,) distance of each image to the nearest training image, in feature space; None if the
            model has no novelty detector.
    """

    output: Any
    latents: Latents | None = None
    novelty: Float[Tensor, "b"] | None = None


class PoseModel(nn.Module, ABC, Generic[Output]):
    """A network that predicts the pose of the camera from one image.

    Each paper's network is a subclass in a file of its own under `camloc.models`, named like the model. Its
    constructor takes one argument, a frozen dataclass of settings. Its output is a NamedTuple of tensors. It
    keeps no state between calls.

    Attributes:
        backbone: computes feature maps from RGB images in [0, 1]; the heads read nothing else of the images.
    """

    # Prefix of the parameters that only the loss uses; they do not count as part of the network.
    LOSS_PREFIX: ClassVar[str] = "pose_loss."

    # Whether `decode` and `losses` need the camera's intrinsics.
    NEEDS_INTRINSICS: ClassVar[bool] = False

    backbone: Backbone

    @final  # type: ignore[misc]  # nn.Module declares `forward` as an attribute
    def forward(self, images: Float[Tensor, "b 3 h w"]) -> Output:
        """Map RGB images in [0, 1] to named tensors."""
        output: Output = self.predict(images).output
        return output

    def predict(
        self,
        images: Float[Tensor, "b 3 h w"],
        *,
        novelty_detector: Callable[[FeatureMaps], Float[Tensor, "b"]] | None = None,
    ) -> Prediction:
        """Run the network once and return everything that later steps need.

        Args:
            images: RGB in [0, 1].
            novelty_detector: computes the novelty from the backbone's maps; None for no novelty.
        """
        novelty = None
        if novelty_detector is None:
            feature_maps = self.backbone(images)
        else:
            feature_maps, novelty_maps = self.backbone.forward_with_novelty_maps(images)
            novelty = novelty_detector(novelty_maps)
        height, width = images.shape[-2:]
        output, latents = self.heads_and_latents(feature_maps, width=width, height=height)
        return Prediction(output, latents, novelty)

    @abstractmethod
    def heads(self, feature_maps: FeatureMaps, *, width: int, height: int) -> Output:
        """Compute the output from the backbone's feature maps.

        Args:
            feature_maps: one map for each tap of the backbone.
            width, height: size in pixels of the images that the maps were computed from.
        """

    def heads_and_latents(
        self, feature_maps: FeatureMaps, *, width: int, height: int
    ) -> tuple[Output, Latents | None]:
        """Compute the output and the latents, which only regressors have."""
        return self.heads(feature_maps, width=width, height=height), None

    @property
    @abstractmethod
    def decoding(self) -> Decoding:
        """The decoding of the output into poses; it shares the arrays of this model."""

    def decode(self, output: Any, *, intrinsics: Float[Tensor, "b 3 3"] | None = None) -> Decoded:
        """Compute poses from the network's output.

        Args:
            output: of `forward`.
            intrinsics: (b, 3, 3) pinhole calibration matrices, for models that need them.
        """
        return self.decoding.decode(output, intrinsics=intrinsics)

    @abstractmethod
    def losses(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Compute named scalars whose sum is minimised."""

    def observe(self, world_from_cam: Pose) -> None:
        """Record statistics of the training poses, such as their mean, before training starts."""

    def observe_scenes(self, scenes: Sequence[Pose]) -> None:
        """Record statistics of each scene's training poses, which are in that scene's own world.

        Raises:
            RecipeError: the model has another number of scenes.
        """
        if len(scenes) != 1:
            raise RecipeError(
                f"{type(self).__name__} learns one scene, not {len(scenes)}; train a multi-scene model, "
                f"such as ms_transformer"
            )
        self.observe(scenes[0])

    def parameter_count(self) -> int:
        """Number of learned values of the network, without those that only the loss uses."""
        return sum(
            parameter.numel()
            for name, parameter in self.named_parameters()
            if not name.startswith(self.LOSS_PREFIX)
        )


class Regressor(PoseModel[Output]):
    """A model that describes an image by latent vectors and regresses the pose from them.

    A camera pose auto-encoder learns to predict the latents from a pose, with the heads frozen.
    """

    @abstractmethod
    def describe(self, feature_maps: FeatureMaps) -> Latents:
        """Compute the latent vectors from the backbone's feature maps."""

    @abstractmethod
    def regress(self, latents: Latents) -> Output:
        """Compute the output from the latent vectors."""

    @final
    def heads(self, feature_maps: FeatureMaps, *, width: int, height: int) -> Output:
        """Compute the output from the backbone's feature maps."""
        return self.heads_and_latents(feature_maps, width=width, height=height)[0]

    @final
    def heads_and_latents(
        self, feature_maps: FeatureMaps, *, width: int, height: int
    ) -> tuple[Output, Latents]:
        """Compute the output and the latents that it was regressed from."""
        del width, height
        latents = self.describe(feature_maps)
        return self.regress(latents), latents

    def encode(self, images: Float[Tensor, "b 3 h w"]) -> Latents:
        """Compute the latent vectors of RGB images in [0, 1]."""
        return self.describe(self.backbone(images))

    def pose_in(self, latents: Latents, scene: Int[Tensor, "b"]) -> Pose:
        """Compute poses from latent vectors (b, d) and (b, e), each in the given scene."""
        del scene
        return self.decode(self.regress(latents)).world_from_cam


class GeometryModel(PoseModel[Output]):
    """A model that predicts scene points for the cells of an image and aligns them to find the pose.

    Its `decode` needs intrinsics. Its heads read the backbone's maps on one grid; where the backbone is
    frozen, these grid features can be computed once and cached.
    """

    NEEDS_INTRINSICS: ClassVar[bool] = True

    @property
    @abstractmethod
    def feature_settings(self) -> tuple[Any, ...]:
        """The settings that `grid_features` depends on."""

    @abstractmethod
    def grid_features(
        self, feature_maps: FeatureMaps, *, width: int, height: int
    ) -> Float[Tensor, "b c rows columns"]:
        """Bring the feature maps of images of `width` x `height` pixels to the grid of cells."""

    @abstractmethod
    def from_grid(self, features: Float[Tensor, "b c rows columns"]) -> Output:
        """Compute the output from the features on the grid."""

    @final
    def heads(self, feature_maps: FeatureMaps, *, width: int, height: int) -> Output:
        """Compute the output from the backbone's feature maps."""
        return self.from_grid(self.grid_features(feature_maps, width=width, height=height))

    def features(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b c rows columns"]:
        """Compute the features on the grid of RGB images in [0, 1]."""
        return self.grid_features(self.backbone(images), width=images.shape[-1], height=images.shape[-2])

    @property
    @abstractmethod
    def decoding(self) -> PointDecoding:
        """The decoding of the predicted points into poses; its arrays are those of this model."""

    def correspondences(self, output: Any, *, intrinsics: Float[Tensor, "b 3 3"]) -> Correspondences:
        """Read the correspondences of every cell from the output, in the precision of the network."""
        return self.decoding.correspondences(output, intrinsics=intrinsics)

    def to_world(self, centered_from_cam: Pose) -> Pose:
        """Move poses from the frame of the correspondences' world points to the data set's world."""
        return self.decoding.to_world(centered_from_cam)
