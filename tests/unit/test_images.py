"""Pictures from strangers: whatever the file holds, there is a picture or one sentence about it."""

import concurrent.futures
import io
import os
import struct
import threading
import time
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, PngImagePlugin
from torch import Tensor

from camloc.core.images import read_image
from camloc.core.silence import without_warnings
from camloc.errors import ImageError

WIDTH, HEIGHT = 48, 36
FORMATS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 90},
    "PNG": {},
    "WEBP": {"lossless": True},
    "GIF": {},
    "BMP": {},
    "TIFF": {"compression": "tiff_deflate"},
}


def _picture(width: int = WIDTH, height: int = HEIGHT) -> Image.Image:
    """A picture without symmetry, of blocks that survive JPEG and a palette."""
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, 4, (-(-height // 6), -(-width // 6), 3)) * 85
    whole = np.kron(blocks, np.ones((6, 6, 1)))[:height, :width]
    return Image.fromarray(whole.astype(np.uint8))


def _bytes(picture: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def _write(folder: Path, data: bytes, name: str = "query.jpg") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png_header(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header)


def _assert_picture(image: Tensor, width: int = WIDTH, height: int = HEIGHT) -> None:
    assert image.dtype is torch.uint8
    assert image.shape == (3, height, width)
    assert image.is_contiguous()


def _refusal(path: Path, complaint: str = "") -> str:
    """The message of the refusal, which is one sentence in one line that names the file."""
    with pytest.raises(ImageError) as refused:
        read_image(path)
    message = str(refused.value)
    assert path.name in message
    assert message.isprintable(), "one line"
    assert complaint in message
    assert refused.value.__cause__ is None
    return message


@pytest.mark.parametrize("kind", FORMATS)
def test_a_picture_of_any_format_is_read(kind: str, tmp_path: Path) -> None:
    image = read_image(_write(tmp_path, _bytes(_picture(), kind, **FORMATS[kind])))
    _assert_picture(image)
    exact = torch.from_numpy(np.array(_picture())).permute(2, 0, 1)
    difference = (image.int() - exact.int()).abs().float()
    assert difference.mean() < (20.0 if kind == "JPEG" else 1e-6)


@pytest.mark.parametrize("percent", [0.5, 2, 5, 10, 20, 35, 50, 65, 80, 90, 97])
@pytest.mark.parametrize("kind", FORMATS)
def test_a_picture_that_is_cut_short_is_refused(kind: str, percent: float, tmp_path: Path) -> None:
    noise = np.random.default_rng(2).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    whole = _bytes(Image.fromarray(noise), kind, **FORMATS[kind])
    _refusal(_write(tmp_path, whole[: max(1, int(len(whole) * percent / 100))]))


@pytest.mark.parametrize("kind", FORMATS)
def test_a_picture_that_lacks_its_last_bytes_is_refused_or_complete(kind: str, tmp_path: Path) -> None:
    """Nothing is ever filled in: a cut behind the last pixel may be forgiven, and no other."""
    data = _bytes(_picture(), kind, **FORMATS[kind])
    whole = read_image(_write(tmp_path, data))
    for missing in range(1, 40):
        image = _read_or_none(_write(tmp_path, data[:-missing]))
        assert image is None or torch.equal(image, whole), f"{missing} bytes are missing and were made up"


def test_a_progressive_jpeg_that_is_cut_short_is_refused(tmp_path: Path) -> None:
    whole = _bytes(_picture(), "JPEG", progressive=True)
    for share in (0.3, 0.6, 0.9, 0.99):
        _refusal(_write(tmp_path, whole[: int(len(whole) * share)]), "damaged or cut short")


@pytest.mark.parametrize("kind", FORMATS)
def test_damaged_bytes_give_a_picture_or_a_refusal_and_nothing_else(kind: str, tmp_path: Path) -> None:
    whole = _bytes(_picture(), kind, **FORMATS[kind])
    rng = np.random.default_rng(1)
    for trial in range(60):
        damaged = bytearray(whole)
        for place in rng.integers(0, len(whole) if trial % 2 else 120, 1 + trial % 8):
            damaged[place] = rng.integers(256)
        image = _read_or_none(_write(tmp_path, bytes(damaged)))
        if image is not None:
            assert image.dtype is torch.uint8
            assert image.shape[0] == 3


def _read_or_none(path: Path) -> Tensor | None:
    try:
        return read_image(path)
    except ImageError as refused:
        message = str(refused)
    assert path.name in message
    assert message.isprintable()
    return None


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "is empty"),
        (b"\x00", "is not a picture"),
        (b"\x00" * 10_000, "is not a picture"),
        (b"This is a letter, not a photograph.\n" * 50, "is not a picture"),
        (b"<html><body>404 Not Found</body></html>", "is not a picture"),
        (b"<svg xmlns='http://www.w3.org/2000/svg' width='64' height='64'/>", "is not a picture"),
        (b"\xff\xd8\xff", "is not a picture"),
        (b"GIF89a", "is not a picture"),
        (
            b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n%%EndComments\nshowpage\n",
            "in the format EPS",
        ),
    ],
)
def test_what_is_no_picture_is_refused(data: bytes, complaint: str, tmp_path: Path) -> None:
    _refusal(_write(tmp_path, data), complaint)


