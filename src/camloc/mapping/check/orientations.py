"""Orientations that turn otherwise than the images, whatever the positions are."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from camloc.geometry.colmap import pycolmap
from camloc.geometry.rotation import rotation_angle
from camloc.mapping.check.correspondences import Correspondences
from camloc.mapping.check.findings import Finding
from camloc.mapping.check.readings import Case

# Pairs whose relative rotation is estimated from the images alone.
_PAIRS = 60

# Degrees by which images and poses may differ in how they turn; real poses differ by less than 1.
_DIFFERENT = 8.0


class _Turns(NamedTuple):
    """Angles in degrees between two images: by the images, by the poses, and between the two rotations."""

    by_images: Float[np.ndarray, "p"]
    by_poses: Float[np.ndarray, "p"]
    between: Float[np.ndarray, "p"]


def orientation_finding(case: Case) -> Finding | None:
    """A finding if the rotations between images are not those of the poses.

    The rotation between two images follows from their matches alone, whatever the scale; so orientations can
    be told from positions as the cause.
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
