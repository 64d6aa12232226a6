"""Keypoints and descriptors of an image."""

import math
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float32, UInt8
from numpy.typing import NDArray
from PIL import Image

# Enlarging an image further shows nothing new.
_MOST_ENLARGED = 2.0

ExtractorName = Literal["sift", "xfeat", "aliked"]


@dataclass(frozen=True)
class FeatureSettings:
    """How local features are extracted; the same for the frames of a map and for its queries.

    Attributes:
        extractor: "sift" (root-normalized, 128 numbers), "xfeat" (64) or "aliked" (128).
        most: keypoints to keep, of the largest scale (SIFT) or score first.
        first_octave: of SIFT's scale space: -1 doubles the image first, which finds more and finer
            keypoints in three times the time; 0 does not.
        peak_threshold: least contrast of SIFT's keypoints.
        edge_threshold: largest ratio of curvatures of SIFT's keypoints.
        least_pixels: smaller images are enlarged to about so many before extraction, but by a factor
            of 2 at most.
        most_pixels: larger images are reduced to about so many.
        weights: file with the weights of a network; "" for those of an installed package.
        weights_sha256: checksum that these must have, or "".

    Raises:
        ValueError: a number is out of its range.
    """

    extractor: ExtractorName = "sift"
    most: int = 2000
    first_octave: int = 0
    peak_threshold: float = 0.003
    edge_threshold: float = 10.0
    least_pixels: int = 640 * 480
    most_pixels: int = 800 * 640
    weights: str = ""
    weights_sha256: str = ""

    def __post_init__(self) -> None:
        is_of_sift = -1 <= self.first_octave <= 3 and self.peak_threshold > 0.0 and self.edge_threshold > 1.0
        if not (is_of_sift and self.most > 0 and 0 < self.least_pixels <= self.most_pixels):
            raise ValueError("settings of local features are out of their ranges")


@dataclass(frozen=True, eq=False)
class Features:
    """The local features of one image.

    Attributes:
        keypoints: (n, 2) pixels of the image as given; the centre of the top left pixel is (0.5, 0.5).
        scales: (n,) scale of each keypoint in pixels; 0 where the extractor gives none.
        descriptors: (n, D) 8 bits. Their distances are distances of descriptors; `astype(float32)` is what
            `DescriptorCodec.project` takes.
    """

    keypoints: Float32[np.ndarray, "n 2"]
    scales: Float32[np.ndarray, "n"]
    descriptors: UInt8[np.ndarray, "n D"]

    def __len__(self) -> int:
        return len(self.keypoints)

    def rows(self, rows: NDArray[Any]) -> "Features":
        """Some of the features."""
        return Features(self.keypoints[rows], self.scales[rows], self.descriptors[rows])


@runtime_checkable
class FeatureExtractor(Protocol):
    """Extracts local features from images; not to be shared between threads."""

    def extract(
        self, image: UInt8[np.ndarray, "h w 3"], mask: Bool[np.ndarray, "h w"] | None = None
    ) -> Features:
        """The features of an RGB image whose keypoints lie where the mask is True (everywhere if None)."""


def extraction_scale(width: int, height: int, settings: FeatureSettings) -> float:
    """The factor by which an image of `width` x `height` pixels is scaled before extraction."""
    pixels = width * height
    wanted = min(max(pixels, settings.least_pixels), settings.most_pixels)
    return min(_MOST_ENLARGED, math.sqrt(wanted / pixels))


def feature_extractor(settings: FeatureSettings) -> FeatureExtractor:
    """The extractor that settings describe.

    Raises:
        MissingExtraError: it is a network, and its package or its weights are missing.
        CheckpointError: the weights of a network cannot be used.
    """
    if settings.extractor == "sift":
        return Sift(settings)
    # Imported here because it needs torch.
    from camloc.mapping.networks import NetworkExtractor

    return NetworkExtractor(settings)


class Sift:
    """SIFT by pycolmap, with descriptors root-normalized (RootSIFT) as 8 bits."""

    def __init__(self, settings: FeatureSettings) -> None:
        # Imported here because loading it puts C++ signal handlers into the process.
        from camloc.geometry.colmap import pycolmap, quiet

        options = pycolmap.FeatureExtractionOptions()
        options.use_gpu = False
        options.num_threads = 1
        options.sift.first_octave = settings.first_octave
        options.sift.peak_threshold = settings.peak_threshold
        options.sift.edge_threshold = settings.edge_threshold
        options.sift.max_num_features = settings.most  # cuts between scales only, hence `_largest` below
        self._settings = settings
        with quiet(1):  # it reports every extractor that it makes
            self._sift = pycolmap.FeatureExtractor.create(options, pycolmap.Device.cpu)

    def extract(
        self, image: UInt8[np.ndarray, "h w 3"], mask: Bool[np.ndarray, "h w"] | None = None
    ) -> Features:
        """See `FeatureExtractor`."""
        grey, stretch = _grey(image, self._settings)
        found, described = self._sift.extract_from_uint8_array(grey)
        numbers = [(point.x, point.y, point.compute_scale()) for point in found]
        table = np.array(numbers, dtype=np.float32).reshape(-1, 3)
        descriptors = np.asarray(described.data, dtype=np.uint8).reshape(-1, 128)
        features = Features(table[:, :2] * stretch, table[:, 2] * stretch.mean(), descriptors)
        if mask is not None:
            features = features.rows(keypoints_inside(features.keypoints, mask))
        return features.rows(_largest(features.scales, self._settings.most))


def _grey(
    image: UInt8[np.ndarray, "h w 3"], settings: FeatureSettings
) -> tuple[UInt8[np.ndarray, "g f"], Float32[np.ndarray, "2"]]:
    """The image in grey and small enough, and the factors from its pixels to those of the image."""
    height, width = image.shape[:2]
    scale = extraction_scale(width, height, settings)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    grey = Image.fromarray(image).convert("L")
    if size != (width, height):
        grey = grey.resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0)
    stretch = np.array((width / size[0], height / size[1]), dtype=np.float32)
    return np.asarray(grey), stretch


def _largest(scales: Float32[np.ndarray, "n"], most: int) -> NDArray[np.int64]:
    """The rows of the largest scales, in their order."""
    return np.sort(np.argsort(-scales, kind="stable")[:most])


def keypoints_inside(
    keypoints: Float32[np.ndarray, "n 2"], mask: Bool[np.ndarray, "h w"]
) -> NDArray[np.bool_]:
    """Which keypoints lie on pixels that count."""
    columns = np.clip(keypoints[:, 0].astype(np.int64), 0, mask.shape[1] - 1)
    rows = np.clip(keypoints[:, 1].astype(np.int64), 0, mask.shape[0] - 1)
    inside: Bool[np.ndarray, n] = mask[rows, columns]
    return inside
