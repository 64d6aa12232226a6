"""From the encoding of a pose to a small image of what a camera there would see.

The image is blurred: it shows what all images from around there have in common. No image is kept.

Source: "Camera Pose Auto-Encoders" (ECCV 2022), sections 3.3 and 3.4.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn
from torch.nn import functional as F

from camloc.data.augment import centre_cut
from camloc.data.image_cache import ImageCache
from camloc.errors import RecipeError
from camloc.models.base import Latents
from camloc.refinement.pose_autoencoder import perceptron
from camloc.refinement.query import stacked
from camloc.training.tasks import AuxiliaryTask

# How often the convolutional decoder doubles its map with a convolution after; a last time, four colours of a
# cell become four pixels.
_DOUBLINGS = 3
_SIDE = 2 ** (_DOUBLINGS + 1)


@dataclass(frozen=True)
class ImageDecoderConfig:
    """Settings of `ImageDecoder`.

    Attributes:
        kind: "perceptron": four layers, as published. "convolutional": a small map that is doubled and
            convolved, of a thirtieth of the weights.
        width, height: of the image.
        hidden: sizes of the perceptron's layers before the last, or of the one layer before the first map.
        channels: of the convolutional decoder's maps, from the smallest to the largest.
    """

    kind: Literal["convolutional", "perceptron"] = "convolutional"
    width: int = 64
    height: int = 64
    hidden: tuple[int, ...] = (256,)
    channels: tuple[int, ...] = (128, 96, 64, 48)


PUBLISHED = ImageDecoderConfig("perceptron", hidden=(512, 1024, 2048))


class ImageDecoder(nn.Module):
    """A small network from the latents of poses to RGB images in [0, 1]."""

    def __init__(
        self, config: ImageDecoderConfig, *, latents: tuple[int, int], is_shared: bool = False
    ) -> None:
        """A network with fresh weights.

        Args:
            config: its settings.
            latents: sizes of position and orientation latents.
            is_shared: whether both are one, which is then read once.

        Raises:
            RecipeError: the convolutional decoder cannot make an image of that size.
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
        """Note the mean and the spread of the training poses' latents."""
        values = stacked(latents, self.reads)
        self.get_buffer("mean").copy_(values.mean(0))
        self.get_buffer("scale").copy_(values.std(0).square().mean().sqrt().clamp_min(1e-6))

    def forward(self, latents: Latents) -> Float[Tensor, "b 3 h w"]:
        """Images of (b,) encoded poses."""
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
            f"that {_SIDE} divides, unlike {config.width} x {config.height}"
        )
    rows, columns = config.height // _SIDE, config.width // _SIDE
    first = config.channels[0]
    layers: list[nn.Module] = [
        perceptron(inputs, *config.hidden, first * rows * columns),
        nn.Unflatten(-1, (first, rows, columns)),
        nn.ReLU(),
    ]
    for thick, subsample in pairwise(config.channels):
        layers += [
            nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False),
            nn.Conv2d(thick, subsample, 3, padding=1),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers, nn.Conv2d(config.channels[-1], 3 * 4, 3, padding=1), nn.PixelShuffle(2))


# Images that are made small together.
CHUNK = 64


def small_images(
    images: ImageCache, *, cut: tuple[int, int], width: int, height: int
) -> UInt8[Tensor, "n 3 height width"]:
    """All images as a decoder shows them: the network's cut of (width, height), made small."""
    found = []
    for first in range(0, len(images), CHUNK):
        rows = torch.arange(first, min(first + CHUNK, len(images)))
        batch = centre_cut(images.batch(rows), width=cut[0], height=cut[1])
        small = F.interpolate(
            batch.images, (height, width), mode="bilinear", align_corners=False, antialias=True
        )
        found.append((255.0 * small).round().clamp(0, 255).to(torch.uint8))
    return torch.cat(found)


class Decoding(AuxiliaryTask):
    """Learning images from encodings by their mean absolute difference (the paper's L1).

    Source: "Camera Pose Auto-Encoders" (ECCV 2022), section 3.3, Fig. 4.
    """

    network: ImageDecoder

    def __init__(
        self,
        decoder: ImageDecoder,
        train: tuple[Latents, UInt8[Tensor, "n 3 h w"]],
        held: tuple[Latents, UInt8[Tensor, "m 3 h w"]] | None,
    ) -> None:
        """Prepare; encodings and images are of the frames to learn from, and of those held out."""
        self.network, self.train, self.held = decoder, train, held

    def __len__(self) -> int:
        return len(self.train[1])

    def losses(self, network: Any, rows: Int[Tensor, "b"], generator: torch.Generator) -> dict[str, Tensor]:
        """The one term."""
        del generator
        latents, images = self.train
        rows = rows.to(images.device)
        drawn = network(Latents(*(half[rows] for half in latents)))
        return {"image": (drawn - images[rows].float() / 255.0).abs().mean()}

    def measures(self, network: Any) -> dict[str, float]:
        """Mean absolute difference on held-out frames, of brightness from 0 to 1."""
        if self.held is None:
            return {}
        latents, images = self.held
        return {"score": image_error(decoded_images(network, latents), images)}


@torch.no_grad()
def decoded_images(decoder: ImageDecoder, latents: Latents) -> UInt8[Tensor, "n 3 h w"]:
    """8-bit images of many encodings."""
    found = []
    for first in range(0, len(latents.position), CHUNK):
        drawn = decoder(Latents(*(half[first : first + CHUNK] for half in latents)))
        found.append((255.0 * drawn).round().to(torch.uint8))
    return torch.cat(found)


def image_error(one: UInt8[Tensor, "n 3 h w"], other: UInt8[Tensor, "n 3 h w"]) -> float:
    """Mean absolute difference of 8-bit images, of brightness from 0 to 1."""
    return float((one.float() - other.float()).abs().mean()) / 255.0
