"""`SceneMap`: the points of a scene, how they look, and which frames see them; its two files.

A map is a folder with

    map.safetensors    arrays: points, descriptors, observations, frame poses, retrieval vectors
    map.json           the rest: names, cameras, settings, calibration, and the checksums of both files

Nothing is unpickled. A damaged byte in either file is noticed when the map is loaded.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Float16, Float32, Int32, Int64, UInt8
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from camloc.core.config import from_builtins, to_builtins
from camloc.core.files import read_regular, write_atomically
from camloc.errors import CheckpointError, RecipeError
from camloc.geometry.camera import Camera
from camloc.mapping.features import FeatureSettings

FORMAT = 4
ARRAYS_FILE = "map.safetensors"
METADATA_FILE = "map.json"

# The folder of a run that holds its maps.
MAPS_FOLDER = "map"

# Larger files than these are refused before they are read: no map of a scene is so large.
MOST_ARRAY_BYTES = 2 << 30
MOST_METADATA_BYTES = 256 << 20

# Indices of points are stored in two bytes where they fit.
_TWO_BYTES = 1 << 16


@dataclass(frozen=True, eq=False)
class DescriptorCodec:
    """How a descriptor of an image becomes the code that the map stores: PCA and 8 bits.

        code = round((descriptor - mean) @ basis / step) + 128, clipped to [0, 255]

    The basis is orthonormal and the step is one for all dimensions, so that distances between codes are
    distances between descriptors, but for the dimensions that PCA left out, divided by `step`.

    Attributes:
        mean: (D,) of the descriptors of the training frames.
        basis: (D, d) the d directions in which they vary most, orthonormal.
        step: of the quantization.
    """

    mean: Float32[np.ndarray, "D"]
    basis: Float32[np.ndarray, "D d"]
    step: float

    def project(self, descriptors: Float32[np.ndarray, "n D"]) -> Float32[np.ndarray, "n d"]:
        """Descriptors in the units of the codes, not rounded, zero at the mean."""
        projected: Float32[np.ndarray, "n d"] = (descriptors - self.mean) @ (
            self.basis / np.float32(self.step)
        )
        return projected

    def encode(self, descriptors: Float32[np.ndarray, "n D"]) -> UInt8[np.ndarray, "n d"]:
        """The codes of descriptors."""
        codes: UInt8[np.ndarray, "n d"] = np.clip(np.rint(self.project(descriptors)) + 128, 0, 255).astype(
            np.uint8
        )
        return codes

    def decode(self, codes: UInt8[np.ndarray, "n d"]) -> Float32[np.ndarray, "n d"]:
        """What `project` gives, rounded: to be compared with projected descriptors of a query."""
        return codes.astype(np.float32) - np.float32(128.0)


@dataclass(frozen=True, eq=False)
class Retrieval:
    """Which frames look like a query: local descriptors aggregated to one vector an image (VLAD).

    Residuals of the projected descriptors (`DescriptorCodec.project`) to their nearest center are summed for
    each center, normalized, concatenated to (k d,) and projected: `(vlad - mean) @ basis`, of unit length.

    Attributes:
        centers: (k, d) of the projected descriptors.
        mean: (k d,) of the aggregated vectors.
        basis: (k d, r) of their projection.
        vectors: (f, r) of the frames, each of unit length.
    """

    centers: Float16[np.ndarray, "k d"]
    mean: Float16[np.ndarray, "v"]
    basis: Float16[np.ndarray, "v r"]
    vectors: Float16[np.ndarray, "f r"]


@dataclass(frozen=True)
class Calibration:
    """What held-out training frames say about the answers of a map.

    The standard deviations of a pose are those of the normal equations times `rotation_scale` and
    `position_scale`, divided by the share of the guided matches that are inliers to the power of
    `ratio_power`: where few of them agree, the map contradicts itself. The floors are added in squares:
    errors that all matches of an image share (of the frames' poses, of the points that they gave) do not
    shrink with the number of matches.

    Attributes:
        frames: how many held-out frames it was measured on; 0 before calibration.
        least_inliers: an answer with fewer is not verified; None before calibration.
        least_evidence: an answer with less evidence (see `Verification`) is not verified, or None.
        least_coverage: an answer with inliers in a smaller share of the image is not verified.
        most_sigma_degrees: an answer whose orientation has a larger standard deviation is not verified, or
            None.
        most_sigma: the same of its position, as a share of the median distance to the inliers, or None.
        rotation_scale, position_scale: factors of the standard deviations.
        ratio_power: of the share of inliers.
        position_floor: standard deviation along each axis, in the unit of the map, that every answer has.
        rotation_floor_degrees: the same of the rotation vector, in degrees.
    """

    frames: int = 0
    least_inliers: int | None = None
    least_evidence: float | None = None
    least_coverage: float = 0.0
    most_sigma_degrees: float | None = None
    most_sigma: float | None = None
    rotation_scale: float = 1.0
    position_scale: float = 1.0
    ratio_power: float = 0.0
    position_floor: float = 0.0
    rotation_floor_degrees: float = 0.0


@dataclass(frozen=True, eq=False)
class SceneMap:
    """A map of local features of one scene. Point i is `origin + points[i]` in the world.

    Attributes:
        scene: name of the scene.
        unit: of positions: "m", or "units" where the scale of the world is not known.
        features: which features were extracted and how; those of a query must be extracted alike.
        origin: (3,) double precision; points and frame positions are relative to it.
        points: (n, 3) relative to `origin`.
        point_sigmas: (n,) standard deviation of a point's position (root of the largest eigenvalue of its
            covariance), in `unit`.
        point_scales: (n,) size in `unit` that one pixel of the keypoint's scale has at the point: the
            keypoint that a camera at depth z sees has the scale `point_scales * focal / z` pixels; 0
            where the extractor gives no scale.
        descriptors: (n, d) codes, one a point: the mean over the frames that see it.
        codec: how the descriptors of a query become comparable with them.
        frame_names: names of the f training frames that the map was built from, in the order of the rows.
        frame_positions: (f, 3) camera centres relative to `origin`.
        frame_quaternions_wxyz: (f, 4) unit quaternions of the rotations `world_from_cam`.
        cameras: the different cameras, as the images are stored.
        frame_cameras: (f,) which of them took each frame.
        seen_offsets: (f + 1,) where the points of each frame begin in `seen_points`.
        seen_points: the points that frame j sees are `seen_points[seen_offsets[j] : seen_offsets[j + 1]]`,
            in rising order.
        retrieval: which frames look like a query, or None.
        calibration: what held-out frames say about answers.
    """

    scene: str
    unit: Literal["m", "units"]
    features: FeatureSettings
    origin: Float[np.ndarray, "3"]
    points: Float32[np.ndarray, "n 3"]
    point_sigmas: Float16[np.ndarray, "n"]
    point_scales: Float16[np.ndarray, "n"]
    descriptors: UInt8[np.ndarray, "n d"]
    codec: DescriptorCodec
    frame_names: tuple[str, ...]
    frame_positions: Float32[np.ndarray, "f 3"]
    frame_quaternions_wxyz: Float32[np.ndarray, "f 4"]
    cameras: tuple[Camera, ...]
    frame_cameras: Int32[np.ndarray, "f"]
    seen_offsets: Int32[np.ndarray, "f+1"]
    seen_points: Int32[np.ndarray, "o"]
    retrieval: Retrieval | None = None
    calibration: Calibration = field(default_factory=Calibration)

    def __post_init__(self) -> None:
        """Check that the parts fit together.

        Raises:
            ValueError: they do not.
        """
        if problem := _inconsistency(self):
            raise ValueError(problem)

    def __len__(self) -> int:
        return len(self.points)

    def points_seen_by(self, frame: int) -> Int32[np.ndarray, "s"]:
        """The numbers of the points that a frame sees, in rising order."""
        seen: Int32[np.ndarray, s] = self.seen_points[self.seen_offsets[frame] : self.seen_offsets[frame + 1]]
        return seen

    def views(self) -> Int64[np.ndarray, "n"]:
        """How many frames see each point."""
        views: Int64[np.ndarray, n] = np.bincount(self.seen_points, minlength=len(self)).astype(np.int64)
        return views

    def points_in_world(self, rows: NDArray[Any] | slice = slice(None)) -> Float[np.ndarray, "m 3"]:
        """The positions of points (all, or those of `rows`) in the world, double precision."""
        world: Float[np.ndarray, "m 3"] = self.points[rows].astype(np.float64) + self.origin
        return world

    def frame_centers(self) -> Float[np.ndarray, "f 3"]:
        """The camera centres of the frames in the world, double precision."""
        centers: Float[np.ndarray, "f 3"] = self.frame_positions.astype(np.float64) + self.origin
        return centers

    def frame_rotations(self) -> Float[np.ndarray, "f 3 3"]:
        """The rotations `world_from_cam` of the frames, double precision."""
        quaternions = self.frame_quaternions_wxyz.astype(np.float64)
        w, x, y, z = (quaternions / np.linalg.norm(quaternions, axis=1, keepdims=True)).T
        rows = (
            (1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
            (2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
            (2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
        )
        return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)

    def with_calibration(self, calibration: Calibration) -> "SceneMap":
        """The same map with other calibration."""
        return replace(self, calibration=calibration)

    def with_retrieval(self, retrieval: Retrieval | None) -> "SceneMap":
        """The same map with other retrieval vectors."""
        return replace(self, retrieval=retrieval)

    def to_files(self) -> dict[str, bytes]:
        """The contents of the map's files, by name."""
        arrays = save({name: np.ascontiguousarray(array) for name, array in _arrays(self).items()})
        return {ARRAYS_FILE: arrays, METADATA_FILE: _encoded(_metadata(self, arrays))}

    @classmethod
    def from_files(cls, files: Mapping[str, bytes], *, source: str) -> "SceneMap":
        """A map from the contents of its files.

        Args:
            files: as `to_files` gave them.
            source: where they come from, for messages.

        Raises:
            CheckpointError: a file is missing, damaged, too large, or of another version of camloc.
        """
        for name, most in ((METADATA_FILE, MOST_METADATA_BYTES), (ARRAYS_FILE, MOST_ARRAY_BYTES)):
            if name not in files:
                raise CheckpointError(f"{source} holds no map: {name} is missing; build the map again")
            if len(files[name]) > most:
                raise CheckpointError(f"{name} of {source} has more than {most:,} bytes, which no map has")
        metadata = _checked_metadata(files[METADATA_FILE], source=source)
        if _sha256(files[ARRAYS_FILE]) != metadata.get("arrays_sha256"):
            raise CheckpointError(f"{ARRAYS_FILE} of {source} is damaged; copy it or build the map again")
        try:
            return _assembled(from_builtins(metadata, _Content), load(files[ARRAYS_FILE]))
        except (SafetensorError, RecipeError, KeyError, TypeError, ValueError) as problem:
            reason = (str(problem).splitlines() or [type(problem).__name__])[0]
            raise CheckpointError(
                f"the map in {source} is of another version of camloc or damaged ({reason}); build it again"
            ) from None

    def save(self, folder: Path) -> None:
        """Write the map into a folder, which is made where it is missing.

        Raises:
            CamlocError: the folder cannot be written.
        """
        for name, content in self.to_files().items():
            write_atomically(folder / name, content)

    @classmethod
    def load(cls, folder: Path) -> "SceneMap":
        """Read a map from its folder.

        Raises:
            CheckpointError: it is missing, damaged, too large, or of another version of camloc.
        """
        files = {}
        for name, most in ((METADATA_FILE, MOST_METADATA_BYTES), (ARRAYS_FILE, MOST_ARRAY_BYTES)):
            path = folder / name
            try:
                if path.stat().st_size > most:
                    raise CheckpointError(f"{path} has more than {most:,} bytes, which no map has")
                files[name] = read_regular(path, most_bytes=most)
            except FileNotFoundError:
                raise CheckpointError(
                    f"{folder} holds no map: {name} is missing; build one with `camloc map`"
                ) from None
            except OSError as problem:
                raise CheckpointError(f"{path} cannot be read: {problem.strerror or problem}") from None
        return cls.from_files(files, source=str(folder))


