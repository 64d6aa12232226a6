"""Learning to tell a place from others, when its network is trained."""

from collections.abc import Iterator

import torch
from torch import Tensor

from camloc.core.augment import centre_cut
from camloc.core.model import WithBackbone
from camloc.core.recognition import Recognition, sights, summary
from camloc.core.spread import evenly_spread
from camloc.training.pictures import Pictures
from camloc.training.plan import Plan

# Summaries that are kept, of pictures spread evenly over those that were learned from.
MOST = 500

# With fewer held-out pictures than these it is not known how unlike a picture of the place may be.
FEWEST = 20

# A picture is foreign that is so many times as unlike as all but a hundredth of the held-out ones are.
HELD_OUT_SHARE = 0.99
ALLOWANCE = 1.5

# Of pictures that are equal, from rounding to half precision and more.
LEAST = 0.05


@torch.no_grad()
def learn_to_recognise(
    model: WithBackbone, train: Pictures, held_out: Pictures, plan: Plan, *, device: torch.device
) -> tuple[Recognition, float] | None:
    """Summaries of the pictures that were learned from, and how unlike them a picture of the place may be.

    None where too few pictures are held out to know that.

    Args:
        model: as it was trained; it is put on the device, in evaluation mode.
        train: what it learned from.
        held_out: what it did not.
        plan: of the training, which has the size of the network's picture.
        device: where to compute.
    """
    if len(held_out) < FEWEST:
        return None
    model.eval().to(device)
    recognition = Recognition(torch.cat([summary(seen) for seen in _sights(model, train, plan, device)]))
    recognition.to(device)
    unlikeness = torch.cat([recognition(seen) for seen in _sights(model, held_out, plan, device)])
    within = ALLOWANCE * float(unlikeness.float().quantile(HELD_OUT_SHARE))
    return recognition.cpu(), max(within, LEAST)


def _sights(
    model: WithBackbone, pictures: Pictures, plan: Plan, device: torch.device, *, batch_size: int = 50
) -> Iterator[list[Tensor]]:
    """The maps that pictures are recognised by, of pictures spread evenly over all, batch by batch."""
    rows = evenly_spread(len(pictures), MOST)
    for chosen in rows.split(batch_size):
        batch = centre_cut(pictures.batch(chosen, device=device), width=plan.width, height=plan.height)
        yield sights(model, batch.images)[1]
