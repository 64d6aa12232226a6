"""The visible shape and its depth at each pixel: a z-buffer over closed formulas, without triangles.

The buffer holds nearness, 1 / depth, because on a plane it is linear in the pixel: one plane is five linear
forms (nearness, and u, v, 1 - u, 1 - v or 1 - u - v times nearness), and a pixel is inside where none of
them is negative.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from market_square.arrays import Vectors
from market_square.primitives import Outline, Parallelograms, Primitives
from market_square.raster import Cutouts, LinearForms, Visible
from market_square.rounds import draw_cylinders, draw_spheres
from market_square.viewpoint import NEAREST, Viewpoint

_FARTHEST = 2000.0
_SEAM = 1e-4
"""Parallelograms grow by this part of their size, so that no ray slips between two that share an edge."""


def visible_primitives(viewpoint: Viewpoint, primitives: Primitives, cutouts: Cutouts) -> Visible:
    """The visible shapes from a viewpoint. Pixels without a shape have nearness 0."""
    shape = viewpoint.height, viewpoint.width
    visible = Visible(np.full(shape, 1 / _FARTHEST, np.float32), np.full(shape, -1, np.int32))
    _draw_parallelograms(visible, viewpoint, primitives, cutouts)
    draw_spheres(visible, viewpoint, primitives, cutouts)
    draw_cylinders(visible, viewpoint, primitives)
    visible.nearness[visible.primitive < 0] = 0
    return visible


@dataclass(frozen=True, eq=False)
class _Prepared:
    """Parallelograms that may be in the image, nearest first: numbers, boxes, least depths, forms."""

    number: NDArray[np.intp]
    boxes: NDArray[np.intp]
    least_depth: Vectors
    forms: Vectors


def _draw_parallelograms(
    visible: Visible, viewpoint: Viewpoint, primitives: Primitives, cutouts: Cutouts
) -> None:
    faces, prepared = primitives.parallelograms, _prepare(viewpoint, primitives.parallelograms)
    forms = LinearForms(prepared.forms, prepared.boxes, visible)
    is_disc = faces.outline == Outline.DISC
    has_holes = cutouts.has_holes[faces.texture]
    for index, number in enumerate(prepared.number.tolist()):
        buffer, identity, _ = visible.part(forms.boxes[index])
        if buffer.min() >= 1 / prepared.least_depth[index]:
            continue
        planes = forms.values(index)
        inside = planes[0] > buffer
        if is_disc[number]:
            half = planes[0] * np.float32(0.5)
            inside &= (planes[1] - half) ** 2 + (planes[2] - half) ** 2 <= half * half
        else:
            inside &= np.minimum.reduce(planes[1:]) >= 0
        if has_holes[number]:
            _cut_holes(inside, planes, number, faces, cutouts)
        np.copyto(buffer, planes[0], where=inside)
        np.copyto(identity, np.int32(number), where=inside)


def _cut_holes(
    inside: NDArray[np.bool_],
    planes: NDArray[np.float32],
    number: int,
    faces: Parallelograms,
    cutouts: Cutouts,
) -> None:
    where = np.nonzero(inside)
    u, v = (planes[axis][where] / planes[0][where] * faces.repeat[number, axis - 1] for axis in (1, 2))
    inside[where] = cutouts.is_solid(int(faces.texture[number]), u, v)


def _prepare(viewpoint: Viewpoint, faces: Parallelograms) -> _Prepared:
    away = np.einsum("ni,ni->n", faces.normal, faces.corner - viewpoint.center)
    shows_front = (np.abs(away) > 1e-9) & (~faces.one_sided | (away < 0))
    boxes, depth = _boxes(viewpoint, faces)
    in_image = (boxes[:, 0] < boxes[:, 1]) & (boxes[:, 2] < boxes[:, 3])
    number = np.flatnonzero(shows_front & in_image)
    number = number[np.argsort(depth[number], kind="stable")]
    return _Prepared(number, boxes[number], depth[number], _forms(viewpoint, faces, number, away[number]))


def _forms(viewpoint: Viewpoint, faces: Parallelograms, number: NDArray[np.intp], away: Vectors) -> Vectors:
    """Linear forms (n, 5, 3) of the pixel (x, y, 1)."""
    ray = viewpoint.ray_from_pixel
    nearness = np.einsum("ni,ij->nj", faces.normal[number], ray) / away[:, None]
    dual = faces.dual[number]
    offset = np.einsum("nai,ni->na", dual, faces.corner[number] - viewpoint.center)
    u_v = np.einsum("nai,ij->naj", dual, ray) - offset[:, :, None] * nearness[:, None]
    u, v = u_v[:, 0], u_v[:, 1]
    seam = _SEAM * nearness
    is_triangle = (faces.outline[number] == Outline.TRIANGLE)[:, None]
    rest_u = np.where(is_triangle, nearness - u - v, nearness - u)
    rest_v = np.where(is_triangle, rest_u, nearness - v)
    return np.stack([nearness, u + seam, v + seam, rest_u + seam, rest_v + seam], axis=1)


def _boxes(viewpoint: Viewpoint, faces: Parallelograms) -> tuple[NDArray[np.intp], Vectors]:
    """Pixel boxes (n, 4), empty where a face is outside of the image, and the least depths (n,)."""
    corners = viewpoint.to_camera(faces.corners)
    following = np.roll(corners, -1, axis=1)
    in_front = corners[..., 2] >= NEAREST
    crosses = in_front != (following[..., 2] >= NEAREST)
    step = following - corners
    part = (NEAREST - corners[..., 2]) / np.where(crosses, step[..., 2], 1)
    candidates = np.concatenate([corners, corners + part[..., None] * step], axis=1)
    counts = np.concatenate([in_front, crosses], axis=1)
    candidates[~counts] = (0, 0, 1)
    pixels = viewpoint.to_pixels(candidates)
    low = np.where(counts[..., None], pixels, np.inf).min(axis=1)
    high = np.where(counts[..., None], pixels, -np.inf).max(axis=1)
    size = (viewpoint.width, viewpoint.height)
    low, high = np.clip(np.floor(low - 0.01), 0, size), np.clip(np.ceil(high + 0.01), 0, size)
    depth = np.where(counts, candidates[..., 2], np.inf).min(axis=1)
    return np.stack([low[:, 0], high[:, 0], low[:, 1], high[:, 1]], axis=1).astype(np.intp), depth
