"""Whether an image is of a scene that was learned: how like it is to the nearest one that was learned from.

What the backbone sees of both is compared, in its maps and in its middle. Its last map has learned the scene,
and is not the same of a corner of it that was not among the training images; its middle knows things in
general, to which the scene in other light is another one. Sun, Ming, Zhu and Li ("Out-of-distribution
detection with deep nearest neighbors", ICML 2022) tell foreign images by the same distance.
"""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from camloc.models.base import WithBackbone


def feature_maps(
    model: WithBackbone, images: Float[Tensor, "b 3 h w"]
) -> tuple[list[Float[Tensor, "b _ _ _"]], list[Float[Tensor, "b _ _ _"]]]:
    """The backbone's maps of RGB images in [0, 1], and all maps that an image is recognised by."""
    backbone: Any = model.backbone
    maps, seen = backbone.feature_maps(images)
    return maps, seen


def summary(maps: list[Float[Tensor, "b _ _ _"]]) -> Float[Tensor, "b c"]:
    """What images show, wherever in them it is: the mean of each map, at length 1, one behind the other."""
    return torch.cat([F.normalize(each.mean((-2, -1)), dim=-1) for each in maps], dim=-1)


class NoveltyDetector(nn.Module):
    """The summaries of the images that a scene was learned from, to compare others with.

    Attributes:
        known: (n, c) summaries, in half precision.
    """

    summaries: Tensor

    def __init__(self, summaries: Float[Tensor, "n c"]) -> None:
        super().__init__()
        self.register_buffer("summaries", summaries.half())

    def forward(self, maps: list[Float[Tensor, "b _ _ _"]]) -> Float[Tensor, "b"]:
        """How unlike each image is to the nearest that is known: the distance of their summaries.

        Args:
            maps: that images are recognised by.
        """
        seen, known = summary(maps), self.summaries.to(maps[0].dtype)
        # A convolution and not a product, since products are what an exported network may do in whole
        # numbers, which would be too coarse here.
        likeness = F.conv2d(seen[:, :, None, None], known[:, :, None, None])[:, :, 0, 0]
        return (2.0 * len(maps) - 2.0 * likeness.amax(-1)).clamp_min(0.0).sqrt()


class WithNovelty(nn.Module):
    """A network that also says how unlike an image is to those that it learned from."""

    def __init__(self, model: WithBackbone, recognition: NoveltyDetector) -> None:
        super().__init__()
        self.model, self.recognition = model, recognition

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> tuple[Tensor, ...]:
        """The fields of the model's output, and last how unlike each image is: (b,)."""
        maps, seen = feature_maps(self.model, images)
        output = self.model.from_maps(maps, width=images.shape[-1], height=images.shape[-2])
        return (*output, self.recognition(seen))
