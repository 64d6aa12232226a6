"""What the matches of images say about poses and intrinsics: which reading fits, and where none does."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from camloc.data.types import Unit
from camloc.geometry.rotation import rotation_angle
from camloc.mapping.check.correspondences import Correspondences, Sample
from camloc.mapping.check.findings import MOST_NAMED, Finding, named
from camloc.mapping.check.hypotheses import (
    AS_GIVEN,
    WORST,
    Hypothesis,
    Poses,
    Scored,
    lens_hypotheses,
    pair_depth,
    pose_hypotheses,
    scale_of_one,
    scored,
)
from camloc.mapping.check.path import CameraPath

# Pixels, of an image of about 640 x 480, that poses of odometry and depth SLAM are off by at most, in the
# median over pairs: nothing better is looked for below.
FITS = 1.5

# Pixels above which the poses are too inexact for a map or for centimetres.
INEXACT = 4.0

# Pixels above which the poses say nothing about the images.
USELESS = 8.0

# Another reading must reduce the error to this share, and the error of this share of the pairs.
_BETTER, _PAIRS = 0.6, 0.6

# Readings whose errors differ by this factor are equally good; the cheapest is named.
_EQUAL = 1.25

# Deviations of focal length (a factor) and principal point (of the focal length) that are worth a word.
_FOCAL, _CENTRE = 1.12, 0.06

# Pairs for the first look at all readings, and readings that are then compared on all pairs.
_FIRST_PAIRS, _FINALISTS = 30, 16

# Matches of each pair for that first look, and for the search of a lens.
_FIRST_MATCHES = 32

# A pair contradicts the poses if its error is above this, and above so many times the median of all.
_BAD, _BAD_FACTOR = 8.0, 5.0

# Share of the pairs that may contradict them: of real recordings single pairs of repetitive things do.
_STRAY = 0.06

# Metres of typical depth beyond which a unit is doubtful; aerial photographs are taken from up to 120 m.
_DEPTHS = (0.1, 150.0)

# Share of neighbours in a recording that may have nothing in common, and how many matches are nothing.
_TORN, _NOTHING = 0.15, 15


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


@dataclass(frozen=True, eq=False)
class _Case:
    path: CameraPath
    pairs: tuple[Correspondences, ...]
    poses: Poses


def measure_agreement(path: CameraPath, sample: Sample, *, unit: Unit, has_cameras: bool) -> Agreement:
    """Compare the poses of a path with the matches of its images.

    Args:
        path: the frames and their poses.
        sample: the matches.
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
    readings = _readings(sample.pairs, poses)
    given = readings[0]
    best = _best(readings)
    findings: list[Finding] = []
    case = _Case(path, sample.pairs, poses)
    if _explains_more(best, given):
        best = _refined(case, best)
        if _is_worth_a_word(best.hypothesis, has_cameras=has_cameras):
            findings.append(_reading_finding(best, given))
            readings = [
                given,
                best,
                *(each for each in readings[1:] if each.hypothesis is not best.hypothesis),
            ]
    else:
        best = given
    if best.hypothesis.poses is not None:
        case = replace(case, poses=best.hypothesis.poses(poses))
    if best.pixels > USELESS:
        bad = [pair for pair, error in zip(case.pairs, best.by_pair, strict=True) if error > _BAD]
        units = _mixed_units(case, bad, FITS)
        findings.append(units if units is not None else _unexplained(case, best, torn))
        torn = []
    else:
        found = _contradictions(case, best)
        findings += found
        if not found and best.pixels > INEXACT:
            findings.append(_inexact(best))
    depth = _depth(case)
    is_known = best.pixels <= USELESS and all(each.kind != "mixed units" for each in findings)
    if is_known and unit == "m" and np.isfinite(depth) and not _DEPTHS[0] <= depth <= _DEPTHS[1]:
        findings.append(_scale(depth))
    return Agreement((*findings, *torn), tuple(readings), depth, best.by_pair)


def _readings(pairs: Sequence[Correspondences], poses: Poses) -> list[Scored]:
    """The data as given, and the readings that explain the matches best."""
    hypotheses = [AS_GIVEN, *pose_hypotheses(), *lens_hypotheses()]
    first = scored(_thinned(pairs), poses, hypotheses)
    # Some readings are the same but for a turn of the world; the cheapest of those that are as good go first.
    limit = min(each.pixels for each in first[1:]) * _EQUAL + 0.3
    near = sorted((each for each in first[1:] if each.pixels <= limit), key=lambda each: each.hypothesis.cost)
    far = sorted((each for each in first[1:] if each.pixels > limit), key=lambda each: each.pixels)
    finalists = [*near, *far][:_FINALISTS]
    again = scored(pairs, poses, [AS_GIVEN, *(each.hypothesis for each in finalists)])
    return [again[0], *sorted(again[1:], key=lambda each: each.pixels)]