def save_maps(run: Path, maps: Sequence[SceneMap]) -> None:
    """Write the maps of a run's scenes into its folder: `map/0`, `map/1`, ...

    Numbers name the folders, not the scenes: the name of a scene comes from data and must not choose where
    files are written.

    Raises:
        CamlocError: the folder cannot be written.
    """
    for number, scene_map in enumerate(maps):
        scene_map.save(run / MAPS_FOLDER / str(number))


def load_maps(run: Path) -> dict[str, SceneMap]:
    """The maps in a run's folder, by the name of their scene; empty if it has none.

    Raises:
        CheckpointError: a map is damaged or of another version of camloc.
    """
    maps = {}
    number = 0
    while is_map(run / MAPS_FOLDER / str(number)):
        scene_map = SceneMap.load(run / MAPS_FOLDER / str(number))
        maps[scene_map.scene] = scene_map
        number += 1
    return maps


def is_map(folder: Path) -> bool:
    """Whether a folder holds a map, whole or damaged."""
    return (folder / METADATA_FILE).is_file() or (folder / ARRAYS_FILE).is_file()


@dataclass(frozen=True)
class _Content:
    """The content of `map.json`: the parts of a map that are not arrays, and the checksum of these."""

    scene: str
    unit: Literal["m", "units"]
    features: FeatureSettings
    codec_step: float
    calibration: Calibration
    cameras: tuple[Camera, ...]
    frame_names: tuple[str, ...]
    arrays_sha256: str


