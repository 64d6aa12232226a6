"""Images of unknown origin: whatever the file holds, there is an image or one sentence about it."""

import io
import os
import sys
import time
import warnings
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.ImageFile import ImageFile
from PIL.PngImagePlugin import PngImageFile
from tests.support.image_files import (
    FORMATS,
    HEIGHT,
    WIDTH,
    assert_image,
    encoded,
    png_chunk,
    png_header,
    read_or_none,
    refusal,
    sample_image,
    write,
)

from camloc.data.image_io import read_image
from camloc.errors import ImageError


@pytest.mark.parametrize("kind", FORMATS)
def test_a_image_of_any_format_is_read(kind: str, tmp_path: Path) -> None:
    image = read_image(write(tmp_path, encoded(sample_image(), kind, **FORMATS[kind])))
    assert_image(image)
    exact = np.array(sample_image())
    assert np.abs(image.astype(int) - exact).mean() < (20.0 if kind == "JPEG" else 1e-6)


@pytest.mark.parametrize("percent", [0.5, 2, 5, 10, 20, 35, 50, 65, 80, 90, 97])
@pytest.mark.parametrize("kind", FORMATS)
def test_a_image_that_is_cut_short_is_refused(kind: str, percent: float, tmp_path: Path) -> None:
    noise = np.random.default_rng(2).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    whole = encoded(Image.fromarray(noise), kind, **FORMATS[kind])
    refusal(write(tmp_path, whole[: max(1, int(len(whole) * percent / 100))]))


@pytest.mark.parametrize("kind", FORMATS)
def test_a_image_that_lacks_its_last_bytes_is_refused_or_complete(kind: str, tmp_path: Path) -> None:
    """Nothing is ever filled in: a cut behind the last pixel may be forgiven, and no other."""
    data = encoded(sample_image(), kind, **FORMATS[kind])
    whole = read_image(write(tmp_path, data))
    for missing in range(1, 40):
        image = read_or_none(write(tmp_path, data[:-missing]))
        assert image is None or np.array_equal(image, whole), f"{missing} bytes are missing and were made up"


def test_a_progressive_jpeg_that_is_cut_short_is_refused(tmp_path: Path) -> None:
    whole = encoded(sample_image(), "JPEG", progressive=True)
    for share in (0.3, 0.6, 0.9, 0.99):
        refusal(write(tmp_path, whole[: int(len(whole) * share)]), "damaged or cut short")


@pytest.mark.parametrize("kind", FORMATS)
def test_damaged_bytes_give_a_image_or_a_refusal_and_nothing_else(kind: str, tmp_path: Path) -> None:
    whole = encoded(sample_image(), kind, **FORMATS[kind])
    rng = np.random.default_rng(1)
    for trial in range(60):
        damaged = bytearray(whole)
        for scene in rng.integers(0, len(whole) if trial % 2 else 120, 1 + trial % 8):
            damaged[scene] = rng.integers(256)
        image = read_or_none(write(tmp_path, bytes(damaged)))
        if image is not None:
            assert image.dtype == np.uint8
            assert image.shape[2] == 3


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "is empty"),
        (b"\x00", "is not an image"),
        (b"\x00" * 10_000, "is not an image"),
        (b"This is a letter, not an image.\n" * 50, "is not an image"),
        (b"<html><body>404 Not Found</body></html>", "is not an image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg' width='64' height='64'/>", "is not an image"),
        (b"\xff\xd8\xff", "is not an image"),
        (b"GIF89a", "is not an image"),
        (
            b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n%%EndComments\nshowpage\n",
            "in the format EPS",
        ),
    ],
)
def test_what_is_no_image_is_refused(data: bytes, complaint: str, tmp_path: Path) -> None:
    refusal(write(tmp_path, data), complaint)


@pytest.mark.parametrize(("width", "height"), [(1, 1), (15, 400), (400, 15)])
def test_a_image_too_small_to_show_a_scene_is_refused(width: int, height: int, tmp_path: Path) -> None:
    data = encoded(Image.new("RGB", (width, height)), "PNG")
    assert f"{width} x {height}" in refusal(write(tmp_path, data))


@pytest.mark.parametrize(
    ("width", "height"), [(20_000, 20_000), (2**31 - 1, 2**31 - 1), (13_100, 13_100), (9_500, 9_500)]
)
def test_a_image_that_only_says_it_is_huge_is_refused_at_once(
    width: int, height: int, tmp_path: Path
) -> None:
    path = write(tmp_path, png_header(width, height) + png_chunk(b"IDAT", b"") + png_chunk(b"IEND", b""))
    start = time.perf_counter()
    refusal(path, "pixels" if width > 13_000 else "")
    assert time.perf_counter() - start < 2.0


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_a_16_bit_grey_image_is_refused_as_a_depth_map(kind: str, tmp_path: Path) -> None:
    depth = Image.fromarray(np.arange(WIDTH * HEIGHT, dtype=np.uint16).reshape(HEIGHT, WIDTH))
    refusal(write(tmp_path, encoded(depth, kind), "depth.png"), "8 bits")


