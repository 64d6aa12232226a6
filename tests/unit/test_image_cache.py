"""The image cache: decoded once, decoded again when an image changes, and never half written."""

import threading
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest
import torch
from tests.support.image_files import encoded, sample_image, write
from tests.support.layouts import CAMERA, HEIGHT, WIDTH, make_scene

from camloc.data.image_cache import ImageCache, load_image_cache
from camloc.data.image_io import Preprocess
from camloc.data.types import Frame, View
from camloc.errors import CamlocError, ImageError
from camloc.geometry import Pose

PREPROCESS = Preprocess(24, 20)


@dataclass
class Decoding:
    """The names of images as they are decoded."""

    names: list[str] = field(default_factory=list)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("CAMLOC_CACHE", str(folder))
    return folder


@pytest.fixture
def decoding(monkeypatch: pytest.MonkeyPatch) -> Decoding:
    decoded, view = Decoding(), Preprocess.view

    def counted(self: Preprocess, frame: Frame) -> View:
        decoded.names.append(frame.name)
        return view(self, frame)

    monkeypatch.setattr(Preprocess, "view", counted)
    return decoded


@pytest.fixture
def frames(tmp_path: Path) -> list[Frame]:
    """Five images of different content, with known cameras and poses."""
    found = []
    for number, matrix in enumerate(make_scene().train):
        cut = sample_image(2 * WIDTH, 2 * HEIGHT).crop((number, number, number + WIDTH, number + HEIGHT))
        path = write(tmp_path, encoded(cut, "PNG"), f"{number}.png")
        pose = Pose.from_matrix(matrix)
        found.append(Frame(path.name, path, CAMERA, pose))
    return found


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def assert_images_of(images: ImageCache, frames: list[Frame]) -> None:
    views = [PREPROCESS.view(frame) for frame in frames]
    assert np.array_equal(images.images, np.stack([view.image.numpy() for view in views]))


@pytest.mark.usefixtures("cache")
def test_images_are_what_the_network_sees_of_the_frames(frames: list[Frame]) -> None:
    images = load_image_cache(frames, PREPROCESS, scene=3)
    assert len(images) == 5
    assert images.images.dtype == np.uint8
    assert_images_of(images, frames)
    camera = PREPROCESS.view(frames[0]).camera
    assert camera is not None
    assert images.intrinsics is not None
    assert torch.equal(images.intrinsics, torch.from_numpy(camera.matrix()).expand(5, 3, 3))
    assert images.scene.tolist() == [3] * 5


@pytest.mark.usefixtures("cache")
def test_a_batch_holds_the_rows_requested(frames: list[Frame]) -> None:
    images = load_image_cache(frames, PREPROCESS)
    batch = images.batch(torch.tensor([4, 1]))
    expected = torch.stack([PREPROCESS.view(frames[row]).image for row in (4, 1)]).float() / 255
    torch.testing.assert_close(batch.images, expected)
    translations = torch.stack([frames[row].truth().tensor().translation for row in (4, 1)])
    assert torch.equal(batch.world_from_cam.translation, translations)
    assert batch.world_from_cam.translation.dtype == torch.float64


def test_the_second_call_decodes_nothing(frames: list[Frame], cache: Path, decoding: Decoding) -> None:
    first = load_image_cache(frames, PREPROCESS)
    assert sorted(decoding.names) == [frame.name for frame in frames]
    decoding.names.clear()
    second = load_image_cache(frames, PREPROCESS)
    assert decoding.names == []
    assert np.array_equal(first.images, second.images)
    assert first.intrinsics is not None
    assert second.intrinsics is not None
    assert torch.equal(first.intrinsics, second.intrinsics)
    assert len(files_in(cache)) == 3


def test_a_changed_image_is_decoded_again(frames: list[Frame], cache: Path, decoding: Decoding) -> None:
    load_image_cache(frames, PREPROCESS)
    frames[2].image.write_bytes(encoded(sample_image(WIDTH, HEIGHT).rotate(180), "PNG"))
    decoding.names.clear()
    images = load_image_cache(frames, PREPROCESS)
    assert len(decoding.names) == 5
    assert_images_of(images, frames)
    assert cache.exists()


@pytest.mark.usefixtures("cache")
def test_other_settings_or_another_camera_are_another_cache(frames: list[Frame], decoding: Decoding) -> None:
    load_image_cache(frames, PREPROCESS)
    decoding.names.clear()
    assert load_image_cache(frames, Preprocess(20, 16)).images.shape[2:] == (16, 20)
    narrower = replace(CAMERA, fx=60.0, fy=60.0)
    images = load_image_cache([replace(frame, camera=narrower) for frame in frames], PREPROCESS)
    assert len(decoding.names) == 10
    assert images.intrinsics is not None
    assert float(images.intrinsics[0, 0, 0]) == pytest.approx(2 * 30.0 * 20 / HEIGHT, rel=0.05)


