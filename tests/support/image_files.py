"""Encoded images for the tests of what happens to good and bad ones."""

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from camloc.data.image_io import read_image
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


def sample_image(width: int = WIDTH, height: int = HEIGHT) -> Image.Image:
    """An image without symmetry, of blocks that survive JPEG and a palette."""
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, 4, (-(-height // 6), -(-width // 6), 3)) * 85
    whole = np.kron(blocks, np.ones((6, 6, 1)))[:height, :width]
    return Image.fromarray(whole.astype(np.uint8))


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def write(folder: Path, data: bytes, name: str = "query.jpg") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_header(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header)


def assert_image(image: NDArray[np.uint8], width: int = WIDTH, height: int = HEIGHT) -> None:
    assert image.dtype == np.uint8
    assert image.shape == (height, width, 3)
    assert image.flags.c_contiguous


def refusal(path: Path, complaint: str = "") -> str:
    """The message of the refusal, which is one sentence in one line that names the file."""
    with pytest.raises(ImageError) as refused:
        read_image(path)
    message = str(refused.value)
    assert path.name in message
    assert message.isprintable(), "one line"
    assert complaint in message
    assert refused.value.__cause__ is None
    return message


def read_or_none(path: Path) -> NDArray[np.uint8] | None:
    try:
        return read_image(path)
    except ImageError as refused:
        message = str(refused)
    assert path.name in message
    assert message.isprintable()
    return None
