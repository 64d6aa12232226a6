"""What comes along with an image, its orientation, texts and profiles, is used or does no harm."""

import concurrent.futures
import threading
import time
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin
from tests.support.image_files import (
    FORMATS,
    HEIGHT,
    WIDTH,
    assert_image,
    encoded,
    png_chunk,
    refusal,
    sample_image,
    write,
)

from camloc.core.silence import without_warnings
from camloc.data.image_io import read_image


def _oriented(orientation: int, kind: str = "JPEG", **options: Any) -> bytes:
    """The image stored so that its EXIF orientation brings it upright."""
    stored_from_upright = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    upright = sample_image()
    stored = upright if stored_from_upright is None else upright.transpose(stored_from_upright)
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(stored, kind, exif=exif, **options)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_is_turned_upright(orientation: int, kind: str, tmp_path: Path) -> None:
    path = write(tmp_path, _oriented(orientation, kind, **FORMATS[kind]))
    exact = np.array(sample_image())
    image = read_image(path)
    assert_image(image)
    assert np.abs(image.astype(int) - exact).mean() < (20.0 if kind == "JPEG" else 1e-6)
    if kind != "TIFF":  # which Pillow turns by itself
        stored = read_image(path, upright=False)
        assert stored.shape == ((HEIGHT, WIDTH, 3) if orientation < 5 else (WIDTH, HEIGHT, 3))


def test_an_orientation_that_does_not_exist_is_ignored(tmp_path: Path) -> None:
    for orientation in (0, 9, 4711):
        exif = Image.Exif()
        exif[0x0112] = orientation
        assert_image(read_image(write(tmp_path, encoded(sample_image(), "PNG", exif=exif))))


def test_damaged_exif_beside_a_sound_image_does_no_harm(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    exif[0x010F] = "maker" * 5
    exif[0x011A] = 72.0
    exif[0x0132] = "2020:01:01 00:00:00"
    whole = encoded(sample_image(), "JPEG", exif=exif)
    first, last = whole.index(b"Exif") + 14, whole.index(b"\xff\xdb")
    rng = np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(whole)
        for scene in rng.integers(first, last, 3):
            damaged[scene] = rng.choice([0, 255, int(rng.integers(256))])
        assert read_image(write(tmp_path, bytes(damaged))).shape[2] == 3


def test_a_huge_exif_block_does_no_harm(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "x" * 65_000
    data = encoded(sample_image(HEIGHT, WIDTH), "JPEG", exif=exif)
    assert_image(read_image(write(tmp_path, data)), WIDTH, HEIGHT)


def test_a_text_that_unpacks_to_a_gigabyte_is_refused_at_once(tmp_path: Path) -> None:
    packer = zlib.compressobj(9)
    bomb = b"".join(packer.compress(b"\0" * 2**20) for _ in range(64)) + packer.flush()
    whole = encoded(sample_image(), "PNG")
    data = whole[:33] + png_chunk(b"zTXt", b"Comment\0\0" + bomb) + whole[33:]
    start = time.perf_counter()
    refusal(write(tmp_path, data), "damaged")
    assert time.perf_counter() - start < 2.0


def test_many_large_texts_are_read_past_or_refused(tmp_path: Path) -> None:
    texts = PngImagePlugin.PngInfo()
    for index in range(80):
        texts.add_text(f"text {index}", "a" * 1_000_000, zip=True)
    path = write(tmp_path, encoded(sample_image(), "PNG", pnginfo=texts))
    refusal(path)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_a_damaged_colour_profile_does_no_harm(kind: str, tmp_path: Path) -> None:
    data = encoded(sample_image(), kind, icc_profile=b"not a profile" * 20)
    assert_image(read_image(write(tmp_path, data)))


def test_warnings_of_the_decoder_stay_inside_and_all_others_outside(tmp_path: Path) -> None:
    data = encoded(sample_image().convert("P"), "PNG", transparency=bytes(range(256)))
    paths = [write(tmp_path, data, f"{index}.png") for index in range(64)]
    before = list(warnings.filters)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for image in pool.map(read_image, paths):
            assert_image(image)
    assert list(warnings.filters) == before
    with pytest.warns(UserWarning, match="still heard"):
        warnings.warn("still heard", UserWarning, stacklevel=1)


def test_threads_that_overlap_restore_the_warnings_when_the_last_one_leaves() -> None:
    before = list(warnings.filters)
    entered, leave = threading.Event(), threading.Event()

    def stay() -> None:
        with without_warnings:
            entered.set()
            leave.wait(10)

    first = threading.Thread(target=stay)
    first.start()
    entered.wait(10)
    with without_warnings:
        leave.set()
        first.join(10)
        warnings.warn("not heard", UserWarning, stacklevel=1)
    assert list(warnings.filters) == before