@pytest.mark.usefixtures("cache", "decoding")
def test_poses_come_from_the_frames_and_not_from_the_cache(frames: list[Frame]) -> None:
    load_image_cache(frames, PREPROCESS)
    moved = [replace(frame, world_from_cam=Pose.identity()) for frame in frames]
    assert torch.equal(
        load_image_cache(moved, PREPROCESS).world_from_cam.translation, torch.zeros(5, 3).double()
    )


@pytest.mark.usefixtures("cache")
def test_intrinsics_that_one_frame_lacks_are_unknown_for_all(frames: list[Frame]) -> None:
    frames[1] = replace(frames[1], camera=None)
    for _ in range(2):
        assert load_image_cache(frames, PREPROCESS).intrinsics is None


@pytest.mark.usefixtures("cache")
def test_the_margin_keeps_what_the_centre_cut_drops(frames: list[Frame]) -> None:
    kept = load_image_cache(frames, replace(PREPROCESS, short_side=22), margin=True)
    cut = load_image_cache(frames, replace(PREPROCESS, short_side=22))
    rows, columns = kept.images.shape[2:]
    assert (columns, rows) == (29, 22)
    left, top = (columns - 24) // 2, (rows - 20) // 2
    assert np.array_equal(kept.images[..., top : top + 20, left : left + 24], cut.images)
    assert kept.intrinsics is not None
    assert cut.intrinsics is not None
    shift = kept.intrinsics[0, :2, 2] - cut.intrinsics[0, :2, 2]
    torch.testing.assert_close(shift, torch.tensor([left, top]).double())


@pytest.mark.usefixtures("cache")
def test_progress_counts_images(frames: list[Frame]) -> None:
    message: list[tuple[int, int]] = []
    load_image_cache(frames, PREPROCESS, progress=lambda done, total: message.append((done, total)))
    assert message == [(number, 5) for number in range(1, 6)]


def test_a_damaged_image_is_named_and_leaves_no_file(frames: list[Frame], cache: Path) -> None:
    data = frames[3].image.read_bytes()
    frames[3].image.write_bytes(data[: len(data) // 2])
    with pytest.raises(ImageError, match=r"3\.png"):
        load_image_cache(frames, PREPROCESS)
    assert files_in(cache) == []


def test_a_missing_image_is_named_and_leaves_no_file(frames: list[Frame], cache: Path) -> None:
    frames[0].image.unlink()
    with pytest.raises(ImageError, match=r"0\.png does not exist"):
        load_image_cache(frames, PREPROCESS)
    assert files_in(cache) == []


@pytest.mark.parametrize("room", [0, 2000, 5 * 3 * 24 * 20 + 128])
def test_a_full_disk_is_reported_and_leaves_no_file(
    room: int, frames: list[Frame], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`room` bytes fit; with the last of them the images fit and the intrinsics do not."""
    left = [room]
    original = Path.open

    def opened(self: Path, mode: str = "r", *args: Any, **kwargs: Any) -> IO[Any]:
        file = original(self, mode, *args, **kwargs)
        if "x" not in mode and "w" not in mode:
            return file
        return _FullFile(file, left)  # type: ignore[return-value]

    monkeypatch.setattr(Path, "open", opened)
    with pytest.raises(CamlocError, match=r"full|space") as message:
        load_image_cache(frames, PREPROCESS)
    assert str(cache) in str(message.value)
    assert files_in(cache) == []


class _FullFile:
    """A file on a disk that has only so many bytes left."""

    def __init__(self, file: IO[Any], left: list[int]) -> None:
        self.file, self.left = file, left

    def write(self, data: bytes) -> int:
        if len(data) > self.left[0]:
            raise OSError(28, "No space left on device")
        self.left[0] -= len(data)
        return self.file.write(data)

    def __enter__(self) -> "_FullFile":
        return self

    def __exit__(self, *problem: object) -> None:
        self.file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


@pytest.mark.parametrize("in_the_way", ["cache", "cache/images"])
def test_a_cache_folder_that_cannot_be_made_is_reported(
    in_the_way: str, frames: list[Frame], cache: Path
) -> None:
    path = cache.parent / in_the_way
    path.parent.mkdir(exist_ok=True)
    path.write_text("a file where a folder should be")
    with pytest.raises(CamlocError, match="cannot be written") as message:
        load_image_cache(frames, PREPROCESS)
    assert "CAMLOC_CACHE" in str(message.value)


def test_a_cache_that_lost_one_of_its_files_is_made_again(frames: list[Frame], cache: Path) -> None:
    load_image_cache(frames, PREPROCESS)
    for path in files_in(cache):
        content = path.read_bytes()
        path.unlink()
        assert_images_of(load_image_cache(frames, PREPROCESS), frames)
        assert path.read_bytes() == content


def test_several_may_fill_the_cache_at_once(frames: list[Frame], cache: Path) -> None:
    starts = threading.Barrier(4)
    found: list[ImageCache] = []

    def load() -> None:
        starts.wait()
        found.append(load_image_cache(frames, PREPROCESS))

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    for images in found:
        assert_images_of(images, frames)
    assert len(files_in(cache)) == 3, "nothing unfinished is left"
