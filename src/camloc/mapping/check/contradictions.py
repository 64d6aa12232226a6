"""Poses that contradict the images in places, while most of them fit: units, worlds, jumps, wrong frames."""

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from camloc.mapping.check.correspondences import Correspondences
from camloc.mapping.check.findings import MOST_NAMED, Finding, named
from camloc.mapping.check.hypotheses import (
    AS_GIVEN,
    Scored,
    common_shift,
    pair_depth,
    scale_of_one,
    scored,
)
from camloc.mapping.check.path import largest_steps
from camloc.mapping.check.readings import (
    FITS,
    INEXACT,
    Case,
    best_reading,
    explains_more,
    reading_finding,
    readings_of,
)

# A pair contradicts the poses if its error in pixels is above this, and above this multiple of the median.
BAD, _BAD_FACTOR = 8.0, 5.0

# Fewest pairs between two parts, or within one, for a decision, and the share of them that must contradict.
_FEWEST, _MOST_BETWEEN = 4, 0.6

# Pairs that one factor must make fit: of one or two, any position along a line fits some factor.
_FEWEST_UNITS = 3

# A step above this share of the typical depth must move the images: points that seem farther than this
# multiple of the typical depth show that it did not.
_FAR_STEP, _TOO_FAR = 0.1, 4.0

# Frames before and after the end of a recording whose depths count as usual there.
_NEAR = 16

# Ratio of the depths of two parts that only another unit explains: from a room into the open it is 30.
_OTHER_UNIT = 50.0

# A part is at fault above this ratio: pairs that are wrong and of the part, over pairs that are either.
_EXPLAINED = 0.6

# Share of all pairs, and of pairs of neighbours, that may contradict the poses: repetitive things cause
# single wrong pairs in real recordings. Above the third share, single jumps do not explain it.
_STRAY, _STRAY_NEIGHBOURS, _MANY = 0.06, 0.02, 0.3

# Frames of a recording at most this far apart show the same things, and are hardly confused with others.
_SURE_GAP = 2


def contradictions(case: Case, best: Scored) -> list[Finding]:
    """Find faults in parts of a scene whose other poses fit: readings, worlds, units, jumps, wrong frames.

    Args:
        case: with the poses of the best reading.
        best: the scores of this reading.
    """
    if not case.pairs:
        return []
    far = _is_too_far(case)
    is_bad = (best.by_pair > max(BAD, _BAD_FACTOR * best.pixels)) | far
    bad = [pair for pair, wrong in zip(case.pairs, is_bad, strict=True) if wrong]
    usual = [
        wrong for pair, wrong in zip(case.pairs, is_bad, strict=True) if pair.kind not in ("step", "across")
    ]
    share = float(np.mean(usual)) if usual else 0.0
    is_stray = share <= _STRAY and not _are_neighbours_wrong(case, is_bad)
    sequences = [frame.sequence for frame in case.path.frames]
    steps = [pair for pair in bad if pair.kind == "step" and sequences[pair.first] == sequences[pair.second]]
    if not bad:
        return []
    parts = different_parts(case, is_bad)
    moved = _moved_part(case, best, far) if parts is None else None
    if moved is not None:
        return [moved]
    is_likely = not is_stray or len(steps) > 1 or parts is not None
    units = mixed_units(case, bad, best.pixels) if is_likely else None
    if is_likely or best.pixels > INEXACT:
        # Where half of the frames are wrong, the median says nothing of the others.
        fitting = float(np.quantile(best.by_pair, 0.25))
        parts = units or parts or later_part(case, best.by_pair > max(BAD, _BAD_FACTOR * fitting))
    if parts is not None:
        return [parts]
    still = {(pair.first, pair.second) for pair, is_far in zip(case.pairs, far, strict=True) if is_far}
    jump = _jump(case, steps, is_bad, still)
    if jump is not None:
        jump = mixed_units(case, bad, best.pixels) or jump
    if is_stray:
        return [jump] if jump is not None else []
    # Jumps explain the pairs across them; many others that contradict their poses are of wrong frames.
    return [jump if jump is not None and share <= _MANY else wrong_frames(case, is_bad, share)]


def _are_neighbours_wrong(case: Case, is_bad: NDArray[np.bool_]) -> bool:
    """Whether pairs of frames that follow each other contradict their poses, beside those of one frame."""
    followers = [
        number
        for number, pair in enumerate(case.pairs)
        if pair.kind == "recording" and abs(pair.first - pair.second) <= _SURE_GAP
    ]
    wrong = [case.pairs[number] for number in followers if is_bad[number]]
    ends = Counter(end for pair in wrong for end in (pair.first, pair.second))
    of_one = max(ends.values(), default=0)
    return len(wrong) - of_one >= max(_FEWEST, _STRAY_NEIGHBOURS * len(followers))


