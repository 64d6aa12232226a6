"""Masks are written where they are looked for, and turned as their images are."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import ExifTags, Image

from camloc.data.image_io import Preprocess, read_image
from camloc.data.masks import mask_path, read_mask, write_mask
from camloc.data.types import Frame
from camloc.errors import ImageError
from camloc.geometry import Camera

WIDTH, HEIGHT = 40, 24


def image(path: Path, *, orientation: int) -> Path:
    """Stored as 40 x 24 pixels, red in one corner of what is stored."""
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[: HEIGHT // 3, : WIDTH // 4, 0] = 255
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path, exif=exif)
    return path


def is_not_red(image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    return image[..., 0] < 128


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("is_camera_known", [True, False])
def test_a_mask_is_read_as_it_was_written_however_the_image_is_turned(
    orientation: int, is_camera_known: bool, tmp_path: Path
) -> None:
    """A known camera is for the image as stored, an unknown one for the image upright."""
    path = image(tmp_path / "a.png", orientation=orientation)
    camera = Camera(WIDTH, HEIGHT, 30.0, 30.0, WIDTH / 2, HEIGHT / 2) if is_camera_known else None
    frame = Frame("day/a.png", path, camera)
    write_mask(tmp_path / "masks", frame, is_not_red(read_image(path)))
    is_turned = not is_camera_known and orientation >= 5
    preprocess = Preprocess(HEIGHT, WIDTH) if is_turned else Preprocess(WIDTH, HEIGHT)
    mask = read_mask(tmp_path / "masks", frame, preprocess)
    assert np.array_equal(mask, is_not_red(preprocess.cut(frame).pixels))
    assert 0.05 < (~mask).mean() < 0.12


def test_a_mask_is_a_black_and_white_image_of_the_images_size(tmp_path: Path) -> None:
    frame = Frame("a.jpg", image(tmp_path / "a.jpg", orientation=6))
    write_mask(tmp_path, frame, is_not_red(read_image(frame.image)))
    assert mask_path(tmp_path, frame) == tmp_path / "a.jpg.png"
    with Image.open(tmp_path / "a.jpg.png") as written:
        assert (written.format, written.mode, written.size) == ("PNG", "L", (WIDTH, HEIGHT))
        assert set(np.unique(np.asarray(written))) == {0, 255}


def test_a_image_without_a_mask_counts_everywhere(tmp_path: Path) -> None:
    frame = Frame("a.png", image(tmp_path / "a.png", orientation=1))
    assert bool(read_mask(tmp_path, frame, Preprocess(WIDTH, HEIGHT)).all())
    with pytest.raises(ImageError, match="not a folder of masks"):
        read_mask(tmp_path / "nowhere", frame, Preprocess(WIDTH, HEIGHT))
