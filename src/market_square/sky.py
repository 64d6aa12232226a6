"""The sky behind the houses: a gradient, clouds and the glow of the sun, painted once per condition."""

import numpy as np

from market_square.arrays import FloatArray, single
from market_square.atmosphere import Condition
from market_square.noise import tileable_noise

_WIDTH, _HEIGHT = 1024, 256
_LOWEST = -np.pi / 16
"""The image reaches from the zenith down to this elevation, in radians."""


def paint_sky(condition: Condition) -> FloatArray:
    """The sky (_HEIGHT, _WIDTH, 3), linear light: azimuth to the right from -pi, zenith at the top."""
    elevation = np.linspace(np.pi / 2, _LOWEST, _HEIGHT)[:, None, None]
    horizon = np.array(condition.horizon)
    upward = np.clip(np.sin(elevation), 0, 1) ** 0.5
    sky = np.array(condition.zenith) * upward + horizon * (1 - upward)
    shape = tileable_noise(_WIDTH, cells=6, octaves=6, seed=17)[:_HEIGHT, :, None]
    shading = tileable_noise(_WIDTH, cells=5, octaves=6, seed=18)[:_HEIGHT, :, None]
    cover = np.clip((shape - 0.74 + 0.62 * condition.clouds) * 4, 0, 1) * np.clip(4 * np.sin(elevation), 0, 1)
    cloud = (0.9 * horizon + 0.06 * horizon.mean()) * (0.75 + 0.5 * shading)
    sky = sky + 0.85 * cover * (cloud - sky)
    if condition.sun is not None:
        azimuth = ((np.arange(_WIDTH) + 0.5) / _WIDTH * 2 - 1)[:, None] * np.pi
        x, y, z = condition.sun.direction()
        level = np.cos(elevation) * (np.cos(azimuth) * x + np.sin(azimuth) * y)
        toward_sun = np.clip(level + np.sin(elevation) * z, 0, 1)
        sky = sky + (0.25 * toward_sun**40 + 5 * toward_sun**900) * np.array(condition.sun.color)
    return single(sky)


def sky_color(sky: FloatArray, rays: FloatArray) -> FloatArray:
    """Colours (n, 3) of a painted sky along rays (n, 3) of any length."""
    up = rays[:, 2] / np.sqrt(np.einsum("ni,ni->n", rays, rays))
    row = (np.pi / 2 - np.arcsin(up)) * ((_HEIGHT - 1) / (np.pi / 2 - _LOWEST)) + 0.5
    column = (np.arctan2(rays[:, 1], rays[:, 0]) * (0.5 / np.pi) + 0.5) * _WIDTH
    return np.asarray(sky[row.astype(np.int32).clip(0, _HEIGHT - 1), column.astype(np.int32) % _WIDTH])
