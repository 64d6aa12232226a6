"""Frames of videos, and the choice of sharp ones along the motion."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from tests.support.videos import turned_sideways, write_video

from camloc.data.video import FrameChoice, choose_frames, frames, image_motion
from camloc.errors import ImageError


def texture(width: int = 640, height: int = 96, seed: int = 0) -> NDArray[np.uint8]:
    small = np.random.default_rng(seed).integers(0, 256, (height // 4, width // 4, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))


def pan(steps: list[int], *, blurred: tuple[int, ...] = ()) -> list[NDArray[np.uint8]]:
    """Views of 128 x 96 pixels from a wide texture, some of them blurred."""
    wide, images = texture(), []
    for number, left in enumerate(steps):
        view = Image.fromarray(wide[:, left : left + 128])
        if number in blurred:
            view = view.filter(ImageFilter.GaussianBlur(4))
        images.append(np.asarray(view))
    return images


def test_every_frame_comes_in_order_with_its_time(tmp_path: Path) -> None:
    images = pan([0, 10, 20, 30, 40, 50])
    found = list(frames(write_video(tmp_path / "v.mp4", images)))
    assert [frame.number for frame in found] == [0, 1, 2, 3, 4, 5]
    np.testing.assert_allclose([frame.seconds for frame in found], np.arange(6) / 10)
    for frame, image in zip(found, images, strict=True):
        assert np.abs(frame.pixels.astype(int) - image).mean() < 20


def test_frames_are_at_least_so_many_seconds_apart(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mp4", pan([0] * 20))
    assert [frame.number for frame in frames(path, every=0.5)] == [0, 5, 10, 15]


def test_a_video_that_was_held_sideways_is_turned_upright(tmp_path: Path) -> None:
    image = texture(128, 96).copy()
    image[:48] = 0  # the upper half is black
    path = turned_sideways(write_video(tmp_path / "v.mp4", [image] * 3))
    turned = next(frames(path)).pixels
    assert turned.shape == (128, 96, 3)
    assert turned[:, :44].mean() > 80  # clockwise: what was above is on the right
    assert turned[:, 52:].mean() < 20


def test_a_video_that_breaks_off_gives_its_frames_and_then_says_so(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mp4", [texture(128, 96, seed) for seed in range(60)])
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    found: list[int] = []
    with pytest.raises(ImageError, match=r"breaks off after \d+ frames, at .* s"):
        found.extend(frame.number for frame in frames(path))
    assert choose_frames(path).damage


@pytest.mark.parametrize(
    ("content", "message"), [(b"no video", "not a video"), (b"", "not a video"), (None, "does not exist")]
)
def test_what_is_no_video_is_refused(content: bytes | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ImageError, match=message):
        next(frames(path))


def test_motion_is_the_shift_of_the_picture() -> None:
    wide = texture().astype(np.float32).mean(axis=2)
    moved = image_motion(wide[:, :128], wide[:, 6:134])
    assert moved == pytest.approx(6 / 128, abs=0.01)


def test_chosen_frames_follow_the_motion_and_not_the_time(tmp_path: Path) -> None:
    still_then_moving = [0] * 40 + [8 * step for step in range(1, 41)]
    path = write_video(tmp_path / "v.mp4", pan(still_then_moving))
    chosen = choose_frames(path, FrameChoice(fewest=10, most=20)).numbers
    assert len(chosen) <= 20
    assert (chosen < 40).sum() <= 4
    assert np.diff(chosen[chosen >= 40]).max() <= 5


def test_blurred_frames_are_not_chosen(tmp_path: Path) -> None:
    blurred = tuple(number for number in range(60) if number % 3)
    path = write_video(tmp_path / "v.mp4", pan([6 * step for step in range(60)], blurred=blurred))
    chosen = choose_frames(path, FrameChoice(fewest=10, most=12)).numbers
    assert len(chosen) >= 10
    assert (chosen % 3 == 0).mean() > 0.8