@pytest.mark.parametrize(("width", "height"), [(1, 1), (15, 400), (400, 15)])
def test_a_picture_too_small_to_show_a_place_is_refused(width: int, height: int, tmp_path: Path) -> None:
    data = _bytes(Image.new("RGB", (width, height)), "PNG")
    assert f"{width} x {height}" in _refusal(_write(tmp_path, data))


@pytest.mark.parametrize(
    ("width", "height"), [(20_000, 20_000), (2**31 - 1, 2**31 - 1), (13_100, 13_100), (9_500, 9_500)]
)
def test_a_picture_that_only_says_it_is_huge_is_refused_at_once(
    width: int, height: int, tmp_path: Path
) -> None:
    path = _write(tmp_path, _png_header(width, height) + _chunk(b"IDAT", b"") + _chunk(b"IEND", b""))
    start = time.perf_counter()
    _refusal(path, "pixels" if width > 13_000 else "")
    assert time.perf_counter() - start < 2.0


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_a_16_bit_grey_picture_is_refused_as_a_depth_map(kind: str, tmp_path: Path) -> None:
    depth = Image.fromarray(np.arange(WIDTH * HEIGHT, dtype=np.uint16).reshape(HEIGHT, WIDTH))
    _refusal(_write(tmp_path, _bytes(depth, kind), "depth.png"), "8 bits")


@pytest.mark.parametrize("mode", ["I", "F"])
def test_a_32_bit_picture_is_refused(mode: str, tmp_path: Path) -> None:
    _refusal(_write(tmp_path, _bytes(_picture().convert("L").convert(mode), "TIFF")), "8 bits")


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        *(("CMYK", "JPEG"), ("CMYK", "TIFF"), ("YCbCr", "JPEG"), ("YCbCr", "TIFF"), ("LAB", "TIFF")),
        *(("L", "JPEG"), ("L", "PNG"), ("LA", "PNG"), ("1", "PNG"), ("1", "TIFF")),
        *(("P", "PNG"), ("P", "GIF"), ("P", "BMP"), ("RGBA", "PNG"), ("RGBA", "WEBP"), ("RGBA", "TIFF")),
    ],
)
def test_every_8_bit_mode_becomes_rgb(mode: str, kind: str, tmp_path: Path) -> None:
    grey = _picture().convert("L").convert("RGB") if mode in ("L", "LA") else _picture()
    picture = grey.convert("L").convert("1") if mode == "1" else grey
    converted = Image.new("LAB", (WIDTH, HEIGHT)) if mode == "LAB" else picture.convert(mode)
    image = read_image(_write(tmp_path, _bytes(converted, kind)))
    _assert_picture(image)
    if mode not in ("LAB", "1"):
        exact = torch.from_numpy(np.array(grey)).permute(2, 0, 1)
        assert (image.int() - exact.int()).abs().float().mean() < 20.0


