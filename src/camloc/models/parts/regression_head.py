"""Half a pose from a latent vector: a head with one hidden layer."""

from jaxtyping import Float
from torch import Tensor, nn

from camloc.models.parts.transformer import Activation, activation_layer


class RegressionHead(nn.Module):
    """Two linear layers, the first of which may read a prior beside the latent vector.

    A prior's share of the hidden layer starts at zero: a head is then what it would be without one, until
    the prior's weights are trained. Together they are one layer that reads both vectors.

    Source: TransPoseNet (2021) section 3.1, "MLP Head", and section 4, "Training", for the prior.
    """

    def __init__(
        self, inputs: int, outputs: int, *, hidden: int, activation: Activation = "gelu", prior: int = 0
    ) -> None:
        """`prior`: size of the vector beside the latent one; 0 for none."""
        super().__init__()
        self.hidden = nn.Linear(inputs, hidden)
        self.activation = activation_layer(activation)
        self.output = nn.Linear(hidden, outputs)
        nn.init.xavier_uniform_(self.hidden.weight)
        nn.init.xavier_uniform_(self.output.weight)
        self.prior: nn.Linear | None = None
        if prior:
            self.prior = nn.Linear(prior, hidden, bias=False)
            nn.init.zeros_(self.prior.weight)

    def forward(
        self, latent: Float[Tensor, "b d"], prior: Float[Tensor, "b e"] | None = None
    ) -> Float[Tensor, "b k"]:
        """The numbers of half a pose; `prior` is read by heads that have one."""
        hidden = self.hidden(latent)
        if self.prior is not None and prior is not None:
            hidden = hidden + self.prior(prior)
        return self.output(self.activation(hidden))  # type: ignore[no-any-return]
