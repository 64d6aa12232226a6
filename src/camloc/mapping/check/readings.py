"""Which reading of poses and intrinsics explains the matches best, and its words in a finding."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from camloc.mapping.check.correspondences import Correspondences
from camloc.mapping.check.findings import Finding
from camloc.mapping.check.hypotheses import (
    AS_GIVEN,
    WORST,
    Hypothesis,
    Poses,
    Scored,
    lens_hypotheses,
    pose_hypotheses,
    scored,
)
from camloc.mapping.check.path import CameraPath

# Pixels, of an image of about 640 x 480, that poses of odometry and depth SLAM are off by at most, in the
# median over pairs: nothing better is looked for below.
FITS = 1.5

# Pixels above which the poses are too inexact for a map or for centimetres.
INEXACT = 4.0

# Pixels up to which no other reading is looked for.
_GOOD = 1.0

# Another reading must reduce the error to this share, and the error of this share of the pairs. Intrinsics
# that are 15 % off and poses that are one frame late are small faults beside those of the poses' axes.
_BETTER, _PAIRS = 0.6, 0.6
_BETTER_SLIGHTLY = 0.8
_SLIGHT = ("focal length", "principal point", "shifted images")

# Readings whose errors differ by this factor are equally good; the cheapest is named.
_EQUAL = 1.25

# Deviations of focal length (a factor) and principal point (of the focal length) that are worth a word.
_FOCAL, _CENTRE = 1.08, 0.06

# Pairs for the first look at all readings, and readings that are then compared on all pairs.
_FIRST_PAIRS, _FINALISTS = 30, 16

# Matches of each pair for that first look, and for the search of a lens.
_FIRST_MATCHES = 32


@dataclass(frozen=True, eq=False)
class Case:
    """A path, the matches of its images, and its poses, which may be read otherwise than in the path."""

    path: CameraPath
    pairs: tuple[Correspondences, ...]
    poses: Poses


def readings_of(pairs: Sequence[Correspondences], poses: Poses) -> list[Scored]:
    """The data as given, and the readings that explain the matches best."""
    hypotheses = [AS_GIVEN, *pose_hypotheses(), *lens_hypotheses()]
    first = scored(_thinned(pairs), poses, hypotheses)
    # Some readings are the same but for a turn of the world; of equally good ones the cheapest go first.
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


def best_reading(found: Sequence[Scored]) -> Scored:
    """The cheapest of the readings that explain the matches best."""
    least = min(each.pixels for each in found)
    return min(
        (each for each in found if each.pixels <= least * _EQUAL + 0.05),
        key=lambda each: (each.hypothesis.cost, each.pixels),
    )


def explains_more(one: Scored, given: Scored) -> bool:
    """Whether a reading explains the matches so much better than the given data that it counts as right."""
    better = _BETTER_SLIGHTLY if one.hypothesis.kind in _SLIGHT else _BETTER
    if one.hypothesis is given.hypothesis or given.pixels <= _GOOD or one.pixels > better * given.pixels:
        return False
    return float((one.by_pair < given.by_pair).mean()) >= _PAIRS and one.pixels <= INEXACT


def refined(case: Case, best: Scored) -> Scored:
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
    by_focal, by_centre = _off(best.hypothesis), max(map(abs, best.hypothesis.shift))
    kind = "focal length" if by_focal > np.log(_FOCAL) or by_focal > by_centre else "principal point"
    return replace(best, hypothesis=replace(best.hypothesis, kind=kind))


def is_worth_a_word(hypothesis: Hypothesis, *, has_cameras: bool) -> bool:
    """Whether a reading is a fault worth reporting: intrinsics that are a little off are not."""
    if hypothesis.poses is not None:
        return True
    is_off = _off(hypothesis) > np.log(_FOCAL) or max(map(abs, hypothesis.shift)) > _CENTRE
    return bool(has_cameras and is_off)


def _off(hypothesis: Hypothesis) -> float:
    """By how much a focal length is another one, as a logarithm."""
    return float(max(abs(np.log(hypothesis.focal)), abs(np.log(hypothesis.focal * hypothesis.aspect))))


def reading_finding(best: Scored, given: Scored, *, of: str = "") -> Finding:
    """The finding that reports a reading, for all frames or for the part that `of` names."""
    hypothesis = best.hypothesis
    errors = (
        f"the matches between images are then {best.pixels:.1f} px from their epipolar lines instead of "
        f"{px(given)}"
    )
    if hypothesis.poses is not None:
        return Finding("error", hypothesis.kind, f"{of}{hypothesis.statement}; {errors}")
    x, y = hypothesis.shift
    words = []
    if abs(np.log(hypothesis.aspect)) > np.log(1.05):
        along_y = hypothesis.focal * hypothesis.aspect
        words.append(
            f"focal lengths of {hypothesis.focal:.2f} (along x) and {along_y:.2f} (y) times the given ones"
        )
    elif abs(np.log(hypothesis.focal)) > np.log(1.05):
        words.append(f"a focal length of {hypothesis.focal:.2f} times the given one")
    if max(abs(x), abs(y)) > _CENTRE / 2:
        words.append(f"a principal point {x:+.2f} and {y:+.2f} focal lengths from the given one")
    return Finding(
        "error",
        hypothesis.kind,
        f"{of}the images have {' and '.join(words)}: {errors}; the intrinsics are of another camera or "
        f"image size",
    )


def px(one: Scored) -> str:
    """An error in words."""
    return f"{one.pixels:.1f} px" if one.pixels < WORST else f"{WORST:.0f} px or more"
