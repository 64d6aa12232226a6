"""A feature map told in one vector: read cell by cell by a Transformer, or averaged."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from camloc.models.parts.position_codes import PositionCodes
from camloc.models.parts.transformer import Encoder, TransformerConfig


class MapEncoder(nn.Module):
    """The cells of a map, projected, and before them a learned token, whose answer is the map's description.

    Source: TransPoseNet (2021) section 3.1, Eq. 1.
    """

    def __init__(self, channels: int, config: TransformerConfig, codes: PositionCodes | None = None) -> None:
        """`codes` of its own, or None where it is called with codes that several maps share."""
        super().__init__()
        self.projection = nn.Linear(channels, config.width)  # the papers' 1 x 1 convolution
        self.token = nn.Parameter(torch.zeros(config.width))
        self.encoder = Encoder(config)
        self.codes = codes

    def forward(
        self, maps: Float[Tensor, "b c h w"], shared_codes: PositionCodes | None = None
    ) -> Float[Tensor, "b d"]:
        """The token's answer."""
        answer: Tensor = self.encoder.first(*self._tokens(maps, shared_codes))
        return answer

    def attention(
        self, maps: Float[Tensor, "b c h w"], shared_codes: PositionCodes | None = None
    ) -> Float[Tensor, "b heads h w"]:
        """How much the token sees of each cell in the last layer, for figures."""
        weights = self.encoder.first_weights(*self._tokens(maps, shared_codes))
        cells: Tensor = weights[..., 1:].unflatten(-1, maps.shape[-2:])
        return cells

    def _tokens(self, maps: Tensor, shared_codes: PositionCodes | None) -> tuple[Tensor, Tensor]:
        codes = self.codes if shared_codes is None else shared_codes
        assert codes is not None, "an encoder without codes of its own is called with shared ones"
        cells = self.projection(maps.flatten(2).mT)
        token = self.token.expand(maps.shape[0], 1, -1)
        return torch.cat((token, cells), dim=1), codes(maps.shape[-2], maps.shape[-1])


class PlaceMapEncoder(MapEncoder):
    """A map described for every place: what is learned of a place joins the token before the last layer.

    The layers before it, which are nearly all of the work, are computed once for all places.

    Args:
        groups: how many places are in each group; each group is answered by a call of its own.
    """

    def __init__(
        self,
        channels: int,
        config: TransformerConfig,
        codes: PositionCodes | None = None,
        *,
        groups: tuple[int, ...],
    ) -> None:
        super().__init__(channels, config, codes)
        self.token_of_place = nn.Parameter(torch.zeros(sum(groups), config.width))
        self.groups = groups

    def forward(
        self, maps: Float[Tensor, "b c h w"], shared_codes: PositionCodes | None = None
    ) -> Float[Tensor, "b s d"]:
        """The token's answer in each place."""
        added = self.token_of_place.split(self.groups)
        answers: Tensor = self.encoder.firsts(*self._tokens(maps, shared_codes), added=added)
        return answers


class PooledEncoder(nn.Module):
    """The mean of a map's cells through two layers, for comparison with `MapEncoder`.

    Source: HyperPose (2023) Fig. 1a and Table 5, "Backbone embedding"; the number of layers is ours.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(channels, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())

    def forward(
        self, maps: Float[Tensor, "b c h w"], shared_codes: PositionCodes | None = None
    ) -> Float[Tensor, "b d"]:
        """A description in which places are forgotten, so that codes of them are not used."""
        del shared_codes
        return self.layers(maps.mean((-2, -1)))  # type: ignore[no-any-return]
