"""From a frame to the network's image: the camera follows the image, to a fraction of a pixel.

A dot is drawn where a camera sees a known point. After scaling, cutting, turning or undistorting, the dot
must be where the new camera sees the same point.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from camloc.data.image_io import Preprocess, ScaledImage, frame_size, image_tensor
from camloc.data.types import Frame, View
from camloc.errors import ImageError, RecipeError
from camloc.geometry import Camera, Pose

CAMERA = Camera(640, 480, 520.0, 515.0, 318.0, 243.0)
LENS = Camera(640, 480, 520.0, 515.0, 318.0, 243.0, "OPENCV", (-0.25, 0.08, 0.002, -0.003))
POINT = torch.tensor([[-0.12, 0.09, 1.0]], dtype=torch.float64)
CORNER_POINT = torch.tensor([[-0.45, -0.33, 1.0]], dtype=torch.float64)


def _dotted(camera: Camera, point: Tensor = POINT, *, radius: float = 6.0) -> Image.Image:
    """A dark image with a round bright spot where `camera` sees `point`."""
    x, y = camera.project(point)[0].tolist()
    columns, rows = np.meshgrid(np.arange(camera.width) + 0.5, np.arange(camera.height) + 0.5)
    spot = 255 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * radius**2))
    return Image.fromarray(spot.round().astype(np.uint8)).convert("RGB")


def _frame(folder: Path, image: Image.Image, camera: Camera | None, *, orientation: int = 1) -> Frame:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = folder / "image.png"
    image.save(path, exif=exif)
    return Frame(name="image.png", image=path, camera=camera, world_from_cam=Pose.identity())


def _found(image: Tensor) -> tuple[float, float]:
    """Centre of brightness, in pixels whose first centre is at (0.5, 0.5)."""
    grey = image.double().mean(0)
    grey = torch.where(grey > 20, grey, 0.0)
    total = grey.sum()
    columns = torch.arange(grey.shape[1], dtype=torch.float64) + 0.5
    rows = torch.arange(grey.shape[0], dtype=torch.float64) + 0.5
    return float((grey.sum(0) * columns).sum() / total), float((grey.sum(1) * rows).sum() / total)


def _view_of(scaled: ScaledImage) -> View:
    return View(image_tensor(scaled.pixels), scaled.camera, None)


def _assert_follows(view: View, point: Tensor = POINT, *, within: float = 0.6) -> None:
    assert view.camera is not None
    assert view.image.shape == (3, view.camera.height, view.camera.width)
    assert view.image.dtype is torch.uint8
    assert view.image.is_contiguous()
    expected = view.camera.project(point)[0].tolist()
    assert _found(view.image) == pytest.approx(expected, abs=within)


@pytest.mark.parametrize(
    "preprocess",
    [
        Preprocess(224, 224, short_side=256),
        Preprocess(224, 224),
        Preprocess(320, 160),
        Preprocess(160, 240),
        Preprocess(640, 480),
        Preprocess(800, 700),
        Preprocess(97, 61, short_side=75),
    ],
)
def test_the_camera_follows_the_image(preprocess: Preprocess, tmp_path: Path) -> None:
    frame = _frame(tmp_path, _dotted(CAMERA), CAMERA)
    view = preprocess.view(frame)
    assert view.image.shape == (3, preprocess.height, preprocess.width)
    _assert_follows(view, within=0.1)
    _assert_follows(_view_of(preprocess.canvas(frame)), within=0.1)
    cut = preprocess.cut(frame)
    assert np.array_equal(cut.pixels, view.image.permute(1, 2, 0).numpy())
    assert cut.camera == view.camera
    assert view.world_from_cam is frame.world_from_cam


@pytest.mark.parametrize("size", [(640, 480), (480, 640), (300, 300), (1000, 20), (20, 1000), (853, 480)])
@pytest.mark.parametrize("preprocess", [Preprocess(224, 224, short_side=256), Preprocess(96, 60)])
def test_the_scaled_image_covers_the_cut_and_keeps_its_shape(
    size: tuple[int, int], preprocess: Preprocess
) -> None:
    width, height = preprocess.canvas_size(*size)
    assert width >= preprocess.width
    assert height >= preprocess.height
    across, down = width / size[0], height / size[1]
    assert abs(across * size[1] - down * size[1]) <= 1.0 or abs(down * size[0] - across * size[0]) <= 1.0
    fits_snugly = width == preprocess.width or height == preprocess.height
    assert fits_snugly if preprocess.short_side == 0 else min(width, height) >= preprocess.short_side


def test_the_papers_image_is_the_middle_of_one_with_a_shorter_side_of_256(tmp_path: Path) -> None:
    preprocess = Preprocess(224, 224, short_side=256)
    assert preprocess.canvas_size(640, 480) == (341, 256)
    frame = _frame(tmp_path, _dotted(CAMERA), CAMERA)
    canvas, view = preprocess.canvas(frame), preprocess.view(frame)
    assert torch.equal(view.image, image_tensor(canvas.pixels)[:, 16:240, 58:282])


def test_an_unknown_camera_stays_unknown(tmp_path: Path) -> None:
    view = Preprocess(224, 224).view(_frame(tmp_path, _dotted(CAMERA), None))
    assert view.camera is None
    assert view.image.shape == (3, 224, 224)


@pytest.mark.parametrize("width", [1280, 320, 641])
def test_intrinsics_for_another_size_of_the_same_shape_are_scaled(width: int, tmp_path: Path) -> None:
    other = CAMERA.resized(width=width, height=round(width * 0.75))
    view = Preprocess(320, 240).view(_frame(tmp_path, _dotted(CAMERA), other))
    _assert_follows(view, within=0.3)


@pytest.mark.parametrize("size", [(480, 640), (640, 640), (640, 360), (660, 480)])
def test_intrinsics_for_another_shape_are_refused(size: tuple[int, int], tmp_path: Path) -> None:
    wrong = CAMERA.resized(width=size[0], height=size[1])
    with pytest.raises(ImageError, match=rf"image\.png has 640 x 480 .* {size[0]} x {size[1]}"):
        Preprocess(320, 240).view(_frame(tmp_path, _dotted(CAMERA), wrong))


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_intrinsics_of_the_stored_image_keep_it_as_stored(orientation: int, tmp_path: Path) -> None:
    """COLMAP does not read the EXIF orientation: its cameras and poses are for the stored pixels."""
    frame = _frame(tmp_path, _dotted(CAMERA), CAMERA, orientation=orientation)
    _assert_follows(Preprocess(320, 240).view(frame), within=0.1)


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_intrinsics_that_only_fit_the_upright_image_turn_it_upright(orientation: int, tmp_path: Path) -> None:
    upright = Camera(480, 640, 515.0, 520.0, 237.0, 318.0)
    stored_from_upright = {
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    stored = _dotted(upright).transpose(stored_from_upright)
    frame = _frame(tmp_path, stored, upright, orientation=orientation)
    _assert_follows(Preprocess(240, 320).view(frame), within=0.1)


def test_without_intrinsics_the_image_is_turned_upright(tmp_path: Path) -> None:
    frame = _frame(tmp_path, _dotted(CAMERA), None, orientation=6)
    assert Preprocess(240, 320).canvas(frame).pixels.shape == (320, 240, 3)


@pytest.mark.parametrize("point", [POINT, CORNER_POINT])
def test_undistorting_moves_the_dot_to_where_the_pinhole_sees_it(point: Tensor, tmp_path: Path) -> None:
    bend = (LENS.project(point) - LENS.undistorted().project(point)).norm()
    frame = _frame(tmp_path, _dotted(LENS, point, radius=3.0), LENS)
    straight = Preprocess(640, 480, undistort=True).view(frame)
    assert straight.camera is not None
    assert straight.camera.is_pinhole
    _assert_follows(straight, point, within=0.15)
    _assert_follows(Preprocess(320, 240, undistort=True).view(frame), point, within=0.15)
    if point is CORNER_POINT:
        assert bend > 10.0, "the lens bends enough for this test to bite"
        kept = Preprocess(640, 480).view(frame)
        assert _found(kept.image) == pytest.approx(LENS.project(point)[0].tolist(), abs=0.6)


def test_undistorting_leaves_a_pinhole_image_alone(tmp_path: Path) -> None:
    frame = _frame(tmp_path, _dotted(CAMERA), CAMERA)
    straight, kept = (Preprocess(320, 240, undistort=undistort).view(frame) for undistort in (True, False))
    assert torch.equal(straight.image, kept.image)


@pytest.mark.parametrize("sizes", [(0, 224, 0), (224, -1, 0), (224, 224, -1)])
def test_sizes_that_are_not_positive_are_refused(sizes: tuple[int, int, int]) -> None:
    with pytest.raises(RecipeError, match="positive"):
        Preprocess(*sizes)


def test_a_sliver_is_refused_before_it_is_scaled(tmp_path: Path) -> None:
    """16 x 8,000 pixels would become 320 x 160,000 ones."""
    frame = _frame(tmp_path, Image.new("RGB", (16, 8000)), None)
    with pytest.raises(ImageError, match=r"16 x 8000 pixels, of which .* would show a sliver"):
        Preprocess(320, 240).view(frame)
    assert Preprocess(320, 240).view(_frame(tmp_path, Image.new("RGB", (100, 3000)), None)).image.shape


def test_the_share_that_is_cut_off() -> None:
    assert Preprocess(320, 240).cut_off_share(640, 480) == 0.0
    assert Preprocess(320, 240).cut_off_share(480, 853) == pytest.approx(0.578, abs=0.002)
    assert Preprocess(224, 224, short_side=256).cut_off_share(640, 640) == pytest.approx(1 - (224 / 256) ** 2)


def test_the_size_of_a_frame_is_that_of_its_camera_or_its_upright_image(tmp_path: Path) -> None:
    assert frame_size(_frame(tmp_path, Image.new("RGB", (64, 48)), None)) == (64, 48)
    assert frame_size(_frame(tmp_path, Image.new("RGB", (64, 48)), None, orientation=6)) == (48, 64)
    assert frame_size(_frame(tmp_path, Image.new("RGB", (64, 48)), CAMERA)) == (640, 480)


@pytest.mark.parametrize(
    ("size", "image", "expected"),
    [
        (Preprocess(320, 240), (480, 640), (240, 320)),
        (Preprocess(320, 240), (480, 853), (208, 368)),
        (Preprocess(160, 120), (480, 853), (104, 184)),
        (Preprocess(341, 256, short_side=256), (480, 853), (256, 341)),
        (Preprocess(224, 224, short_side=256), (480, 853), (224, 224)),
        (Preprocess(120, 160), (480, 853), (120, 160)),
    ],
)
def test_portrait_images_get_a_size_of_the_same_area(
    size: Preprocess, image: tuple[int, int], expected: tuple[int, int]
) -> None:
    found = size.for_portrait(image[0] / image[1])
    assert (found.width, found.height) == expected
    assert found.short_side == size.short_side
    assert found.cut_off_share(*image) <= size.cut_off_share(*image)
