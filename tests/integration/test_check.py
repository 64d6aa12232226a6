"""`camloc check` as a terminal calls it."""

from pathlib import Path

import pytest
from tests.support.command_line import camloc

Capture = pytest.CaptureFixture[str]


def test_a_rendered_scene_is_not_suspected(trained: Path, tmp_path: Path, capfd: Capture) -> None:
    page = tmp_path / "check.html"
    ended = camloc(capfd, "check", trained / "scene", "--quick", "--out", page)
    assert ended.status == 0, ended.out
    assert str(page) in ended.out
    assert page.read_text().count("<circle") == 24


def test_data_that_the_reader_refuses_is_a_fault(tmp_path: Path, capfd: Capture) -> None:
    from tests.support.layouts import WRITERS, make_scene

    (tmp_path / "data").mkdir()
    WRITERS["sevenscenes"](tmp_path / "data", make_scene())
    path = tmp_path / "data" / "seq-01" / "frame-000001.pose.txt"
    rows = [line.split() for line in path.read_text().splitlines()]
    path.write_text("\n".join(" ".join([f"-{row[0]}".replace("--", ""), *row[1:]]) for row in rows) + "\n")
    page = tmp_path / "check.html"
    ended = camloc(capfd, "check", tmp_path / "data", "--out", page)
    assert ended.status == 1
    assert "mirrored" in ended.out
    assert "mirrored" in page.read_text()
