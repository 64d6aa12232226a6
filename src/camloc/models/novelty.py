"""Novelty of an image: the distance of its features to those of the nearest training image.

An image is summarised by the means of feature maps: those of the backbone's taps and of its middle stage
(`Backbone.forward_with_novelty_maps`). The last map is trained on the scene and may differ in views that the
training images do not show; the middle stage has more general features, which change with the light. So both
are compared. Sun, Ming, Zhu and Li ("Out-of-distribution detection with deep nearest
neighbors", ICML 2022) use the same distance.
"""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from camloc.models.base import FeatureMaps, PoseModel


def summary(novelty_maps: FeatureMaps) -> Float[Tensor, "b c"]:
    """Summarise images independently of where objects are in them: the concatenated means of the maps.

    Each mean is scaled to unit length.
    """
    return torch.cat([F.normalize(each.mean((-2, -1)), dim=-1) for each in novelty_maps], dim=-1)


class NoveltyDetector(nn.Module):
    """The summaries of the training images of a checkpoint's scenes.

    Attributes:
        summaries: (n, c), in half precision.
    """

    summaries: Tensor

    def __init__(self, summaries: Float[Tensor, "n c"]) -> None:
        super().__init__()
        self.register_buffer("summaries", summaries.half())

    def forward(self, novelty_maps: FeatureMaps) -> Float[Tensor, "b"]:
        """Compute the novelty of each image: the distance of its summary to the nearest training summary."""
        queries, references = summary(novelty_maps), self.summaries.to(novelty_maps[0].dtype)
        # A convolution instead of a matrix product, because exports in int8 quantize matrix products, and 8
        # bits are too coarse for this distance.
        similarity = F.conv2d(queries[:, :, None, None], references[:, :, None, None])[:, :, 0, 0]
        return (2.0 * len(novelty_maps) - 2.0 * similarity.amax(-1)).clamp_min(0.0).sqrt()


class WithNovelty(nn.Module):
    """A model whose output has one more tensor, the novelty of each image (b,); it is exported."""

    def __init__(self, model: PoseModel[Any], detector: NoveltyDetector) -> None:
        super().__init__()
        self.model, self.detector = model, detector

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> tuple[Tensor, ...]:
        """The fields of the model's output, then the novelty."""
        prediction = self.model.predict(images, novelty_detector=self.detector)
        assert prediction.novelty is not None
        return (*prediction.output, prediction.novelty)
