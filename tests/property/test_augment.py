"""Turning the image turns the pose: a dot of a known point is where the new camera says it is."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.support.models import some_poses
from torch import Tensor

from camloc.core.config import from_builtins
from camloc.data.augment import Augment, Draws, augmented, centre_cut
from camloc.data.batch import Batch
from camloc.errors import RecipeError
from camloc.geometry.camera import pixel_grid
from camloc.geometry.pose import pose_error

SEEN_WIDTH, SEEN_HEIGHT = 100, 76
WIDTH, HEIGHT = 84, 60
COUNT = 16

# The dot's width, and how far from the edge it must be to be seen whole.
SIGMA, MARGIN = 1.3, 6.0

COLOURS = Augment(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.2)
EVERYTHING = replace(
    COLOURS, random_crop=True, yaw_degrees=9.0, pitch_degrees=7.0, roll_degrees=11.0, zoom=1.2, erase=0.3
)


def intrinsics(count: int) -> Tensor:
    """Of a camera whose focal lengths differ and whose axis does not pass through the middle."""
    matrix = torch.tensor([[88.0, 0.0, 47.5], [0.0, 92.0, 39.25], [0.0, 0.0, 1.0]], dtype=torch.float64)
    return matrix.repeat(count, 1, 1)


def random_batch(count: int = COUNT, *, seed: int = 0) -> Batch:
    """Noise, seen from anywhere."""
    generator = torch.Generator().manual_seed(seed)
    return Batch(
        images=torch.rand(count, 3, SEEN_HEIGHT, SEEN_WIDTH, generator=generator),
        world_from_cam=some_poses(count, seed=seed),
        intrinsics=intrinsics(count),
        scene=torch.zeros(count, dtype=torch.int64),
    )


def pixels_of(batch: Batch, points: Tensor) -> Tensor:
    """(b, 2) where each image's own point of the world is in it."""
    assert batch.intrinsics is not None
    seen = batch.world_from_cam.inverse().apply(points[:, None])[:, 0]
    homogeneous: Tensor = (batch.intrinsics.double() @ seen[..., None])[..., 0]
    return homogeneous[:, :2] / homogeneous[:, 2:]


def dots(*, seed: int) -> tuple[Batch, Tensor]:
    """Black images with one white dot each, and the (b, 3) points of the world that these are."""
    generator = torch.Generator().manual_seed(seed)
    batch = random_batch(seed=seed)
    middle = torch.tensor([SEEN_WIDTH / 2, SEEN_HEIGHT / 2], dtype=torch.float64)
    pixel = middle + (torch.rand(COUNT, 2, generator=generator, dtype=torch.float64) - 0.5) * middle
    depth = 1.0 + 4.0 * torch.rand(COUNT, 1, generator=generator, dtype=torch.float64)
    rays = torch.cat((pixel, torch.ones(COUNT, 1)), dim=1)[..., None]
    points = (torch.linalg.inv(intrinsics(COUNT)) @ rays)[..., 0] * depth
    grid = torch.from_numpy(pixel_grid(SEEN_WIDTH, SEEN_HEIGHT))
    squares = (grid - pixel[:, None, None]).square().sum(-1)
    images = torch.exp(-squares / (2 * SIGMA**2)).float()[:, None].expand(-1, 3, -1, -1)
    return batch.replace(images=images), batch.world_from_cam.apply(points[:, None])[:, 0]


def found_dots(images: Tensor) -> Tensor:
    """(b, 2) centres of what is white."""
    weights = images.double().mean(1)[..., None]
    grid = torch.from_numpy(pixel_grid(images.shape[-1], images.shape[-2]))
    return (weights * grid).sum((1, 2)) / weights.sum((1, 2))


def draws(count: int, *, seed: int = 0, rows: slice | None = None) -> Draws:
    return Draws(torch.Generator().manual_seed(seed), count, rows or slice(0, count))


def changed(batch: Batch, settings: Augment, *, seed: int = 0) -> Batch:
    return augmented(batch, settings, width=WIDTH, height=HEIGHT, draws=draws(len(batch), seed=seed))


def only(name: str, value: float) -> Augment:
    """Settings of which one is not zero."""
    return from_builtins({name: value}, Augment)


def moves() -> st.SearchStrategy[Augment]:
    """Anything that moves the image."""
    return st.builds(
        Augment,
        random_crop=st.booleans(),
        roll_degrees=st.sampled_from([0.0, 30.0, 180.0]),
        yaw_degrees=st.sampled_from([0.0, 12.0]),
        pitch_degrees=st.sampled_from([0.0, 9.0]),
        zoom=st.sampled_from([1.0, 1.3]),
    )


@given(settings=moves(), seed=st.integers(0, 1000))
def test_dots_are_where_the_new_intrinsics_and_pose_project_their_points(
    settings: Augment, seed: int
) -> None:
    batch, points = dots(seed=seed)
    moved = changed(batch, settings, seed=seed)
    expected = pixels_of(moved, points)
    size = torch.tensor([WIDTH, HEIGHT])
    inside = ((expected > MARGIN) & (expected < size - MARGIN)).all(1)
    assert inside.sum() >= 4, "most dots leave the image, so that this tests nothing"
    distance = (found_dots(moved.images) - expected).norm(dim=1)[inside]
    assert distance.max() <= 0.7
    assert moved.images.shape == (COUNT, 3, HEIGHT, WIDTH)