@pytest.mark.parametrize("mode", ["I", "F"])
def test_a_32_bit_image_is_refused(mode: str, tmp_path: Path) -> None:
    refusal(write(tmp_path, encoded(sample_image().convert("L").convert(mode), "TIFF")), "8 bits")


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        *(("CMYK", "JPEG"), ("CMYK", "TIFF"), ("YCbCr", "JPEG"), ("YCbCr", "TIFF"), ("LAB", "TIFF")),
        *(("L", "JPEG"), ("L", "PNG"), ("LA", "PNG"), ("1", "PNG"), ("1", "TIFF")),
        *(("P", "PNG"), ("P", "GIF"), ("P", "BMP"), ("RGBA", "PNG"), ("RGBA", "WEBP"), ("RGBA", "TIFF")),
    ],
)
def test_every_8_bit_mode_becomes_rgb(mode: str, kind: str, tmp_path: Path) -> None:
    grey = sample_image().convert("L").convert("RGB") if mode in ("L", "LA") else sample_image()
    source = grey.convert("L").convert("1") if mode == "1" else grey
    converted = Image.new("LAB", (WIDTH, HEIGHT)) if mode == "LAB" else source.convert(mode)
    image = read_image(write(tmp_path, encoded(converted, kind)))
    assert_image(image)
    if mode not in ("LAB", "1"):
        exact = np.array(grey)
        assert np.abs(image.astype(int) - exact).mean() < 20.0


def test_a_palette_with_transparent_entries_is_read_without_a_warning(tmp_path: Path) -> None:
    palette = sample_image().convert("P")
    data = encoded(palette, "PNG", transparency=bytes(range(256)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_image(read_image(write(tmp_path, data)))


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_an_animation_or_a_stack_of_pages_is_refused(kind: str, tmp_path: Path) -> None:
    frames = [sample_image(), sample_image().transpose(Image.Transpose.ROTATE_180)]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    refusal(write(tmp_path, data), "several images")


def test_the_second_image_that_phones_store_is_ignored(tmp_path: Path) -> None:
    second = Image.new("RGB", (WIDTH, HEIGHT), "red")
    data = encoded(sample_image(), "MPO", save_all=True, append_images=[second])
    image = read_image(write(tmp_path, data))
    assert_image(image)
    exact = np.array(sample_image())
    assert np.abs(image.astype(int) - exact).mean() < 20.0


def test_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "album").mkdir()
    refusal(tmp_path / "album", "is a folder")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    refusal(tmp_path / "nowhere.jpg", "does not exist")
    refusal(tmp_path / "no folder" / "nowhere.jpg", "does not exist")
    refusal(tmp_path / ("x" * 400 + ".jpg"))


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    refusal(tmp_path / "pipe.jpg", "pipe or a device")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, encoded(sample_image(), "PNG"))
    path.chmod(0)
    refusal(path, "may not be read")


def test_permission_refused_by_the_system_is_reported_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deny(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    path = write(tmp_path, encoded(sample_image(), "PNG"))
    monkeypatch.setattr(Image, "open", deny)
    refusal(path, "may not be read")


def test_a_file_name_of_several_lines_does_not_break_the_sentence(tmp_path: Path) -> None:
    with pytest.raises(ImageError) as refused:
        read_image(write(tmp_path, b"junk", "two\nlines\x1b[31m.jpg"))
    assert str(refused.value).isprintable()


def test_photographs_of_phones_name_the_decoder_that_they_need(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = b"\0\0\0\x24ftypheic\0\0\0\0mif1heic" + bytes(100)
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    refusal(write(tmp_path, head), "is a HEIC image, which needs pillow-heif; install camloc[heif], or save")


def test_photographs_of_phones_are_read_where_the_decoder_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A decoder that takes what follows the head as a PNG."""

    def open_heif(file: Any, filename: str | bytes) -> ImageFile:
        file.seek(24)
        return PngImageFile(io.BytesIO(file.read()), filename)

    def register() -> None:
        Image.register_open("HEIF", open_heif, lambda head: head[4:12] == b"ftypheic")

    decoder = ModuleType("pillow_heif")
    decoder.__spec__ = ModuleSpec("pillow_heif", None)
    decoder.register_heif_opener = register  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pillow_heif", decoder)
    monkeypatch.setattr(Image, "ID", Image.ID[:])
    monkeypatch.setattr(Image, "OPEN", dict(Image.OPEN))
    data = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + encoded(sample_image(), "PNG")
    assert_image(read_image(write(tmp_path, data)))
    refusal(write(tmp_path, data[:40]), "is damaged or cut short")


def test_libtiff_prints_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(noise), "TIFF", **FORMATS["TIFF"])
    middle = len(data) // 2
    refusal(write(tmp_path, data[:middle] + bytes(40) + data[middle + 40 :]), "is damaged or cut short")
    assert capfd.readouterr().err == ""
