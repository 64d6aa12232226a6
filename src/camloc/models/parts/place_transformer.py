"""A feature map read by a Transformer on behalf of every place that a model knows."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from camloc.models.parts.position_codes import PositionCodes
from camloc.models.parts.transformer import Decoder, Encoder, TransformerConfig


class PlaceTransformer(nn.Module):
    """The cells of a map through an encoder, and a query for each place, which asks a decoder about them.

    Args:
        channels: of the map.
        config: of encoder and decoder alike.
        groups: how many places are in each group; the queries of a group ask each other and no others.
        codes: of its own, or None where it is called with codes that several maps share.

    Source: MS-Transformer (Shavit, Ferens and Keller 2021), section 3.
    """

    def __init__(
        self,
        channels: int,
        config: TransformerConfig,
        *,
        groups: tuple[int, ...],
        codes: PositionCodes | None = None,
    ) -> None:
        super().__init__()
        self.projection = nn.Linear(channels, config.width)  # the paper's 1 x 1 convolution
        self.encoder = Encoder(config)
        self.query_of_place = nn.Parameter(torch.randn(sum(groups), config.width))
        self.groups = groups
        self.decoder = Decoder(config)
        self.codes = codes

    def forward(
        self, maps: Float[Tensor, "b c h w"], shared_codes: PositionCodes | None = None
    ) -> Float[Tensor, "b s d"]:
        """What the map says on each place's behalf."""
        codes = self.codes if shared_codes is None else shared_codes
        assert codes is not None, "a Transformer without codes of its own is called with shared ones"
        positions = codes(maps.shape[-2], maps.shape[-1])
        memory = self.encoder(self.projection(maps.flatten(2).mT), positions)
        parts = [
            self.decoder(queries, memory, positions) for queries in self.query_of_place.split(self.groups)
        ]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