@given(settings=moves(), seed=st.integers(0, 1000))
def test_the_camera_turns_about_its_own_centre(settings: Augment, seed: int) -> None:
    batch = random_batch(seed=seed)
    moved = changed(batch, settings, seed=seed).world_from_cam
    assert torch.equal(moved.translation, batch.world_from_cam.translation)
    identity = torch.eye(3, dtype=torch.float64).expand(COUNT, 3, 3)
    torch.testing.assert_close(moved.rotation @ moved.rotation.mT, identity, rtol=0, atol=1e-9)
    torch.testing.assert_close(
        torch.linalg.det(moved.rotation), torch.ones(COUNT).double(), rtol=0, atol=1e-9
    )
    turned = pose_error(moved, batch.world_from_cam).degrees
    most = settings.roll_degrees + settings.yaw_degrees + settings.pitch_degrees
    assert turned.max() <= most + 1e-6


@pytest.mark.parametrize(("setting", "axis"), [("pitch_degrees", 0), ("yaw_degrees", 1), ("roll_degrees", 2)])
def test_each_turn_is_about_its_own_axis_and_to_either_side(setting: str, axis: int) -> None:
    batch = random_batch(64)
    moved = changed(batch, only(setting, 10.0)).world_from_cam
    old_from_new = batch.world_from_cam.rotation.mT @ moved.rotation
    direction = torch.eye(3, dtype=torch.float64)[axis]
    torch.testing.assert_close(old_from_new @ direction, direction.expand(64, 3), rtol=0, atol=1e-12)
    first, second = [other for other in range(3) if other != axis]
    degrees = torch.rad2deg(torch.asin(old_from_new[:, first, second]))
    assert degrees.min() < -7.0
    assert degrees.max() > 7.0
    assert degrees.abs().max() <= 10.0


def test_turned_images_are_cut_from_the_middle_or_from_anywhere() -> None:
    batch = random_batch(64)
    room = torch.tensor([SEEN_WIDTH - WIDTH, SEEN_HEIGHT - HEIGHT]).double()

    def corners(settings: Augment) -> Tensor:
        moved = changed(batch, settings)
        assert moved.intrinsics is not None
        return intrinsics(64)[:, :2, 2] - moved.intrinsics[:, :2, 2]

    torch.testing.assert_close(corners(Augment(yaw_degrees=3.0)), (room / 2).expand(64, 2))
    anywhere = corners(Augment(yaw_degrees=3.0, random_crop=True)) / room
    assert (anywhere.amin(0) >= 0).all()
    assert (anywhere.amin(0) < 0.1).all()
    assert (anywhere.amax(0) > 0.9).all()
    assert (anywhere.amax(0) <= 1).all()


def test_zoom_scales_the_focal_lengths_between_the_factor_and_its_inverse() -> None:
    batch = random_batch(64)
    moved = changed(batch, Augment(zoom=1.5))
    assert moved.intrinsics is not None
    factor = moved.intrinsics[:, 0, 0] / 88.0
    torch.testing.assert_close(moved.intrinsics[:, 1, 1] / 92.0, factor)
    assert 1 / 1.5 <= factor.min() < 0.8
    assert 1.25 < factor.max() <= 1.5


def test_colour_changes_leave_pose_and_intrinsics_alone() -> None:
    batch = random_batch()
    coloured = changed(batch, COLOURS)
    cut = centre_cut(batch, width=WIDTH, height=HEIGHT)
    assert torch.equal(coloured.world_from_cam.rotation, batch.world_from_cam.rotation)
    assert torch.equal(coloured.world_from_cam.translation, batch.world_from_cam.translation)
    assert coloured.intrinsics is not None
    assert cut.intrinsics is not None
    assert torch.equal(coloured.intrinsics, cut.intrinsics)
    assert ((coloured.images - cut.images).abs().amax((1, 2, 3)) > 0.02).all()
    assert coloured.images.min() >= 0.0
    assert coloured.images.max() <= 1.0


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation", "hue"])
def test_each_colour_setting_changes_something_alone(name: str) -> None:
    batch = random_batch()
    cut = centre_cut(batch, width=WIDTH, height=HEIGHT)
    assert not torch.allclose(changed(batch, only(name, 0.3)).images, cut.images, atol=1e-2)


def recoloured(name: str) -> tuple[Tensor, Tensor]:
    """Dull images before and after, in double precision: no colour reaches black or white."""
    batch = random_batch()
    dull = batch.replace(images=0.4 + 0.2 * batch.images[..., :HEIGHT, :WIDTH])
    return dull.images.double(), changed(dull, only(name, 0.3)).images.double()


