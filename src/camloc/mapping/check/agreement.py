"""What the matches of images say about poses and intrinsics: which reading fits, and where none does."""

from collections.abc import Sequence, Set
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from camloc.data.types import Unit
from camloc.geometry.colmap import pycolmap
from camloc.geometry.rotation import rotation_angle
from camloc.mapping.check.contradictions import (
    BAD,
    contradictions,
    depth_units,
    different_parts,
    later_part,
    mixed_units,
    wrong_frames,
)
from camloc.mapping.check.correspondences import Correspondences, Sample
from camloc.mapping.check.findings import MOST_NAMED, Finding, named
from camloc.mapping.check.hypotheses import Scored, pair_depth
from camloc.mapping.check.path import CameraPath
from camloc.mapping.check.readings import (
    FITS,
    INEXACT,
    Case,
    best_reading,
    explains_more,
    is_worth_a_word,
    px,
    reading_finding,
    readings_of,
    refined,
)

# Pixels above which the poses say nothing about the images.
USELESS = 8.0

# Share of the pairs that fit well by chance, at most, if all poses are wrong.
_SOME_FIT = 0.12

# Metres of typical depth beyond which a unit is doubtful; aerial photographs are taken from up to 120 m.
_DEPTHS = (0.1, 150.0)

# Share of neighbours in a recording that may have nothing in common: fewer than this many matches.
_TORN, _NOTHING = 0.15, 15

# Pairs whose relative rotation is estimated from the images alone.
_PAIRS = 60

# Degrees by which images and poses may differ in how they turn; real poses differ by less than 1.
_DIFFERENT = 8.0


class Agreement(NamedTuple):
    """What the images say about poses and intrinsics.

    Attributes:
        findings: the faults.
        readings: the readings that explain the matches best, with the data as given first.
        depth: median depth in units of the world, or NaN.
        errors: (p,) error in pixels of each pair, of the reading that is right.
    """

    findings: tuple[Finding, ...]
    readings: tuple[Scored, ...]
    depth: float
    errors: Float[np.ndarray, "p"]


def measure_agreement(
    path: CameraPath,
    sample: Sample,
    wrong: Set[int] = frozenset(),
    *,
    unit: Unit,
    has_cameras: bool,
) -> Agreement:
    """Compare the poses of a path with the matches of its images.

    Args:
        path: the frames and their poses.
        sample: the matches.
        wrong: numbers of frames whose poses are known to be wrong, which explains contradictions with them.
        unit: of positions.
        has_cameras: whether the intrinsics are known; a focal length that is assumed is not compared.
    """
    poses = (path.rotations, path.centres)
    torn = _torn(path, sample)
    if len(sample.pairs) < 3:
        finding = Finding(
            "warning",
            "nothing in common",
            f"only {len(sample.pairs)} of the pairs of images that were compared show the same from two "
            f"places, too few to check poses with; the images may be too far apart, too alike, or shuffled",
        )
        return Agreement((*torn, finding), (), float("nan"), np.empty(0))
    readings = readings_of(sample.pairs, poses)
    given = readings[0]
    best = best_reading(readings)
    findings: list[Finding] = []
    case = Case(path, sample.pairs, poses)
    lenses = [each for each in readings[1:] if each.hypothesis.poses is None]
    if not explains_more(best, given) and lenses:
        # The lens may lie between two tried lenses.
        best = refined(case, min(lenses, key=lambda each: each.pixels))
    if explains_more(best, given):
        best = refined(case, best)
        if is_worth_a_word(best.hypothesis, has_cameras=has_cameras):
            findings.append(reading_finding(best, given))
            others = [each for each in readings[1:] if each.hypothesis is not best.hypothesis]
            readings = [given, best, *others]
    else:
        best = given
    findings += _apart(path, sample)
    if best.hypothesis.poses is not None:
        case = replace(case, poses=best.hypothesis.poses(poses))
    if best.pixels > USELESS:
        findings.append(_unexplained(case, best, torn))
        torn = []
    else:
        found = contradictions(*_without(case, best, wrong))
        findings += found
        if not found and best.pixels > INEXACT:
            findings.append(_inexact(best))
    depth = _depth(case)
    is_known = best.pixels <= USELESS and all(each.kind != "mixed units" for each in findings)
    if is_known and (units := depth_units(case)) is not None:
        findings, is_known = [units, *findings], False
    if is_known and unit == "m" and np.isfinite(depth) and not _DEPTHS[0] <= depth <= _DEPTHS[1]:
        findings.append(_scale(depth))
    return Agreement((*findings, *torn), tuple(readings), depth, best.by_pair)


