"""Structure from motion: from photographs without poses to a COLMAP model, step by step.

features -> pairs -> matching -> geometric verification -> mapper

Features, pairs and matches are those of maps; verification and mapping are pycolmap's. No torch.
"""

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Float64, Int64, UInt8
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from camloc.core.progress import StepProgress, silent
from camloc.data.photos import Look, Photo, copies, looked_at
from camloc.errors import DatasetError, ImageError
from camloc.mapping.build import fit_codec
from camloc.mapping.features import Features, FeatureSettings, extraction_scale, feature_extractor
from camloc.mapping.matching import match_codes
from camloc.mapping.retrieval import build_retrieval

if TYPE_CHECKING:
    import pycolmap

Connected = dict[tuple[int, int], NDArray[np.uint32]]
"""(k, 2) keypoints that match, of pairs of images that are connected, by the numbers of both images."""

# Focal length of a camera of which nothing is known, in units of the longer side of its images.
_ASSUMED_FOCAL = 1.2

# Samples of the verification of a pair. Of a pair's own focal length: samples, pairs that are tried, and
# estimates that are enough.
_TRIALS = 2000
_FOCAL_TRIALS, _FOCAL_PAIRS, _FOCAL_ESTIMATES = 500, 100, 9

# The mapper tries again, with other random samples, while it places less than this share of the images.
_ATTEMPTS, _ENOUGH_PLACED = 3, 0.8

# It tries again too while its poses contradict more than this share of the connected pairs.
MOST_CONTRADICTED = 0.001

# Share of the median sharpness below which an image that has no pose is called blurred.
_BLURRED = 0.5


@dataclass(frozen=True)
class MotionSettings:
    """Settings of structure from motion.

    Attributes:
        features: extraction of local features.
        dimensions: numbers that descriptors are compressed to for matching.
        ratio: the distance to the nearest descriptor over that to the second nearest, at most.
        exhaustive: up to this many images, every pair is compared; beyond, neighbours and similar ones.
        neighbours: images before and after each one in its sequence that it is compared with.
        similar: images of the most similar look that each one is compared with.
        least_matches: matches of a pair that agree with one motion; repeated patterns reach fewer.
        pixels: distance of a match to its epipolar line, at most, in pixels of the extraction. Errors of the
            mapper have their usual ratios to it.
        mapper: "incremental" adds one image after the other; "global" solves for all at once.
        seed: of the random samples.
    """

    features: FeatureSettings = field(default_factory=FeatureSettings)
    dimensions: int = 64
    ratio: float = 0.85
    exhaustive: int = 60
    neighbours: int = 6
    similar: int = 14
    least_matches: int = 25
    pixels: float = 3.0
    mapper: Literal["incremental", "global"] = "incremental"
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Motion:
    """The result of structure from motion: a model, and why other images have no pose.

    Attributes:
        model: the largest reconstruction; its images are called as the photographs.
        placed: names of the images that have a pose, in the given order.
        reasons: why each other image has none.
        groups: names of images without a pose that are connected with each other, largest first.
        pixels: mean reprojection error.
        pairs: compared, and connected by enough matches that agree.
        contradicted: names of the connected pairs whose matches are farther from the epipolar lines of the
            poses than `MotionSettings.pixels`, in the median. One wrong place bends a path there.
    """

    model: "pycolmap.Reconstruction"
    placed: tuple[str, ...]
    reasons: dict[str, str]
    groups: tuple[tuple[str, ...], ...]
    pixels: float
    pairs: tuple[int, int]
    contradicted: tuple[tuple[str, str], ...]


@dataclass(frozen=True, eq=False)
class _Extracted:
    """The photographs that can be used, with their features; reasons for the others."""

    photos: tuple[Photo, ...]
    features: tuple[Features, ...]
    codes: tuple[UInt8[np.ndarray, "_ d"], ...]
    looks: dict[str, Look]
    reasons: dict[str, str]


