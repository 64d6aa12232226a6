"""What is wrong with images by themselves: dark, blurred, without content, there twice."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image

from camloc.data.image_io import read_image
from camloc.data.types import Frame
from camloc.errors import ImageError
from camloc.mapping.check.findings import MOST_NAMED, Finding, named

# Images are measured at the size at which features are extracted.
_PIXELS = 640 * 480

# Sides of the small grey copies that are compared.
_SIDE = 16

# Mean grey level below which an image is dark, of 255. Rooms and streets by day have 60 to 160.
DARK = 40.0

# An image is dark too if its grey level is below this share of the median of all.
_DARKER = 0.45

# Mean grey level above which an image is overexposed.
BRIGHT = 210.0

# Standard deviation of grey levels below which an image shows nothing.
FLAT = 8.0

# Share of the contrast between neighbouring pixels that a further blur leaves, above which an image is
# blurred. Sharp photographs have 0.25 to 0.5, the frames of moving cameras up to 0.63, and photographs that
# were blurred by a Gaussian of 3 pixels 0.72 to 0.85.
BLURRED = 0.7

# Width in pixels of that further blur; in images of a shorter side than this nothing is sharp beside it.
_BLUR = 9
_LEAST_SIDE = 200

# Share of the images from which on dark or blurred ones make training useless.
_MANY = 0.2

# Frames of all recordings whose likeness is compared, and how many of these are between two pairs.
_COMPARED, _APART = 1500, 2

# Pairs of two recordings: in all, at least of each recording, and at most in all.
_ACROSS, _FEWEST_ACROSS, _MOST_ACROSS = 32, 4, 96

# Images that are decoded ahead.
_CHUNK = 64


@dataclass(frozen=True, eq=False)
class ImageStatistics:
    """Statistics of an image, and a small copy of it.

    Attributes:
        digest: of the file's bytes.
        small: a grey copy.
        mean: grey level.
        deviation: of the grey levels.
        blur: from 0 (sharp, or too small to tell) to 1.
    """

    digest: bytes
    small: UInt8[np.ndarray, "16 16"]
    mean: float
    deviation: float
    blur: float


def image_statistics(frame: Frame) -> ImageStatistics | None:
    """The statistics of a frame's image, or None where it cannot be read."""
    try:
        pixels = read_image(frame.image)
        digest = hashlib.sha1(frame.image.read_bytes(), usedforsecurity=False).digest()
    except (ImageError, OSError):
        return None
    grey = Image.fromarray(pixels).convert("L")
    scale = (_PIXELS / (grey.width * grey.height)) ** 0.5
    if scale < 1.0:
        size = max(1, round(grey.width * scale)), max(1, round(grey.height * scale))
        grey = grey.resize(size, Image.Resampling.BOX, reducing_gap=2.0)
    array = np.asarray(grey, dtype=np.float32)
    small = np.asarray(grey.resize((_SIDE, _SIDE), Image.Resampling.BOX))
    blur = blur_of(array) if min(array.shape) >= _LEAST_SIDE else 0.0
    return ImageStatistics(digest, small, float(array.mean()), float(array.std()), blur)


def blur_of(grey: Float32[np.ndarray, "h w"]) -> float:
    """How little a further blur changes an image, in the worse direction: 0 if sharp, towards 1 if blurred.

    Source: Crete et al., "The Blur Effect", SPIE 2007.
    """
    worst = 0.0
    for lines in (grey[:, ::2], grey.T[:, ::2]):  # every second line tells as much
        half = _BLUR // 2
        sums = np.cumsum(np.pad(lines, ((half + 1, half), (0, 0)), mode="edge"), axis=0)
        smooth = (sums[_BLUR:] - sums[:-_BLUR]) / _BLUR
        steps = np.abs(np.diff(lines, axis=0))
        lost = np.maximum(0.0, steps - np.abs(np.diff(smooth, axis=0)))
        total = float(steps.sum())
        worst = max(worst, 1.0 - float(lost.sum()) / total if total > 0 else 1.0)
    return worst


def all_image_statistics(
    frames: Sequence[Frame], progress: Callable[[float], None]
) -> tuple[ImageStatistics | None, ...]:
    """The statistics of every frame's image; a few images are in memory at a time."""
    statistics: list[ImageStatistics | None] = []
    left = iter(frames)
    with ThreadPoolExecutor() as threads:
        while chunk := list(islice(left, _CHUNK)):
            statistics += threads.map(image_statistics, chunk)
            progress(len(statistics) / len(frames))
    return tuple(statistics)


