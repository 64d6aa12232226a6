"""Attention in two ways, each without what its answer does not need.

Nothing is masked, because all pictures of a batch have the same cells, and no weights are kept, so that
torch's fused kernel does the work where many ask many, and with dropout on CPUs one of ours. Where few
queries ask many cells (the one token whose answer is wanted, a query for each place), the cells' keys and
values are never projected: q . (W x) = (W' q) . x, and a weighted mean of W x is W times that of x.
"""

import math
from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from camloc.errors import RecipeError
from camloc.models.parts.dropout import BatchDropout
from camloc.models.parts.dropped_attention import attention_with_dropout


class Attention(nn.Module):
    """Multi-head attention, the same as `nn.MultiheadAttention`.

    `forward` and `of_few` are one function in two ways; which is cheaper depends on how many ask.

    Raises:
        RecipeError: the heads cannot share the width.
    """

    def __init__(self, width: int, *, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        if heads < 1 or width % heads:
            raise RecipeError(f"{heads} heads cannot share a width of {width}; give a divisor of it")
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)
        self.dropout = BatchDropout(dropout)
        for linear in (self.query, self.key, self.value):
            # The published bound is that of the three as one matrix of 3 width x width.
            nn.init.xavier_uniform_(linear.weight, gain=math.sqrt(0.5))
        nn.init.xavier_uniform_(self.output.weight)
        for linear in (self.query, self.key, self.value, self.output):
            nn.init.zeros_(linear.bias)

    def forward(
        self, queries: Float[Tensor, "b s d"], keys: Float[Tensor, "b n d"], values: Float[Tensor, "b n d"]
    ) -> Float[Tensor, "b s d"]:
        """Many queries: all are projected, and a fused kernel attends."""
        query, key, value = (
            projected.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for projected in (self.query(queries), self.key(keys), self.value(values))
        )
        rate = self.dropout.p if self.training else 0.0
        if rate and query.device.type == "cpu":
            attended = attention_with_dropout(query, key, value, rate=rate)
        else:
            attended = F.scaled_dot_product_attention(query, key, value, dropout_p=rate)
        return self.output(attended.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]

    def of_few(
        self, queries: Float[Tensor, "b s d"], keys: Float[Tensor, "b n d"], values: Float[Tensor, "b n d"]
    ) -> Float[Tensor, "b s d"]:
        """The same for few queries: cheaper while `s` times the heads is less than the width."""
        weights = self.dropout(self.weights(queries, keys))
        seen = (weights.flatten(1, 2) @ values).unflatten(1, (self.heads, -1))
        projection = self.value.weight.unflatten(0, (self.heads, -1))
        bias = self.value.bias.unflatten(0, (self.heads, 1, -1))
        attended = seen @ projection.mT + weights.sum(-1, keepdim=True) * bias
        return self.output(attended.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]

    def cheaper_for(self, queries: int) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
        """The way that is cheaper for so many queries to a picture: `of_few`, or `forward`."""
        return self.of_few if queries * self.heads < self.query.in_features else self

    def weights(
        self, queries: Float[Tensor, "b s d"], keys: Float[Tensor, "b n d"]
    ) -> Float[Tensor, "b heads s n"]:
        """How much each query sees of each key, for each head; sums of 1."""
        query = self.query(queries).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        query = query / math.sqrt(query.shape[-1])
        projection = self.key.weight.unflatten(0, (self.heads, -1))
        bias = self.key.bias.unflatten(0, (self.heads, -1, 1))
        scores = (query @ projection).flatten(1, 2) @ keys.mT
        # The bias is the same for all keys, and so without effect; it keeps the sum what it is by definition.
        weights: Tensor = (scores.unflatten(1, (self.heads, -1)) + query @ bias).softmax(-1)
        return weights
