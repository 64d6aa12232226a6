"""From light to an 8-bit image: exposure, tone curve, darker corners, sensor noise."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from market_square.arrays import FloatArray
from market_square.atmosphere import Condition

_GAMMA = 2.2
_VIGNETTE = 0.10


@dataclass(frozen=True)
class Film:
    """Random differences between the images of one camera, as standard deviations; 0 for a perfect camera.

    Attributes:
        exposure_stops: of the exposure, in powers of two.
        white_balance: of the gain of each colour channel.
        grain: of the sensor noise, relative to that of the condition.
    """

    exposure_stops: float = 0.0
    white_balance: float = 0.0
    grain: float = 0.0


PERFECT_FILM = Film()
HAND_HELD_FILM = Film(exposure_stops=0.12, white_balance=0.02, grain=1.0)


def develop(
    light: FloatArray, condition: Condition, *, film: Film = PERFECT_FILM, seed: int = 0
) -> NDArray[np.uint8]:
    """Linear light (h, w, 3) as sRGB. The same seed gives the same image."""
    rng = np.random.default_rng((seed, 31))
    height, width = light.shape[:2]
    stops = rng.normal(0, film.exposure_stops)
    balance = rng.normal(1, film.white_balance, 3)
    exposed = light * (condition.exposure * 2**stops * balance).astype(np.float32)
    image = _tone_curve(exposed) ** np.float32(1 / _GAMMA)
    down, across = (np.linspace(-1, 1, extent, dtype=np.float32) for extent in (height, width))
    image *= (1 - np.float32(_VIGNETTE) * (down[:, None] ** 2 + across**2))[..., None]
    if film.grain > 0:
        deviation = np.float32(film.grain * condition.grain)
        image += deviation * rng.standard_normal((height, width, 1), np.float32)
        image += deviation * np.float32(0.5) * rng.standard_normal((height, width, 3), np.float32)
    return np.asarray(np.clip(image, 0, 1) * 255 + np.float32(0.5)).astype(np.uint8)


def _tone_curve(light: FloatArray) -> FloatArray:
    """K. Narkowicz's fit of the ACES filmic curve (2016), which keeps bright skies from clipping."""
    curve = (light * (2.51 * light + 0.03)) / (light * (2.43 * light + 0.59) + 0.14)
    return np.clip(curve, 0, 1)