def image_findings(frames: Sequence[Frame], statistics: Sequence[ImageStatistics | None]) -> list[Finding]:
    """Images that cannot be read, show nothing, are dark, overexposed or blurred."""
    known = [(frame.name, one) for frame, one in zip(frames, statistics, strict=True) if one is not None]
    findings = []
    broken = [frame.name for frame, one in zip(frames, statistics, strict=True) if one is None]
    if broken:
        findings.append(
            _finding("error", "unreadable images", broken, len(frames), "cannot be read; replace them")
        )
    flat = [name for name, one in known if one.deviation < FLAT]
    if flat:
        findings.append(_by_share("empty images", flat, len(frames), "are of one colour; leave them out"))
    limit = max(DARK, _DARKER * float(np.median([one.mean for _, one in known]))) if known else DARK
    dark = sorted((one.mean, name) for name, one in known if one.mean < limit and one.deviation >= FLAT)
    if dark:
        findings.append(
            _by_share(
                "dark images",
                [name for _, name in dark],
                len(frames),
                f"are dark (a mean grey level below {limit:.0f} of 255); expose them longer, or "
                f"leave them out",
            )
        )
    bright = [name for name, one in known if one.mean > BRIGHT and one.deviation >= FLAT]
    if bright:
        what = f"are overexposed (a mean grey level above {BRIGHT:.0f} of 255); leave them out"
        findings.append(_by_share("overexposed images", bright, len(frames), what))
    blurred = sorted((-one.blur, name) for name, one in known if one.blur > BLURRED and one.deviation >= FLAT)
    if blurred:
        findings.append(
            _by_share(
                "blurred images",
                [name for _, name in blurred],
                len(frames),
                f"are blurred (by more than {BLURRED:g}, of 0 to 1); leave them out, or take sharper ones",
            )
        )
    return findings


def _by_share(kind: str, names: Sequence[str], count: int, sentence: str) -> Finding:
    return _finding("error" if len(names) > _MANY * count else "warning", kind, names, count, sentence)


def _finding(level: str, kind: str, names: Sequence[str], count: int, sentence: str) -> Finding:
    return Finding(
        "error" if level == "error" else "warning",
        kind,
        f"{len(names)} of {count} images {sentence}: {named(names)}",
        tuple(names[:MOST_NAMED]),
    )


def alike_across(
    frames: Sequence[Frame], statistics: Sequence[ImageStatistics | None]
) -> list[tuple[int, int]]:
    """Frames of two recordings whose images look alike, by small grey copies, some for each recording."""
    known = [index for index, each in enumerate(statistics) if each is not None and each.deviation >= FLAT]
    known = known[:: max(1, len(known) // _COMPARED)]
    _, codes = np.unique([frames[index].sequence for index in known], return_inverse=True)
    recordings = range(len(set(codes.tolist())))
    if len(recordings) < 2:
        return []
    small = np.stack([each.small.ravel() for index in known if (each := statistics[index]) is not None])
    table = small.astype(np.float32) - small.mean(axis=1, keepdims=True)
    table /= np.maximum(np.linalg.norm(table, axis=1, keepdims=True), 1e-6)
    likeness = np.where(codes[:, None] < codes[None], table @ table.T, -1.0)
    found: dict[tuple[int, int], None] = {}
    for recording in recordings:
        own = codes == recording
        left = np.where(own[:, None] | own[None], likeness, -1.0)
        for _ in range(max(_FEWEST_ACROSS, _ACROSS // len(recordings))):
            one, other = divmod(int(left.argmax()), len(known))
            if left[one, other] <= 0.0:
                break
            found[known[one], known[other]] = None
            left[max(0, one - _APART) : one + _APART + 1, max(0, other - _APART) : other + _APART + 1] = -1.0
    return list(found)[:_MOST_ACROSS]


def same_images(statistics: Sequence[ImageStatistics | None]) -> list[list[int]]:
    """Groups of frames whose files have the same bytes."""
    groups: dict[bytes, list[int]] = defaultdict(list)
    for index, one in enumerate(statistics):
        if one is not None:
            groups[one.digest].append(index)
    return [members for members in groups.values() if len(members) > 1]