def _is_too_far(case: Case) -> NDArray[np.bool_]:
    """Steps of the path over which the images hardly move, so that what they see would be far away.

    Between neighbours in a recording the images move by little, and no epipolar line is far from a match.
    """
    depths = np.array([pair_depth(pair, case.poses) for pair in case.pairs])
    is_step = np.array([pair.kind == "step" for pair in case.pairs])
    known = depths[~is_step & np.isfinite(depths)]
    if not len(known):
        return np.zeros(len(depths), dtype=np.bool_)
    usual = np.full(len(depths), float(np.median(known)))
    # Where a recording ends and another begins, what both see may be far from them.
    first = np.array([pair.first for pair in case.pairs])
    for number, pair in enumerate(case.pairs):
        if (
            pair.kind == "step"
            and case.path.frames[pair.first].sequence != case.path.frames[pair.second].sequence
        ):
            for end in (pair.first, pair.second):
                near = ~is_step & np.isfinite(depths) & (np.abs(first - end) <= _NEAR)
                usual[number] = max(usual[number], np.median(depths[near]) if near.any() else np.inf)
    centres = case.poses[1]
    steps = np.array([np.linalg.norm(centres[pair.first] - centres[pair.second]) for pair in case.pairs])
    return np.asarray(is_step & (steps > _FAR_STEP * usual) & (depths > _TOO_FAR * usual))


def different_parts(case: Case, is_bad: NDArray[np.bool_]) -> Finding | None:
    """A finding on test frames, recordings or folders with poses in another world or of another reading."""
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


def later_part(case: Case, is_bad: NDArray[np.bool_]) -> Finding | None:
    """A finding on frames from some frame on that are in another unit or world, or need another reading."""
    ends = np.array([sorted((pair.first, pair.second)) for pair in case.pairs])
    best, start, is_of = _EXPLAINED, 0, ""
    for cut in np.unique(ends[:, 1]).tolist():
        is_after, is_before = ends[:, 1] >= cut, ends[:, 0] < cut
        for kind, wrong in (("after", is_after), ("before", is_before), ("across", is_after & is_before)):
            both = int((is_bad & wrong).sum())
            if both >= _FEWEST and both / int((is_bad | wrong).sum()) > best:
                best, start, is_of = both / int((is_bad | wrong).sum()), cut, kind
    if not is_of:
        return None
    name = case.path.frames[start].name
    if is_of != "across":
        before, after = f"frames before {name}", f"frames from {name} on"
        sides = [[before if end < start else after for end in pair] for pair in ends.tolist()]
        return _part_reading(case, [(one, other) for one, other in sides], is_bad)
    return _later_unit(case, _across(case, start), start) or Finding(
        "error",
        "jump",
        f"the poses jump at {name}, where the images do not: those before it fit, and those from it on, and "
        f"not the two parts to each other; leave one of them out, or split the recording there",
        (name,),
    )


def _moved_part(case: Case, best: Scored, is_far: NDArray[np.bool_]) -> Finding | None:
    """A finding on positions that are all shifted by one offset from some frame on, unlike the images.

    The epipolar constraint of a match is linear in the offset between the two positions, so that the pairs
    across a frame give the shift that makes them fit. Pairs that are wrong for another reason have no shift
    in common.
    """
    ends = np.array([sorted((pair.first, pair.second)) for pair in case.pairs])
    # One shift in common is strong evidence, so that smaller errors count than those of single pairs.
    limit = max(2 * FITS, _BAD_FACTOR * best.pixels)
    is_bad = (best.by_pair > limit) | is_far
    order = {step: place for place, step in enumerate(largest_steps(case.path))}
    found: list[tuple[int, int, int, NDArray[np.float64]]] = []
    for cut in np.unique(ends[is_bad][:, 1]).tolist():
        across = np.flatnonzero((ends[:, 0] < cut) & (cut <= ends[:, 1]))
        if is_bad[across].sum() < max(_FEWEST, _EXPLAINED * is_bad.sum()):
            continue
        pairs = [case.pairs[number] for number in across]
        shift = common_shift(pairs, case.poses, cut)
        centres = case.poses[1].copy()
        centres[cut:] += shift
        (again,) = scored(pairs, (case.poses[0], centres), [AS_GIVEN])
        fits = again.by_pair < np.minimum(limit, best.by_pair[across] / 2)
        explained = int((is_bad[across] & fits).sum())
        spoiled = int((~is_bad[across] & (again.by_pair > limit)).sum())
        if explained - spoiled >= max(_FEWEST, _EXPLAINED * is_bad.sum()):
            # Of frames that explain as much the one with the largest step before it is named.
            found.append((explained - spoiled, -order.get((cut - 1, cut), len(order)), cut, shift))
    if not found:
        return None
    explained, _, start, shift = max(found, key=lambda each: each[:2])
    name = case.path.frames[start].name
    return _later_unit(case, _across(case, start), start) or Finding(
        "error",
        "jump",
        f"the positions jump by {np.linalg.norm(shift):.2g} (in their unit) at about {name}, where the "
        f"images do not: shifted back from there on, {explained} of {int(is_bad.sum())} contradicting pairs "
        "of images fit; tracking was lost there, so leave one of the parts out, or split the recording there",
        (name,),
    )


