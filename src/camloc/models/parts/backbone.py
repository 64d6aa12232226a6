"""The convolutional network in front, from timm: any of its architectures, cut where it is tapped."""

from dataclasses import dataclass, field
from typing import Any

import timm
import torch
from jaxtyping import Float
from torch import Tensor, nn

from camloc.errors import RecipeError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class BackboneConfig:
    """Which network of timm, and what pictures it was trained on.

    Attributes:
        name: timm's name of the architecture.
        options: keyword arguments for its constructor, such as `{"pad_type": "same"}`.
        mean, deviation: subtracted from and divided into RGB in [0, 1] before the first layer.
    """

    name: str = "efficientnet_b0"
    options: dict[str, str | float | int | bool | tuple[int, ...]] = field(default_factory=dict)
    mean: tuple[float, float, float] = IMAGENET_MEAN
    deviation: tuple[float, float, float] = IMAGENET_DEVIATION


# ImageNet weights that came from TensorFlow see RGB in [-1, 1] and pictures padded "same".
MOBILENETV2_TENSORFLOW = BackboneConfig(
    "mobilenetv2_100", {"pad_type": "same"}, mean=(0.5, 0.5, 0.5), deviation=(0.5, 0.5, 0.5)
)


class Backbone(nn.Module):
    """A timm network without its classifier, ending in the maps that are used and nothing after.

    With `taps` given, the maps after those stages (timm's numbering, 0 = stride 2), and the network
    is cut after the last of them. Without, the one final map before pooling, with the convolution
    that some architectures put there (1280 channels for EfficientNet-B0 and MobileNetV2).
    """

    def __init__(self, config: BackboneConfig, *, taps: tuple[int, ...] | None = None) -> None:
        super().__init__()
        self.config = config
        self.network = _without_classifier(config) if taps is None else _cut_after(config, taps)
        self.channels = _channels(self.network, tapped=taps is not None)
        self.register_buffer("mean", torch.tensor(config.mean).view(3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(config.deviation).view(3, 1, 1), persistent=False)

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> list[Float[Tensor, "b _ _ _"]]:
        """Maps of RGB pictures in [0, 1], one for each tap."""
        mean, deviation = self.get_buffer("mean"), self.get_buffer("deviation")
        maps = self.network((images - mean) / deviation)
        return [maps] if isinstance(maps, Tensor) else list(maps)


def _without_classifier(config: BackboneConfig) -> nn.Module:
    return _create(config, num_classes=0, global_pool="")


def _cut_after(config: BackboneConfig, taps: tuple[int, ...]) -> nn.Module:
    # Where strides become dilation only the architectures' own wrappers all take the option; otherwise
    # the getter, which alone leaves out what lies behind the last tap.
    wrapper = {} if "output_stride" in config.options else {"feature_cls": "getter"}
    return _create(config, features_only=True, out_indices=taps, **wrapper)


def _channels(network: Any, *, tapped: bool) -> tuple[int, ...]:
    return tuple(network.feature_info.channels()) if tapped else (int(network.num_features),)


def _create(config: BackboneConfig, **arguments: Any) -> nn.Module:
    if not timm.is_model(config.name):
        near = timm.list_models(f"*{config.name.split('_')[0]}*")[:5]
        hint = f"; similar ones are {', '.join(near)}" if near else ""
        raise RecipeError(f"timm has no network '{config.name}'{hint}")
    options: dict[str, Any] = {**config.options, **arguments}
    try:
        return timm.create_model(config.name, pretrained=False, **options)
    except (TypeError, AssertionError, RuntimeError) as problem:
        reason = " ".join(str(problem).split())
        raise RecipeError(f"timm cannot build '{config.name}' with {config.options}: {reason}") from None
