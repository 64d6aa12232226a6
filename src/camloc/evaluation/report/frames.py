"""The best and the worst frames of a report, with their images."""

from collections.abc import Sequence
from html import escape

import torch
from jaxtyping import Float
from torch import Tensor

from camloc.data.types import Estimate, Frame, Lost
from camloc.evaluation.report.page import thumbnail
from camloc.evaluation.report.wording import angle, distance
from camloc.geometry.pose import PoseError

WORST, BEST = 8, 4


def ranking(errors: PoseError, *, meters_per_degree: float) -> Float[Tensor, "n"]:
    """One number a frame to sort by: metres and weighted degrees, infinite where lost."""
    if meters_per_degree == 0.0:  # zero times infinity is not a number
        only: Tensor = errors.meters
        return only
    both: Tensor = errors.meters + meters_per_degree * errors.degrees
    return both


def best_and_worst(
    frames: Sequence[Frame],
    answers: Sequence[Estimate],
    errors: PoseError,
    nearest: PoseError,
    *,
    meters_per_degree: float,
    unit: str,
) -> str:
    """Two galleries as HTML; no frame is in both.

    Args:
        frames, answers, errors: n frames, what was said about them, and how wrong it was.
        nearest: (n,) errors of the nearest training pose, which tell a frame that nothing like it was
            learned for from one that the model should have known.
        meters_per_degree: weighs orientation against position.
        unit: of the world's distances.
    """
    order = torch.argsort(ranking(errors, meters_per_degree=meters_per_degree), stable=True).tolist()
    best = [row for row in order[:BEST] if not isinstance(answers[row], Lost)]
    worst = [row for row in reversed(order) if row not in best][:WORST]

    def gallery(rows: Sequence[int]) -> str:
        cards = [
            _card(frames[row], answers[row], _row(errors, row), _row(nearest, row), unit) for row in rows
        ]
        return f'<ul class="frames">\n{"".join(cards)}</ul>'

    parts = ["<h2>Best and worst images</h2>"]
    if worst:
        parts += [f"<h3>{_title('worst', len(worst))}</h3>", gallery(worst)]
    if best:
        parts += [f"<h3>{_title('best', len(best))}</h3>", gallery(best)]
    return "\n".join(parts)


def _title(kind: str, count: int) -> str:
    return f"The {kind}" if count == 1 else f"The {kind} {count}"


def _row(errors: PoseError, row: int) -> tuple[float, float]:
    return errors.meters[row].item(), errors.degrees[row].item()


def _both(error: tuple[float, float], unit: str) -> str:
    """Position and orientation as HTML that does not break inside a number."""
    return escape(f"{distance(error[0], unit)}, {angle(error[1])}").replace(" ", "&nbsp;")


def _card(
    frame: Frame, answer: Estimate, error: tuple[float, float], nearest: tuple[float, float], unit: str
) -> str:
    beside = _both(nearest, unit)
    headline = f"<strong>{_both(error, unit)}</strong>"
    if isinstance(answer, Lost):
        reason = f": {escape(answer.reason)}" if answer.reason else ""
        headline = f'<strong class="lost">Lost{reason}</strong>'
    return (
        f'<li>{thumbnail(frame.image)}<div class="text">{headline}'
        f'<span class="nearest">nearest training pose {beside}</span>'
        f'<span class="name">{escape(frame.name)}</span></div></li>\n'
    )
