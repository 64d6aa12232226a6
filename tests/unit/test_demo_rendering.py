"""Rendering the embedded scene into a folder, and reading it back."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.support.demo_views import shared_renderer

import market_square as demo
from camloc.data.formats import demo as demo_layout
from camloc.errors import DatasetError
from market_square import rendering

TINY = demo.SquareSettings(
    width=32, height=24, train_frames=4, test_frames=2, variants=("night", "occluded"), depth_every=1
)
FEW = demo.SquareSettings(
    width=32, height=24, train_frames=2, test_frames=1, variants=("night",), depth_every=1
)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def rendered(cache: Path) -> Path:
    return demo.render(TINY, cache, processes=1)


def test_training_and_test_frames_are_day_frames_of_different_walks(rendered: Path) -> None:
    scene = demo_layout.load(rendered, "corner")
    assert (scene.name, len(scene.train), len(scene.test)) == ("corner", 4, 2)
    assert len({frame.sequence for frame in scene.train}) == 2
    assert not {frame.sequence for frame in scene.train} & {frame.sequence for frame in scene.test}
    assert not {frame.image for frame in scene.train} & {frame.image for frame in scene.test}


def test_each_frame_has_its_image_camera_pose_and_depth(rendered: Path) -> None:
    scene = demo_layout.load(rendered, "corner")
    for frame in (*scene.train, *scene.test):
        assert frame.camera is not None
        assert frame.depth is not None
        with Image.open(frame.image) as image, Image.open(frame.depth) as depth:
            assert image.size == depth.size == (frame.camera.width, frame.camera.height) == (32, 24)
            assert np.asarray(depth).dtype == np.uint16


def test_a_frame_that_is_read_back_equals_the_rendered_view_from_its_pose(rendered: Path) -> None:
    frame = demo_layout.load(rendered, "corner").test[0]
    assert frame.camera is not None
    assert frame.depth is not None
    view = shared_renderer().render_view(frame.truth(), frame.camera)
    with Image.open(frame.depth) as stored:
        millimeters = np.asarray(stored).astype(float)
    is_near = (view.depth > 0) & (view.depth < 60)
    assert np.median(np.abs(millimeters - 1000 * view.depth)[is_near]) <= 0.5
    with Image.open(frame.image) as stored:
        difference = np.abs(np.asarray(stored).astype(float) - view.rgb)
    assert difference.mean() < 15


def test_conditions_can_be_compared_frame_by_frame(rendered: Path) -> None:
    scene = demo_layout.load(rendered, "corner")
    assert set(scene.conditions) == {"night", "occluded"}
    for day, night in zip(scene.test, scene.conditions["night"], strict=True):
        assert np.array_equal(day.truth().matrix(), night.truth().matrix())
        assert day.image != night.image


def test_the_test_split_is_named_after_its_condition(rendered: Path) -> None:
    scene = demo_layout.load(rendered, "corner")
    assert scene.test_name == "day"
    assert set(scene.conditions) == {"night", "occluded"}
    assert scene.test
    assert all(frame.name.startswith("test/day/") for frame in scene.test)
    assert scene.unit == "m"


def test_rendering_again_draws_nothing(cache: Path, rendered: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def draw(*_: object) -> None:
        raise AssertionError("the scene is rendered already")

    monkeypatch.setattr(rendering, "draw", draw)
    assert demo.render(TINY, cache) == rendered


def test_other_settings_and_another_renderer_go_to_another_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    name = rendering._folder_name(TINY)
    assert rendering._folder_name(demo.SquareSettings(width=32, height=24, seed=1)) != name
    monkeypatch.setattr(rendering, "_source_digest", lambda: "another")
    assert rendering._folder_name(TINY) != name


def test_two_processes_draw_the_same_bytes_as_one(cache: Path, tmp_path: Path) -> None:
    alone = demo.render(FEW, cache, processes=1)
    counts: list[tuple[int, int]] = []
    both = demo.render(FEW, tmp_path, processes=2, progress=lambda *count: counts.append(count))
    files = sorted(path.relative_to(alone) for path in alone.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(both) for path in both.rglob("*") if path.is_file())
    assert len(files) == 2 * 4 + 2
    for file in files:
        assert (alone / file).read_bytes() == (both / file).read_bytes(), file
    assert counts[-1] == (4, 4)
    assert counts == sorted(counts)


def test_frames_of_a_worker_that_fails_are_drawn_by_the_first_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    folder = demo.render(FEW, tmp_path, processes=2)
    assert all(frame.image.is_file() for frame in demo_layout.load(folder, "corner").train)


def test_the_worker_imports_no_module_of_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    current, trap = tmp_path / "current", tmp_path / "imported"
    current.mkdir()
    for name in ("market_square", "numpy"):
        (current / f"{name}.py").write_text(f"open({str(trap)!r}, 'w'); raise SystemExit(3)\n")
    workers: list[subprocess.Popen[bytes]] = []

    class RecordedPopen(subprocess.Popen[bytes]):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            workers.append(self)

    monkeypatch.setenv("PYTHONPATH", str(Path(demo.__file__).parents[1]))
    monkeypatch.setattr(subprocess, "Popen", RecordedPopen)
    monkeypatch.chdir(current)
    demo.render(FEW, tmp_path / "cache", processes=2)
    assert [worker.returncode for worker in workers] == [0]
    assert not trap.exists()


def test_an_interrupted_run_leaves_nothing(tmp_path: Path) -> None:
    def stop(done: int, _: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        demo.render(FEW, tmp_path, processes=1, progress=stop)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL")
def test_a_killed_run_leaves_nothing_that_looks_finished(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib; from camloc.data.formats import demo\n"
        f"scene = demo.{FEW!r}\n"
        "report = lambda done, _: print(done, flush=True)\n"
        "demo.render(scene, pathlib.Path(sys.argv[1]), processes=1, progress=report)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "1"
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert [path for path in tmp_path.iterdir() if not path.name.startswith(".")] == []


def test_the_unfinished_folder_of_a_killed_run_is_removed_a_day_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    day = 24 * 3600.0
    ages = {  # of the folder, and of the image in it
        ".corner-32x24-0123456789ab-killed_1.partial": (1.1 * day, 1.1 * day),
        ".square-640x480-0123456789ab-killed_2.partial": (3 * day, 2 * day),
        ".corner-32x24-0123456789ab-at_work.partial": (3 * day, 0.9 * day),
        ".corner-32x24-0123456789ab-started.partial": (0.0, 0.0),
        ".notes.partial": (9 * day, 9 * day),
        "corner-32x24-0123456789ab": (9 * day, 9 * day),
    }
    for name, (folder_age, image_age) in ages.items():
        image = tmp_path / name / "walk" / "0.jpg"
        image.parent.mkdir(parents=True)
        image.write_bytes(b"")
        now = time.time()
        os.utime(image, times=(now - image_age,) * 2)
        os.utime(image.parent, times=(now - image_age,) * 2)
        os.utime(tmp_path / name, times=(now - folder_age,) * 2)
    monkeypatch.setattr(rendering, "_draw_all", lambda *_: None)
    folder = demo.render(FEW, tmp_path)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {*list(ages)[2:], folder.name}


def test_the_slower_of_two_runs_returns_the_folder_of_the_faster(tmp_path: Path) -> None:
    faster: list[Path] = []

    def overtake(done: int, _: int) -> None:
        if done == 1 and not faster:
            faster.append(demo.render(FEW, tmp_path, processes=1))

    assert demo.render(FEW, tmp_path, processes=1, progress=overtake) == faster[0]
    assert list(tmp_path.iterdir()) == faster


def test_a_folder_without_a_scene_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"is not a rendered demo scene, scene\.json is missing"):
        demo_layout.load(tmp_path, "corner")


def test_another_area_is_refused(rendered: Path) -> None:
    with pytest.raises(DatasetError, match="holds the area 'corner', not 'square'"):
        demo_layout.load(rendered, "square")


def test_a_damaged_table_is_refused_with_its_line(rendered: Path, tmp_path: Path) -> None:
    (tmp_path / "scene.json").write_bytes((rendered / "scene.json").read_bytes())
    lines = (rendered / "frames.csv").read_text().splitlines()
    lines[2] = lines[2].rsplit(",", 1)[0] + ",north"
    (tmp_path / "frames.csv").write_text("\n".join(lines))
    with pytest.raises(DatasetError, match=r"frames\.csv, line 3: 'north' is not a number"):
        demo_layout.load(tmp_path, "corner")
    (tmp_path / "frames.csv").write_text("image\n")
    with pytest.raises(DatasetError, match=r"line 1: the columns are not"):
        demo_layout.load(tmp_path, "corner")
    (tmp_path / "scene.json").write_text("{}")
    with pytest.raises(DatasetError, match="damaged"):
        demo_layout.load(tmp_path, "corner")


def test_the_worker_does_not_import_torch() -> None:
    program = "import sys; import market_square.worker; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