def test_a_palette_with_transparent_entries_is_read_without_a_warning(tmp_path: Path) -> None:
    picture = _picture().convert("P")
    data = _bytes(picture, "PNG", transparency=bytes(range(256)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _assert_picture(read_image(_write(tmp_path, data)))


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_an_animation_or_a_stack_of_pages_is_refused(kind: str, tmp_path: Path) -> None:
    frames = [_picture(), _picture().transpose(Image.Transpose.ROTATE_180)]
    data = _bytes(frames[0], kind, save_all=True, append_images=frames[1:])
    _refusal(_write(tmp_path, data), "several pictures")


def test_the_second_picture_that_phones_store_is_ignored(tmp_path: Path) -> None:
    second = Image.new("RGB", (WIDTH, HEIGHT), "red")
    data = _bytes(_picture(), "MPO", save_all=True, append_images=[second])
    image = read_image(_write(tmp_path, data))
    _assert_picture(image)
    exact = torch.from_numpy(np.array(_picture())).permute(2, 0, 1)
    assert (image.int() - exact.int()).abs().float().mean() < 20.0


def test_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "album").mkdir()
    _refusal(tmp_path / "album", "is a folder")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    _refusal(tmp_path / "nowhere.jpg", "does not exist")
    _refusal(tmp_path / "no folder" / "nowhere.jpg", "does not exist")
    _refusal(tmp_path / ("x" * 400 + ".jpg"))


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    _refusal(tmp_path / "pipe.jpg", "pipe or a device")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_refused(tmp_path: Path) -> None:
    path = _write(tmp_path, _bytes(_picture(), "PNG"))
    path.chmod(0)
    _refusal(path, "may not be read")


def test_permission_refused_by_the_system_is_told_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deny(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    path = _write(tmp_path, _bytes(_picture(), "PNG"))
    monkeypatch.setattr(Image, "open", deny)
    _refusal(path, "may not be read")


def test_a_file_name_of_several_lines_does_not_break_the_sentence(tmp_path: Path) -> None:
    with pytest.raises(ImageError) as refused:
        read_image(_write(tmp_path, b"junk", "two\nlines\x1b[31m.jpg"))
    assert str(refused.value).isprintable()


def _oriented(orientation: int, kind: str = "JPEG", **options: Any) -> bytes:
    """The picture stored so that its EXIF orientation brings it upright."""
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
    upright = _picture()
    stored = upright if stored_from_upright is None else upright.transpose(stored_from_upright)
    exif = Image.Exif()
    exif[0x0112] = orientation
    return _bytes(stored, kind, exif=exif, **options)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_is_turned_upright(orientation: int, kind: str, tmp_path: Path) -> None:
    path = _write(tmp_path, _oriented(orientation, kind, **FORMATS[kind]))
    exact = torch.from_numpy(np.array(_picture())).permute(2, 0, 1)
    image = read_image(path)
    _assert_picture(image)
    assert (image.int() - exact.int()).abs().float().mean() < (20.0 if kind == "JPEG" else 1e-6)
    if kind != "TIFF":  # which Pillow turns by itself
        stored = read_image(path, upright=False)
        assert stored.shape == ((3, HEIGHT, WIDTH) if orientation < 5 else (3, WIDTH, HEIGHT))


def test_an_orientation_that_does_not_exist_is_ignored(tmp_path: Path) -> None:
    for orientation in (0, 9, 4711):
        exif = Image.Exif()
        exif[0x0112] = orientation
        _assert_picture(read_image(_write(tmp_path, _bytes(_picture(), "PNG", exif=exif))))


def test_damaged_exif_beside_a_sound_picture_does_no_harm(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    exif[0x010F] = "maker" * 5
    exif[0x011A] = 72.0
    exif[0x0132] = "2020:01:01 00:00:00"
    whole = _bytes(_picture(), "JPEG", exif=exif)
    first, last = whole.index(b"Exif") + 14, whole.index(b"\xff\xdb")
    rng = np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(whole)
        for place in rng.integers(first, last, 3):
            damaged[place] = rng.choice([0, 255, int(rng.integers(256))])
        assert read_image(_write(tmp_path, bytes(damaged))).shape[0] == 3


def test_a_huge_exif_block_does_no_harm(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "x" * 65_000
    data = _bytes(_picture(HEIGHT, WIDTH), "JPEG", exif=exif)
    _assert_picture(read_image(_write(tmp_path, data)), WIDTH, HEIGHT)


def test_a_text_that_unpacks_to_a_gigabyte_is_refused_at_once(tmp_path: Path) -> None:
    packer = zlib.compressobj(9)
    bomb = b"".join(packer.compress(b"\0" * 2**20) for _ in range(64)) + packer.flush()
    whole = _bytes(_picture(), "PNG")
    data = whole[:33] + _chunk(b"zTXt", b"Comment\0\0" + bomb) + whole[33:]
    start = time.perf_counter()
    _refusal(_write(tmp_path, data), "damaged")
    assert time.perf_counter() - start < 2.0


def test_many_large_texts_are_read_past_or_refused(tmp_path: Path) -> None:
    texts = PngImagePlugin.PngInfo()
    for index in range(80):
        texts.add_text(f"text {index}", "a" * 1_000_000, zip=True)
    path = _write(tmp_path, _bytes(_picture(), "PNG", pnginfo=texts))
    _refusal(path)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_a_damaged_colour_profile_does_no_harm(kind: str, tmp_path: Path) -> None:
    data = _bytes(_picture(), kind, icc_profile=b"not a profile" * 20)
    _assert_picture(read_image(_write(tmp_path, data)))


def test_warnings_of_the_decoder_stay_inside_and_all_others_outside(tmp_path: Path) -> None:
    data = _bytes(_picture().convert("P"), "PNG", transparency=bytes(range(256)))
    paths = [_write(tmp_path, data, f"{index}.png") for index in range(64)]
    before = list(warnings.filters)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for image in pool.map(read_image, paths):
            _assert_picture(image)
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
