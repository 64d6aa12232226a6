"""An error-state Kalman filter and smoother over camera poses in time, in NumPy.

The state is the pose `world_from_cam`, the velocity of the centre and the angular velocity, both along the
axes of the world. Its error is (w, c, v, r): the true rotation is `exp([w]) @ rotation`, the true centre
`translation + c`; v and r are those of the velocities. Between measurements the velocities stay the same
except for white accelerations (constant velocity), or the pose moves as odometry says. Sola, Quaternion
kinematics for the error-state Kalman filter, 2017, sections 5 to 7, with errors in the world frame;
smoothing: Rauch, Tung and Striebel, 1965.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation
from scipy.stats import chi2

from camloc.geometry.pose import Pose

Vector3 = Float[np.ndarray, "3"]
Vector6 = Float[np.ndarray, "6"]
Covariance6 = Float[np.ndarray, "6 6"]
Covariance12 = Float[np.ndarray, "12 12"]


class Measurement(NamedTuple):
    """A pose that an image gave.

    Attributes:
        world_from_cam: the pose.
        covariance: (6, 6) of the rotation vector in radians and the centre, along the axes of the world.
        is_verified: whether a map confirmed it.
    """

    world_from_cam: Pose
    covariance: Covariance6
    is_verified: bool


# Most poses that no map confirmed are far off: only those well within the expected region are used.
_UNVERIFIED_GATE = 0.9


@cache
def _bound(probability: float) -> float:
    """The squared Mahalanobis distance of a pose that a normal error stays within with a probability."""
    return float(chi2.ppf(probability, 6))


@dataclass(frozen=True)
class MotionModel:
    """How much a camera accelerates, and by which factor deviations of measurements are scaled.

    Attributes:
        acceleration: root of the spectral density of the acceleration, in units per second^1.5.
        angular_acceleration: the same in radians per second^1.5.
        odometry_share: standard deviation of odometry, as a share of the motion that it reports.
        measurement_scale: factor of the standard deviations of measurements.
        gate: probability that a good measurement is within the bound of its Mahalanobis distance.
    """

    acceleration: float
    angular_acceleration: float = 2.0
    odometry_share: float = 0.05
    measurement_scale: float = 1.0
    gate: float = 0.999

    @property
    def bound(self) -> float:
        """The largest squared Mahalanobis distance of a measurement that is used."""
        return _bound(self.gate)


@dataclass(frozen=True, eq=False)
class State:
    """The estimate at one time.

    Attributes:
        world_from_cam: the pose.
        velocity: of the centre, per second.
        turning: angular velocity in radians per second.
        covariance: (12, 12) of the error (w, c, v, r).
    """

    world_from_cam: Pose
    velocity: Vector3
    turning: Vector3
    covariance: Covariance12

    @classmethod
    def start(cls, measurement: Measurement, model: MotionModel) -> "State":
        """The state at a first measurement; its velocities are as uncertain as a second of acceleration."""
        covariance = np.zeros((12, 12))
        covariance[:6, :6] = measurement.covariance * model.measurement_scale**2
        covariance[6:9, 6:9] = np.eye(3) * model.acceleration**2
        covariance[9:, 9:] = np.eye(3) * model.angular_acceleration**2
        return cls(measurement.world_from_cam, np.zeros(3), np.zeros(3), covariance)


class Step(NamedTuple):
    """One time of a filtered sequence.

    Attributes:
        predicted: before the measurement.
        updated: after it.
        transition: (12, 12) of the error from the time before; None at a start.
        distance: squared Mahalanobis distance of the measurement, or None without one.
        is_used: whether a measurement changed the state.
    """

    predicted: State
    updated: State
    transition: Covariance12 | None
    distance: float | None
    is_used: bool


def predict(
    state: State, seconds: float, model: MotionModel, motion: Pose | None = None
) -> tuple[State, Covariance12]:
    """The state after some time, and the transition of its error.

    Args:
        state: at the start.
        seconds: from then on.
        model: of the motion.
        motion: `cam_from_later_cam` by odometry, or None for a constant velocity.
    """
    transition = np.eye(12)
    noise = np.zeros((12, 12))
    pose = state.world_from_cam
    if motion is None:
        turn = Rotation.from_rotvec(state.turning * seconds).as_matrix()
        moved = Pose(turn @ pose.rotation, pose.translation + state.velocity * seconds)
        transition[:3, :3] = turn
        transition[:3, 9:] = transition[3:6, 6:9] = np.eye(3) * seconds
        for offset, density in ((0, model.angular_acceleration), (3, model.acceleration)):
            rows, rates = slice(offset, offset + 3), slice(9 - offset, 12 - offset)
            noise[rows, rows] = np.eye(3) * (density**2 * seconds**3 / 3)
            noise[rows, rates] = noise[rates, rows] = np.eye(3) * (density**2 * seconds**2 / 2)
            noise[rates, rates] = np.eye(3) * (density**2 * seconds)
    else:
        step = pose.rotation @ motion.translation
        moved = Pose(pose.rotation @ motion.rotation, pose.translation + step)
        transition[3:6, :3] = -_cross(step)
        angle = float(np.linalg.norm(Rotation.from_matrix(motion.rotation).as_rotvec()))
        noise[:3, :3] = np.eye(3) * (model.odometry_share * angle) ** 2
        noise[3:6, 3:6] = np.eye(3) * (model.odometry_share * float(np.linalg.norm(step))) ** 2
    covariance = transition @ state.covariance @ transition.T + noise
    return State(moved, state.velocity, state.turning, covariance), transition


def update(
    state: State, measurement: Measurement, model: MotionModel, *, bound: float | None = None
) -> tuple[State, float, float]:
    """The state after a measurement, the squared Mahalanobis distance, and the logarithm of its determinant.

    A measurement beyond the bound leaves the state as it is.
    """
    difference = residual(state.world_from_cam, measurement.world_from_cam)
    innovation = state.covariance[:6, :6] + measurement.covariance * model.measurement_scale**2
    solved = np.linalg.solve(innovation, np.column_stack((difference, state.covariance[:6])))
    distance = float(difference @ solved[:, 0])
    logarithm = float(np.linalg.slogdet(innovation)[1])
    if distance > (model.bound if bound is None else bound):
        return state, distance, logarithm
    gain = solved[:, 1:].T
    corrected = state.covariance - gain @ state.covariance[:6]
    return _moved(state, gain @ difference, (corrected + corrected.T) / 2), distance, logarithm


def residual(estimate: Pose, measured: Pose) -> Vector6:
    """The error (w, c) of an estimate, if the measured pose is true."""
    turned = Rotation.from_matrix(measured.rotation @ estimate.rotation.T).as_rotvec()
    difference: Vector6 = np.concatenate((turned, measured.translation - estimate.translation))
    return difference


def run_filter(
    times: Sequence[float],
    measurements: Sequence[Measurement | None],
    model: MotionModel,
    motions: Sequence[Pose | None] | None = None,
) -> tuple[list[Step | None], float]:
    """Filter a sequence.

    Args:
        times: in seconds, rising.
        measurements: one a time, or None.
        model: of the motion.
        motions: for each time, `earlier_cam_from_cam` by odometry from the time before, or None.

    Returns:
        A step for each time (None before the first measurement), and twice the negative logarithm of the
        likelihood of the measurements, each cut at the gate's bound so that outliers do not decide.
    """
    tracker = PoseFilter(model)
    cost = 0.0
    steps: list[Step | None] = []
    for row, (time, measurement) in enumerate(zip(times, measurements, strict=True)):
        step = tracker.advance(time, measurement, None if motions is None else motions[row])
        steps.append(step)
        if step is not None and step.distance is not None and step.transition is not None:
            cost += min(step.distance, model.bound) + tracker.last_logarithm
    return steps, cost


# Poses in a row that are left out, after which the filter starts again.
_RESTART_AFTER = 3


class PoseFilter:
    """Filters measurements as they come.

    A measurement whose Mahalanobis distance is beyond the gate is left out. After three verified
    poses in a row that are left out and that agree with each other, the state starts again from the last one:
    then the state was wrong.
    """

    def __init__(self, model: MotionModel) -> None:
        self.model = model
        self.state: State | None = None
        self.time = 0.0
        self.last_logarithm = 0.0
        self._left_out: list[tuple[float, Measurement]] = []

    def predicted(self, time: float, motion: Pose | None = None) -> State | None:
        """The state at a time, before its measurement; None before the first measurement."""
        if self.state is None:
            return None
        return predict(self.state, max(time - self.time, 0.0), self.model, motion)[0]

    def advance(
        self, time: float, measurement: Measurement | None, motion: Pose | None = None
    ) -> Step | None:
        """Advance to a time, with the measurement at it or without one.

        Args:
            time: in seconds, not before the last one.
            measurement: a pose, or None.
            motion: `earlier_cam_from_cam` by odometry since the last time, or None.
        """
        if self.state is None:
            return self._started(time, measurement) if measurement and measurement.is_verified else None
        predicted, transition = predict(self.state, max(time - self.time, 0.0), self.model, motion)
        if measurement is None:
            self.time, self.state = time, predicted
            return Step(predicted, predicted, transition, None, False)
        bound = self.model.bound if measurement.is_verified else _bound(_UNVERIFIED_GATE)
        updated, distance, self.last_logarithm = update(predicted, measurement, self.model, bound=bound)
        is_used = distance <= bound
        if measurement.is_verified:
            self._left_out = [] if is_used else [*self._left_out, (time, measurement)]
            if len(self._left_out) >= _RESTART_AFTER and self._agree():
                return self._started(time, measurement)
        self.time, self.state = time, updated
        return Step(predicted, updated, transition, distance, is_used)

    def _started(self, time: float, measurement: Measurement) -> Step:
        self.time, self.state, self._left_out = time, State.start(measurement, self.model), []
        return Step(self.state, self.state, None, None, True)

    def _agree(self) -> bool:
        """Whether the poses that were left out fit one motion."""
        poses = self._left_out[-_RESTART_AFTER:]
        (start, first), *others = poses
        state = State.start(first, self.model)
        for time, measurement in others:
            state, _ = predict(state, time - start, self.model)
            start = time
            state, distance, _ = update(state, measurement, self.model)
            if distance > self.model.bound:
                return False
        return True


def smoothed(steps: Sequence[Step | None]) -> list[State | None]:
    """The states given all measurements, before and after (Rauch, Tung and Striebel), piece by piece."""
    states: list[State | None] = [None if step is None else step.updated for step in steps]
    for row in range(len(steps) - 2, -1, -1):
        step, after, later = steps[row], steps[row + 1], states[row + 1]
        if step is None or after is None or later is None or after.transition is None:
            continue
        gain = np.linalg.solve(after.predicted.covariance, after.transition @ step.updated.covariance).T
        error = np.concatenate(
            (
                residual(after.predicted.world_from_cam, later.world_from_cam),
                later.velocity - after.predicted.velocity,
                later.turning - after.predicted.turning,
            )
        )
        covariance = step.updated.covariance + gain @ (later.covariance - after.predicted.covariance) @ gain.T
        states[row] = _moved(step.updated, gain @ error, (covariance + covariance.T) / 2)
    return states


# Factors to choose from for each number of the motion model, first coarse and then fine.
_COARSE = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
_FINE = (0.6, 1.0, 1.6)

# The choice uses at most this many times, from the middle of a sequence.
_MOST_CHOSEN_FROM = 100


def likeliest_model(
    times: Sequence[float],
    measurements: Sequence[Measurement | None],
    model: MotionModel,
    motions: Sequence[Pose | None] | None = None,
) -> MotionModel:
    """The motion model under which the measurements are most likely; the given one where they are few.

    It needs no truth: how much the camera accelerates, and how much larger the errors are than their
    covariances say, both show in how well each measurement is predicted from those before.
    """
    if sum(each is not None for each in measurements) < 8:
        return model
    start = max(0, (len(times) - _MOST_CHOSEN_FROM) // 2)
    rows = slice(start, start + _MOST_CHOSEN_FROM)
    some = motions[rows] if motions is not None else None

    def cost(candidate: MotionModel) -> float:
        return run_filter(times[rows], measurements[rows], candidate, some)[1]

    chosen = ["measurement_scale"]
    if motions is None or any(each is None for each in motions[1:]):
        chosen = ["acceleration", "angular_acceleration", *chosen]
    else:
        chosen = ["odometry_share", *chosen]
    best = model
    for factors in (_COARSE, _FINE):
        for name in chosen:
            is_scale = name == "measurement_scale"
            values = [getattr(best, name) * factor for factor in (_FINE if is_scale else factors)]
            # Covariances are calibrated: errors that neighbouring images share make them look too large.
            candidates = [replace(best, **{name: max(value, 1.0) if is_scale else value}) for value in values]
            best = min(candidates, key=cost)
    return best


def _moved(state: State, error: Float[np.ndarray, "12"], covariance: Covariance12) -> State:
    pose = state.world_from_cam
    return State(
        Pose(Rotation.from_rotvec(error[:3]).as_matrix() @ pose.rotation, pose.translation + error[3:6]),
        state.velocity + error[6:9],
        state.turning + error[9:],
        covariance,
    )


def _cross(vector: Vector3) -> Float[np.ndarray, "3 3"]:
    x, y, z = vector.tolist()
    return np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
