"""Run an exported `.onnx` file in ONNX Runtime, without torch.

The file is complete: beside the network, its metadata hold the checkpoint's metadata, the training poses and
the decoding of outputs into poses. `camloc.inference.onnx.export` writes it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float32, UInt8
from numpy.typing import NDArray

from camloc.core.config import from_json
from camloc.core.sealed import SealError, check_own_checksum
from camloc.data.image_io import Preprocess
from camloc.errors import CheckpointError, RecipeError
from camloc.geometry.pose import Pose
from camloc.inference.network import Output
from camloc.models import model_names
from camloc.models.decoding import (
    CameraPoints,
    Decoding,
    Depths,
    OrientationForm,
    PointDecoding,
    PoseDecoding,
    ScenePoseDecoding,
    orientation_size,
)
from camloc.models.metadata import Metadata, checked_metadata, training_poses

# Key of the JSON text in the file's metadata.
METADATA_KEY = "camloc"

# Name of the novelty output, which follows the outputs of the model.
NOVELTY = "novelty"

# Number format of the weights and of the products.
ExportPrecision = Literal["float32", "int8"]

# "tensor": a batch of prepared images, `images` (b, 3, h, w) float32 RGB in [0, 1]. "image": one image of any
# size, `image` (height, width, 3) RGB in 8 bits, which the network scales and cuts itself.
ExportInput = Literal["tensor", "image"]

# A position and a quaternion, w first.
_Row = tuple[float, float, float, float, float, float, float]
_Center = tuple[float, float, float]


@dataclass(frozen=True)
class DecodingRecord:
    """A `camloc.models.decoding.Decoding` as JSON.

    Attributes:
        kind: of a regressor of one scene, of several scenes, or of a model that aligns points.
        centers: of each scene, the origin of the network's positions or points in the world.
        orientation: for regressors, the representation of the orientation.
        stride, camera_points, depths: for models that align points; see `PointDecoding`.
    """

    kind: Literal["pose", "scene_pose", "points"]
    centers: tuple[_Center, ...]
    orientation: OrientationForm = "quaternion"
    stride: int = 1
    camera_points: CameraPoints = "depth"
    depths: Depths = "metric"

    @classmethod
    def of(cls, decoding: Decoding) -> "DecodingRecord":
        """The record of a decoding with NumPy arrays."""
        centers: Any = tuple(map(tuple, decoding.centers.tolist()))
        match decoding:
            case PoseDecoding():
                return cls("pose", centers, decoding.orientation)
            case ScenePoseDecoding():
                return cls("scene_pose", centers, decoding.orientation)
            case PointDecoding():
                return cls(
                    "points",
                    centers,
                    stride=decoding.stride,
                    camera_points=decoding.camera_points,
                    depths=decoding.depths,
                )

    def decoding(self) -> Decoding:
        """The decoding, with NumPy arrays."""
        centers = np.array(self.centers, dtype=np.float64).reshape(-1, 3)
        match self.kind:
            case "pose":
                return PoseDecoding(centers, self.orientation)
            case "scene_pose":
                return ScenePoseDecoding(centers, self.orientation)
            case "points":
                return PointDecoding(centers, self.stride, self.camera_points, self.depths)


@dataclass(frozen=True)
class ExportMetadata:
    """The JSON text in an exported file.

    Attributes:
        metadata: of the checkpoint.
        decoding: of outputs into poses.
        training_poses: for each scene its training poses: positions and quaternions (w first).
        parameters: number of learned values.
        precision: of weights and products.
        input: what the network is given.
    """

    metadata: Metadata
    decoding: DecodingRecord
    training_poses: tuple[tuple[_Row, ...], ...]
    parameters: int
    precision: ExportPrecision = "float32"
    input: ExportInput = "tensor"


@dataclass(frozen=True, eq=False)
class OnnxNetwork:
    """An exported network as `camloc.inference.network.Network`.

    Attributes:
        session: of ONNX Runtime.
        path: of the file, for messages.
        exported: the JSON text in the file.
        decoding: of outputs into poses.
        training_poses: of each scene, its (n,) training poses.
        device: where the network runs.
    """

    session: Any
    path: Path
    exported: ExportMetadata
    decoding: Decoding
    training_poses: tuple[Pose, ...]
    device: str = "cpu"

    @property
    def metadata(self) -> Metadata:
        """Preprocessing, scenes and thresholds."""
        return self.exported.metadata

    @property
    def runtime(self) -> str:
        """The library that runs the network."""
        precision = self.exported.precision
        return "ONNX Runtime" if precision == "float32" else f"ONNX Runtime, {precision}"

    @property
    def parameters(self) -> int:
        """Number of learned values."""
        return self.exported.parameters

    def predict(self, images: Float32[NDArray[np.float32], "b 3 h w"]) -> Output:
        """Run the network on RGB images in [0, 1].

        Raises:
            CheckpointError: the network cannot run, or its outputs have other shapes than those of its model.
        """
        try:
            outputs = self._outputs(images)
        except Exception:  # ONNX Runtime's errors have no common public base class
            raise CheckpointError(
                f"{self.path} is damaged: its network does not run; export it again"
            ) from None
        shapes = output_shapes(self.decoding, self.metadata)
        if len(outputs) != len(shapes) or not all(
            each.dtype == np.float32 and _fits(each.shape, (len(images), *shape))
            for each, shape in zip(outputs, shapes, strict=True)
        ):
            raise CheckpointError(
                f"{self.path} is damaged: the outputs of its network do not match the model in its metadata; "
                f"export it again"
            )
        values = self.decoding.OUTPUT(*outputs[: len(self.decoding.OUTPUT._fields)])
        return Output(values, None if self.metadata.novelty_threshold is None else outputs[-1])

    def _outputs(self, images: Float32[NDArray[np.float32], "b 3 h w"]) -> list[NDArray[np.float32]]:
        if self.exported.input == "tensor":
            outputs: list[NDArray[np.float32]] = self.session.run(None, {"images": images})
            return outputs
        framed = _framed(images, self.metadata.preprocess)
        return [
            np.concatenate(parts)
            for parts in zip(*(self.session.run(None, {"image": each}) for each in framed), strict=True)
        ]


def _framed(
    images: Float32[NDArray[np.float32], "b 3 h w"], preprocess: Preprocess
) -> UInt8[NDArray[np.uint8], "b framed_h framed_w 3"]:
    """Prepared images as images of which a network that scales and cuts itself sees exactly these pixels."""
    width, height = (max(side, preprocess.short_side) for side in (preprocess.width, preprocess.height))
    left, top = (width - preprocess.width) // 2, (height - preprocess.height) // 2
    framed = np.zeros((len(images), height, width, 3), dtype=np.uint8)
    framed[:, top : top + preprocess.height, left : left + preprocess.width] = np.rint(
        images.transpose(0, 2, 3, 1) * np.float32(255.0)
    )
    return framed


def load_onnx(path: Path, *, device: str = "cpu") -> OnnxNetwork:
    """Load an exported file.

    Args:
        path: the file.
        device: "cpu", "cuda", or "auto" for the fastest that this ONNX Runtime has.

    Raises:
        CheckpointError: the file is missing, damaged, or was not exported by camloc.
        RecipeError: this ONNX Runtime has no such device.
    """
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist; export a run with `camloc export RUN` first")
    try:
        check_own_checksum(path, near="end")
    except SealError as problem:
        raise CheckpointError(f"{path} {problem}; export the run again with `camloc export`") from None
    session = _session(path, _providers(device))
    exported = _read_metadata(session, path)
    metadata = checked_metadata(exported.metadata, source=path)
    if metadata.model not in model_names():
        raise CheckpointError(f"{path} is of another version of camloc: there is no model '{metadata.model}'")
    decoding = _decoding(exported, path)
    _check_network(session, exported, decoding, path)
    if len(exported.training_poses) != len(metadata.scenes):
        raise CheckpointError(
            f"{path} is damaged: it does not have training poses for each of its scenes; export it again"
        )
    poses = tuple(
        training_poses(np.array(rows, dtype=np.float64), scene=scene, source=path)
        for rows, scene in zip(exported.training_poses, metadata.scenes, strict=True)
    )
    used = "cuda" if session.get_providers()[0] == _CUDA else "cpu"
    return OnnxNetwork(session, path, exported, decoding, poses, used)


_CPU, _CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"


def _providers(device: str) -> list[str]:
    import onnxruntime

    has_cuda = _CUDA in onnxruntime.get_available_providers()
    if device not in ("cpu", "cuda", "auto") or (device == "cuda" and not has_cuda):
        raise RecipeError(
            f"this ONNX Runtime has no device '{device}'; choose cpu, or install onnxruntime-gpu for cuda"
        )
    return [_CUDA, _CPU] if has_cuda and device != "cpu" else [_CPU]


# ONNX Runtime's fusion of x sigmoid(x) takes maps out of the layout of its convolutions and back:
# EfficientNet is a tenth slower with it.
SLOWER_OPTIMIZERS = ["QuickGeluFusion"]


def _session(path: Path, providers: list[str]) -> Any:
    import onnxruntime  # only when a network is loaded: a map does not need it

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # an error is reported once, by the exception
    try:
        return onnxruntime.InferenceSession(
            path, options, providers=providers, disabled_optimizers=SLOWER_OPTIMIZERS
        )
    except Exception:  # ONNX Runtime's errors have no common public base class
        raise CheckpointError(f"{path} is damaged or not an ONNX file; export the run again") from None


def _read_metadata(session: Any, path: Path) -> ExportMetadata:
    try:
        text = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
    except Exception:  # metadata that are not text
        text = None
    if text is None:
        raise CheckpointError(
            f"{path} was not exported by camloc: it has no metadata of camloc; use `camloc export`"
        )
    try:
        return from_json(text.encode(), ExportMetadata)
    except RecipeError as problem:
        raise CheckpointError(
            f"{path} is of another version of camloc: {problem}; export the run again"
        ) from None


def _decoding(exported: ExportMetadata, path: Path) -> Decoding:
    """The decoding of the outputs into poses, checked against the metadata."""
    record, preprocess = exported.decoding, exported.metadata.preprocess
    if (
        len(record.centers) != len(exported.metadata.scenes)
        or not np.isfinite(record.centers).all()
        or (record.kind != "scene_pose" and len(record.centers) != 1)
        or not 1 <= record.stride <= min(preprocess.width, preprocess.height)
    ):
        raise CheckpointError(
            f"{path} is damaged: how its outputs become poses does not fit its scenes; export it again"
        )
    return record.decoding()


def _check_network(session: Any, exported: ExportMetadata, decoding: Decoding, path: Path) -> None:
    """Raise CheckpointError if inputs and outputs of the network contradict the metadata."""
    metadata = exported.metadata
    inputs = {each.name: list(each.shape[1:]) for each in session.get_inputs()}
    outputs = [each.name for each in session.get_outputs()]
    size = [3, metadata.preprocess.height, metadata.preprocess.width]
    expected = {"images": size} if exported.input == "tensor" else {"image": ["width", 3]}
    if inputs != expected or outputs != output_names(decoding, metadata):
        raise CheckpointError(f"{path} is damaged: its network does not fit its metadata; export it again")


def output_names(decoding: Decoding, metadata: Metadata) -> list[str]:
    """The names of an exported network's outputs."""
    return [*decoding.OUTPUT._fields, *([] if metadata.novelty_threshold is None else [NOVELTY])]


def output_shapes(decoding: Decoding, metadata: Metadata) -> tuple[tuple[int | None, ...], ...]:
    """The shapes of an exported network's outputs for one image, without the batch; None for any size."""
    novelty: tuple[tuple[int | None, ...], ...] = () if metadata.novelty_threshold is None else ((),)
    if isinstance(decoding, PointDecoding):
        preprocess, depths = metadata.preprocess, 1 if decoding.camera_points == "depth" else 3
        grid = preprocess.height // decoding.stride, preprocess.width // decoding.stride
        return ((3, *grid), (depths, *grid), grid, *novelty)
    pose = ((3,), (orientation_size(decoding.orientation),))
    if isinstance(decoding, PoseDecoding):
        return (*pose, *novelty)
    scenes = len(metadata.scenes)
    return (*pose, (scenes,), (scenes, None), (scenes, None), *novelty)


def _fits(shape: tuple[int, ...], expected: tuple[int | None, ...]) -> bool:
    return len(shape) == len(expected) and all(
        size in (one, None) for one, size in zip(shape, expected, strict=True)
    )
