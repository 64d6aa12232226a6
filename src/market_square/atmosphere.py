"""Light, weather and season of the square."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Color = tuple[float, float, float]
"""Linear red, green, blue; 1 is a bright sky."""


@dataclass(frozen=True)
class Sun:
    """A sun; its azimuth is measured from the x axis (east) towards the y axis (north)."""

    azimuth_degrees: float
    elevation_degrees: float
    color: Color

    def direction(self) -> NDArray[np.float64]:
        """Unit vector (3,) from the ground to the sun."""
        azimuth, elevation = np.radians([self.azimuth_degrees, self.elevation_degrees])
        level = np.cos(elevation)
        return np.array([level * np.cos(azimuth), level * np.sin(azimuth), np.sin(elevation)])


@dataclass(frozen=True)
class Condition:
    """One combination of time of day, weather and season.

    `sky_light`, `window_light` and `lamp_light` scale the light of the sky, of glowing textures and of street
    lamps, `exposure` scales all light. `fog_per_meter` is the extinction of the air, `clouds` the covered
    part of the sky, `snow` the whiteness of surfaces that face upwards, and `grain` the standard deviation
    of the sensor noise of an image in [0, 1].
    """

    name: str
    sun: Sun | None
    zenith: Color
    horizon: Color
    sky_light: float
    exposure: float
    window_light: float = 0.0
    lamp_light: float = 0.0
    fog_per_meter: float = 0.002
    clouds: float = 0.5
    snow: float = 0.0
    grain: float = 0.010


CONDITIONS: dict[str, Condition] = {
    condition.name: condition
    for condition in (
        Condition(
            "day",
            Sun(302, 46, (3.0, 2.75, 2.40)),
            zenith=(0.28, 0.48, 0.92),
            horizon=(0.74, 0.85, 1.0),
            sky_light=0.62,
            exposure=0.72,
            clouds=0.45,
        ),
        Condition(
            "morning",
            Sun(12, 27, (2.9, 2.25, 1.60)),
            zenith=(0.36, 0.48, 0.80),
            horizon=(0.98, 0.88, 0.76),
            sky_light=0.55,
            exposure=0.92,
            window_light=0.08,
            fog_per_meter=0.004,
            clouds=0.35,
        ),
        Condition(
            "overcast",
            None,
            zenith=(0.62, 0.66, 0.72),
            horizon=(0.80, 0.82, 0.84),
            sky_light=0.95,
            exposure=0.95,
            window_light=0.10,
            clouds=0.90,
        ),
        Condition(
            "evening",
            Sun(243, 24, (2.9, 1.40, 0.60)),
            zenith=(0.26, 0.29, 0.52),
            horizon=(1.0, 0.62, 0.38),
            sky_light=0.50,
            exposure=1.15,
            window_light=0.7,
            lamp_light=2.5,
            fog_per_meter=0.004,
            clouds=0.55,
        ),
        Condition(
            "night",
            None,
            zenith=(0.008, 0.012, 0.028),
            horizon=(0.040, 0.042, 0.060),
            sky_light=1.0,
            exposure=1.35,
            window_light=0.9,
            lamp_light=8.0,
            fog_per_meter=0.001,
            clouds=0.30,
            grain=0.028,
        ),
        Condition(
            "winter",
            Sun(285, 19, (1.7, 1.55, 1.35)),
            zenith=(0.50, 0.60, 0.78),
            horizon=(0.84, 0.87, 0.92),
            sky_light=0.80,
            exposure=1.05,
            window_light=0.15,
            fog_per_meter=0.008,
            clouds=0.70,
            snow=0.9,
        ),
    )
}
