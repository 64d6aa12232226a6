"""The hypernetwork that HyperPose (2025) puts beside the heads of a regressor, and AtLoc's too."""

from dataclasses import dataclass

from camloc.models.parts.hyper import GeneratorConfig


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
