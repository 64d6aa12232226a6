"""Exit statuses of commands: 2 for options that do not fit, 3 for a lost image if that is wanted."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.support.command_line import camloc, refused
from tests.unit.test_localizer import image, localizer

from camloc.cli import main
from camloc.cli.progress import console, show_cut_off
from camloc.data.image_io import Preprocess
from camloc.data.types import Lost
from camloc.errors import DatasetError
from camloc.inference.localizer import Localizer
from camloc.runs.manifest import DataSource

Capture = pytest.CaptureFixture[str]


@pytest.mark.parametrize(
    ("arguments", "printed"),
    [
        (("locate", "run"), "name at least one image"),
        (("locate", "run", "a.jpg", "--focal", "-3"), "not a positive number"),
        (("locate", "run", "a.jpg", "--format", "colmap"), "--out FOLDER"),
        (("locate", "run", "a.mp4", "--every", "-1"), "--every"),
        (("locate", "run", "a.jpg", "--focal", "3", "--camera", "camera.json"), "not both"),
        (("locate", "run", "a.jpg", "--camera", "x"), "--camera is a file such as camera.json"),
        (
            ("locate", "run", "a.jpg", "--camera", "PINHOLE,64,48,60,60,3200,24"),
            "its principal point outside",
        ),
        (("track", "run", "a.mp4", "--camera", "PINHOLE,64,48,1,1,32,24"), "a field of view of 17"),
        (("train", "demo/hyperpose", "--data", "x", "--budget", "soon"), "not a duration"),
        (("train", "demo/hyperpose", "--data", "x", "--seed", "-1"), "not a number from 0"),
        (("train", "demo/hyperpose", "--data", "x", "--devices", "0"), "1 device or more"),
        (("train", "demo/hyperpose"), "--data"),
        (("train", "demo/hyperpose", "--data", "x", "--option", "scene=y"), "give it as --scene"),
        (("train", "demo/hyperpose", "--data", "x", "--option", "root=y"), "give it as --data"),
        (("train", "demo/hyperpose", "--data", "x", "--option", "layout=y"), "give it as --layout"),
        (("datasets", "x", "--option", "scene=y"), "give it as --scene"),
        (("evaluate", "run", "--scene", "x"), "name it with --data"),
        (("map", "x", "--size", "big"), "not a size"),
    ],
)
def test_options_that_do_not_fit_end_with_status_2(
    arguments: tuple[str, ...], printed: str, tmp_path: Path, capfd: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if arguments[0] == "datasets":
        (tmp_path / "x").mkdir()
        (tmp_path / "x" / "poses.csv").write_text("image,x,y,z\n")
    assert printed in refused(capfd, *arguments, status=2)
    assert not (tmp_path / "runs").exists()


def test_the_manifest_of_a_run_cannot_name_another_folder_in_its_options() -> None:
    for name in ("root", "layout", "scene"):
        with pytest.raises(DatasetError, match=f"'{name}' is not an option of a reader"):
            DataSource("data", options={name: "x"}).load()


@pytest.mark.parametrize(("is_lost", "is_asked", "status"), [(1, 1, 3), (1, 0, 0), (0, 1, 0)])
def test_a_lost_image_has_an_exit_status_if_that_is_required(
    is_lost: int, is_asked: int, status: int, tmp_path: Path, capfd: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = localizer().locate(image(tmp_path, 1))
    answers = iter([found, Lost("it is dark") if is_lost else found])
    monkeypatch.setattr(Localizer, "load", lambda *_, **__: localizer())
    monkeypatch.setattr(Localizer, "locate", lambda *_, **__: next(answers))
    option = ["--fail-on-lost"] if is_asked else []
    ended = camloc(capfd, "locate", "run", image(tmp_path, 1), image(tmp_path, 2), *option)
    assert ended.status == status, ended.err
    assert len(ended.out.splitlines()) == 2, "both are printed all the same"


def test_a_focal_length_that_cannot_be_is_a_wrong_argument(
    tmp_path: Path, capfd: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Localizer, "load", lambda *_, **__: localizer())
    message = refused(capfd, "locate", "run", image(tmp_path, 1), "--focal", "1e30", status=2)
    assert "--focal: the camera of" in message


def test_a_process_that_is_told_to_end_ends_without_a_word() -> None:
    """pycolmap would answer with a stack trace."""
    program = "import os, signal, camloc.geometry.colmap; os.kill(os.getpid(), signal.SIGTERM)"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert ended.returncode == -signal.SIGTERM
    assert ended.stderr == b""


def test_square_brackets_in_names_are_printed_as_they_are(capfd: Capture) -> None:
    console.print("the scene [/b] and [red]room[/red]")
    assert "the scene [/b] and [red]room[/red]" in capfd.readouterr().err


def test_a_cut_of_more_than_a_tenth_is_a_warning(capfd: Capture) -> None:
    show_cut_off(0.05, Preprocess(320, 240))
    assert capfd.readouterr().err == "the network sees 320 x 240 pixels: 5.0% of the images is cut off\n"
    show_cut_off(0.58, Preprocess(320, 240))
    message = capfd.readouterr().err
    assert message.startswith("warning: the network sees 320 x 240 pixels: 58.0% of the images is cut off")


_INTERRUPTED_PROGRAM = """
import runpy, sys
class Began:
    def find_spec(self, name, path, target=None):
        if name == "camloc.cli":
            print("began", flush=True)
sys.meta_path.insert(0, Began())
sys.argv = ["camloc", "recipes"]
runpy.run_module("camloc", run_name="__main__")
"""


@pytest.mark.parametrize("seconds", [0.0, 0.05, 0.2, 0.6])
def test_an_interrupt_in_the_first_moments_has_no_traceback(seconds: float) -> None:
    """The child says when it has begun, after Python's own start."""
    child = subprocess.Popen(
        [sys.executable, "-c", _INTERRUPTED_PROGRAM],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert child.stdout is not None
    assert child.stderr is not None
    assert child.stdout.readline() == b"began\n"
    time.sleep(seconds)
    os.kill(child.pid, signal.SIGINT)
    with child.stdout, child.stderr:
        child.stdout.read()
        message = child.stderr.read().decode()
    assert child.wait() in (0, 130, -signal.SIGINT)
    assert "Traceback" not in message
    assert len(message.splitlines()) <= 1


def test_an_error_that_an_interrupt_has_become_is_an_interrupt(
    capfd: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in imports: a library catches the interrupt and raises an error of its own."""

    def converted(*_: object) -> None:
        try:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)
        except KeyboardInterrupt:
            raise RuntimeError("error calling a descriptor") from None

    # Other tests of this process may have left a handler of their own.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    monkeypatch.setattr(main, "parsed", converted)
    assert "same command again" in refused(capfd, "train", status=130)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler

    def failing(*_: object) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(main, "parsed", failing)
    with pytest.raises(RuntimeError, match="a defect"):
        camloc(capfd, "train")
    signal.signal(signal.SIGINT, before)
