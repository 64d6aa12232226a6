"""Images and depth of the embedded scene."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.support.demo_views import (
    SMALL,
    people_in_the_corner,
    pose_looking,
    shared_renderer,
    view_of_corner,
)

from camloc.geometry.pose import Pose
from market_square.atmosphere import CONDITIONS
from market_square.buildings import HALF_EXTENT_Y, HOUSES
from market_square.film import HAND_HELD_FILM
from market_square.shadows import ShadowMap


def test_the_same_view_has_the_same_pixels() -> None:
    first, second = view_of_corner(), view_of_corner()
    assert np.array_equal(first.rgb, second.rgb)
    assert np.array_equal(first.depth, second.depth)


def test_a_pose_and_its_matrix_give_the_same_image() -> None:
    matrix = pose_looking((-3.0, 1.0, 1.6), 120.0)
    pose = Pose.from_matrix(torch.from_numpy(matrix))
    assert np.array_equal(shared_renderer().render_view(pose, SMALL).rgb, view_of_corner().rgb)


def test_a_level_ray_meets_the_bakery_at_the_distance_of_its_front() -> None:
    bakery = HOUSES[0]
    middle, above_the_balconies = bakery.start + bakery.width / 2, 8.0
    pose = pose_looking((middle, 0.0, above_the_balconies), 90.0)
    depth = shared_renderer().render_view(pose, SMALL).depth
    np.testing.assert_allclose(depth[22:26, 30:34], HALF_EXTENT_Y + bakery.setback, rtol=1e-6)


def test_the_ground_is_at_the_height_of_the_camera_below_it() -> None:
    pose = pose_looking((-4.0, 1.0, 1.6), 120.0, up_degrees=-89.5)
    depth = shared_renderer().render_view(pose, SMALL).depth
    np.testing.assert_allclose(depth[24, 32], 1.6, rtol=1e-3)


def test_the_sky_has_no_depth_and_everything_else_has() -> None:
    up = shared_renderer().render_view(pose_looking((-4.0, 1.0, 1.6), 0.0, up_degrees=60.0), SMALL)
    level = view_of_corner()
    assert (up.depth == 0).mean() > 0.5
    assert (level.depth > 0.5).mean() > 0.95
    assert level.depth.max() < 80


def test_no_view_of_the_corner_shows_sky_below_the_horizon() -> None:
    for heading in range(0, 360, 30):
        depth = view_of_corner(heading_degrees=heading).depth
        assert (depth[SMALL.height // 2 + 1 :] > 0).all(), heading


@pytest.mark.parametrize("condition", sorted(CONDITIONS))
def test_every_condition_shows_the_same_scene_in_its_own_light(condition: str) -> None:
    view, day = view_of_corner(condition), view_of_corner("day")
    assert np.array_equal(view.depth, day.depth)
    assert view.rgb.std() > 15
    assert condition == "day" or np.abs(view.rgb.astype(float) - day.rgb).mean() > 8


def test_night_is_darker_than_day_and_evening_is_redder() -> None:
    day, evening, night = (view_of_corner(name).rgb.astype(float) for name in ("day", "evening", "night"))
    assert night.mean() < 0.75 * day.mean()
    assert evening[..., 0].mean() / evening[..., 2].mean() > 1.2 * day[..., 0].mean() / day[..., 2].mean()


def test_winter_whitens_the_ground_and_not_the_walls() -> None:
    day, winter = view_of_corner("day").rgb.astype(float), view_of_corner("winter").rgb.astype(float)

    def color_range(pixels: NDArray[np.float64]) -> float:
        return float(np.ptp(pixels, axis=-1).mean() / pixels.mean())

    assert color_range(winter[42:]) < color_range(day[42:])


def test_the_sun_casts_the_shadow_of_the_kiosk_behind_it() -> None:
    square, sun = shared_renderer().square, CONDITIONS["day"].sun
    assert sun is not None
    shadow = ShadowMap.towards(sun.direction(), square.primitives, square.atlas)
    behind_the_kiosk, in_the_open = (-9.8, 7.8, 0.0), (-4.2, 1.5, 0.0)
    points = np.array([behind_the_kiosk, in_the_open], np.float32)
    assert shadow.lit(points, bias=0.05).tolist() == [0, 1]


def test_people_hide_only_surfaces_behind_them() -> None:
    without, crowded = view_of_corner(), view_of_corner(occluders=people_in_the_corner())
    hidden = crowded.is_occluder
    assert not without.is_occluder.any()
    assert 0.02 < hidden.mean() < 0.7
    assert (crowded.depth[hidden] < without.depth[hidden]).mean() > 0.98
    is_off_the_edge = ~hidden & (np.abs(crowded.depth - without.depth) < 1e-4)
    assert is_off_the_edge.sum() > 0.97 * (~hidden).sum()


def test_people_cast_shadows_on_the_scene() -> None:
    without, crowded = view_of_corner(), view_of_corner(occluders=people_in_the_corner())
    same_scene = (crowded.depth == without.depth) & ~crowded.is_occluder
    darker = crowded.rgb.astype(float).mean(-1) < without.rgb.astype(float).mean(-1) - 30
    assert (darker & same_scene).sum() > 3


def test_a_film_draws_its_noise_from_the_seed() -> None:
    pose = pose_looking((-3.0, 1.0, 1.6), 120.0)
    first, again, other = (
        shared_renderer().render_view(pose, SMALL, film=HAND_HELD_FILM, seed=seed).rgb for seed in (1, 1, 2)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_an_open_shutter_blurs_the_image_and_not_the_depth() -> None:
    sharp = view_of_corner()
    pose = pose_looking((-3.0, 1.0, 1.6), 120.0)
    path = [pose_looking((-3.0, 1.0, 1.6), 120.0 + degrees) for degrees in (2.0, 4.0, 6.0)]
    blurred = shared_renderer().render_view(pose, SMALL, exposure_path=path)
    edges = [np.abs(np.diff(rgb.astype(float), axis=1)).mean() for rgb in (blurred.rgb, sharp.rgb)]
    assert edges[0] < 0.8 * edges[1]
    assert np.array_equal(blurred.depth, sharp.depth)


def test_an_unknown_condition_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"unknown condition 'monsoon', choose from day"):
        view_of_corner("monsoon")
