"""`check_scene`: everything that is suspicious about a scene."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from camloc.core.progress import ShareProgress, silent
from camloc.data.types import Scene
from camloc.mapping.check.agreement import Agreement, measure_agreement
from camloc.mapping.check.correspondences import Sample, sample_correspondences
from camloc.mapping.check.findings import MOST_NAMED, Finding, named
from camloc.mapping.check.images import (
    ImageStatistics,
    alike_across,
    all_image_statistics,
    image_findings,
    same_images,
)
from camloc.mapping.check.path import CameraPath, largest_steps, path_findings, path_of, same_poses

# Share of the frames that may be there twice before it is an error.
_COPIES = 0.05

# Share of the frames whose image may be there again with another pose: cameras repeat images now and then.
_STRAY_COPIES = 0.003

# Small copies of two images that differ by less than this, in grey levels on average, may be one image.
_ALIKE = 2.0

# A camera repeats an image at most this many frames later, with a pose at most this many usual steps away.
_REPEATED, _REPEATED_STEPS = 3, 6.0

# Share of the frames that may be such repetitions; depth cameras with slow colour repeat a tenth.
_MOST_REPEATED = 0.25

# Findings that may follow from others, such as images that are exchanged: they go last, in this order.
_CONSEQUENCES = (
    "orientations",
    "several worlds",
    "poses do not fit",
    "wrong poses",
    "images with several poses",
    "leak",
    "duplicates",
    "jump",
)


@dataclass(frozen=True, eq=False)
class Checked:
    """What a check found.

    Attributes:
        findings: the faults, errors first.
        path: the frames and their poses.
        statistics: of every frame's image, in the order of the path.
        sample: the matches, or None without features.
        agreement: of the matches with the poses; None without features.
    """

    findings: tuple[Finding, ...]
    path: CameraPath
    statistics: tuple[ImageStatistics | None, ...]
    sample: Sample | None
    agreement: Agreement | None

    @property
    def is_sound(self) -> bool:
        """Whether nothing was found that would make training or evaluation useless."""
        return all(each.level != "error" for each in self.findings)


def check_scene(
    scene: Scene,
    *,
    with_features: bool = True,
    progress: ShareProgress = silent,
) -> Checked:
    """Check the images of a scene, its poses, and both together.

    Args:
        scene: the scene; frames of which only the position is known are not looked at.
        with_features: whether to match images, which tells wrong poses and intrinsics.
        progress: of each step.
    """
    path = path_of(scene)
    statistics = all_image_statistics(path.frames, lambda share: progress("images", share))
    copies = _copies(path, statistics)
    findings: list[Finding] = []
    sample, agreement = None, None
    depth = 0.5 * path.radius
    if with_features and len(path.frames) > 1:
        sample = sample_correspondences(
            path.frames,
            largest_steps(path),
            alike_across(path.frames, statistics),
            lambda share: progress("features", share),
        )
        has_cameras = all(frame.camera is not None for frame in path.frames)
        agreement = measure_agreement(path, sample, copies.frames, unit=scene.unit, has_cameras=has_cameras)
        findings += agreement.findings
        depth = agreement.depth if np.isfinite(agreement.depth) and agreement.depth > 0 else depth
    findings += image_findings(path.frames, statistics) + copies.findings
    if depth > 0:
        findings += path_findings(path, depth=depth, is_depth_measured=sample is not None)
    findings.sort(key=order)
    return Checked(tuple(findings), path, statistics, sample, agreement)


def order(finding: Finding) -> tuple[bool, int]:
    """The sort key of a finding: errors first, causes before consequences."""
    place = _CONSEQUENCES.index(finding.kind) + 1 if finding.kind in _CONSEQUENCES else 0
    return finding.level != "error", place


@dataclass(frozen=True, eq=False)
class _Copies:
    """Images and poses that are there more than once, and the frames whose poses may be wrong therefore."""

    findings: list[Finding]
    frames: frozenset[int]


def _copies(path: CameraPath, statistics: Sequence[ImageStatistics | None]) -> _Copies:
    findings = []
    frozen = same_poses(path)
    place = {index: number for number, group in enumerate(frozen) for index in group}
    copies: list[int] = []
    contradicting: list[int] = []
    leaking: list[int] = []
    repeated: list[int] = []
    for group in (*same_images(statistics), *(group for group in frozen if _look_alike(group, statistics))):
        first = group[0]
        for index in group[1:]:
            if place.get(index, -1) == place.get(first, -2):
                copies.append(index)
            elif _is_repeated(path, first, index):
                repeated.append(index)  # the camera gave its last image once more
                continue
            else:
                contradicting.append(index)
            leaking += [
                each
                for each in (first, index)
                if path.is_test[each] and path.is_test[first] != path.is_test[index]
            ]
    leaks, different, same = (
        [path.frames[index].name for index in dict.fromkeys(each)]
        for each in (leaking, contradicting, copies)
    )
    if leaks:
        findings.append(
            Finding(
                "error",
                "leak",
                f"{len(leaks)} test images are training images under another name ({named(leaks)}); errors "
                f"on them say nothing, so take them out of the test frames",
                tuple(leaks[:MOST_NAMED]),
            )
        )
    if len(different) > _STRAY_COPIES * len(path.frames):
        findings.append(
            Finding(
                "error",
                "images with several poses",
                f"{len(different)} images are there more than once with different poses "
                f"({named(different)}); only one of them can be right",
                tuple(different[:MOST_NAMED]),
            )
        )
    elif same:
        findings.append(
            Finding(
                "error" if len(same) > _COPIES * len(path.frames) else "warning",
                "duplicates",
                f"{len(same)} of {len(path.frames)} images are copies of others ({named(same)}); "
                f"leave them out",
                tuple(same[:MOST_NAMED]),
            )
        )
    if len(repeated) > _MOST_REPEATED * len(path.frames):
        names = [path.frames[index].name for index in repeated]
        findings.append(
            Finding(
                "warning",
                "duplicates",
                f"{len(names)} of {len(path.frames)} images repeat the image of the frame before "
                f"({named(names)}), while the poses go on; leave them out",
                tuple(names[:MOST_NAMED]),
            )
        )
    stuck = [group for group in frozen if not _look_alike(group, statistics)]
    names = [path.frames[index].name for group in stuck for index in group[1:]]
    if len(names) > max(1, 0.01 * len(path.frames)):
        findings.append(
            Finding(
                "error" if len(names) > _COPIES * len(path.frames) else "warning",
                "frozen poses",
                f"{len(names)} frames have exactly the pose of another frame, while their images differ "
                f"({named(names)}): tracking stood still, or rows were copied",
                tuple(names[:MOST_NAMED]),
            )
        )
    wrong = {*contradicting, *(index for group in stuck for index in group)}
    return _Copies(findings, frozenset(wrong))


def _is_repeated(path: CameraPath, one: int, other: int) -> bool:
    """Whether two frames follow each other closely in a recording, in number and in pose."""
    if path.frames[one].sequence != path.frames[other].sequence or abs(one - other) > _REPEATED:
        return False
    pairs = path.neighbours()
    step = np.linalg.norm(path.centres[pairs[:, 0]] - path.centres[pairs[:, 1]], axis=1)
    apart = float(np.linalg.norm(path.centres[one] - path.centres[other]))
    return apart <= max(_REPEATED_STEPS * float(np.median(step)), 0.02 * path.radius)


def _look_alike(group: Sequence[int], statistics: Sequence[ImageStatistics | None]) -> bool:
    known = [one.small.astype(np.float32) for index in group if (one := statistics[index]) is not None]
    return all(float(np.abs(each - known[0]).mean()) < _ALIKE for each in known[1:])
