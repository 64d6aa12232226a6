"""Position, normal, albedo and glow of the surface at each fragment."""

from dataclasses import dataclass

import numpy as np

from market_square.arrays import FloatArray, single
from market_square.fragments import Fragments
from market_square.materials import SIZE
from market_square.noise import tileable_noise
from market_square.primitives import Primitives
from market_square.rounds import sphere_u_v
from market_square.textures import LEVELS, Atlas
from market_square.viewpoint import Viewpoint

_SHARPNESS = 0.3
"""Texture levels are this much finer than one texel per pixel."""
_WEAR_METERS = 25.6
_WEAR_CONTRAST = 0.34


@dataclass(frozen=True, eq=False)
class Surface:
    """World points, unit normals towards the camera, reflected part and own light; all (n, 3)."""

    point: FloatArray
    normal: FloatArray
    albedo: FloatArray
    glow: FloatArray


def surface(fragments: Fragments, viewpoint: Viewpoint, primitives: Primitives, atlas: Atlas) -> Surface:
    """The surface at each fragment; every fragment must show a shape."""
    rays = view_rays(fragments, viewpoint)
    depth = single(1 / fragments.nearness)
    point = single(single(viewpoint.center) + rays * depth[:, None])
    normal, u, v = _normal_u_v(fragments, point, primitives)
    slant = -_dot(normal, rays) / np.sqrt(_dot(rays, rays))
    normal *= np.sign(slant)[:, None]
    number = fragments.primitive
    texture, repeat = primitives.texture[number], primitives.repeat[number]
    u, v = single(u * repeat[:, 0]), single(v * repeat[:, 1])
    width = primitives.texture_width_meters.astype(np.float32)[number]
    texels = SIZE * depth / (width * np.float32(viewpoint.intrinsics.fx))
    texels /= np.sqrt(np.maximum(np.abs(slant), np.float32(0.03)))
    level = np.round(np.log2(texels) - np.float32(_SHARPNESS)).clip(0, LEVELS - 1).astype(np.int32)
    albedo = single(atlas.color.look_up(texture, u, v, level) * _wear(point)[:, None])
    glow = np.zeros_like(albedo)
    glowing = np.flatnonzero(atlas.glow_number[texture] >= 0)
    glow_number = atlas.glow_number[texture[glowing]]
    glow[glowing] = atlas.glow.look_up(glow_number, u[glowing], v[glowing], level[glowing])
    return Surface(point, normal, albedo, glow)


def view_rays(fragments: Fragments, viewpoint: Viewpoint) -> FloatArray:
    """World rays (n, 3) of z-depth 1 through the middles of the fragments."""
    x, y, constant = viewpoint.ray_from_pixel.T.astype(np.float32)
    return np.asarray(fragments.x[:, None] * x + fragments.y[:, None] * y + constant)


def _normal_u_v(
    fragments: Fragments, point: FloatArray, primitives: Primitives
) -> tuple[FloatArray, FloatArray, FloatArray]:
    normal = np.empty_like(point)
    u, v = np.empty(len(point), np.float32), np.empty(len(point), np.float32)
    number = fragments.primitive

    flat = np.flatnonzero(number < primitives.first_sphere)
    faces, face = primitives.parallelograms, number[flat]
    normal[flat] = faces.normal.astype(np.float32)[face]
    from_corner = point[flat] - faces.corner.astype(np.float32)[face]
    dual = faces.dual.astype(np.float32)[face]
    u[flat], v[flat] = _dot(dual[:, 0], from_corner), _dot(dual[:, 1], from_corner)

    ball = np.flatnonzero((number >= primitives.first_sphere) & (number < primitives.first_cylinder))
    spheres, sphere = primitives.spheres, number[ball] - primitives.first_sphere
    outward = point[ball] - spheres.center.astype(np.float32)[sphere]
    normal[ball] = outward / np.sqrt(_dot(outward, outward))[:, None]
    u[ball], v[ball] = sphere_u_v(normal[ball])

    round_wall = np.flatnonzero(number >= primitives.first_cylinder)
    cylinders, cylinder = primitives.cylinders, number[round_wall] - primitives.first_cylinder
    outward = point[round_wall] - cylinders.foot.astype(np.float32)[cylinder]
    u[round_wall] = np.arctan2(outward[:, 1], outward[:, 0]) * np.float32(0.5 / np.pi) + np.float32(0.5)
    v[round_wall] = outward[:, 2] / cylinders.height.astype(np.float32)[cylinder]
    outward[:, 2] = 0
    normal[round_wall] = outward / np.sqrt(_dot(outward, outward))[:, None]
    return normal, u, v


def _wear(point: FloatArray) -> FloatArray:
    """Large soft stains in world coordinates, so that the repetitions of a texture differ."""
    field = tileable_noise(SIZE, cells=8, octaves=4, seed=400)
    scale = np.float32(SIZE / _WEAR_METERS)
    column = ((point[:, 0] + np.float32(0.37) * point[:, 2]) * scale).astype(np.int32) & (SIZE - 1)
    row = ((point[:, 1] + np.float32(0.61) * point[:, 2]) * scale).astype(np.int32) & (SIZE - 1)
    return np.asarray(np.float32(1 - _WEAR_CONTRAST / 2) + np.float32(_WEAR_CONTRAST) * field[row, column])


def _dot(a: FloatArray, b: FloatArray) -> FloatArray:
    return single(np.einsum("ni,ni->n", a, b))