def _arrays(scene_map: SceneMap) -> dict[str, NDArray[Any]]:
    index = np.uint16 if len(scene_map) <= _TWO_BYTES else np.uint32
    counts = np.diff(scene_map.seen_offsets).astype(np.uint32)
    arrays: dict[str, NDArray[Any]] = {
        "origin": scene_map.origin,
        "points": scene_map.points,
        "point_sigmas": scene_map.point_sigmas,
        "point_scales": scene_map.point_scales,
        "descriptors": scene_map.descriptors,
        "codec.mean": scene_map.codec.mean,
        "codec.basis": scene_map.codec.basis,
        "frame_positions": scene_map.frame_positions,
        "frame_quaternions_wxyz": scene_map.frame_quaternions_wxyz,
        "frame_cameras": scene_map.frame_cameras,
        "seen_counts": counts,
        "seen_points": scene_map.seen_points.astype(index),
    }
    if scene_map.retrieval is not None:
        for name in ("centers", "mean", "basis", "vectors"):
            arrays[f"retrieval.{name}"] = getattr(scene_map.retrieval, name)
    return arrays


def _metadata(scene_map: SceneMap, arrays: bytes) -> dict[str, Any]:
    content = to_builtins(
        _Content(
            scene=scene_map.scene,
            unit=scene_map.unit,
            features=scene_map.features,
            codec_step=scene_map.codec.step,
            calibration=scene_map.calibration,
            cameras=scene_map.cameras,
            frame_names=scene_map.frame_names,
            arrays_sha256=_sha256(arrays),
        )
    )
    return {"format": FORMAT, "content_sha256": _sha256(_encoded(content)), "content": content}


