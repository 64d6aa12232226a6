"""The frames of a video, read by PyAV (extra `video`), and the choice of frames for computing poses.

`frames` is the one reader: upright RGB images with their times. `choose_frames` takes frames that are sharp
and that lie evenly along the motion of the image, so that a camera at rest gives few and a turn gives many.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Int64, UInt8
from numpy.typing import NDArray

from camloc.errors import ImageError, MissingExtraError

if TYPE_CHECKING:
    import av

# Side of the grey image whose sharpness is measured, and how many times smaller the one for motion is.
_MEASURED_SIDE, _SHRUNK = 480, 4

# A video whose last frame is more seconds before its stated end was cut short.
_MISSING_SECONDS = 1.0

# Frames a second that are measured: more add nothing, and each costs milliseconds.
_MEASURED_RATE = 15.0

# Motion between frames that counts as standing still, as a share of the image's longer side.
_REST = 0.002


class VideoFrame(NamedTuple):
    """A decoded frame.

    Attributes:
        number: of the frame in the video, from 0 on; frames that were skipped count.
        seconds: from the start of the video.
        pixels: RGB, turned upright as the video says.
    """

    number: int
    seconds: float
    pixels: UInt8[NDArray[np.uint8], "height width 3"]


def frames(path: Path, *, every: float = 0.0) -> Iterator[VideoFrame]:
    """The frames of a video, one at a time, in their order, at least `every` seconds apart; 0 for all.

    Raises:
        MissingExtraError: PyAV is not installed.
        ImageError: the file is missing or is no video; or, after the frames that could be decoded, it breaks
            off or is damaged.
    """
    for number, seconds, frame in _decoded(path, every):
        pixels = frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False)
        quarters = round(frame.rotation / 90.0) % 4  # counter-clockwise
        yield VideoFrame(number, seconds, np.ascontiguousarray(np.rot90(pixels, quarters)))


@dataclass(frozen=True)
class FrameChoice:
    """The choice of frames of a video.

    Attributes:
        motion: of the image from one chosen frame to the next, as a share of its longer side.
        fewest: frames to choose at least, however little the camera moves, if the video has as many.
        most: frames that are chosen; the motion between them grows.
    """

    motion: float = 0.08
    fewest: int = 40
    most: int = 300


@dataclass(frozen=True, eq=False)
class ChosenFrames:
    """The numbers of the chosen frames.

    Attributes:
        numbers: (n,) of the frames, rising, as `VideoFrame.number`.
        damage: why the video could not be read to its end, or "".
    """

    numbers: Int64[np.ndarray, "n"]
    damage: str


def choose_frames(
    path: Path, choice: FrameChoice | None = None, *, progress: Callable[[float], None] | None = None
) -> ChosenFrames:
    """Choose sharp frames that lie evenly along the motion of the image.

    The motion is cut into parts of equal length, and the sharpest frame of each is chosen. `progress` is
    called with the share of the video that is decoded.

    Raises:
        MissingExtraError: PyAV is not installed.
        ImageError: the file is missing, or no frame of it can be decoded.
    """
    choice = choice or FrameChoice()
    numbers: list[int] = []
    sharpness: list[float] = []
    travelled: list[float] = []
    damage = ""
    last: Float32[np.ndarray, "h w"] | None = None
    with _opened(path) as container:
        duration = _duration(container)
    try:
        for number, seconds, frame in _decoded(path, 1.0 / _MEASURED_RATE):
            grey = _grey(frame)
            small = _shrunk(grey)
            moved = 0.0 if last is None else image_motion(last, small)
            numbers.append(number)
            sharpness.append(image_sharpness(grey))
            travelled.append((travelled[-1] if travelled else 0.0) + (moved if moved > _REST else 0.0))
            last = small
            if progress is not None and duration:
                progress(min(1.0, seconds / duration))
    except ImageError as problem:
        if not numbers:
            raise
        damage = str(problem)
    chosen = _sharpest_along(np.array(travelled), np.array(sharpness), choice)
    return ChosenFrames(np.array(numbers, dtype=np.int64)[chosen], damage)


def image_sharpness(grey: Float32[np.ndarray, "h w"]) -> float:
    """How sharp an image is: the standard deviation of its Laplacian over that of its brightness."""
    laplacian = 4.0 * grey[1:-1, 1:-1] - grey[:-2, 1:-1] - grey[2:, 1:-1] - grey[1:-1, :-2] - grey[1:-1, 2:]
    return float(laplacian.std() / max(float(grey.std()), 1.0))


def image_motion(first: Float32[np.ndarray, "h w"], second: Float32[np.ndarray, "h w"]) -> float:
    """How far the content moved between two grey images, as a share of the longer side.

    The mean length of the shifts of the four quarters, each by phase correlation; going forward moves them
    apart.
    """
    height, width = first.shape
    rows, columns = height // 2, width // 2
    window = np.outer(np.hanning(rows), np.hanning(columns))
    lengths = []
    for top in (0, height - rows):
        for left in (0, width - columns):
            parts = [each[top : top + rows, left : left + columns] for each in (first, second)]
            one, other = (np.fft.rfft2((part - part.mean()) * window) for part in parts)
            cross = one * other.conj()
            peak = np.fft.irfft2(cross / np.maximum(np.abs(cross), 1e-6), s=(rows, columns))
            down, right = np.unravel_index(int(peak.argmax()), peak.shape)
            shift = (
                down - rows if down > rows / 2 else down,
                right - columns if right > columns / 2 else right,
            )
            lengths.append(float(np.hypot(*shift)))
    # The middle ones: a quarter without texture shifts by anything.
    share: float = float(np.mean(sorted(lengths)[1:3])) / max(height, width)
    return share


def _sharpest_along(
    travelled: Float[np.ndarray, "n"], sharpness: Float[np.ndarray, "n"], choice: FrameChoice
) -> Int64[np.ndarray, "m"]:
    """The sharpest frame of each part of the path, and at least `fewest` where there are as many."""
    count = len(travelled)
    parts = int(np.clip(travelled[-1] / choice.motion, choice.fewest, choice.most))
    if count <= parts:
        return np.arange(count)
    # A little of the time beside the motion, so that an image at rest is divided too.
    way = travelled / max(float(travelled[-1]), 1e-9) + 0.1 * np.arange(count) / count
    part = np.minimum((way / way[-1] * parts).astype(np.int64), parts - 1)
    order = np.lexsort((-sharpness, part))
    first = np.concatenate(([True], np.diff(part[order]) > 0))
    return np.sort(order[first]).astype(np.int64)


def _decoded(path: Path, every: float) -> Iterator[tuple[int, float, "av.VideoFrame"]]:
    """Number, seconds and frame, at least `every` seconds apart; see `frames` for the errors."""
    due, number, seconds = 0.0, -1, 0.0
    with _opened(path) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        rate = float(stream.average_rate or 30)
        start: float | None = None
        try:
            for number, frame in enumerate(container.decode(stream)):
                time = number / rate if frame.time is None else float(frame.time)
                start = time if start is None else start
                seconds = time - start
                if seconds + 0.5 / rate >= due:
                    due = seconds + every
                    yield number, seconds, frame
        except _decoding_errors() as problem:
            raise ImageError(_broken(path, number + 1, seconds, str(problem))) from None
        duration = _duration(container)
    if number < 0:
        raise ImageError(f"{path} has no frame that can be decoded; record or copy it again")
    if seconds + _MISSING_SECONDS < duration:
        raise ImageError(_broken(path, number + 1, seconds, f"its header says {duration:.1f} s"))


def _broken(path: Path, count: int, seconds: float, reason: str) -> str:
    reason = " ".join(reason.split())[:120]
    if not count:
        return f"{path} has no frame that can be decoded ({reason}); record or copy it again"
    return f"{path} breaks off after {count} frames, at {seconds:.1f} s ({reason}); copy it again"


def _opened(path: Path) -> Any:
    """An open container with at least one video stream."""
    try:
        import av
    except ModuleNotFoundError:
        raise MissingExtraError(
            "videos need PyAV; install it with `pip install 'camloc[video]'`, or give a folder of images"
        ) from None
    if not path.is_file():
        raise ImageError(f"{path} {'is not a file' if path.exists() else 'does not exist'}")
    try:
        container = av.open(str(path))
    except _decoding_errors():
        raise ImageError(f"{path} is not a video that can be read, or was cut short; copy it again") from None
    if not container.streams.video:
        container.close()
        raise ImageError(f"{path} holds no video stream")
    return container


def _decoding_errors() -> tuple[type[Exception], ...]:
    from av.error import FFmpegError

    return FFmpegError, OSError, ValueError


def _duration(container: Any) -> float:
    """Seconds by the header of the stream, or of the file, or 0."""
    stream = container.streams.video[0]
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return float(container.duration or 0) / 1e6


def _grey(frame: "av.VideoFrame") -> Float32[np.ndarray, "h w"]:
    scale = min(1.0, _MEASURED_SIDE / max(frame.width, frame.height))
    width, height = (max(16, round(side * scale)) for side in (frame.width, frame.height))
    return frame.to_ndarray(format="gray", width=width, height=height).astype(np.float32)


def _shrunk(grey: Float32[np.ndarray, "h w"]) -> Float32[np.ndarray, "g f"]:
    height, width = (side // _SHRUNK * _SHRUNK for side in grey.shape)
    blocks = grey[:height, :width].reshape(height // _SHRUNK, _SHRUNK, width // _SHRUNK, _SHRUNK)
    small: Float32[np.ndarray, "g f"] = blocks.mean(axis=(1, 3))
    return small
