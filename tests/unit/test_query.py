"""An image is the same image whatever kind of object holds it; what is no image is refused in a sentence."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.unit.test_localizer import CAMERA, assert_equal, image, localizer

from camloc import CamlocError, Located, Lost, Pose, Query
from camloc.data.types import ExpectedError
from camloc.errors import ImageError


def kinds(path: Path) -> dict[str, Any]:
    with Image.open(path) as pil:
        pil.load()
    pixels = np.asarray(pil.convert("RGB"))
    return {
        "path": path,
        "text": str(path),
        "bytes": path.read_bytes(),
        "bytearray": bytearray(path.read_bytes()),
        "memoryview": memoryview(path.read_bytes()),
        "file": io.BytesIO(path.read_bytes()),
        "PIL": pil,
        "array": pixels,
        "reversed array": pixels[::-1][::-1],
        "tensor": torch.from_numpy(pixels.copy()).permute(2, 0, 1),
        "query": Query(path),
    }


def test_every_kind_of_image_gives_the_answer_of_the_file(tmp_path: Path) -> None:
    path = image(tmp_path)
    expected = localizer().locate(path)
    for kind, each in kinds(path).items():
        answer = localizer().locate(each)
        assert isinstance(answer, Located), kind
        assert_equal([expected], [answer])


def test_the_orientation_of_bytes_and_of_pil_images_is_followed(tmp_path: Path) -> None:
    path = image(tmp_path)
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(path) as upright:
        upright.rotate(90, expand=True).save(tmp_path / "turned.png", exif=exif)
    content = (tmp_path / "turned.png").read_bytes()
    expected = [localizer().locate(path)]
    assert_equal(expected, [localizer().locate(content)])
    assert_equal(expected, [localizer().locate(Image.open(io.BytesIO(content)))])


def test_grey_arrays_are_images_of_three_equal_colours() -> None:
    grey = np.random.default_rng(0).integers(0, 255, (48, 64), dtype=np.uint8)
    expected = [localizer().locate(np.stack([grey] * 3, axis=2))]
    assert_equal(expected, [localizer().locate(grey)])
    assert_equal(expected, [localizer().locate(torch.from_numpy(grey)[None])])


def test_an_array_may_be_changed_after_it_was_given() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    frame = Query(pixels).frame()
    assert frame.memory is not None
    before = frame.memory.pixels.copy()
    pixels[:] = 0
    assert np.array_equal(frame.memory.pixels, before)


def test_a_list_gives_a_list_and_an_iterator_reads_as_it_is_read(tmp_path: Path) -> None:
    paths = [image(tmp_path, number) for number in range(3)]
    (tmp_path / "broken.png").write_bytes(b"no image")
    expected = [localizer().locate(path) for path in paths]
    answers = localizer().locate([paths[0], tmp_path / "broken.png", b"", paths[1].read_bytes(), paths[2]])
    assert isinstance(answers, list)
    assert_equal(expected, [answers[row] for row in (0, 3, 4)])
    assert all(isinstance(answers[row], Lost) for row in (1, 2))
    read = []

    def stream() -> Iterator[Path]:
        for path in paths:
            read.append(path)
            yield path

    answered = localizer().locate(stream())
    assert_equal(expected[:1], [next(answered)])
    assert len(read) == 1
    assert_equal(expected[1:], list(answered))


def test_the_camera_and_the_time_of_a_query_come_with_it(tmp_path: Path) -> None:
    path = image(tmp_path)
    with_camera = localizer().locate(path, camera=CAMERA)
    first, second = localizer().locate([Query(path, CAMERA, time=2.5), path])
    assert_equal([with_camera, localizer().locate(path)], [first, second])
    assert first.time == 2.5
    assert first.to_dict()["time_seconds"] == 2.5
    assert second.time is None
    assert localizer().locate(path, time=1).time == 1.0


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (5, "cannot be a int"),
        (None, "cannot be a NoneType"),
        ({"image": 1}, "cannot be a dict"),
        ([[1, 2]], "cannot be a list"),
        (io.StringIO("text"), "mode 'rb'"),
        (b"", "is empty"),
        (b"no image", "not an image in a format"),
        (np.zeros((48, 64, 3)), "8 bits"),
        (np.zeros((2, 48, 64, 3), np.uint8), "as a list"),
        (np.zeros((48, 64, 4), np.uint8), r"\(height, width, 3\)"),
        (np.zeros((4, 4, 3), np.uint8), "pixels"),
        (np.zeros(9, np.uint8), "shape"),
        (torch.zeros(48, 64, 3, dtype=torch.uint8), "come first"),
        (torch.zeros(3, 48, 64), "8 bits"),
        (Image.new("I", (64, 48)), "8 bits"),
        (Query(Path("missing.png")), "does not exist"),
        (Query(b"", time=float("nan")), "finite"),
    ],
)
def test_what_is_no_image_is_refused(wrong: Any, reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        localizer().locate(wrong)


def test_a_previous_pose_of_several_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CamlocError, match="Query"):
        localizer().locate([image(tmp_path)], previous=Pose.identity())  # type: ignore[call-overload]


def test_an_answer_prints_in_one_line() -> None:
    answer = Located("kitchen", Pose.identity(), ExpectedError(0.12, 3.4))
    assert repr(answer) == (
        "Located('kitchen', Pose(translation=[0, 0, 0], quaternion_wxyz=[1.0000, 0.0000, 0.0000, 0.0000]), "
        "unverified, expected error 0.12 m 3.4°)"
    )
    assert repr(Lost("dark", time=3.0)) == "Lost(reason='dark')"