def structure_from_motion(
    photos: Sequence[Photo], settings: MotionSettings | None = None, *, progress: StepProgress = silent
) -> Motion:
    """Compute the poses of photographs, the intrinsics of their cameras, and points of the scene.

    The world has no scale, and axes of no meaning.

    Args:
        photos: in their order; neighbours in a sequence are compared with each other.
        settings: how.
        progress: called with each step.

    Raises:
        DatasetError: fewer than two images can be used, or no two of them can be placed.
    """
    settings = settings or MotionSettings()
    extracted, similarity = _extract(photos, settings, progress)
    pairs = image_pairs([photo.sequence for photo in extracted.photos], similarity, settings)
    from camloc.geometry.colmap import quiet

    with TemporaryDirectory(prefix="camloc-") as folder, quiet():  # it reports every step
        database = Path(folder) / "database.db"
        connected = _write_database(database, extracted, pairs, settings, progress)
        best = _best_model(database, Path(folder), extracted, connected, settings, progress)
    if best is None:
        raise DatasetError(_no_model_message(extracted, connected))
    model, contradicted = best
    placed = {image.name for image in model.images.values() if image.has_pose}
    reasons, groups = _reasons(extracted, connected, placed, settings)
    return Motion(
        model,
        tuple(photo.name for photo in photos if photo.name in placed),
        {**extracted.reasons, **reasons},
        groups,
        float(model.compute_mean_reprojection_error()),
        (len(pairs), len(connected)),
        tuple((extracted.photos[one].name, extracted.photos[other].name) for one, other in contradicted),
    )


def image_pairs(
    sequences: Sequence[str], similarity: Float64[NDArray[np.float64], "n n"], settings: MotionSettings
) -> Int64[NDArray[np.int64], "p 2"]:
    """The pairs of images to compare, each once with the lower number first, sorted.

    Args:
        sequences: of each image.
        similarity: of each two images.
        settings: how many.
    """
    count = len(sequences)
    if count <= settings.exhaustive:
        first, second = np.triu_indices(count, 1)
        return np.stack((first, second), axis=1).astype(np.int64)
    found = set()
    members: dict[str, list[int]] = {}
    for number, sequence in enumerate(sequences):
        members.setdefault(sequence, []).append(number)
    for own in members.values():
        for step in range(1, settings.neighbours + 1):
            found |= set(zip(own, own[step:], strict=False))
    ranked = np.argsort(-(similarity - 2.0 * np.eye(count)), axis=1, kind="stable")[:, : settings.similar]
    found |= {(min(one, other), max(one, other)) for one, row in enumerate(ranked.tolist()) for other in row}
    return np.array(sorted(found), dtype=np.int64).reshape(-1, 2)


def _extract(
    photos: Sequence[Photo], settings: MotionSettings, progress: StepProgress
) -> tuple[_Extracted, Float64[NDArray[np.float64], "n n"]]:
    """Features and codes of the photographs that can be used, and the similarity of each two."""
    extractor = feature_extractor(settings.features)
    features: dict[str, Features] = {}
    looks: dict[str, Look] = {}
    reasons: dict[str, str] = {}
    for number, photo in enumerate(photos):
        progress("features", number, len(photos))
        try:
            image, looks[photo.name] = looked_at(photo)
        except ImageError as problem:
            reasons[photo.name] = str(problem)
            continue
        features[photo.name] = extractor.extract(image)
    for name, first in copies(looks).items():
        reasons[name] = f"it is a copy of {first}"
        del features[name]
    few = [name for name, each in features.items() if len(each) < settings.least_matches]
    for name in few:
        reasons[name] = (
            f"it has {len(features.pop(name))} features, too few: blurred, dark or without texture"
        )
    if len(features) < 2:
        example = next(iter(reasons.items()), ("", ""))
        detail = f" ({example[0]}: {example[1]})" if example[0] else ""
        raise DatasetError(
            f"poses need two different images or more that show something, and {len(features)} of "
            f"{len(photos)} can be used{detail}; take about 50 photographs while walking around"
        )
    codec = fit_codec([each.descriptors for each in features.values()], settings.dimensions)
    codes = [codec.encode(each.descriptors.astype(np.float32)) for each in features.values()]
    vectors = build_retrieval([each.descriptors for each in features.values()], codec).vectors.astype(float)
    used = tuple(photo for photo in photos if photo.name in features)
    return _Extracted(used, tuple(features.values()), tuple(codes), looks, reasons), vectors @ vectors.T


