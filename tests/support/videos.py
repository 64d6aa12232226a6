"""Small videos for tests."""

from collections.abc import Iterable
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

# The matrix of a track that is shown as stored, and of one that is turned by a quarter, as phones write it.
_AS_STORED = b"\0\1\0\0" + b"\0" * 12 + b"\0\1\0\0" + b"\0" * 12 + b"\x40\0\0\0"
_TURNED = b"\0" * 4 + b"\0\1\0\0" + b"\0" * 4 + b"\xff\xff\0\0" + b"\0" * 16 + b"\x40\0\0\0"


def write_video(path: Path, images: Iterable[NDArray[np.uint8]], *, rate: int = 10) -> Path:
    """Write RGB images of one even size as MPEG-4, with the list of frames before the frames."""
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("mpeg4", rate=rate)
        stream.pix_fmt = "yuv420p"
        stream.bit_rate = 4_000_000
        for image in images:
            if not stream.codec_context.is_open:
                stream.height, stream.width = image.shape[:2]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path


def turned_sideways(path: Path) -> Path:
    """Note in an MP4 file that it is to be turned clockwise by a quarter when it is shown."""
    content = path.read_bytes()
    head, track = content.split(b"tkhd", 1)
    assert _AS_STORED in track
    path.write_bytes(head + b"tkhd" + track.replace(_AS_STORED, _TURNED, 1))
    return path
