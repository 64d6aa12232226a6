"""Image decoder: draws a small image of the view from a pose, from the pose's encoding.

The image is blurred: it shows what the training images near the pose have in common. No image is stored.

Source: "Camera Pose Auto-Encoders" (ECCV 2022), sections 3.3 and 3.4.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from itertools import pairwise
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from camloc.data.augment import centre_cut
from camloc.data.image_cache import ImageCache
from camloc.errors import RecipeError
from camloc.models.base import Latents
from camloc.refinement.pose_autoencoder import perceptron
from camloc.refinement.refiner import stacked
from camloc.refinement.storage import FORMAT, AuxiliaryMetadata
from camloc.training.tasks import AuxiliaryTask

# The convolutional decoder doubles its map this many times, each followed by a convolution; the last doubling
# rearranges channels into pixels.
_DOUBLINGS = 3
_SIDE = 2 ** (_DOUBLINGS + 1)

# Images that are processed together.
_CHUNK = 64


@dataclass(frozen=True)
class ImageDecoderConfig:
    """Settings of `ImageDecoder`.

    Attributes:
        kind: "perceptron": four layers, as published. "convolutional": a small map that is repeatedly doubled
            and convolved, with a thirtieth of the weights.
        width, height: of the image.
        hidden: sizes of the perceptron's layers before the last, or of the layers before the first map.
        channels: of the convolutional decoder's maps, from the smallest map to the largest.
    """

    kind: Literal["convolutional", "perceptron"] = "convolutional"
    width: int = 64
    height: int = 64
    hidden: tuple[int, ...] = (256,)
    channels: tuple[int, ...] = (128, 96, 64, 48)


PUBLISHED = ImageDecoderConfig("perceptron", hidden=(512, 1024, 2048))


class ImageDecoder(nn.Module):
    """A small network that maps latents to RGB images in [0, 1]."""

    def __init__(
        self, config: ImageDecoderConfig, *, latents: tuple[int, int], is_shared: bool = False
    ) -> None:
        """A network with fresh weights.

        Args:
            config: its settings.
            latents: sizes of position and orientation latents.
            is_shared: whether both are the same tensor, which is then read once.

        Raises:
            RecipeError: the convolutional decoder cannot draw an image of that size.
        """
        super().__init__()
        self.config = config
        self.reads: Literal["both", "position"] = "position" if is_shared else "both"
        inputs = latents[0] if is_shared else sum(latents)
        self.register_buffer("mean", torch.zeros(inputs))
        self.register_buffer("scale", torch.ones(()))
        if config.kind == "perceptron":
            pixels = 3 * config.height * config.width
            shape = (3, config.height, config.width)
            self.network: nn.Module = nn.Sequential(
                perceptron(inputs, *config.hidden, pixels), nn.Unflatten(-1, shape)
            )
        else:
            self.network = _convolutional(config, inputs)

    def observe(self, latents: Latents) -> None:
        """Set the mean and the scale of the inputs from the training poses' latents."""
        values = stacked(latents, self.reads)
        self.get_buffer("mean").copy_(values.mean(0))
        self.get_buffer("scale").copy_(values.std(0).square().mean().sqrt().clamp_min(1e-6))

    def forward(self, latents: Latents) -> Float[Tensor, "b 3 h w"]:
        """The images of encoded poses."""
        values = stacked(latents, self.reads)
        drawn: Tensor = self.network((values - self.get_buffer("mean")) / self.get_buffer("scale"))
        return drawn.sigmoid()

    def parameter_count(self) -> int:
        """Number of learned values."""
        return sum(parameter.numel() for parameter in self.parameters())


def _convolutional(config: ImageDecoderConfig, inputs: int) -> nn.Sequential:
    if config.width % _SIDE or config.height % _SIDE or len(config.channels) != _DOUBLINGS + 1:
        raise RecipeError(
            f"a convolutional decoder needs {_DOUBLINGS + 1} numbers of channels, and a width and a height "
            f"divisible by {_SIDE}, not {len(config.channels)} and {config.width} x {config.height}"
        )
    rows, columns = config.height // _SIDE, config.width // _SIDE
    first = config.channels[0]
    layers: list[nn.Module] = [
        perceptron(inputs, *config.hidden, first * rows * columns),
        nn.Unflatten(-1, (first, rows, columns)),
        nn.ReLU(),
    ]
    for wide, narrow in pairwise(config.channels):
        layers += [
            nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False),
            nn.Conv2d(wide, narrow, 3, padding=1),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers, nn.Conv2d(config.channels[-1], 3 * 4, 3, padding=1), nn.PixelShuffle(2))


