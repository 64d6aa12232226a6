"""Teaching an image decoder: small pictures from the encodings of the poses that they were taken from."""

from typing import Any

import torch
from jaxtyping import Int, UInt8
from torch import Tensor
from torch.nn import functional as F

from camloc.core.augment import centre_cut
from camloc.core.model import Latents
from camloc.refiners.image_decoder import ImageDecoder
from camloc.training.lesson import Lesson
from camloc.training.pictures import Pictures

# Pictures that are made small together.
CHUNK = 64


def small_pictures(
    pictures: Pictures, *, cut: tuple[int, int], width: int, height: int
) -> UInt8[Tensor, "n 3 height width"]:
    """All pictures as a decoder shows them: the network's cut of (width, height), made small."""
    found = []
    for first in range(0, len(pictures), CHUNK):
        rows = torch.arange(first, min(first + CHUNK, len(pictures)))
        batch = centre_cut(pictures.batch(rows), width=cut[0], height=cut[1])
        small = F.interpolate(
            batch.images, (height, width), mode="bilinear", align_corners=False, antialias=True
        )
        found.append((255.0 * small).round().clamp(0, 255).to(torch.uint8))
    return torch.cat(found)


class Decoding(Lesson):
    """Learning pictures from encodings by their mean absolute difference (the paper's L1).

    Source: "Camera Pose Auto-Encoders" (ECCV 2022), section 3.3, Fig. 4.
    """

    network: ImageDecoder

    def __init__(
        self,
        decoder: ImageDecoder,
        train: tuple[Latents, UInt8[Tensor, "n 3 h w"]],
        held: tuple[Latents, UInt8[Tensor, "m 3 h w"]] | None,
    ) -> None:
        """Prepare; encodings and pictures are of the frames to learn from, and of those held out."""
        self.network, self.train, self.held = decoder, train, held

    def __len__(self) -> int:
        return len(self.train[1])

    def losses(self, network: Any, rows: Int[Tensor, "b"], generator: torch.Generator) -> dict[str, Tensor]:
        """The one term."""
        del generator
        latents, pictures = self.train
        rows = rows.to(pictures.device)
        drawn = network(Latents(*(half[rows] for half in latents)))
        return {"picture": (drawn - pictures[rows].float() / 255.0).abs().mean()}

    def measures(self, network: Any) -> dict[str, float]:
        """Mean absolute difference on held-out frames, of brightness from 0 to 1."""
        if self.held is None:
            return {}
        latents, pictures = self.held
        return {"score": picture_error(decoded_pictures(network, latents), pictures)}


@torch.no_grad()
def decoded_pictures(decoder: ImageDecoder, latents: Latents) -> UInt8[Tensor, "n 3 h w"]:
    """8-bit pictures of many encodings."""
    found = []
    for first in range(0, len(latents.position), CHUNK):
        drawn = decoder(Latents(*(half[first : first + CHUNK] for half in latents)))
        found.append((255.0 * drawn).round().to(torch.uint8))
    return torch.cat(found)


def picture_error(one: UInt8[Tensor, "n 3 h w"], other: UInt8[Tensor, "n 3 h w"]) -> float:
    """Mean absolute difference of 8-bit pictures, of brightness from 0 to 1."""
    return float((one.float() - other.float()).abs().mean()) / 255.0