def _checked_metadata(data: bytes, *, source: str) -> dict[str, Any]:
    """The content of `map.json`.

    Raises:
        CheckpointError: it is damaged, or of another version.
    """
    damaged = CheckpointError(f"{METADATA_FILE} of {source} is damaged; copy it or build the map again")
    try:
        metadata = json.loads(data)
        written = _encoded(metadata)
    except (ValueError, RecursionError):
        raise damaged from None
    if not isinstance(metadata, dict) or not isinstance(metadata.get("content"), dict):
        raise damaged
    content: dict[str, Any] = metadata["content"]
    if metadata.get("content_sha256") != _sha256(_encoded(content)) or written != data:
        raise damaged
    if metadata.get("format") != FORMAT:
        raise CheckpointError(
            f"the map in {source} has format {metadata.get('format')} and this version of camloc reads "
            f"{FORMAT}; build it again"
        )
    return content


def _assembled(content: _Content, arrays: dict[str, NDArray[Any]]) -> SceneMap:
    """A map of the contents of both files; raises whatever a wrong content leads to."""
    counts = arrays["seen_counts"].astype(np.int64)
    retrieval = None
    if "retrieval.centers" in arrays:
        names = ("centers", "mean", "basis", "vectors")
        retrieval = Retrieval(**{name: arrays[f"retrieval.{name}"] for name in names})
    return SceneMap(
        scene=content.scene,
        unit=content.unit,
        features=content.features,
        origin=arrays["origin"],
        points=arrays["points"],
        point_sigmas=arrays["point_sigmas"],
        point_scales=arrays["point_scales"],
        descriptors=arrays["descriptors"],
        codec=DescriptorCodec(arrays["codec.mean"], arrays["codec.basis"], content.codec_step),
        frame_names=content.frame_names,
        frame_positions=arrays["frame_positions"],
        frame_quaternions_wxyz=arrays["frame_quaternions_wxyz"],
        cameras=content.cameras,
        frame_cameras=arrays["frame_cameras"],
        seen_offsets=np.concatenate(([0], np.cumsum(counts))).astype(np.int32),
        seen_points=arrays["seen_points"].astype(np.int32),
        retrieval=retrieval,
        calibration=content.calibration,
    )


