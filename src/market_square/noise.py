"""Tileable value noise: the grain of every surface of the square."""

from functools import lru_cache

import numpy as np

from market_square.arrays import FloatArray, single

_DISTINCT_FIELDS = 4
_GAIN = 0.55


def tileable_noise(size: int, *, cells: int, octaves: int, seed: int) -> FloatArray:
    """Fractal value noise in [0, 1], shape (size, size), that repeats without a seam.

    `cells` is the number of lattice cells along a side in the coarsest octave; each further one doubles it.
    """
    # Only a few fields are computed, and the seed shifts them: a shifted tile looks like a new one.
    field = _field(size, cells, octaves, seed % _DISTINCT_FIELDS)
    down, right = np.random.default_rng(seed).integers(0, size, 2)
    return np.roll(field, (int(down), int(right)), (0, 1))


@lru_cache(maxsize=64)
def _field(size: int, cells: int, octaves: int, seed: int) -> FloatArray:
    rng = np.random.default_rng((seed, cells))
    total = np.zeros((size, size), np.float32)
    amplitude, amplitudes = 1.0, 0.0
    for octave in range(octaves):
        count = cells * 2**octave
        if count > size:
            break
        total += np.float32(amplitude) * _smooth_lattice(rng.random((count, count)).astype(np.float32), size)
        amplitudes += amplitude
        amplitude *= _GAIN
    field = total / np.float32(amplitudes)
    field.setflags(write=False)
    return field


def _smooth_lattice(lattice: FloatArray, size: int) -> FloatArray:
    """Interpolate a periodic lattice to (size, size) with the smooth step 3 t^2 - 2 t^3."""
    count = len(lattice)
    position = np.arange(size) * count / size
    before = position.astype(np.intp)
    after = (before + 1) % count
    t = (position - before).astype(np.float32)
    t = t * t * (3 - 2 * t)
    rows = lattice[before] * (1 - t)[:, None] + lattice[after] * t[:, None]
    return single(rows[:, before] * (1 - t) + rows[:, after] * t)
