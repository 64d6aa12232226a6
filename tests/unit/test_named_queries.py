"""The words of a command name images: in order, with their times, and with a reason where they name none."""

import io
import sys
from pathlib import Path

import pytest
from PIL import Image

from camloc.data.query import NamedQuery, named_queries, read_times
from camloc.errors import DatasetError, ImageError


def write_image(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (32, 24)).save(path)
    return path


def labels(*words: str | Path) -> list[str]:
    found = list(named_queries([str(word) for word in words]))
    assert all(isinstance(each, NamedQuery) for each in found)
    return [each.label for each in found if isinstance(each, NamedQuery)]


def test_folders_and_patterns_are_in_the_order_of_numbers(tmp_path: Path) -> None:
    paths = [write_image(tmp_path / "walk" / f"{number}.png") for number in (10, 9, 100)]
    (tmp_path / "walk" / "notes.md").write_text("no image")
    expected = [str(paths[row]) for row in (1, 0, 2)]
    assert labels(tmp_path / "walk") == labels(tmp_path / "walk" / "*.png") == expected
    assert labels(paths[0], tmp_path) == [str(paths[0]), *expected]


def test_a_file_whose_name_looks_like_a_pattern_is_a_file(tmp_path: Path) -> None:
    path = write_image(tmp_path / "a[1].png")
    assert labels(path) == [str(path)]


def test_words_that_name_nothing_are_a_reason_and_do_not_stop_the_others(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    path = write_image(tmp_path / "a.png")
    found = list(named_queries([str(tmp_path / "empty"), str(tmp_path / "*.jpg"), str(path)]))
    assert [isinstance(each, ImageError) for each in found] == [True, True, False]
    assert "without images" in str(found[0])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("times.csv", "time,image\n1.5,a.png\n2.5,b c.png\n"),
        ("times.csv", "image,x,Timestamp\na.png,7,1.5\nb c.png,8,2.5\n"),
        ("rgb.txt", "# timestamp filename\n1.5 a.png\n2.5 b c.png\n"),
        ("times.csv", "time,image\n1500000000000000000,a.png\n1500000001000000000,b c.png\n"),
    ],
)
def test_lists_give_images_and_times(name: str, text: str, tmp_path: Path) -> None:
    for image in ("a.png", "b c.png"):
        write_image(tmp_path / image)
    (tmp_path / name).write_text(text)
    (first, start), (second, end) = read_times(tmp_path / name)
    assert (first, second) == (tmp_path / "a.png", tmp_path / "b c.png")
    assert end - start == pytest.approx(1.0)
    found = [
        each.query.time for each in named_queries([str(tmp_path / name)]) if isinstance(each, NamedQuery)
    ]
    assert found == [start, end]


@pytest.mark.parametrize("text", ["", "time,image\n", "time,image\nsoon,a.png\n", "time,image\n1.0\n"])
def test_lists_that_are_none_are_refused_with_the_line(text: str, tmp_path: Path) -> None:
    (tmp_path / "times.csv").write_text(text)
    with pytest.raises(DatasetError, match=r"times\.csv"):
        read_times(tmp_path / "times.csv")


def test_standard_input_is_an_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = write_image(tmp_path / "a.png").read_bytes()

    class Input:
        buffer = io.BytesIO(content)

    monkeypatch.setattr(sys, "stdin", Input())
    (found,) = named_queries(["-"])
    assert isinstance(found, NamedQuery)
    assert found.query.frame().memory is not None
