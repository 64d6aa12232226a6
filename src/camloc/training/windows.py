"""Windows: a few frames of a recording that are learned together, for losses on the way between them."""

from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from camloc.errors import RecipeError


@dataclass(frozen=True)
class Window:
    """How many frames are learned together, and how far apart they are. MapNet and AtLoc+: 3, 10 apart.

    Attributes:
        frames: to a window; 1 learns from single frames.
        apart: frames of the recording from one frame of a window to its next.

    Raises:
        RecipeError: a window of no frames, or of one frame over and over.
    """

    frames: int = 1
    apart: int = 1

    def __post_init__(self) -> None:
        if self.frames < 1 or self.apart < 1:
            raise RecipeError(
                f"a window of {self.frames} frames, {self.apart} apart, cannot be; let both be 1 or more"
            )


def windows_around(
    rows: Int[Tensor, "m"], sequence: Int[Tensor, "n"], window: Window
) -> Int[Tensor, "m frames"]:
    """The windows that have each of `rows` in their middle, in the order of `rows`.

    Frames are counted within their recording, among those of `rows`: a window that spans frames which are
    held out is longer in time. Near its ends the first or last frame stands in for those that the recording
    does not have, as in the authors' code; theirs does so at the ends of the whole data set only, and has
    windows that jump from one recording to the next.

    Args:
        rows: numbers of the frames that are learned from, rising.
        sequence: which recording each of all n frames is of.
        window: how many frames, how far apart.
    """
    offsets = window.apart * (torch.arange(window.frames) - window.frames // 2)
    found = torch.empty(len(rows), window.frames, dtype=rows.dtype)
    recording = sequence[rows]
    for number in recording.unique():
        own = rows[recording == number]
        places = torch.arange(len(own)).unsqueeze(1) + offsets
        found[recording == number] = own[places.clamp(0, len(own) - 1)]
    return found
