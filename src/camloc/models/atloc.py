"""AtLoc: attention among the channels of one feature vector; and the same with a hypernetwork.

A linear layer expands the pooled features of a ResNet-34 to 2,048 channels. Each channel attends to all
others, so that each image has its own weighting of features. Two linear heads output position and log
quaternion. Trained on windows of frames with the relative-pose loss, it is AtLoc+.

Source: Wang et al., "AtLoc: Attention Guided Camera Localization", AAAI 2020, section 3, and the authors'
code; the hypernetwork is that of Ferens and Keller, "HyperPose", 2025 (supplement, section 8).
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from camloc.models.base import FeatureMaps, Latents
from camloc.models.decoding import RegressedPose
from camloc.models.layers.backbone import Backbone, BackboneConfig
from camloc.models.layers.hypernetwork import HyperHead, HypernetworkConfig
from camloc.models.layers.transformer import BatchDropout
from camloc.models.losses import PoseLossConfig
from camloc.models.regressor import RegressionConfig, SingleSceneRegressor

# Mean absolute errors, log quaternions with the label's sign, and the initial learned weights.
_AUTHORS_LOSS = PoseLossConfig(position=0.0, orientation=-3.0, hemisphere_safe=False, distance="absolute")


@dataclass(frozen=True)
class AtLocConfig:
    """Settings of `AtLoc`.

    Attributes:
        backbone: the network in front. The authors normalise images with the `mean` and `deviation` of their
            scene.
        features: width of the vector whose channels attend to each other.
        attention: width of its queries, keys and values.
        dropout: rate before the ordinary heads.
        hypernetwork: generates heads beside the ordinary ones; None for AtLoc as published.
        regression: how the pose is regressed; with `relative`, AtLoc+.
    """

    backbone: BackboneConfig = BackboneConfig("resnet34")
    features: int = 2048
    attention: int = 256
    dropout: float = 0.5
    hypernetwork: HypernetworkConfig | None = None
    regression: RegressionConfig = RegressionConfig(orientation="log_quaternion", pose_loss=_AUTHORS_LOSS)


# The comparison in the HyperPose paper's code uses quaternions and its own loss.
_IN_HYPERPOSE = RegressionConfig(pose_loss=PoseLossConfig(-3.0, -6.5))

PRESETS = {
    "paper": AtLocConfig(),
    "plus": AtLocConfig(
        regression=RegressionConfig(
            orientation="log_quaternion", pose_loss=_AUTHORS_LOSS, relative=_AUTHORS_LOSS
        )
    ),
    "quaternion": AtLocConfig(regression=_IN_HYPERPOSE),
    "hypernetwork": AtLocConfig(hypernetwork=HypernetworkConfig(), regression=_IN_HYPERPOSE),
}


class ChannelAttention(nn.Module):
    """Attention among the channels of one vector.

        y = x + W (softmax(phi(x) theta(x)^T) g(x))

    The softmax is over the rows of the outer product of two vectors, which is attention with scalar keys and
    queries.

    Source: AtLoc section 3.2, Eq. 2 to 4; the non-local block of Wang et al. 2018.
    """

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.query = nn.Linear(features, width)
        self.key = nn.Linear(features, width)
        self.value = nn.Linear(features, width)
        self.output = nn.Linear(width, features)

    def forward(self, features: Float[Tensor, "b n"]) -> Float[Tensor, "b n"]:
        """Add the attended values to the vector."""
        query, key, value = (
            layer(features)[:, None, :, None] for layer in (self.query, self.key, self.value)
        )
        attended = F.scaled_dot_product_attention(query, key, value, scale=1.0)[:, 0, :, 0]
        return features + self.output(attended)  # type: ignore[no-any-return]


class AtLoc(SingleSceneRegressor):
    """A CNN, attention among its pooled features, linear heads and, if configured, generated heads."""

    def __init__(self, config: AtLocConfig) -> None:
        super().__init__(config.regression)
        self.backbone = Backbone(config.backbone)
        self.expand = nn.Linear(self.backbone.channels[-1], config.features)
        self.attention = ChannelAttention(config.features, config.attention)
        self.dropout = BatchDropout(config.dropout)
        orientation_size = config.regression.orientation_size
        self.position_head = nn.Linear(config.features, 3)
        self.orientation_head = nn.Linear(config.features, orientation_size)
        for linear in (self.expand, self.position_head, self.orientation_head):
            nn.init.kaiming_normal_(linear.weight)
            nn.init.zeros_(linear.bias)
        self.position_hyper: HyperHead | None = None
        self.orientation_hyper: HyperHead | None = None
        if config.hypernetwork is not None:
            hyper = config.hypernetwork
            self.position_hyper = HyperHead(
                config.features, 3, width=hyper.position, generator=hyper.generator
            )
            self.orientation_hyper = HyperHead(
                config.features, orientation_size, width=hyper.orientation, generator=hyper.generator
            )

    def describe(self, feature_maps: FeatureMaps) -> Latents:
        """Compute the vector after attention, which both heads read."""
        (final,) = feature_maps
        features = self.attention(F.relu(self.expand(final.mean((-2, -1)))))
        return Latents(features, features)

    def regress(self, latents: Latents) -> RegressedPose:
        """Add the outputs of ordinary and generated heads."""
        position = self.position_head(self.dropout(latents.position))
        orientation = self.orientation_head(self.dropout(latents.orientation))
        if self.position_hyper is not None:
            position = position + self.position_hyper(latents.position)
        if self.orientation_hyper is not None:
            orientation = orientation + self.orientation_hyper(latents.orientation)
        return self.world(position, orientation)  # type: ignore[no-any-return]
