"""Teaching a relative pose regressor: the way from a reference frame to a photograph, over pairs."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from camloc.core.model import Latents
from camloc.geometry.pose import Pose
from camloc.geometry.relative import reference_from_query, world_from_query
from camloc.models.parts.balance import BalanceConfig
from camloc.refiners.relative_pose import RelativePoseRegressor
from camloc.training.distillation import PoseBalance
from camloc.training.lesson import Lesson
from camloc.training.pairs import Pairs

# Held-out pictures that are looked at together.
CHUNK = 32


class Seen(NamedTuple):
    """What a regressor is given of some frames, and their poses.

    Attributes:
        content: pictures in [0, 1], or latents.
        world_from_cam: (b,) true poses.
    """

    content: Float[Tensor, "b 3 h w"] | Latents
    world_from_cam: Pose


# What is seen of the frames with some numbers; photographs may be changed at random.
See = Callable[[Tensor, torch.Generator], Seen]


class Examination(NamedTuple):
    """Held-out frames, each with the reference that it would get in use.

    Attributes:
        query: photographs, as they are.
        reference: of each, the training frame whose pose is nearest to the teacher's answer.
    """

    query: Seen
    reference: Seen


class RelativeStudent(nn.Module):
    """A relative pose regressor with the weights of its loss."""

    def __init__(self, regressor: RelativePoseRegressor, balance: BalanceConfig) -> None:
        super().__init__()
        self.regressor = regressor
        self.balance = PoseBalance(balance)


class RelativeLesson(Lesson):
    """Learning `reference_from_query` over pairs of training frames."""

    network: RelativeStudent

    def __init__(
        self,
        student: RelativeStudent,
        pairs: Pairs,
        *,
        query: See,
        reference: See,
        held: Examination | None,
    ) -> None:
        """Prepare.

        Args:
            student: that learns; `observe` has been called.
            pairs: of training frames.
            query, reference: what is seen of frames in either role.
            held: what measures it.
        """
        self.network, self.pairs, self.held = student, pairs, held
        self.query, self.reference = query, reference

    def __len__(self) -> int:
        return len(self.pairs)

    def losses(self, network: Any, rows: Int[Tensor, "b"], generator: torch.Generator) -> dict[str, Tensor]:
        """The two terms of a pose loss, of the motion."""
        query = self.query(self.pairs.query[rows], generator)
        reference = self.reference(self.pairs.reference[rows], generator)
        output = network.regressor(query.content, reference.content)
        answer = network.regressor.motion(output, reference.world_from_cam)
        truth = reference_from_query(reference.world_from_cam, query.world_from_cam)
        balanced: dict[str, Tensor] = network.balance(
            Pose(answer.rotation.double(), answer.translation.double()), truth.to(answer.translation.device)
        )
        return balanced

    def measures(self, network: Any) -> dict[str, float]:
        """Position errors on held-out frames, seen from the references that they would get in use."""
        if self.held is None:
            return {}
        query, reference = self.held
        motions = [
            network.regressor.motion(
                network.regressor(_part(query.content, rows), _part(reference.content, rows)),
                reference.world_from_cam[rows],
            )
            for rows in torch.arange(len(query.world_from_cam)).split(CHUNK)
        ]
        motion = Pose.cat(motions).to("cpu").to(torch.float64)
        found = world_from_query(reference.world_from_cam.to("cpu"), motion)
        away = torch.linalg.vector_norm(
            found.translation - query.world_from_cam.to("cpu").translation, dim=-1
        )
        median, mean = float(away.median()), float(away.mean())
        return {"score": median + mean, "meters": median}


def _part(
    content: Float[Tensor, "b 3 h w"] | Latents, rows: Int[Tensor, "c"]
) -> Float[Tensor, "c 3 h w"] | Latents:
    if isinstance(content, tuple):
        return Latents(*(half[rows.to(half.device)] for half in content))
    return content[rows.to(content.device)]
