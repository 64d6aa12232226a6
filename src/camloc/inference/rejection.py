"""Decide whether a decoded pose is returned: `accept` gives the pose, or the reason why the image is lost.

Rejected are blank images, images that are novel (of another scene), poses far from all training cameras, and
every image of a scene that the network has not learned.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8

from camloc.data.types import Estimate, ExpectedError, Located, Lost
from camloc.geometry.pose import Pose
from camloc.geometry.pose_search import camera_radius
from camloc.models.decoding import Decoded
from camloc.models.metadata import Metadata

# The reason of every rejection in a scene where the network is no better than the mean training pose.
UNLEARNED = (
    "the network has not learned the scene: on held-out frames it is no better than the mean training pose; "
    "train it longer, or build a map with camloc map RUN"
)

# An image with a smaller standard deviation of brightness (8-bit levels) is blank.
BLANK_DEVIATION = 1.5

# A pose is rejected if its distance to every training camera exceeds each of three bounds: this many camera
# radii; this many expected errors, for training cameras in one spot; and this many units of the world, which
# is little in any scene.
FARTHEST_RADII = 3.0
FARTHEST_ERRORS = 10.0
FARTHEST_FLOOR = 0.5


def accept(
    metadata: Metadata,
    training_poses: Sequence[Pose],
    decoded: Decoded,
    row: int,
    image: UInt8[np.ndarray, "h w 3"],
    *,
    novelty: float | None,
    rejects: bool = True,
) -> Estimate:
    """The estimate of one image: its pose if it is accepted, otherwise the reason of the rejection.

    Args:
        metadata: of the network.
        training_poses: of each scene, its (n,) training poses.
        decoded: the poses of b images, as NumPy arrays.
        row: which of them.
        image: the image.
        novelty: of the image, or None if it is unknown.
        rejects: whether doubtful poses are rejected. Without it only blank images and poses that are no pose
            are: papers score every image.
    """
    scene, pose = int(decoded.scene[row]), decoded.world_from_cam[row]
    threshold, error = metadata.novelty_threshold, metadata.expected_error_in(scene)
    reason = image_rejection(image)
    if rejects and not reason:
        reason = novelty_rejection(novelty, threshold=threshold)
        if not reason and not metadata.has_learned(scene):
            reason = UNLEARNED
    aligns_points = decoded.residual is not None
    if not reason and aligns_points and not bool(pose.is_finite()):
        reason = "too few points of the image agree on a pose"
    if not reason and not bool(pose.is_finite()):
        reason = "the network's pose is not a number"
    if rejects and not reason:
        reason = pose_rejection(pose, training_poses[scene], expected_error=error)
    if reason:
        return Lost(reason)
    return Located(
        scene=metadata.scenes[scene],
        world_from_cam=pose,
        unit=metadata.unit_in(scene),
        expected_error=error,
        probability=float(decoded.probability[row]),
        residual=None if decoded.residual is None else float(decoded.residual[row]),
        novelty=None if novelty is None or threshold is None else novelty / threshold,
    )


def image_rejection(image: UInt8[np.ndarray, "h w 3"]) -> str:
    """The reason to reject an 8-bit image, or ""."""
    return "the image is blank" if float(image.mean(-1).std(ddof=1)) < BLANK_DEVIATION else ""


def novelty_rejection(novelty: float | None, *, threshold: float | None) -> str:
    """The reason to reject an image as one of another scene, or "".

    Args:
        novelty: distance to the nearest training image in feature space (`camloc.models.novelty`).
        threshold: largest accepted novelty. Both are None for a model without a novelty detector.
    """
    if novelty is None or threshold is None or novelty <= threshold:
        return ""
    return (
        f"the image is too different from every training image: its novelty is "
        f"{novelty / threshold:.1f} times the acceptance threshold"
    )


def pose_rejection(pose: Pose, training: Pose, *, expected_error: ExpectedError | None) -> str:
    """The reason to reject a pose, or "".

    Args:
        pose: a single pose, double precision.
        training: (n,) training poses of the scene.
        expected_error: of the model in this scene, or None if it is unknown.
    """
    distance = float(np.linalg.norm(training.translation - pose.translation, axis=-1).min())
    error = 0.0 if expected_error is None else expected_error.meters
    farthest = max(FARTHEST_RADII * float(camera_radius(training)), FARTHEST_ERRORS * error, FARTHEST_FLOOR)
    if distance <= farthest:
        return ""
    return (
        f"the pose is far from every training camera: its distance is "
        f"{distance / farthest:.1f} times the acceptance threshold"
    )
