"""Drawing spheres and upright cylinders into a z-buffer.

A ray o + t d meets a sphere of radius r about c where A t^2 + 2 B t + C = 0 with A = d.d, B = d.(o - c) and
C = |o - c|^2 - r^2. Its discriminant is A r^2 - |d x (o - c)|^2, which stays exact far away, and the nearness
1 / t of the front is (sqrt(discriminant) - B) / C. A cylinder is the same in the plane, and then z decides.
"""

import numpy as np
from numpy.typing import NDArray

from market_square.arrays import FloatArray, Vectors
from market_square.primitives import Primitives
from market_square.raster import Cutouts, LinearForms, Visible
from market_square.viewpoint import NEAREST, Viewpoint


def draw_spheres(visible: Visible, viewpoint: Viewpoint, primitives: Primitives, cutouts: Cutouts) -> None:
    """Draw all spheres; the camera is outside of each."""
    spheres, ray = primitives.spheres, viewpoint.ray_from_pixel
    extent = np.repeat(spheres.radius[:, None], 3, axis=1)
    number, boxes, nearest = _boxes(viewpoint, spheres.center - extent, spheres.center + extent)
    toward, radius = spheres.center[number] - viewpoint.center, spheres.radius[number]
    forms = LinearForms(np.einsum("nfi,ij->nfj", _ahead_and_aside(toward), ray), boxes, visible)
    scale = 1 / (np.einsum("ni,ni->n", toward, toward) - radius**2)
    ray_length_squared = sum(row**2 for row in LinearForms.over_image(ray, visible))
    for index, sphere in enumerate(number.tolist()):
        buffer, identity, box = visible.part(forms.boxes[index])
        if buffer.min() >= 1 / nearest[index]:
            continue
        ahead, *aside = forms.values(index)
        discriminant = ray_length_squared[box] * np.float32(radius[index] ** 2)
        for form in aside:
            discriminant -= form * form
        front = (np.sqrt(np.maximum(discriminant, 0)) + ahead) * np.float32(scale[index])
        inside = (discriminant > 0) & (front > buffer)
        if cutouts.has_holes[spheres.texture[sphere]]:
            where = np.nonzero(inside)
            y, x = where[0] + box[0].start + 0.5, where[1] + box[1].start + 0.5
            rays = np.einsum("ij,jn->ni", ray, np.stack([x, y, np.ones_like(x)]))
            outward = (rays / front[where][:, None] - toward[index]) / radius[index]
            u, v = sphere_u_v(outward.astype(np.float32))
            across, up = spheres.repeat[sphere]
            inside[where] = cutouts.is_solid(int(spheres.texture[sphere]), u * across, v * up)
        np.copyto(buffer, front, where=inside)
        np.copyto(identity, np.int32(primitives.first_sphere + sphere), where=inside)


def draw_cylinders(visible: Visible, viewpoint: Viewpoint, primitives: Primitives) -> None:
    """Draw the outer sides of all cylinders."""
    cylinders, ray = primitives.cylinders, viewpoint.ray_from_pixel
    reach = np.stack([cylinders.radius, cylinders.radius, np.zeros_like(cylinders.radius)], axis=1)
    head = cylinders.foot + np.stack([cylinders.radius, cylinders.radius, cylinders.height], axis=1)
    number, boxes, nearest = _boxes(viewpoint, cylinders.foot - reach, head)
    x, y, z = (cylinders.foot[number] - viewpoint.center).T
    radius = cylinders.radius[number]
    ahead_and_aside = np.stack([x, y, y, -x], axis=1).reshape(-1, 2, 2)[:, :, :, None] * ray[:2]
    forms = LinearForms(ahead_and_aside.sum(axis=2), boxes, visible)
    scale = 1 / (x**2 + y**2 - radius**2)
    along_x, along_y, climb = LinearForms.over_image(ray, visible)
    level_squared = along_x**2 + along_y**2
    for index, cylinder in enumerate(number.tolist()):
        buffer, identity, box = visible.part(forms.boxes[index])
        if buffer.min() >= 1 / nearest[index]:
            continue
        ahead, aside = forms.values(index)
        discriminant = level_squared[box] * np.float32(radius[index] ** 2) - aside * aside
        front = (np.sqrt(np.maximum(discriminant, 0)) + ahead) * np.float32(scale[index])
        # The height above the foot, divided by the depth.
        above = climb[box] - front * np.float32(z[index])
        inside = (discriminant > 0) & (front > buffer) & (above >= 0)
        inside &= above <= front * np.float32(cylinders.height[cylinder])
        np.copyto(buffer, front, where=inside)
        np.copyto(identity, np.int32(primitives.first_cylinder + cylinder), where=inside)


def sphere_u_v(normals: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Longitude and latitude of unit normals (n, 3), both from 0 to 1; v grows upwards."""
    u = np.arctan2(normals[:, 1], normals[:, 0]) * np.float32(0.5 / np.pi) + np.float32(0.5)
    v = np.arccos(np.clip(-normals[:, 2], -1, 1)) * np.float32(1 / np.pi)
    return u, v


def _ahead_and_aside(toward: Vectors) -> Vectors:
    """Vectors (n, 3, 3): `toward`, and two whose squared products with d sum to |d x toward|^2."""
    least = np.eye(3)[np.argmin(np.abs(toward), axis=1)]
    first = np.cross(toward, least)
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    second = np.cross(toward, first)
    return np.stack([toward, first * np.linalg.norm(toward, axis=1, keepdims=True), second], axis=1)


def _boxes(
    viewpoint: Viewpoint, low: Vectors, high: Vectors
) -> tuple[NDArray[np.intp], NDArray[np.intp], Vectors]:
    """Numbers (n,), pixel boxes (n, 4) and least depths (n,) of the world boxes within the image.

    A shape that the near plane cuts gets the whole image as its box.
    """
    choice = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], bool)
    corners = viewpoint.to_camera(np.where(choice, high[:, None], low[:, None]))
    least, greatest = corners[..., 2].min(axis=1), corners[..., 2].max(axis=1)
    corners[..., 2] = np.maximum(corners[..., 2], NEAREST)
    pixels = viewpoint.to_pixels(corners)
    size = np.array([viewpoint.width, viewpoint.height])
    is_cut = (least < NEAREST)[:, None]
    first = np.where(is_cut, 0, np.clip(np.floor(pixels.min(axis=1)), 0, size))
    last = np.where(is_cut, size, np.clip(np.ceil(pixels.max(axis=1)), 0, size))
    number = np.flatnonzero((greatest > NEAREST) & (first < last).all(axis=1))
    number = number[np.argsort(least[number], kind="stable")]
    boxes = np.stack([first[:, 0], last[:, 0], first[:, 1], last[:, 1]], axis=1).astype(np.intp)
    return number, boxes[number], np.maximum(least[number], NEAREST)
