"""Smooth random motion: a sine whose phase is modulated by a second sine, so that it hardly repeats."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Wave:
    """A smooth function of time with values in -1..1."""

    period_seconds: float
    phase: float
    sway_period_seconds: float
    sway_phase: float

    @classmethod
    def random(cls, rng: np.random.Generator, *, period_seconds: float) -> "Wave":
        """A random wave of about the given period."""
        period, sway = period_seconds * rng.uniform(0.8, 1.25, 2)
        first, second = rng.uniform(0, 2 * np.pi, 2)
        return cls(float(period), float(first), 1.7 * float(sway), float(second))

    def at(self, seconds: float | NDArray[np.float64]) -> NDArray[np.float64]:
        """Values at times, in the shape of `seconds`."""
        time = 2 * np.pi * np.asarray(seconds, np.float64)
        sway = 0.8 * np.sin(time / self.sway_period_seconds + self.sway_phase)
        return np.asarray(np.sin(time / self.period_seconds + self.phase + sway))
