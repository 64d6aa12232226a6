"""The baseline of image retrieval by the pooled feature maps of a network; see `image_retrieval`."""

from collections.abc import Sequence

import torch

from camloc.data.augment import centre_cut
from camloc.data.types import Frame, oriented, poses_of
from camloc.errors import DatasetError
from camloc.geometry.pose import PoseError
from camloc.inference.image_retrieval import Vectors, retrieval_errors
from camloc.inference.torch_network import TorchNetwork
from camloc.models.base import GeometryModel, Regressor
from camloc.models.novelty import summary
from camloc.training.scenes import load_scene_images

_BATCH = 32


def network_errors(
    network: TorchNetwork, train: Sequence[Frame], test: Sequence[Frame]
) -> dict[str, PoseError]:
    """Errors of retrieval by the pooled feature maps of a network.

    Raises:
        DatasetError: the model has no backbone, or no training frame an orientation.
        ImageError: an image cannot be read.
    """
    usable = oriented(train)
    if not isinstance(network.checkpoint.model, Regressor | GeometryModel) or not usable:
        raise DatasetError("retrieval by pooled features needs a network and oriented training frames")
    references, queries = (_pooled(network, frames) for frames in (usable, tuple(test)))
    return retrieval_errors(queries, references, poses_of(test).numpy(), poses_of(usable).numpy())


@torch.no_grad()
def _pooled(network: TorchNetwork, frames: Sequence[Frame]) -> Vectors:
    """Unit vectors of images, from the means of the backbone's maps."""
    model, size = network.checkpoint.model, network.metadata.preprocess
    assert isinstance(model, Regressor | GeometryModel)
    images = load_scene_images((tuple(frames),), size)
    rows = []
    for chosen in torch.arange(len(images)).split(_BATCH):
        batch = images.batch(chosen, device=network.torch_device)
        cut = centre_cut(batch, width=size.width, height=size.height)
        rows.append(summary(model.backbone.forward_with_novelty_maps(cut.images)[1]).float().cpu())
    vectors: Vectors = torch.nn.functional.normalize(torch.cat(rows), dim=-1).numpy()
    return vectors