def _without(case: Case, best: Scored, wrong: Set[int]) -> tuple[Case, Scored]:
    """The pairs of which no frame is wrong already."""
    kept = [number for number, pair in enumerate(case.pairs) if not wrong & {pair.first, pair.second}]
    return (
        replace(case, pairs=tuple(case.pairs[number] for number in kept)),
        replace(best, by_pair=best.by_pair[kept]),
    )


def _apart(path: CameraPath, sample: Sample) -> list[Finding]:
    """A warning where no pair of images connects the recordings: they may not be in one world."""
    names = [frame.sequence for frame in path.frames]
    groups = {name: {name} for name in names}
    for pair in sample.pairs:
        joined = groups[names[pair.first]] | groups[names[pair.second]]
        for name in joined:
            groups[name] = joined
    sizes = {frozenset(group) for group in groups.values()}
    if len(sizes) < 2:
        return []
    smallest = min(sizes, key=lambda group: sum(name in group for name in names))
    return [
        Finding(
            "warning",
            "unconnected recordings",
            f"no image of the recordings {named(sorted(map(repr, smallest)))} was found that shows what an "
            f"image of the others shows, so it is not checked whether their poses are in one world",
        )
    ]


def _depth(case: Case) -> float:
    depths = np.array([pair_depth(pair, case.poses) for pair in case.pairs])
    known = depths[np.isfinite(depths)]
    return float(np.median(known)) if len(known) else float("nan")


def _scale(depth: float) -> Finding:
    factor = "millimetres" if depth > 1000 else "centimetres or millimetres" if depth > 150 else "kilometres"
    return Finding(
        "error",
        "scale",
        f"what the cameras see is {depth:.3g} m away in the median, so positions are hardly in metres but "
        f"perhaps in {factor}; convert them, or read them with --option unit=units where the layout has it",
    )


def _torn(path: CameraPath, sample: Sample) -> list[Finding]:
    """Neighbours in a recording that the poses put side by side, and whose images have nothing in common."""
    radius = max(path.radius, 1e-12)
    torn, near = [], 0
    for each in sample.tried:
        step = np.linalg.norm(path.centres[each.first] - path.centres[each.second]) / radius
        angle = float(rotation_angle(path.rotations[each.first], path.rotations[each.second]))
        if step < 0.15 and angle < np.deg2rad(12.0):
            near += 1
            if each.matches < _NOTHING:
                torn.append(path.frames[each.second].name)
    if len(torn) < 3 or len(torn) <= _TORN * near:
        return []
    return [
        Finding(
            "error",
            "shuffled images",
            f"{len(torn)} of {near} images show nothing of what the image before them shows, although their "
            f"poses are next to each other ({named(torn)}): images and poses are not in the same order",
            tuple(torn[:MOST_NAMED]),
        )
    ]


def _unexplained(case: Case, best: Scored, torn: Sequence[Finding]) -> Finding:
    """What is wrong with poses that no single reading makes fit."""
    is_bad = best.by_pair > BAD
    bad = [pair for pair, wrong in zip(case.pairs, is_bad, strict=True) if wrong]
    special = mixed_units(case, bad, FITS) or different_parts(case, is_bad) or later_part(case, is_bad)
    if special is None and not torn:
        # Where some pairs fit well, single frames are wrong and not all orientations.
        is_some = float((best.by_pair < 2 * FITS).mean()) > _SOME_FIT
        special = wrong_frames(case, is_bad, float(is_bad.mean())) if is_some else _orientations(case)
    if special is not None:
        return special
    sentence = (
        f"neither the poses as given ({px(best)} from the epipolar lines) nor any other reading of them "
        f"explains the matches between images"
    )
    if torn:
        return replace(torn[0], sentence=f"{torn[0].sentence}; {sentence}")
    step = _order_ratio(case.path)
    if step > 0.6:
        return Finding(
            "error",
            "shuffled poses",
            f"{sentence}, and the poses of neighbouring images are as far apart as any two: images and "
            f"poses are not in the same order",
        )
    return Finding("error", "poses do not fit", f"{sentence}: poses and images are not of one recording")


