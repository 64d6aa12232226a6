"""Latitude, longitude and height on the WGS 84 ellipsoid, and the axes east, north, up.

Formulas: NGA.STND.0036, Department of Defense World Geodetic System 1984.
"""

import math

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

Vector = Float[NDArray[np.float64], "3"]
Matrix = Float[NDArray[np.float64], "3 3"]

_SEMI_MAJOR_METERS = 6_378_137.0
_FLATTENING = 1 / 298.257223563
_ECCENTRICITY_2 = _FLATTENING * (2 - _FLATTENING)


def ecef_from_geodetic(latitude: float, longitude: float, height: float) -> Vector:
    """Earth-centred, earth-fixed coordinates in metres of degrees and metres above the ellipsoid."""
    phi, lam = math.radians(latitude), math.radians(longitude)
    normal = _SEMI_MAJOR_METERS / math.sqrt(1 - _ECCENTRICITY_2 * math.sin(phi) ** 2)
    across = (normal + height) * math.cos(phi)
    return np.array(
        [
            across * math.cos(lam),
            across * math.sin(lam),
            (normal * (1 - _ECCENTRICITY_2) + height) * math.sin(phi),
        ]
    )


def geodetic_from_ecef(point: Vector) -> tuple[float, float, float]:
    """Latitude and longitude in degrees, and height in metres; the inverse of `ecef_from_geodetic`."""
    x, y, z = point.tolist()
    across = math.hypot(x, y)
    # Fixed-point iteration: an error shrinks by the squared eccentricity, 1/150, with each step.
    phi = math.atan2(z, across * (1 - _ECCENTRICITY_2))
    for _ in range(10):
        normal = _SEMI_MAJOR_METERS / math.sqrt(1 - _ECCENTRICITY_2 * math.sin(phi) ** 2)
        phi = math.atan2(z + _ECCENTRICITY_2 * normal * math.sin(phi), across)
    normal = _SEMI_MAJOR_METERS / math.sqrt(1 - _ECCENTRICITY_2 * math.sin(phi) ** 2)
    # Stable at the poles and at the equator: the distance along the normal.
    height = across * math.cos(phi) + z * math.sin(phi) - normal * (1 - _ECCENTRICITY_2 * math.sin(phi) ** 2)
    return math.degrees(phi), math.degrees(math.atan2(y, x)), height


def enu_from_ecef(latitude: float, longitude: float) -> Matrix:
    """The rotation from earth-fixed axes to east, north and up at a place."""
    phi, lam = math.radians(latitude), math.radians(longitude)
    sin_phi, cos_phi, sin_lam, cos_lam = math.sin(phi), math.cos(phi), math.sin(lam), math.cos(lam)
    return np.array(
        [
            [-sin_lam, cos_lam, 0.0],
            [-sin_phi * cos_lam, -sin_phi * sin_lam, cos_phi],
            [cos_phi * cos_lam, cos_phi * sin_lam, sin_phi],
        ]
    )