def depth_units(case: Case) -> Finding | None:
    """A finding on frames from some frame on whose depths are so different that their unit is another."""
    pairs = [(min(pair.first, pair.second), pair_depth(pair, case.poses)) for pair in case.pairs]
    known = np.array(sorted((number, np.log(depth)) for number, depth in pairs if depth > 0)).reshape(-1, 2)
    cuts = range(_FEWEST, len(known) - _FEWEST + 1)
    steps = [float(np.median(known[cut:, 1]) - np.median(known[:cut, 1])) for cut in cuts]
    if not steps or max(map(abs, steps)) < np.log(_OTHER_UNIT):
        return None
    best = int(np.abs(steps).argmax())
    name = case.path.frames[int(known[cuts[best], 0])].name
    return Finding(
        "error",
        "mixed units",
        f"the positions from about {name} on are in another unit: what the cameras see is "
        f"{np.exp(steps[best]):.3g} times as far away as before",
        (name,),
    )


def _across(case: Case, start: int) -> list[Correspondences]:
    """The pairs of a frame before `start` and one from it on."""
    return [
        pair for pair in case.pairs if min(pair.first, pair.second) < start <= max(pair.first, pair.second)
    ]


def _later_unit(case: Case, pairs: Sequence[Correspondences], start: int) -> Finding | None:
    """A finding of another unit from a frame on, if one factor makes the pairs across it fit."""
    factor = _factor_from(case, pairs, start)
    if factor is None:
        return None
    name = case.path.frames[start].name
    return Finding(
        "error",
        "mixed units",
        f"the positions from {name} on are in another unit: {factor:.3g} times as large they fit those "
        f"before them",
        (name,),
    )


def _factor_from(case: Case, pairs: Sequence[Correspondences], start: int) -> float | None:
    """The factor of all positions from a frame on that makes pairs across it fit, or None."""
    factors = [scale_of_one(pair, case.poses, first=pair.first >= start) for pair in pairs]
    known = [factor for factor in factors if np.isfinite(factor) and 1e-5 < factor < 1e5]
    if not known or abs(np.log(factor := float(np.median(known)))) < np.log(1.5):
        return None
    centres = case.poses[1].copy()
    centres[start:] *= factor
    (again,) = scored(pairs, (case.poses[0], centres), [AS_GIVEN])
    return factor if again.pixels < 2 * FITS and _are_depths_larger(case, start, 1 / factor) else None


def _are_depths_larger(case: Case, start: int, factor: float) -> bool:
    """Whether what the frames from one on see is farther by a factor, rather than as far as before it."""
    depths = np.array([(min(p.first, p.second), pair_depth(p, case.poses)) for p in case.pairs])
    known = depths[np.isfinite(depths[:, 1])]
    sides = [np.log(known[is_side, 1]) for is_side in (known[:, 0] < start, known[:, 0] >= start)]
    if not all(len(side) for side in sides):
        return True
    step = float(np.median(sides[1]) - np.median(sides[0]))
    return bool(abs(step - np.log(factor)) < abs(step))


def _part_reading(case: Case, groups: Sequence[tuple[str, str]], is_bad: NDArray[np.bool_]) -> Finding | None:
    """A finding on a part whose own poses contradict its images, and the reading that makes them fit."""
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
    """A finding on positions in another unit: one factor makes most contradicting pairs fit."""
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
    if fitting < max(_FEWEST_UNITS, 0.4 * len(bad)):
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
    """A finding on steps of the path that the images contradict, while the poses fit on each side of them."""
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
        unit = _later_unit(case, pairs, after) if len(pairs) > 1 else None
        if unit is not None:
            return unit
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


def wrong_frames(case: Case, is_bad: NDArray[np.bool_], share: float) -> Finding:
    """The finding on frames whose pairs contradict their poses more often than not."""
    counts: Counter[int] = Counter()
    for pair, wrong in zip(case.pairs, is_bad, strict=True):
        for number in (pair.first, pair.second):
            counts[number] += 1 if wrong else -1
    worst = max(counts.values())
    names = [case.path.frames[n].name for n, count in counts.most_common() if count >= min(1, worst)]
    return Finding(
        "error",
        "wrong poses",
        f"{share:.0%} of the pairs of images contradict the poses of their frames, while the others fit "
        f"({named(names)}): images are exchanged, or poses wrong",
        tuple(names[:MOST_NAMED]),
    )