def _write_database(
    path: Path,
    extracted: _Extracted,
    pairs: Int64[NDArray[np.int64], "p 2"],
    settings: MotionSettings,
    progress: StepProgress,
) -> Connected:
    """Write cameras, images, keypoints and verified matches into a COLMAP database.

    Images are counted from 1 in the database. Returns the matches that agree, of the pairs that have enough.
    """
    from camloc.geometry.colmap import pycolmap

    photos, keypoints = extracted.photos, [each.keypoints for each in extracted.features]
    groups: dict[tuple[object, ...], int] = {}
    cameras: list[pycolmap.Camera] = []
    agreeing: Connected = {}
    with pycolmap.Database.open(path) as database, pycolmap.DatabaseTransaction(database):
        for number, photo in enumerate(photos, start=1):
            camera = initial_camera(photo)
            camera.camera_id = groups.setdefault(camera_key(photo), len(groups) + 1)
            cameras.append(camera)
            if not database.exists_camera(camera.camera_id):
                database.write_camera(camera, use_camera_id=True)
                rig = pycolmap.Rig(rig_id=camera.camera_id)
                rig.add_ref_sensor(camera.sensor_id)
                database.write_rig(rig, use_rig_id=True)
            image = pycolmap.Image(name=photo.name, camera_id=camera.camera_id, image_id=number)
            database.write_image(image, use_image_id=True)
            frame = pycolmap.Frame(frame_id=number, rig_id=camera.camera_id)
            frame.add_data_id(image.data_id)
            database.write_frame(frame, use_frame_id=True)
            database.write_keypoints(number, keypoints[number - 1])
        options = _two_view_options(settings, _image_pixels(photos, settings))
        # Cameras with numbers of their own: pairs of one camera whose focal length is unknown would each be
        # searched for it, which takes a hundred times longer.
        others = [_renumbered(camera) for camera in cameras]
        for done, (first, second) in enumerate(pairs.tolist()):
            progress("matching", done, len(pairs))
            matches = match_codes(extracted.codes[first], extracted.codes[second], settings.ratio)
            if len(matches) < settings.least_matches:
                continue
            found = pycolmap.estimate_two_view_geometry(
                cameras[first], keypoints[first], others[second], keypoints[second], matches, options
            )
            if len(found.inlier_matches) >= settings.least_matches:
                database.write_matches(first + 1, second + 1, matches.astype(np.uint32))
                database.write_two_view_geometry(first + 1, second + 1, found)
                agreeing[first, second] = found.inlier_matches
        for camera in {camera.camera_id: camera for camera in cameras}.values():
            own = [
                pair for pair in agreeing if {cameras[row].camera_id for row in pair} == {camera.camera_id}
            ]
            own.sort(key=lambda pair: -len(agreeing[pair]))
            if not camera.has_prior_focal_length:
                _find_focal(camera, [(keypoints[a], keypoints[b], agreeing[a, b]) for a, b in own], options)
                database.update_camera(camera)
    return agreeing


def _find_focal(
    camera: "pycolmap.Camera",
    pairs: Sequence[tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.uint32]]],
    options: "pycolmap.TwoViewGeometryOptions",
) -> None:
    """Set a camera's focal length to the median of the focal lengths that single pairs of its images give.

    Most pairs give none: their motion, or the plane that they see, leaves the focal length open. Where enough
    give one, the mapper takes it for known until it refines it: with a free focal length it began with a
    wrong one on some walks, and placed few images or bent the path.
    """
    from camloc.geometry.colmap import pycolmap

    options.ransac.max_num_trials = _FOCAL_TRIALS
    found: list[float] = []
    for first, second, matches in pairs[:_FOCAL_PAIRS]:
        geometry = pycolmap.estimate_two_view_geometry(camera, first, camera, second, matches, options)
        if geometry.camera1 is not None:
            found.append(geometry.camera1.mean_focal_length())
        if len(found) == _FOCAL_ESTIMATES:
            break
    longer = max(camera.width, camera.height)
    sound = [focal for focal in found if 0.3 < focal / longer < 5.0]
    if sound:
        camera.params = [float(np.median(sound)), *camera.params[1:]]
        camera.has_prior_focal_length = len(sound) == _FOCAL_ESTIMATES


