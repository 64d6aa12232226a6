"""The hypernetwork that HyperPose (2025) puts beside the heads of a regressor, and AtLoc's too."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from camloc.models.parts.hyper import GeneratorConfig, hyper_linear


@dataclass(frozen=True)
class HypernetworkConfig:
    """Sizes of the hypernetwork's two branches (the papers' theta_h), supplement Table 6.

    Attributes:
        position: width of the branch that generates the position head.
        orientation: width of the branch that generates the orientation head.
        generator: how the weights are generated.
    """

    position: int = 256
    orientation: int = 512
    generator: GeneratorConfig = GeneratorConfig()


class HyperTwin(nn.Module):
    """A generated layer beside an ordinary one: it sees the same values, and is added to what that says.

    Its weights are generated from the picture's features through two adjacent linear layers, as those of
    `HyperHead` are. Source: HyperPose 2025 supplement, Table 4, "integrated hyper-layer".
    """

    def __init__(
        self, features: int, inputs: int, outputs: int, *, width: int, generator: GeneratorConfig
    ) -> None:
        super().__init__()
        self.embedding = nn.Linear(features, width)
        self.condition = nn.Linear(width, width)
        self.layer = hyper_linear(inputs, outputs, condition=width, generator=generator)
        for linear in (self.embedding, self.condition):
            nn.init.kaiming_normal_(linear.weight)

    def forward(
        self, values: Float[Tensor, "b inputs"], features: Float[Tensor, "b features"]
    ) -> Float[Tensor, "b outputs"]:
        """What is added to the ordinary layer's output."""
        condition = F.silu(self.condition(self.embedding(features)))
        return self.layer(values, condition)  # type: ignore[no-any-return]
