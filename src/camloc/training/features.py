"""What stands still of a network, computed once: every later step starts from there.

Each picture is seen in several variants, turned and coloured as a training step would have it. A turn about
the camera's centre is exact, so each variant has its own exact pose and intrinsics.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from camloc.core.augment import Draws
from camloc.core.device import CPU, moved
from camloc.core.model import GeometryModel, PoseModel, Regressor, WithBackbone
from camloc.core.types import Batch
from camloc.errors import RecipeError
from camloc.geometry.pose import Pose
from camloc.models.parts.backbone import Backbone
from camloc.models.parts.backbone_split import UpperPart, still_cuts
from camloc.training.plan import Plan
from camloc.training.stages import Stage, start

# Of a `GeometryModel` whose backbone stands still as a whole: what its heads see, on their grid.
HEADS = "heads"


@dataclass(frozen=True, eq=False)
class FeatureVariants:
    """Features of several variants of every picture, in memory-mapped half precision.

    Attributes:
        images: (n, v, c, h, w) features.
        cut: of the backbone, whose maps they are, or `HEADS`.
        world_from_cam: (n,) poses of the pictures as they were taken, double precision.
        rotation: (n, v, 3, 3) orientations of the variants.
        intrinsics: (n, v, 3, 3) of the variants, or None where those of any picture are unknown.
        inside: (n, v, rows, columns) whether a cell shows the photograph, or None for models without cells.
        scene: (n,) numbers of the places.
        sequence: (n,) numbers of the recordings.
        seconds: that computing them took, whichever run it was for.
    """

    images: Any
    cut: str
    world_from_cam: Pose
    rotation: Float[Tensor, "n v 3 3"]
    intrinsics: Float[Tensor, "n v 3 3"] | None
    inside: Tensor | None
    scene: Int[Tensor, "n"]
    sequence: Int[Tensor, "n"]
    seconds: float = 0.0

    def __len__(self) -> int:
        return int(self.images.shape[0])

    def drawn(self, rows: Int[Tensor, "b"], plan: Plan, draws: Draws, *, device: torch.device = CPU) -> Batch:
        """The rows, each as one of its variants, on a device."""
        del plan  # pictures were changed when their features were computed
        variants = self.images.shape[1]
        chosen = draws.between(0.0, variants).long().clamp_max(variants - 1)
        images = moved(torch.from_numpy(self.images[rows.numpy(), chosen.numpy()]), device).float()
        batch = Batch(
            images=images.contiguous(memory_format=torch.channels_last),
            world_from_cam=Pose(self.rotation[rows, chosen], self.world_from_cam.translation[rows]),
            intrinsics=None if self.intrinsics is None else self.intrinsics[rows, chosen],
            scene=self.scene[rows],
            inside=None if self.inside is None else self.inside[rows, chosen],
        )
        return batch.to(device)


def still_part(model: PoseModel[Any], stages: tuple[Stage, ...]) -> str:
    """The last cut that all stages can be trained from, or `HEADS`.

    Raises:
        RecipeError: the model has no backbone, it cannot be cut, or its first layer trains.
    """
    backbone = getattr(model, "backbone", None)
    if not isinstance(backbone, Backbone) or not isinstance(model, GeometryModel | Regressor):
        raise RecipeError(
            f"{type(model).__name__} has no backbone whose features could be cached; set cached_variants to 0"
        )
    if isinstance(model, GeometryModel) and all(_is_whole_still(backbone, model, stage) for stage in stages):
        return HEADS
    found: list[tuple[str, ...]] = []
    for stage in stages:
        start(stage, model)
        found.append(still_cuts(backbone))
    common = [cut for cut in found[0] if all(cut in others for others in found)]
    if not common:
        raise RecipeError(
            "features are cached of what stands still at the beginning of the backbone, whose first layer "
            "trains here; hold 'backbone.*' or its first layers in every stage, or set cached_variants to 0"
        )
    return common[-1]


def _is_whole_still(backbone: Backbone, model: PoseModel[Any], stage: Stage) -> bool:
    start(stage, model)
    return not any(parameter.requires_grad for parameter in backbone.parameters())


class FromFeatures(nn.Module):
    """What of a model comes after cached features.

    It is made for a stage, after `camloc.training.stages.start`: see `UpperPart`.
    """

    def __init__(self, model: WithBackbone, cut: str, *, width: int, height: int) -> None:
        """`width` and `height` are of the network's picture."""
        super().__init__()
        self.model, self.width, self.height = model, width, height
        self.upper = None
        if cut != HEADS:
            assert isinstance(model.backbone, Backbone), "only backbones are cut"
            self.upper = UpperPart(model.backbone, cut)

    def forward(self, features: Float[Tensor, "b c h w"]) -> Any:
        """The model's output."""
        if self.upper is None:
            assert isinstance(self.model, GeometryModel), "only its heads have features of their own"
            return self.model.from_features(features)
        return self.model.from_maps(self.upper(features), width=self.width, height=self.height)
