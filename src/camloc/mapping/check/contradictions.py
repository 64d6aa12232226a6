"""Poses that contradict the images in places, while most of them fit: units, worlds, jumps, wrong frames."""

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from camloc.mapping.check.correspondences import Correspondences
from camloc.mapping.check.findings import MOST_NAMED, Finding, named
from camloc.mapping.check.hypotheses import AS_GIVEN, Scored, pair_depth, scale_of_one, scored
from camloc.mapping.check.readings import (
    FITS,
    Case,
    best_reading,
    explains_more,
    reading_finding,
    readings_of,
)

# A pair contradicts the poses if its error is above this, and above so many times the median of all.
BAD, _BAD_FACTOR = 8.0, 5.0

# Pairs between two parts, or within one, that are enough to tell, and the share of them that must contradict.
_FEWEST, _MOST_BETWEEN = 4, 0.6

# A step of this share of the typical depth must move the images as points do that are no farther than so many
# typical depths.
_FAR_STEP, _TOO_FAR = 0.05, 4.0

# Share of the pairs that may contradict them: of real recordings single pairs of repetitive things do.
_STRAY = 0.06


def contradictions(case: Case, best: Scored) -> list[Finding]:
    """Parts that are read otherwise, other worlds and units, jumps and wrong frames among poses that fit.

    Args:
        case: with the poses of the reading that is right.
        best: that reading.
    """
    far = _is_too_far(case)
    is_bad = (best.by_pair > max(BAD, _BAD_FACTOR * best.pixels)) | far
    bad = [pair for pair, wrong in zip(case.pairs, is_bad, strict=True) if wrong]
    usual = [wrong for pair, wrong in zip(case.pairs, is_bad, strict=True) if pair.kind != "step"]
    share = float(np.mean(usual)) if usual else 0.0
    steps = [pair for pair in bad if pair.kind == "step"]
    if not bad or (share <= _STRAY and not steps):
        return []
    if share > _STRAY or len(steps) > 1:
        units = mixed_units(case, bad, best.pixels)
        if units is not None:
            return [units]
    parts = different_parts(case, is_bad)
    if parts is not None:
        return [parts]
    still = {(pair.first, pair.second) for pair, is_far in zip(case.pairs, far, strict=True) if is_far}
    jump = _jump(case, steps, is_bad, still)
    if share <= _STRAY:
        return [jump] if jump is not None else []
    return [jump if jump is not None else _wrong_frames(case, is_bad, share)]


def _is_too_far(case: Case) -> NDArray[np.bool_]:
    """Steps of the path over which the images hardly move, so that what they see would be far away.

    Between neighbours in a recording the images move by little, and no epipolar line is far from a match.
    """
    depths = np.array([pair_depth(pair, case.poses) for pair in case.pairs])
    is_step = np.array([pair.kind == "step" for pair in case.pairs])
    known = depths[~is_step & np.isfinite(depths)]
    if not len(known):
        return np.zeros(len(depths), dtype=np.bool_)
    typical = float(np.median(known))
    centres = case.poses[1]
    steps = np.array([np.linalg.norm(centres[pair.first] - centres[pair.second]) for pair in case.pairs])
    return np.asarray(is_step & (steps > _FAR_STEP * typical) & (depths > _TOO_FAR * typical))


def different_parts(case: Case, is_bad: NDArray[np.bool_]) -> Finding | None:
    """Test frames, recordings or folders whose poses are in another world, or are read otherwise."""
    groupings: tuple[Callable[[int], str], ...] = (
        lambda index: "test frames" if case.path.is_test[index] else "training frames",
        lambda index: f"recording {case.path.frames[index].sequence!r}",
        lambda index: f"folder {case.path.frames[index].name.rpartition('/')[0]!r}",
    )
    for of in groupings:
        groups = [(of(pair.first), of(pair.second)) for pair in case.pairs]
        if len({name for each in groups for name in each}) < 2:
            continue
        cross = np.array([one != other for one, other in groups])
        if cross.sum() < _FEWEST or float(is_bad[cross].mean()) < _MOST_BETWEEN:
            continue
        if float(is_bad[~cross].mean()) <= _STRAY:
            one, other = next(pair for pair, wrong in zip(groups, cross & is_bad, strict=True) if wrong)
            return Finding(
                "error",
                "several worlds",
                f"the poses fit within the {one} and within the {other}, and not between them: they are not "
                f"in one world; align them, or use one of them",
            )
        found = _part_reading(case, groups, is_bad)
        if found is not None:
            return found
    return None


def _part_reading(case: Case, groups: Sequence[tuple[str, str]], is_bad: NDArray[np.bool_]) -> Finding | None:
    """A part whose own poses contradict its images, and a reading that makes them fit."""
    for name in sorted({one for one, other in groups if one == other}):
        own = np.array([each == (name, name) for each in groups])
        if own.sum() < _FEWEST or float(is_bad[own].mean()) < _MOST_BETWEEN:
            continue
        pairs = [pair for pair, is_own in zip(case.pairs, own, strict=True) if is_own]
        found = readings_of(pairs, case.poses)
        best = best_reading(found)
        if explains_more(best, found[0]):
            return reading_finding(best, found[0], of=f"of the {name} alone, ")
    return None


def mixed_units(case: Case, bad: Sequence[Correspondences], usual_pixels: float) -> Finding | None:
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


def _jump(
    case: Case, steps: Sequence[Correspondences], is_bad: NDArray[np.bool_], still: set[tuple[int, int]]
) -> Finding | None:
    """Steps of the path that the images deny, while on each side of it the poses fit."""
    good = {
        number
        for pair, wrong in zip(case.pairs, is_bad, strict=True)
        if not wrong
        for number in (pair.first, pair.second)
    }
    across: dict[int, list[Correspondences]] = {}
    for pair in steps:
        # The pairs lie around the step, with as many frames before it as after it.
        across.setdefault((pair.first + pair.second + 1) // 2, []).append(pair)
    names = []
    for after, pairs in across.items():
        # A single pair that is far apart may be wrong matches of repeated things.
        one = pairs[0].first, pairs[0].second
        is_sure = len(pairs) > 1 or one[1] == one[0] + 1 or one in still
        nearby = any(number in good for number in range(after - 9, after + 9))
        if is_sure and nearby:
            names.append(case.path.frames[after].name)
    if not names:
        return None
    return Finding(
        "error",
        "jump",
        f"the poses jump at {named(list(dict.fromkeys(names)))}, where the images do not: tracking was lost "
        f"there, or these poses are wrong; leave the frames out, or split the recording there",
        tuple(dict.fromkeys(names))[:MOST_NAMED],
    )


def _wrong_frames(case: Case, is_bad: NDArray[np.bool_], share: float) -> Finding:
    counts: Counter[int] = Counter()
    for pair, wrong in zip(case.pairs, is_bad, strict=True):
        for number in (pair.first, pair.second):
            counts[number] += 1 if wrong else -1
    names = [case.path.frames[number].name for number, count in counts.most_common() if count > 0]
    return Finding(
        "error",
        "wrong poses",
        f"{share:.0%} of the pairs of images contradict the poses of their frames, while the others fit "
        f"({named(names)}): images are exchanged, or poses wrong",
        tuple(names[:MOST_NAMED]),
    )