def _thinned(pairs: Sequence[Correspondences]) -> list[Correspondences]:
    """Some of the pairs, evenly from all, with some of their matches."""
    found = []
    for pair in pairs[:: max(1, len(pairs) // _FIRST_PAIRS)]:
        rows = slice(None, None, max(1, len(pair.first_plane) // _FIRST_MATCHES))
        found.append(replace(pair, first_plane=pair.first_plane[rows], second_plane=pair.second_plane[rows]))
    return found


def _best(readings: Sequence[Scored]) -> Scored:
    least = min(each.pixels for each in readings)
    return min(
        (each for each in readings if each.pixels <= least * _EQUAL + 0.05),
        key=lambda each: (each.hypothesis.cost, each.pixels),
    )


def _explains_more(one: Scored, given: Scored) -> bool:
    if one.hypothesis is given.hypothesis or given.pixels <= FITS or one.pixels > _BETTER * given.pixels:
        return False
    return float((one.by_pair < given.by_pair).mean()) >= _PAIRS and one.pixels <= INEXACT


def _refined(case: _Case, best: Scored) -> Scored:
    """The reading with the focal length and principal point that explain the matches best."""
    if best.hypothesis.kind not in ("focal length", "principal point"):
        return best
    pairs = _thinned(case.pairs)
    (found,) = scored(pairs, case.poses, [best.hypothesis])
    focal_step, shift_step = 0.08, 0.05
    while shift_step > 0.004:
        now = found.hypothesis
        around = [
            replace(now, focal=now.focal * factor, shift=(now.shift[0] + x, now.shift[1] + y))
            for factor in (1 / (1 + focal_step), 1.0, 1 + focal_step)
            for x in (-shift_step, 0.0, shift_step)
            for y in (-shift_step, 0.0, shift_step)
        ]
        tried = min(scored(pairs, case.poses, around), key=lambda each: each.pixels)
        if tried.pixels < found.pixels * 0.99:
            found = tried
        else:
            focal_step, shift_step = focal_step / 2, shift_step / 2
    (best,) = scored(case.pairs, case.poses, [found.hypothesis])
    by_focal, by_centre = abs(np.log(best.hypothesis.focal)), max(map(abs, best.hypothesis.shift))
    kind = "focal length" if by_focal > np.log(_FOCAL) or by_focal > by_centre else "principal point"
    return replace(best, hypothesis=replace(best.hypothesis, kind=kind))


def _is_worth_a_word(hypothesis: Hypothesis, *, has_cameras: bool) -> bool:
    if hypothesis.poses is not None:
        return True
    is_off = abs(np.log(hypothesis.focal)) > np.log(_FOCAL) or max(map(abs, hypothesis.shift)) > _CENTRE
    return bool(has_cameras and is_off)


def _reading_finding(best: Scored, given: Scored) -> Finding:
    hypothesis = best.hypothesis
    errors = (
        f"the matches between images are then {best.pixels:.1f} px from their epipolar lines instead of "
        f"{_px(given)}"
    )
    if hypothesis.poses is not None:
        return Finding("error", hypothesis.kind, f"{hypothesis.says}; {errors}")
    x, y = hypothesis.shift
    words = []
    if abs(np.log(hypothesis.focal)) > np.log(1.05):
        words.append(f"a focal length of {hypothesis.focal:.2f} times the given one")
    if max(abs(x), abs(y)) > _CENTRE / 2:
        words.append(f"a principal point {x:+.2f} and {y:+.2f} focal lengths from the given one")
    return Finding(
        "error",
        hypothesis.kind,
        f"the images have {' and '.join(words)}: {errors}; the intrinsics are of another camera or "
        f"image size",
    )


def _px(one: Scored) -> str:
    return f"{one.pixels:.1f} px" if one.pixels < WORST else f"{WORST:.0f} px or more"


def _depth(case: _Case) -> float:
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


def _unexplained(case: _Case, best: Scored, torn: Sequence[Finding]) -> Finding:
    sentence = (
        f"neither the poses as given ({_px(best)} from the epipolar lines) nor any other reading of them "
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
        f"matches between images are {_px(best)} from the epipolar lines of the poses in the median, of "
        f"images of 640 x 480: the poses or the lens are inexact, and a map will be too; try "
        f"`camloc map --refine-poses`",
    )


def _order_ratio(path: CameraPath) -> float:
    """How far neighbours in a recording are apart, as a share of any two frames; about 1 without order."""
    pairs = path.neighbours()
    if not len(pairs):
        return 0.0
    other = np.random.default_rng(0).integers(0, len(path.frames), (len(pairs), 2))
    near = np.median(np.linalg.norm(path.centres[pairs[:, 0]] - path.centres[pairs[:, 1]], axis=1))
    far = np.median(np.linalg.norm(path.centres[other[:, 0]] - path.centres[other[:, 1]], axis=1))
    return float(near / max(far, 1e-300))


def _contradictions(case: _Case, best: Scored) -> list[Finding]:
    """Jumps, other units and wrong frames among poses most of which fit."""
    errors = best.by_pair
    is_bad = errors > max(_BAD, _BAD_FACTOR * best.pixels)
    bad = [pair for pair, wrong in zip(case.pairs, is_bad, strict=True) if wrong]
    usual = [wrong for pair, wrong in zip(case.pairs, is_bad, strict=True) if pair.kind != "step"]
    share = float(np.mean(usual)) if usual else 0.0
    steps = [pair for pair in bad if pair.kind == "step"]
    if not bad or (share <= _STRAY and not steps):
        return []
    if share > _STRAY or len(steps) > 1:
        units = _mixed_units(case, bad, best.pixels)
        if units is not None:
            return [units]
    jump = _jump(case, steps, is_bad)
    if share <= _STRAY:
        return [jump] if jump is not None else []
    return [jump if jump is not None else _wrong_frames(case, bad, is_bad, share)]


def _mixed_units(case: _Case, bad: Sequence[Correspondences], usual_pixels: float) -> Finding | None:
    """Positions of some frames in another unit: one factor makes most contradicting pairs fit."""
    factors, frames, numbers = [], [], []
    for number, pair in enumerate(bad):
        for first in (True, False):
            factor = scale_of_one(pair, case.poses, first=first)
            if not np.isfinite(factor) or not 1e-5 < factor < 1e5 or abs(np.log(factor)) < np.log(1.5):
                continue
            frame = pair.first if first else pair.second
            centres = case.poses[1].copy()
            centres[frame] *= factor
            (again,) = scored([pair], (case.poses[0], centres), [AS_GIVEN])
            if again.pixels < 2 * max(FITS, usual_pixels):
                factors.append(factor)
                frames.append(frame)
                numbers.append(number)
    if not factors:
        return None
    # A factor and its inverse are the same fault, seen from either frame.
    logs = np.abs(np.log(factors))
    usual = float(np.median(logs))
    near = np.abs(logs - usual) < np.log(1.25)
    fitting = len({numbers[index] for index in np.flatnonzero(near).tolist()})
    if fitting < 0.4 * len(bad) or fitting < 2:
        return None
    factor = float(np.exp(np.median(logs[near])))
    names = [case.path.frames[frames[index]].name for index in np.flatnonzero(near).tolist()]
    common = [name for name, _ in Counter(names).most_common()]
    return Finding(
        "error",
        "mixed units",
        f"the positions of some frames are in another unit: a factor of about {factor:.3g} for one of two "
        f"frames makes {fitting} of {len(bad)} contradicting pairs of images fit ({named(common)})",
        tuple(common[:MOST_NAMED]),
    )


def _jump(case: _Case, steps: Sequence[Correspondences], is_bad: NDArray[np.bool_]) -> Finding | None:
    """Steps of the path that the images deny, while on each side of it the poses fit."""
    good = {
        number
        for pair, wrong in zip(case.pairs, is_bad, strict=True)
        if not wrong
        for number in (pair.first, pair.second)
    }
    names = []
    for pair in steps:
        nearby = [number for number in range(pair.first - 8, pair.second + 9) if number in good]
        if any(number <= pair.first for number in nearby) or any(number >= pair.second for number in nearby):
            names.append(case.path.frames[pair.second].name)
    if not names:
        return None
    return Finding(
        "error",
        "jump",
        f"the poses jump at {named(list(dict.fromkeys(names)))}, where the images do not: tracking was lost "
        f"there, or these poses are wrong; leave the frames out, or split the recording there",
        tuple(dict.fromkeys(names))[:MOST_NAMED],
    )


def _wrong_frames(
    case: _Case, bad: Sequence[Correspondences], is_bad: NDArray[np.bool_], share: float
) -> Finding:
    counts: Counter[int] = Counter()
    for pair, wrong in zip(case.pairs, is_bad, strict=True):
        for number in (pair.first, pair.second):
            counts[number] += 1 if wrong else -1
    names = [case.path.frames[number].name for number, count in counts.most_common() if count > 0]
    sequences = {
        (case.path.frames[pair.first].sequence, case.path.frames[pair.second].sequence) for pair in bad
    }
    if sequences and all(one != other for one, other in sequences):
        one, other = sorted(sequences)[0]
        return Finding(
            "error",
            "several worlds",
            f"the poses fit within each recording, and not between {one!r} and {other!r}: the recordings "
            f"are not in one world",
        )
    return Finding(
        "error",
        "wrong poses",
        f"{share:.0%} of the pairs of images contradict the poses of their frames, while the others fit "
        f"({named(names)}): images are exchanged, or poses wrong",
        tuple(names[:MOST_NAMED]),
    )
