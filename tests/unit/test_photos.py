"""Photographs without poses: their order, their EXIF, and which of them show nothing new."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from camloc.data.photos import copies, list_photos, look_of, looked_at, natural_order
from camloc.errors import DatasetError, ImageError


def save(path: Path, *, seed: int = 0, quality: int = 95, exif: Image.Exif | None = None) -> Path:
    noise = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(noise).resize((320, 240), Image.Resampling.BICUBIC)
    image.save(path, quality=quality, exif=exif or Image.Exif())
    return path


def test_photographs_are_in_the_order_of_their_numbers_with_their_folder_as_sequence(tmp_path: Path) -> None:
    for name in ("b/IMG_10.jpg", "b/IMG_2.jpg", "a/1.png", ".thumbs/x.jpg"):
        save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    found = list_photos(tmp_path)
    assert [photo.name for photo in found.photos] == ["a/1.png", "b/IMG_2.jpg", "b/IMG_10.jpg"]
    assert [photo.sequence for photo in found.photos] == ["a", "b", "b"]
    assert found.refused == {}


def test_a_pattern_chooses_files(tmp_path: Path) -> None:
    for name in ("left_1.jpg", "left_2.jpg", "right_1.jpg"):
        save(tmp_path / name)
    assert [photo.name for photo in list_photos(str(tmp_path / "left_*.jpg")).photos] == [
        "left_1.jpg",
        "left_2.jpg",
    ]


def test_a_file_that_is_no_image_is_refused_with_the_reason(tmp_path: Path) -> None:
    save(tmp_path / "1.jpg")
    (tmp_path / "2.jpg").write_text("not a photograph")
    found = list_photos(tmp_path)
    assert [photo.name for photo in found.photos] == ["1.jpg"]
    assert "not an image" in found.refused["2.jpg"]


@pytest.mark.parametrize(
    ("source", "message"),
    [("", "holds no image"), ("absent", "does not exist"), ("*.jpg", "no file matches")],
)
def test_a_source_without_images_is_refused(source: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=message):
        list_photos(str(tmp_path / source))


def test_exif_gives_focal_length_device_and_place(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = "Maker", "Phone 7"
    exif.get_ifd(0x8769)[0xA405] = 26  # focal length in 35 mm film
    exif.get_ifd(0x8825).update({1: "S", 2: (33.0, 51.0, 36.0), 3: "E", 4: (151.0, 12.0, 0.0), 5: 0, 6: 20.5})
    (photo,) = list_photos(save(tmp_path / "1.jpg", exif=exif).parent).photos
    assert photo.device == "Maker Phone 7"
    assert photo.focal == pytest.approx(26 / 43.2666 * 400.0, rel=1e-4)  # the diagonal has 400 pixels
    assert photo.place is not None
    assert (photo.place.latitude, photo.place.longitude) == pytest.approx((-33.86, 151.2))
    assert photo.place.height == pytest.approx(20.5)


def test_damaged_exif_counts_as_none(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8825).update({1: "N", 2: (99.0, 0.0, 0.0), 3: "E", 4: (0.0, 0.0, 0.0)})
    exif.get_ifd(0x8769)[0xA405] = 0
    (photo,) = list_photos(save(tmp_path / "1.jpg", exif=exif).parent).photos
    assert photo.focal is None
    assert photo.place is None


def test_copies_are_found_also_if_compressed_again_and_other_images_are_not(tmp_path: Path) -> None:
    paths = [save(tmp_path / "1.jpg"), save(tmp_path / "2.jpg", quality=80), save(tmp_path / "3.jpg", seed=1)]
    looks = {path.name: look_of(np.asarray(Image.open(path))) for path in paths}
    assert copies(looks) == {"2.jpg": "1.jpg"}


def test_a_black_image_shows_nothing(tmp_path: Path) -> None:
    Image.new("RGB", (160, 120)).save(tmp_path / "1.png")
    (photo,) = list_photos(tmp_path).photos
    with pytest.raises(ImageError, match="shows nothing: it is evenly black"):
        looked_at(photo)


def test_numbers_in_names_are_compared_by_value() -> None:
    assert sorted(["a10", "a9", "b1", "10", "a"], key=natural_order) == ["10", "a", "a9", "a10", "b1"]
