"""AtLoc: attention among the channels of one feature vector; and the same with a hypernetwork.

A ResNet-34's pooled features are widened to 2,048 channels. Each channel then attends to every other: which
features count is weighed anew for each image. Position and log quaternion are read from the result. With
windows of frames and the loss of the way between them it is AtLoc+.

Source: Wang et al., "AtLoc: Attention Guided Camera Localization", AAAI 2020, section 3, and the authors'
code; the hypernetwork is that of Ferens and Keller, "HyperPose", 2025 (supplement, section 8).
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from camloc.models.base import Latents
from camloc.models.layers.backbone import Backbone, BackboneConfig
from camloc.models.layers.hypernetwork import HyperHead, HypernetworkConfig
from camloc.models.layers.transformer import BatchDropout
from camloc.models.losses import PoseLossConfig
from camloc.models.regressor import RegressedPose, RegressionConfig, SingleSceneRegressor

# Mean absolute errors, log quaternions as they are labelled, and where the learned weights start.
_AUTHORS_LOSS = PoseLossConfig(position=0.0, orientation=-3.0, hemisphere_safe=False, distance="absolute")


@dataclass(frozen=True)
class AtLocConfig:
    """Settings of `AtLoc`.

    Attributes:
        backbone: the network in front. The authors' images are normalised with the statistics of their
            scene, which are its `mean` and `deviation`.
        features: width of the vector whose channels attend to each other.
        attention: width of its queries, keys and values.
        dropout: rate before the ordinary heads.
        hypernetwork: None for AtLoc as its authors built it.
        regression: how the pose is regressed; with `relative`, AtLoc+.
    """

    backbone: BackboneConfig = BackboneConfig("resnet34")
    features: int = 2048
    attention: int = 256
    dropout: float = 0.5
    hypernetwork: HypernetworkConfig | None = None
    regression: RegressionConfig = RegressionConfig(orientation="log_quaternion", pose_loss=_AUTHORS_LOSS)


# In the comparison of the HyperPose paper's code: a quaternion of four numbers and its own loss.
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
    """Every channel of a vector attends to every other.

        y = x + W (softmax(phi(x) theta(x)^T) g(x))

    The softmax runs over the rows of the outer product of two vectors: attention with keys and queries of one
    number. Source: AtLoc section 3.2, Eq. 2 to 4; the non-local block of Wang et al. 2018.
    """

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.query = nn.Linear(features, width)
        self.key = nn.Linear(features, width)
        self.value = nn.Linear(features, width)
        self.output = nn.Linear(width, features)

    def forward(self, features: Float[Tensor, "b n"]) -> Float[Tensor, "b n"]:
        """The vector with what it attends to added."""
        query, key, value = (
            layer(features)[:, None, :, None] for layer in (self.query, self.key, self.value)
        )
        seen = F.scaled_dot_product_attention(query, key, value, scale=1.0)[:, 0, :, 0]
        return features + self.output(seen)  # type: ignore[no-any-return]


class AtLoc(SingleSceneRegressor):
    """A CNN, attention among its pooled features, two linear heads; generated ones beside them if asked."""

    def __init__(self, config: AtLocConfig) -> None:
        super().__init__(config.regression)
        self.backbone = Backbone(config.backbone)
        self.widen = nn.Linear(self.backbone.channels[-1], config.features)
        self.attention = ChannelAttention(config.features, config.attention)
        self.dropout = BatchDropout(config.dropout)
        orientation_size = config.regression.orientation_size
        self.position_head = nn.Linear(config.features, 3)
        self.orientation_head = nn.Linear(config.features, orientation_size)
        for linear in (self.widen, self.position_head, self.orientation_head):
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

    def describe(self, maps: list[Float[Tensor, "b _ _ _"]]) -> Latents:
        """The vector after attention; both halves of the pose read the same one."""
        (final,) = maps
        features = self.attention(F.relu(self.widen(final.mean((-2, -1)))))
        return Latents(features, features)

    def regress(self, latents: Latents) -> RegressedPose:
        """The ordinary heads' pose, plus the generated heads' where there are some."""
        position = self.position_head(self.dropout(latents.position))
        orientation = self.orientation_head(self.dropout(latents.orientation))
        if self.position_hyper is not None:
            position = position + self.position_hyper(latents.position)
        if self.orientation_hyper is not None:
            orientation = orientation + self.orientation_hyper(latents.orientation)
        return self.world(position, orientation)  # type: ignore[no-any-return]
