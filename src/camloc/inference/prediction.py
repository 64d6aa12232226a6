"""Run a network on images (`predict`), and turn its output into poses (`decode`)."""

from typing import Any, NamedTuple

from jaxtyping import Bool, Float
from torch import Tensor

from camloc.inference.onnx.runtime import OnnxModel
from camloc.models.base import Decoded, GeometryModel, Latents, PoseModel, Regressor
from camloc.models.checkpoint import Checkpoint
from camloc.models.novelty import feature_maps
from camloc.models.outlier_filters import OutlierFilter, filtered_decoding


class Prediction(NamedTuple):
    """A network's prediction for b images.

    Attributes:
        output: the model's output, for `decode`.
        latents: the regressor's latents of the images, if they were requested.
        novelty: (b,) distance of each image to the nearest training image in feature space
            (`camloc.models.novelty`), or None for a checkpoint without a novelty detector.
    """

    output: Any
    latents: Latents | None = None
    novelty: Float[Tensor, "b"] | None = None

    def novelty_of(self, row: int) -> float | None:
        """The novelty of one image."""
        return None if self.novelty is None else float(self.novelty[row])


def model_of(checkpoint: Checkpoint) -> PoseModel[Any]:
    """The checkpoint's model; for an exported network the model that it was exported from."""
    model = checkpoint.model
    return model.original if isinstance(model, OnnxModel) else model


def predict(
    checkpoint: Checkpoint, images: Float[Tensor, "b 3 h w"], *, with_latents: bool = False
) -> Prediction:
    """Run the network, and the novelty detector if there is one, on RGB images in [0, 1].

    The backbone runs once, whatever is requested. `with_latents` also returns the latents of a regressor; an
    exported network has none.
    """
    model, detector = checkpoint.model, checkpoint.recognition
    if isinstance(model, OnnxModel):
        output, novelty = model.predict_with_novelty(images)
        return Prediction(output, novelty=novelty)
    wants_latents = with_latents and isinstance(model, Regressor)
    if detector is None and not wants_latents:
        return Prediction(model(images))
    assert isinstance(model, GeometryModel | Regressor), "a novelty detector reads a model's backbone"
    maps, intermediate = feature_maps(model, images)
    novelty = None if detector is None else detector(intermediate)
    if wants_latents and isinstance(model, Regressor):
        latents = model.describe(maps)
        return Prediction(model.regress(latents), latents, novelty)
    output = model.from_maps(maps, width=images.shape[-1], height=images.shape[-2])
    return Prediction(output, novelty=novelty)


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