def grey(images: Tensor) -> Tensor:
    """(b, height, width) brightness to the eye."""
    return (images * images.new_tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(1)


def assert_one_factor_each(before: Tensor, after: Tensor) -> None:
    """Every image is stretched by a factor of its own, by 30 percent at most, up or down."""
    factor = (before * after).sum((1, 2, 3)) / before.square().sum((1, 2, 3))
    torch.testing.assert_close(after, factor.view(-1, 1, 1, 1) * before, rtol=0, atol=1e-5)
    assert 0.7 <= factor.min() < 0.9
    assert 1.1 < factor.max() <= 1.3


def test_brightness_multiplies() -> None:
    assert_one_factor_each(*recoloured("brightness"))


def test_contrast_stretches_about_the_mean_grey() -> None:
    before, after = recoloured("contrast")
    mean = grey(before).mean((1, 2)).view(-1, 1, 1, 1)
    assert_one_factor_each(before - mean, after - mean)


def test_saturation_stretches_about_every_pixels_grey() -> None:
    before, after = recoloured("saturation")
    own = grey(before)[:, None]
    torch.testing.assert_close(grey(after), own[:, 0], rtol=0, atol=1e-6)
    assert_one_factor_each(before - own, after - own)


def test_settings_of_zero_are_the_centre_cut() -> None:
    batch, points = dots(seed=3)
    cut = changed(batch, Augment())
    left, top = (SEEN_WIDTH - WIDTH) // 2, (SEEN_HEIGHT - HEIGHT) // 2
    assert torch.equal(cut.images, batch.images[..., top : top + HEIGHT, left : left + WIDTH])
    assert torch.equal(cut.world_from_cam.rotation, batch.world_from_cam.rotation)
    torch.testing.assert_close(found_dots(cut.images), pixels_of(cut, points), rtol=0, atol=0.02)


@pytest.mark.parametrize("shares", [2, 3])
@pytest.mark.parametrize("settings", [EVERYTHING, replace(COLOURS, random_crop=True)])
def test_a_batch_that_is_shared_out_changes_like_the_whole(shares: int, settings: Augment) -> None:
    batch = random_batch(6)
    whole = changed(batch, settings, seed=5)
    parts = []
    for share in range(shares):
        rows = slice(share * 6 // shares, (share + 1) * 6 // shares)
        share_draws = draws(6, seed=5, rows=rows)
        parts.append(augmented(batch[rows], settings, width=WIDTH, height=HEIGHT, draws=share_draws))
    assert torch.equal(whole.images, torch.cat([part.images for part in parts]))
    rotations = torch.cat([part.world_from_cam.rotation for part in parts])
    assert torch.equal(whole.world_from_cam.rotation, rotations)
    assert whole.intrinsics is not None
    known = [part.intrinsics for part in parts if part.intrinsics is not None]
    assert torch.equal(whole.intrinsics, torch.cat(known))


def test_a_seed_gives_one_change_and_another_seed_another() -> None:
    batch = random_batch()
    first, again, other = (changed(batch, EVERYTHING, seed=seed).images for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("settings", [Augment(roll_degrees=5.0), Augment(zoom=1.1), Augment(yaw_degrees=1.0)])
def test_turning_without_intrinsics_is_refused(settings: Augment) -> None:
    with pytest.raises(RecipeError, match="intrinsics"):
        changed(random_batch().replace(intrinsics=None), settings)


def test_images_without_intrinsics_can_be_cut_anywhere() -> None:
    batch, _ = dots(seed=1)
    cut = changed(batch.replace(intrinsics=None), Augment(random_crop=True))
    assert cut.intrinsics is None
    assert cut.images.shape == (COUNT, 3, HEIGHT, WIDTH)
    with_intrinsics = changed(batch, Augment(random_crop=True))
    assert torch.equal(cut.images, with_intrinsics.images)
    assert with_intrinsics.intrinsics is not None
    shift = intrinsics(COUNT)[:, :2, 2] - with_intrinsics.intrinsics[:, :2, 2]
    assert len(set(map(tuple, shift.tolist()))) > COUNT // 2, "cuts from all over the image"


@pytest.mark.parametrize("most", [0.05, 0.3, 1.0])
def test_erasing_covers_at_most_the_given_share_of_about_half_of_the_images(most: float) -> None:
    black = random_batch(300).replace(images=torch.zeros(300, 3, HEIGHT, WIDTH), intrinsics=None)
    images = changed(black, Augment(erase=most)).images
    assert set(images.unique().tolist()) == {0.0, 0.5}
    covered = images[:, 0] > 0
    rows, columns = covered.any(2).sum(1), covered.any(1).sum(1)
    assert torch.equal(covered.sum((1, 2)), rows * columns), "one rectangle"
    # Pixels whose centre is covered count whole: up to one row and one column too many.
    shares = (rows - 1).clamp_min(0) * (columns - 1).clamp_min(0) / (WIDTH * HEIGHT)
    assert shares.max() <= most
    assert shares.max() > 0.7 * most
    assert 0.4 < (rows > 0).float().mean() < 0.6