@dataclass(frozen=True)
class DecoderMetadata(AuxiliaryMetadata[ImageDecoder]):
    """The content of `decoder/decoder.json`.

    Attributes:
        source: digest of the pose auto-encoder whose encodings it reads.
        config: settings of the decoder.
        latents: sizes of the halves of an encoding.
        is_shared: whether the halves are the same tensor.
        differences: mean absolute differences from the held-out images, of brightness from 0 to 1, for the
            images "decoded", "nearest image" and "mean image".
        format: version of this layout.
    """

    NAME: ClassVar[str] = "decoder"

    source: str
    config: ImageDecoderConfig
    latents: tuple[int, int]
    is_shared: bool
    differences: dict[str, float] = field(default_factory=dict)
    format: int = FORMAT

    def build(self) -> ImageDecoder:
        """A decoder with fresh weights."""
        return ImageDecoder(self.config, latents=self.latents, is_shared=self.is_shared)


class Decoding(AuxiliaryTask):
    """The task of drawing images from encodings, with the mean absolute difference as loss (the paper's L1).

    Source: "Camera Pose Auto-Encoders" (ECCV 2022), section 3.3, Fig. 4.
    """

    network: ImageDecoder

    def __init__(
        self,
        decoder: ImageDecoder,
        train: tuple[Latents, UInt8[Tensor, "n 3 h w"]],
        held: tuple[Latents, UInt8[Tensor, "m 3 h w"]] | None,
    ) -> None:
        """Prepare the task.

        Args:
            decoder: to be trained; `observe` has been called.
            train, held: encodings and images of the training frames and of the held-out frames.
        """
        self.network, self.train, self.held = decoder, train, held

    def __len__(self) -> int:
        return len(self.train[1])

    def losses(self, network: Any, rows: Int[Tensor, "b"], generator: torch.Generator) -> dict[str, Tensor]:
        """The mean absolute difference, of brightness from 0 to 1."""
        del generator
        latents, images = self.train
        rows = rows.to(images.device)
        drawn = network(Latents(*(half[rows] for half in latents)))
        return {"image": (drawn - images[rows].float() / 255.0).abs().mean()}

    def measures(self, network: Any) -> dict[str, float]:
        """The `score` is the mean absolute difference on held-out frames, of brightness from 0 to 1."""
        if self.held is None:
            return {}
        latents, images = self.held
        return {"score": image_error(decoded_images(network, latents), images)}


@torch.no_grad()
def decoded_images(decoder: ImageDecoder, latents: Latents) -> UInt8[Tensor, "n 3 h w"]:
    """The 8-bit images of many encodings."""
    parts = []
    for rows in _chunks(len(latents.position)):
        drawn = decoder(Latents(*(half[rows] for half in latents)))
        parts.append((255.0 * drawn).round().to(torch.uint8))
    return torch.cat(parts)


def small_images(
    images: ImageCache, *, cut: tuple[int, int], width: int, height: int
) -> UInt8[Tensor, "n 3 height width"]:
    """The images that a decoder should draw: the central cut of (width, height) pixels, scaled down."""
    parts = []
    for rows in _chunks(len(images)):
        batch = centre_cut(images.batch(torch.arange(rows.start, rows.stop)), width=cut[0], height=cut[1])
        small = F.interpolate(
            batch.images, (height, width), mode="bilinear", align_corners=False, antialias=True
        )
        parts.append((255.0 * small).round().clamp(0, 255).to(torch.uint8))
    return torch.cat(parts)


def image_error(one: UInt8[Tensor, "n 3 h w"], other: UInt8[Tensor, "n 3 h w"]) -> float:
    """Mean absolute difference of 8-bit images, of brightness from 0 to 1."""
    return float((one.float() - other.float()).abs().mean()) / 255.0


def _chunks(count: int) -> Iterator[slice]:
    for first in range(0, count, _CHUNK):
        yield slice(first, min(first + _CHUNK, count))


# Pixels of the figure for a pixel of an image, and between images.
_SCALE, _GAP = 3, 6


def side_by_side(true: UInt8[Tensor, "n 3 h w"], decoded: UInt8[Tensor, "n 3 h w"]) -> bytes:
    """A PNG with a column for each image: the true one above, the decoded one below, as in Figure 6."""
    count, _, height, width = true.shape
    rows, columns = height * _SCALE, width * _SCALE
    shape = (2 * rows + 3 * _GAP, count * columns + (count + 1) * _GAP, 3)
    sheet = np.full(shape, 255, np.uint8)
    for column, pair in enumerate(zip(true, decoded, strict=True)):
        for row, image in enumerate(pair):
            shown = image.numpy().transpose(1, 2, 0).repeat(_SCALE, 0).repeat(_SCALE, 1)
            top, left = _GAP + row * (rows + _GAP), _GAP + column * (columns + _GAP)
            sheet[top : top + rows, left : left + columns] = shown
    data = BytesIO()
    Image.fromarray(sheet).save(data, format="PNG")
    return data.getvalue()
