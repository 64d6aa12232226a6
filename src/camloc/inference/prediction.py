"""Estimates of what a network says: poses that can be believed, or the reason why there is none."""

from dataclasses import replace
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from camloc.data.types import Estimate, Located, Lost, View
from camloc.geometry.pose import Pose
from camloc.inference.onnx.runtime import OnnxModel
from camloc.inference.rejection import doubt_of_likeness, doubt_of_picture, doubt_of_pose
from camloc.models.base import Decoded, GeometryModel, Latents, PoseModel, Regressor
from camloc.models.checkpoint import Checkpoint
from camloc.models.novelty import sights
from camloc.models.outlier_filters import OutlierFilter, filtered_decoding


class Said(NamedTuple):
    """What a network says of b pictures.

    Attributes:
        output: for `decode`.
        latents: that the output was regressed from, where a refiner asks for them.
        unlikeness: (b,) how unlike each is to those that were learned from, or None where it cannot be told.
    """

    output: Any
    latents: Latents | None = None
    unlikeness: Tensor | None = None

    def unlikeness_of(self, row: int) -> float | None:
        """Of one picture."""
        return None if self.unlikeness is None else float(self.unlikeness[row])


def model_of(checkpoint: Checkpoint) -> PoseModel[Any]:
    """The model, also where an exported network does its work."""
    model = checkpoint.model
    return model.original if isinstance(model, OnnxModel) else model


def asked(checkpoint: Checkpoint, images: Float[Tensor, "b 3 h w"], *, with_latents: bool = False) -> Said:
    """What a network says of RGB pictures in [0, 1]; if asked for, of a regressor its latents too."""
    model, recognition = checkpoint.model, checkpoint.recognition
    if isinstance(model, OnnxModel):
        output, unlikeness = model.recognised(images)
        return Said(output, unlikeness=unlikeness)
    wants_latents = with_latents and isinstance(model, Regressor)
    if recognition is None and not wants_latents:
        return Said(model(images))
    assert isinstance(model, GeometryModel | Regressor), "no other model tells its places from others"
    maps, seen = sights(model, images)
    unlikeness = None if recognition is None else recognition(seen)
    if wants_latents and isinstance(model, Regressor):
        latents = model.describe(maps)
        return Said(model.regress(latents), latents, unlikeness)
    output = model.from_maps(maps, width=images.shape[-1], height=images.shape[-2])
    return Said(output, unlikeness=unlikeness)


def decoded_output(
    checkpoint: Checkpoint,
    output: Any,
    outlier_filter: OutlierFilter | None,
    *,
    intrinsics: Tensor | None,
    masks: Tensor | None,
) -> Decoded:
    """The poses that a network's output stands for.

    Args:
        checkpoint: of the network.
        output: of b photographs.
        outlier_filter: for models that align points, how wrong points are left out.
        intrinsics: (b, 3, 3), for models that need them.
        masks: (b, height, width) False where a photograph does not count, for models that align points.
    """
    model: Any = checkpoint.model
    geometry = model_of(checkpoint)
    if not isinstance(geometry, GeometryModel) or (outlier_filter == "weights" and masks is None):
        decoded: Decoded = model.decode(output, intrinsics=intrinsics)
        return decoded
    assert intrinsics is not None, "without intrinsics such a model is not asked"
    return filtered_decoding(
        geometry,
        output,
        outlier_filter or "weights",
        intrinsics=intrinsics,
        picture_height=checkpoint.facts.preprocess.height,
        masks=masks,
    )


def judged(
    checkpoint: Checkpoint, decoded: Decoded, row: int, view: View, *, unlikeness: float | None
) -> Estimate:
    """The answer of one photograph if it can be believed, or the reason why there is none.

    Args:
        checkpoint: of the network.
        decoded: the poses of b photographs.
        row: which of them.
        view: the photograph.
        unlikeness: of the photograph to those that were learned from, or None where it cannot be told.
    """
    scene = int(decoded.scene[row])
    pose = decoded.world_from_cam[row].to("cpu").to(torch.float64)
    within = checkpoint.facts.recognised_within
    foreign = doubt_of_likeness(unlikeness, within=within)
    if reason := doubt_of_picture(view.image) or foreign or _doubt(checkpoint, pose, scene):
        return Lost(reason)
    return Located(
        scene=checkpoint.facts.scenes[scene],
        world_from_cam=pose,
        spread=checkpoint.spread_in(scene),
        probability=float(decoded.probability[row]),
        residual=None if decoded.residual is None else float(decoded.residual[row]),
        unlikeness=None if unlikeness is None or within is None else unlikeness / within,
    )


def moved(answer: Estimate, refined: Pose) -> Estimate:
    """An answer that was believed, refined. What is lost stays lost."""
    match answer:
        case Located(world_from_cam=own):
            return replace(answer, world_from_cam=refined.to("cpu").to(torch.float64), unrefined=own)
        case lost:
            return lost


def _doubt(checkpoint: Checkpoint, pose: Pose, scene: int) -> str:
    if not bool(pose.is_finite()) and isinstance(model_of(checkpoint), GeometryModel):
        return "too few points of the picture agree on a pose"
    return doubt_of_pose(pose, checkpoint.training_poses[scene], expected=checkpoint.spread_in(scene))