def _inexact(best: Scored) -> Finding:
    return Finding(
        "warning",
        "inexact poses",
        f"matches between images are {px(best)} from the epipolar lines of the poses in the median, of "
        f"images of 640 x 480: the poses or the lens are inexact, and a map will be too; try "
        f"`camloc map --refine-poses`",
    )


def _order_ratio(path: CameraPath) -> float:
    """How far neighbours in a recording are apart, as a share of any two frames; about 1 without order.

    Of positions and orientations the smaller ratio: noise in one of them leaves the order of the other.
    """
    pairs = path.neighbours()
    if not len(pairs):
        return 0.0
    others = np.random.default_rng(0).integers(0, len(path.frames), (len(pairs), 2))
    near, far = (
        (
            float(np.median(np.linalg.norm(path.centres[each[:, 0]] - path.centres[each[:, 1]], axis=1))),
            float(np.median(rotation_angle(path.rotations[each[:, 0]], path.rotations[each[:, 1]]))),
        )
        for each in (pairs, others)
    )
    return min(one / max(other, 1e-300) for one, other in zip(near, far, strict=True))


class _Turns(NamedTuple):
    """Angles in degrees between two images: by the images, by the poses, and between the two rotations."""

    by_images: Float[np.ndarray, "p"]
    by_poses: Float[np.ndarray, "p"]
    between: Float[np.ndarray, "p"]


def _orientations(case: Case) -> Finding | None:
    """A finding if the rotations between images are not those of the poses.

    The rotation between two images follows from their matches alone, whatever the scale; so wrong
    orientations can be distinguished from wrong positions.
    """
    turns = _turns(case)
    if len(turns.between) < 3 or float(np.median(turns.between)) < _DIFFERENT:
        return None
    by_images, by_poses = float(np.median(turns.by_images)), float(np.median(turns.by_poses))
    words = (
        f"the orientations do not turn as the images do: between two images by {by_images:.0f}\u00b0, and by "
        f"{by_poses:.0f}\u00b0 in the poses (medians), which differ by {np.median(turns.between):.0f}\u00b0"
    )
    if _is_smooth(case):
        words += (
            ", while the positions follow each other: angles in degrees may be read as radians, in another "
            "order or about other axes, or the poses are those of other images"
        )
        return Finding("error", "orientations", words)
    return None


def _is_smooth(case: Case) -> bool:
    """Whether positions of neighbours are nearer than those of any two frames."""
    pairs = case.path.neighbours()
    if not len(pairs):
        return False
    centres = case.path.centres
    near = np.linalg.norm(centres[pairs[:, 0]] - centres[pairs[:, 1]], axis=1)
    far = np.linalg.norm(centres - centres[np.random.default_rng(0).permutation(len(centres))], axis=1)
    return bool(np.median(near) < 0.5 * np.median(far))


def _turns(case: Case) -> _Turns:
    rotations, rows = case.poses[0], []
    for pair in case.pairs[:: max(1, len(case.pairs) // _PAIRS)]:
        seen = _rotation_of(pair)
        if seen is None:
            continue
        posed = rotations[pair.second].T @ rotations[pair.first]
        angles = (
            rotation_angle(seen, np.eye(3)),
            rotation_angle(posed, np.eye(3)),
            rotation_angle(seen, posed),
        )
        rows.append([float(np.degrees(angle)) for angle in angles])
    table = np.array(rows).reshape(-1, 3)
    return _Turns(table[:, 0], table[:, 1], table[:, 2])


def _rotation_of(pair: Correspondences) -> Float[np.ndarray, "3 3"] | None:
    """`second_from_first` by the matches of two images alone."""
    camera = pycolmap.Camera.create_from_model_name(1, "SIMPLE_PINHOLE", pair.focal, 640, 480)
    camera.params = [pair.focal, 0.0, 0.0]
    options = pycolmap.RANSACOptions()
    options.max_error, options.random_seed = 2.0, 0
    options.min_num_trials, options.max_num_trials = 100, 500
    found = pycolmap.estimate_essential_matrix(
        pair.first_plane * pair.focal, pair.second_plane * pair.focal, camera, camera, options
    )
    return None if found is None else np.asarray(found["cam2_from_cam1"].rotation.matrix())
