"""Run a network on images (`predict`), and turn its output into poses (`decode`)."""

from typing import Any

from jaxtyping import Bool, Float
from torch import Tensor

from camloc.inference.onnx.runtime import OnnxModel
from camloc.models.base import Decoded, GeometryModel, PoseModel, Prediction
from camloc.models.checkpoint import Checkpoint
from camloc.models.outlier_filters import OutlierFilter, filtered_decoding


def model_of(checkpoint: Checkpoint) -> PoseModel[Any]:
    """The checkpoint's model; for an exported network the model that it was exported from."""
    model = checkpoint.model
    return model.original if isinstance(model, OnnxModel) else model


def predict(checkpoint: Checkpoint, images: Float[Tensor, "b 3 h w"]) -> Prediction:
    """Run the network, and the novelty detector if there is one, on RGB images in [0, 1]."""
    return checkpoint.model.predict(images, novelty_detector=checkpoint.novelty_detector)


def decode(
    checkpoint: Checkpoint,
    output: Any,
    outlier_filter: OutlierFilter | None,
    *,
    intrinsics: Float[Tensor, "b 3 3"] | None,
    masks: Bool[Tensor, "b height width"] | None,
) -> Decoded:
    """The poses of a network's output.

    Args:
        checkpoint: of the network.
        output: of b images.
        outlier_filter: how a model that aligns points leaves out wrong ones; None for other models.
        intrinsics: calibration matrices, for models that need them.
        masks: False for pixels to ignore, for models that align points.
    """
    model: Any = checkpoint.model
    geometry = model_of(checkpoint)
    if not isinstance(geometry, GeometryModel) or (outlier_filter == "weights" and masks is None):
        decoded: Decoded = model.decode(output, intrinsics=intrinsics)
        return decoded
    assert intrinsics is not None, "such a model does not run without intrinsics"
    return filtered_decoding(
        geometry,
        output,
        outlier_filter or "weights",
        intrinsics=intrinsics,
        image_height=checkpoint.metadata.preprocess.height,
        masks=masks,
    )
