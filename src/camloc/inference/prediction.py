"""Estimates of what a network says: poses that can be believed, or the reason why there is none."""

from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from camloc.data.types import Estimate, Located, Lost, View
from camloc.geometry.pose import Pose
from camloc.inference.onnx.runtime import OnnxModel
from camloc.inference.rejection import image_rejection, novelty_rejection, pose_rejection
from camloc.models.base import Decoded, GeometryModel, PoseModel, Prediction
from camloc.models.checkpoint import Checkpoint
from camloc.models.outlier_filters import OutlierFilter, filtered_decoding


def model_of(checkpoint: Checkpoint) -> PoseModel[Any]:
    """The model, also where an exported network does its work."""
    model = checkpoint.model
    return model.original if isinstance(model, OnnxModel) else model


def predict(checkpoint: Checkpoint, images: Float[Tensor, "b 3 h w"]) -> Prediction:
    """Predict from RGB images in [0, 1], with the novelty if the checkpoint has a detector."""
    return checkpoint.model.predict(images, novelty_detector=checkpoint.novelty_detector)


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
        output: of b images.
        outlier_filter: for models that align points, how wrong points are left out.
        intrinsics: (b, 3, 3), for models that need them.
        masks: (b, height, width) False where an image does not count, for models that align points.
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
        image_height=checkpoint.metadata.preprocess.height,
        masks=masks,
    )


def accept(
    checkpoint: Checkpoint, decoded: Decoded, row: int, view: View, *, novelty: float | None
) -> Estimate:
    """The answer of one image if it can be believed, or the reason why there is none.

    Args:
        checkpoint: of the network.
        decoded: the poses of b images.
        row: which of them.
        view: the image.
        novelty: of the image to those that were learned from, or None where it cannot be told.
    """
    scene = int(decoded.scene[row])
    pose = decoded.world_from_cam[row].to("cpu").to(torch.float64)
    within = checkpoint.metadata.novelty_threshold
    foreign = novelty_rejection(novelty, within=within)
    if reason := image_rejection(view.image) or foreign or _doubt(checkpoint, pose, scene):
        return Lost(reason)
    return Located(
        scene=checkpoint.metadata.scenes[scene],
        world_from_cam=pose,
        spread=checkpoint.expected_error_in(scene),
        probability=float(decoded.probability[row]),
        residual=None if decoded.residual is None else float(decoded.residual[row]),
        novelty=None if novelty is None or within is None else novelty / within,
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
        return "too few points of the image agree on a pose"
    return pose_rejection(
        pose, checkpoint.training_poses[scene], expected=checkpoint.expected_error_in(scene)
    )
