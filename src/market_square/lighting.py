"""Light on surfaces (sky, sun with shadows, street lamps, lit windows), snow and fog."""

import numpy as np
from numpy.typing import NDArray

from market_square.arrays import FloatArray, single
from market_square.atmosphere import Condition
from market_square.shadows import ShadowMap, SkyVisibility
from market_square.surfaces import Surface

_LAMP_COLOR = (1.0, 0.78, 0.50)
_SNOW_COLOR = (0.80, 0.83, 0.88)
_SKY_GAIN = 2.2
_BOUNCE = 0.10
"""Part of the sunlight that the ground and the walls reflect back, from all directions."""


def light_from(
    surface: Surface,
    condition: Condition,
    *,
    sky: SkyVisibility,
    shadows: tuple[ShadowMap, ...],
    lamps: NDArray[np.float64],
) -> FloatArray:
    """Linear light (n, 3) from surfaces to the camera; a point in the shadow of any map gets no sun."""
    zenith, horizon = single(condition.zenith), single(condition.horizon)
    open_sky = sky.toward(surface.point, surface.normal)[:, None]
    strength = np.float32(condition.sky_light)
    light = open_sky * (
        (zenith * np.float32(0.6) + horizon * np.float32(0.4)) * strength * np.float32(_SKY_GAIN)
    )
    light += (zenith + horizon) * np.float32(0.04 * strength)
    if condition.sun is not None:
        light += _sunlight(surface, condition, shadows)
        color = single(condition.sun.color) * np.float32(_BOUNCE * condition.sun.direction()[2])
        light += (1 - np.float32(0.5) * surface.normal[:, 2:]) * (np.float32(0.3) + open_sky) * color
    if condition.lamp_light > 0:
        light += _lamplight(surface, lamps) * np.float32(condition.lamp_light)
    albedo = _snowed(surface, condition.snow) if condition.snow > 0 else surface.albedo
    return np.asarray(albedo * light + surface.glow * np.float32(condition.window_light))


def through_fog(color: FloatArray, depth: FloatArray, condition: Condition) -> FloatArray:
    """Colours (n, 3) seen through `depth` metres (n,) of air."""
    haze = single(condition.horizon) * np.float32(0.9 if condition.sun is not None else 0.6)
    part = (1 - np.exp(depth * np.float32(-condition.fog_per_meter)))[:, None]
    return np.asarray(color + (haze - color) * part)


def _sunlight(surface: Surface, condition: Condition, shadows: tuple[ShadowMap, ...]) -> FloatArray:
    assert condition.sun is not None, "the caller checks that there is a sun"
    toward_sun = condition.sun.direction().astype(np.float32)
    cosine = np.maximum(np.einsum("ni,i->n", surface.normal, toward_sun), 0)
    faces_sun = np.flatnonzero(cosine > 0)
    points = surface.point[faces_sun] + surface.normal[faces_sun] * np.float32(0.04)
    for shadow in shadows:
        cosine[faces_sun] *= shadow.lit(points, bias=0.05)
    return np.asarray(cosine[:, None] * single(condition.sun.color))


def _lamplight(surface: Surface, lamps: NDArray[np.float64]) -> FloatArray:
    total = np.zeros(len(surface.point), np.float32)
    for lamp in lamps.astype(np.float32):
        toward = lamp - surface.point
        distance_squared = np.einsum("ni,ni->n", toward, toward) + np.float32(0.3)
        cosine = np.maximum(np.einsum("ni,ni->n", toward, surface.normal), 0)
        total += cosine / (distance_squared * np.sqrt(distance_squared))
    return np.asarray(total[:, None] * single(_LAMP_COLOR))


def _snowed(surface: Surface, amount: float) -> FloatArray:
    """The albedo (n, 3) with snow on surfaces that face upwards, in drifts of varying thickness."""
    x, y = surface.point[:, 0], surface.point[:, 1]
    drift = np.float32(0.6) + np.float32(0.8) * np.sin(1.7 * x + 1.5 * np.sin(1.3 * y)) * np.sin(1.1 * y + 2)
    lies = np.clip((surface.normal[:, 2] - np.float32(0.35)) * 3, 0, 1)
    cover = (lies * drift.clip(0.15, 1) * np.float32(amount))[:, None].astype(np.float32)
    return np.asarray(surface.albedo + (single(_SNOW_COLOR) - surface.albedo) * cover)