def _renumbered(camera: "pycolmap.Camera") -> "pycolmap.Camera":
    from camloc.geometry.colmap import pycolmap

    other = pycolmap.Camera(camera.todict())
    other.camera_id = camera.camera_id + 1_000_000
    return other


def _image_pixels(photos: Sequence[Photo], settings: MotionSettings) -> float:
    """The largest error of a match in pixels of the images, whose features come from scaled ones."""
    scales = [extraction_scale(photo.width, photo.height, settings.features) for photo in photos]
    return settings.pixels / float(np.median(scales))


def _two_view_options(settings: MotionSettings, pixels: float) -> "pycolmap.TwoViewGeometryOptions":
    from camloc.geometry.colmap import pycolmap

    options = pycolmap.TwoViewGeometryOptions()
    options.min_num_inliers = settings.least_matches
    options.ransac.random_seed = settings.seed
    options.ransac.max_num_trials = _TRIALS
    options.ransac.max_error = pixels
    return options


def camera_key(photo: Photo) -> tuple[object, ...]:
    """The key of a photograph's camera: equal keys mean one camera with one focal length."""
    focal = None if photo.focal is None else round(photo.focal / max(photo.width, photo.height), 3)
    return photo.width, photo.height, photo.device, focal


def initial_camera(photo: Photo) -> "pycolmap.Camera":
    """A camera with the focal length of EXIF, or a usual one, before it is refined."""
    from camloc.geometry.colmap import pycolmap

    focal = photo.focal or _ASSUMED_FOCAL * max(photo.width, photo.height)
    camera = pycolmap.Camera.create_from_model_name(1, "SIMPLE_RADIAL", focal, photo.width, photo.height)
    camera.has_prior_focal_length = photo.focal is not None
    return camera


def _best_model(
    database: Path,
    folder: Path,
    extracted: _Extracted,
    connected: Connected,
    settings: MotionSettings,
    progress: StepProgress,
) -> "tuple[pycolmap.Reconstruction, list[tuple[int, int]]] | None":
    """The model that explains most connected pairs, and the pairs that contradict its poses.

    The mapper never takes back a wrong place, and which images it begins with is chance: further attempts
    begin elsewhere, where a model leaves many images out or contradicts matches.
    """
    best: tuple[pycolmap.Reconstruction, list[tuple[int, int]]] | None = None
    most = 0
    for attempt in range(_ATTEMPTS):
        own = folder / str(attempt)
        own.mkdir()
        again = replace(settings, seed=settings.seed + attempt)
        models = _reconstruct(database, own, extracted.photos, again, progress)
        for model in models:
            explained, contradicted = _explained(model, extracted, connected, settings)
            if best is None or explained > most:
                best, most = (model, contradicted), explained
        if best is None:
            continue
        is_whole = best[0].num_reg_images() >= _ENOUGH_PLACED * len(extracted.photos)
        if is_whole and len(best[1]) <= MOST_CONTRADICTED * len(connected):
            break
    return best


def _explained(
    model: "pycolmap.Reconstruction", extracted: _Extracted, connected: Connected, settings: MotionSettings
) -> tuple[int, list[tuple[int, int]]]:
    """How many connected pairs a model's poses explain, and those of its images that they do not."""
    from camloc.geometry.colmap import pycolmap

    placed = {image.name: image for image in model.images.values() if image.has_pose}
    pixels = _image_pixels(extracted.photos, settings)
    contradicted = []
    explained = 0
    for (first, second), matches in connected.items():
        one, other = (placed.get(extracted.photos[row].name) for row in (first, second))
        if one is None or other is None:
            continue
        cameras = model.cameras[one.camera_id], model.cameras[other.camera_id]
        rays = [
            np.asarray(camera.cam_from_img(extracted.features[row].keypoints[rows].astype(np.float64)))
            for camera, row, rows in zip(cameras, (first, second), matches.T, strict=True)
        ]
        essential = pycolmap.essential_matrix_from_pose(
            other.cam_from_world() * one.cam_from_world().inverse()
        )
        errors = pycolmap.compute_squared_sampson_error(rays[0], rays[1], essential)
        focal = np.mean([camera.mean_focal_length() for camera in cameras])
        if np.sqrt(np.median(errors)) * focal > pixels:
            contradicted.append((first, second))
        else:
            explained += 1
    return explained, contradicted