def _inconsistency(scene_map: SceneMap) -> str | None:
    """What of a map does not fit together, or None."""
    points, frames = len(scene_map.points), len(scene_map.frame_names)
    width = scene_map.descriptors.shape[-1]
    expected = {
        "origin": (scene_map.origin, np.float64, (3,)),
        "points": (scene_map.points, np.float32, (points, 3)),
        "point_sigmas": (scene_map.point_sigmas, np.float16, (points,)),
        "point_scales": (scene_map.point_scales, np.float16, (points,)),
        "descriptors": (scene_map.descriptors, np.uint8, (points, width)),
        "codec.mean": (scene_map.codec.mean, np.float32, scene_map.codec.basis.shape[:1]),
        "codec.basis": (scene_map.codec.basis, np.float32, (len(scene_map.codec.mean), width)),
        "frame_positions": (scene_map.frame_positions, np.float32, (frames, 3)),
        "frame_quaternions_wxyz": (scene_map.frame_quaternions_wxyz, np.float32, (frames, 4)),
        "frame_cameras": (scene_map.frame_cameras, np.int32, (frames,)),
        "seen_offsets": (scene_map.seen_offsets, np.int32, (frames + 1,)),
        "seen_points": (scene_map.seen_points, np.int32, scene_map.seen_points.shape[:1]),
    }
    if (retrieval := scene_map.retrieval) is not None:
        size, length = len(retrieval.mean), retrieval.vectors.shape[-1]
        expected |= {
            "retrieval.centers": (retrieval.centers, np.float16, (len(retrieval.centers), width)),
            "retrieval.mean": (retrieval.mean, np.float16, (size,)),
            "retrieval.basis": (retrieval.basis, np.float16, (size, length)),
            "retrieval.vectors": (retrieval.vectors, np.float16, (frames, length)),
        }
    for name, (array, kind, shape) in expected.items():
        if array.dtype != kind or array.shape != shape:
            return (
                f"{name} of a map has type {array.dtype} and shape {array.shape}, not {kind.__name__} {shape}"
            )
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            return f"{name} of a map has numbers that are not finite"
    if scene_map.unit not in ("m", "units"):
        return f"the unit of a map is 'm' or 'units', not {scene_map.unit!r}"
    if not frames or len(set(scene_map.frame_names)) != frames:
        return "a map needs one frame or more, each with a name of its own"
    if not np.linalg.norm(scene_map.frame_quaternions_wxyz, axis=1).min() > 0.5:
        return "a frame of a map has a quaternion that is no rotation"
    if not 0 <= scene_map.frame_cameras.min() <= scene_map.frame_cameras.max() < len(scene_map.cameras):
        return "a frame of a map has a camera that the map does not list"
    if not np.isfinite(scene_map.codec.step) or scene_map.codec.step <= 0.0:
        return f"the descriptors of a map have the step {scene_map.codec.step}, which is not positive"
    offsets, seen = scene_map.seen_offsets, scene_map.seen_points
    if offsets[0] != 0 or offsets[-1] != len(seen) or (np.diff(offsets) < 0).any():
        return "the observations of a map do not belong to its frames"
    if len(seen) and not 0 <= seen.min() <= seen.max() < points:
        return "a frame of a map sees a point that the map does not have"
    return None


def _encoded(content: dict[str, Any]) -> bytes:
    return json.dumps(content, indent=1, allow_nan=False).encode() + b"\n"


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
