"""Loss of the way from frame to frame: what MapNet and AtLoc+ add to that of single poses."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from camloc.core.types import Batch
from camloc.errors import RecipeError
from camloc.models.parts.balance import BalanceConfig, distance, known_truths
from camloc.models.parts.orientation import OrientationForm, compared_values


class RelativePoseLoss(nn.Module):
    """Differences of consecutive frames of a window, against the true ones, with weights of their own.

        L = D_x exp(-r_x) + r_x + D_q exp(-r_q) + r_q

    with D_x the mean distance between `x[i+1] - x[i]` and its truth, and D_q the same of orientations in
    their form: for log quaternions the difference of the logarithms, as in the authors' code, where MapNet's
    text has the logarithm of the relative rotation.

    Source: Brahmbhatt et al., "Geometry-Aware Learning of Maps for Camera Localization" (MapNet), CVPR 2018,
    Eq. 2 and 3; AtLoc (Wang et al., AAAI 2020) uses the same as AtLoc+.
    """

    def __init__(self, config: BalanceConfig, form: OrientationForm) -> None:
        super().__init__()
        self.config = config
        self.form: OrientationForm = form
        self.position = nn.Parameter(torch.tensor(config.position))
        self.orientation = nn.Parameter(torch.tensor(config.orientation))

    def forward(
        self,
        position: Float[Tensor, "b 3"],
        orientation: Float[Tensor, "b k"],
        truth_position: Float[Tensor, "b 3"],
        batch: Batch,
    ) -> dict[str, Tensor]:
        """The two terms. A pair of which one orientation is not known counts for the position alone.

        Raises:
            RecipeError: the batch has no windows.
        """
        if batch.window < 2:
            raise RecipeError(
                "the relative-pose loss needs windows of 2 frames or more; set the recipe's window, or "
                "`relative` of its regression to None"
            )
        steps = _steps(position - truth_position, batch.window)
        turned = compared_values(self.form, orientation)
        truths, known = known_truths(self.config, self.form, turned, batch)
        turns = distance(self.config.distance, _steps(turned - truths, batch.window))
        balanced = turns * torch.exp(-self.orientation) + self.orientation
        whole = known.unflatten(0, (-1, batch.window))
        whole = (whole[:, 1:] & whole[:, :-1]).flatten()
        return {
            "relative_position": distance(self.config.distance, steps).mean() * torch.exp(-self.position)
            + self.position,
            "relative_orientation": torch.where(whole, balanced, 0.0).sum() / whole.sum().clamp_min(1),
        }


def _steps(values: Float[Tensor, "b n"], window: int) -> Float[Tensor, "p n"]:
    """From each frame of a window to its next."""
    steps: Tensor = values.unflatten(0, (-1, window)).diff(dim=1).flatten(0, 1)
    return steps