def _reconstruct(
    database: Path, folder: Path, photos: Sequence[Photo], settings: MotionSettings, progress: StepProgress
) -> "list[pycolmap.Reconstruction]":
    from camloc.geometry.colmap import pycolmap

    count = len(photos)
    progress("placing", 0, count)
    if settings.mapper == "global":
        options = pycolmap.GlobalPipelineOptions()
        options.num_threads, options.random_seed = _threads(), settings.seed
        pycolmap.calibrate_view_graph(database)
        return list(pycolmap.global_mapping(database, folder, folder, options).values())
    incremental = pycolmap.IncrementalPipelineOptions()
    incremental.num_threads, incremental.random_seed = _threads(), settings.seed
    incremental.extract_colors = False
    incremental.min_model_size = 3
    incremental.max_num_models = 4
    incremental.min_num_matches = settings.least_matches
    pixels = _image_pixels(photos, settings)
    mapper, triangulation = incremental.mapper, incremental.triangulation
    mapper.init_max_error = mapper.filter_max_reproj_error = pixels
    mapper.abs_pose_max_error = 3.0 * pixels
    triangulation.merge_max_reproj_error = triangulation.complete_max_reproj_error = pixels
    done = 2

    def next_image() -> None:
        nonlocal done
        done = min(done + 1, count)
        progress("placing", done, count)

    found = pycolmap.incremental_mapping(
        database, folder, folder, incremental, next_image_callback=next_image
    )
    return list(found.values())


def _reasons(
    extracted: _Extracted,
    connected: Connected,
    placed: set[str],
    settings: MotionSettings,
) -> tuple[dict[str, str], tuple[tuple[str, ...], ...]]:
    """Why each used image has no pose, and the groups that are apart from the model."""
    names = [photo.name for photo in extracted.photos]
    apart = _groups(names, connected, placed)
    number_of = {name: number for number, group in enumerate(apart) for name in group}
    median = float(np.median([look.sharpness for look in extracted.looks.values()]))
    best = dict.fromkeys(names, (0, ""))
    for (first, second), agreeing in connected.items():
        for one, other in ((first, second), (second, first)):
            if names[other] in placed:
                best[names[one]] = max(best[names[one]], (len(agreeing), names[other]))
    reasons = {}
    for name in names:
        if name in placed:
            continue
        blurred = extracted.looks[name].sharpness < _BLURRED * median
        matches, nearest = best[name]
        if name in number_of:
            size = len(apart[number_of[name]])
            reason = f"it is one of {size} images that share too little with the others"
        elif matches:
            reason = f"its {matches} matches with {nearest} do not settle where it was taken"
        else:
            reason = f"fewer than {settings.least_matches} matches with any image that was placed"
        reasons[name] = f"{'blurred; ' if blurred else ''}{reason}"
    return reasons, apart


def _groups(
    names: Sequence[str], connected: Collection[tuple[int, int]], placed: set[str]
) -> tuple[tuple[str, ...], ...]:
    """Images without a pose that are connected with each other, three or more."""
    ends = np.array([pair for pair in connected if not placed.intersection(names[row] for row in pair)])
    if not len(ends):
        return ()
    graph = coo_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(len(names), len(names)))
    _, component = connected_components(graph, directed=False)
    groups = [tuple(np.array(names)[component == number].tolist()) for number in np.unique(component)]
    apart = [group for group in groups if len(group) > 2]
    return tuple(sorted(apart, key=len, reverse=True))


def _no_model_message(extracted: _Extracted, connected: Connected) -> str:
    count = len(extracted.photos)
    if not connected:
        return (
            f"no two of the {count} images show the same part of a scene; photographs must overlap by half, "
            f"in light enough for sharp details"
        )
    return (
        f"{len(connected)} pairs of the {count} images show the same, but no pose could be computed; take "
        f"steps sideways between photographs, because turning on one spot says nothing about distances"
    )


def _threads() -> int:
    return int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)
