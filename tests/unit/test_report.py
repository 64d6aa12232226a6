"""The report is one file that shows what was reached, whatever that is; results.json and the table too."""

import json
import math
import re
from base64 import b64decode
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pytest
import torch
from tests.support.estimates import frames_with_images, line_of_poses, off_by, small_set

from camloc.core.files import write_atomically
from camloc.data.types import Lost, Unit
from camloc.errors import CheckpointError, DatasetError
from camloc.evaluation.errors import ErrorStatistics, EvaluatedSet, error_statistics, score_sets
from camloc.evaluation.files import REPORT_NAME, write_files
from camloc.evaluation.report.build import report_html
from camloc.evaluation.report.figures import map_axes, training_curve
from camloc.evaluation.report.wording import comparison, percent, verdict
from camloc.evaluation.results import Results, TrainingRecord, results_of, timing_of
from camloc.evaluation.table import format_table
from camloc.geometry import Pose, PoseError

TRAINING = line_of_poses(20, step=0.3)
LOG = [
    {
        "epoch": 1,
        "loss_position": 2.0,
        "loss_orientation": 1.0,
        "validation_meters": 0.5,
        "validation_degrees": 9.0,
    },
    {"epoch": 2, "loss_position": 1.0, "loss_orientation": 0.5},
]


class Page(HTMLParser):
    """What a browser would find in a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [
            value or "" for name, value in attrs if name in ("src", "href", "srcset", "poster", "data")
        ]

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def results(*sets: EvaluatedSet, scene: str = "kitchen", unit: Unit = "m") -> Results:
    return results_of(
        score_sets(sets, TRAINING),
        train_frames=len(TRAINING),
        model="posenet",
        recipe="posenet.kitchen",
        scene=scene,
        unit=unit,
        parameters=1234,
        training=TrainingRecord(
            seed=7, device="cpu", budget="20 minutes", epochs=2, updates=10, seconds=100.0
        ),
        timing=timing_of([9.0] * 3 + [0.01, 0.02, 0.03], device="cpu"),
        settings={"config": {"width": 3}},
    )


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> EvaluatedSet:
    """Twenty frames, the n-th of which is wrong by n centimetres and n degrees."""
    return small_set(tmp_path_factory.mktemp("images"), count=20)


@pytest.fixture(scope="module")
def folder(evaluated: EvaluatedSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What their evaluation leaves."""
    folder = tmp_path_factory.mktemp("run")
    write_files(folder, results(evaluated), score_sets([evaluated], TRAINING))
    write_atomically(folder / REPORT_NAME, html_of(evaluated))
    return folder


@pytest.fixture(scope="module")
def html(folder: Path) -> str:
    """The report among that."""
    return (folder / REPORT_NAME).read_text(encoding="utf-8")


def html_of(*sets: EvaluatedSet, scene: str = "kitchen", training: Pose = TRAINING) -> str:
    return report_html(results(*sets, scene=scene), score_sets(sets, training), training, log=LOG)


def page_of(*sets: EvaluatedSet, scene: str = "kitchen") -> Page:
    return Page(html_of(*sets, scene=scene))


def lost_set(folder: Path, count: int = 6) -> EvaluatedSet:
    frames = frames_with_images(folder, line_of_poses(count))
    return EvaluatedSet("night", frames, tuple(Lost("too dark") for _ in frames))


def test_an_evaluation_leaves_every_file_and_nothing_else(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == [
        "estimates.csv",
        "estimates.sha256",
        "estimates.tum",
        "report.html",
        "results.json",
        "truth.tum",
    ]


def test_the_report_is_one_file_that_loads_nothing(html: str) -> None:
    page = Page(html)
    assert page.loads
    assert all(load.startswith("data:image/") for load in page.loads)
    assert not {"script", "link", "iframe", "object", "embed", "base"} & set(page.tags)
    assert not re.search(r"url\(|@import|https?:", html)
    assert len(html) < 3_000_000
    jpegs = [load for load in page.loads if load.startswith("data:image/jpeg")]
    assert len(jpegs) == 12  # the worst 8 and the best 4


def test_every_drawing_in_the_report_is_svg_that_loads_nothing(html: str) -> None:
    prefix = "data:image/svg+xml;base64,"
    drawings = [b64decode(load[len(prefix) :]) for load in Page(html).loads if load.startswith(prefix)]
    assert len(drawings) == 5  # two error curves, the map, the course of the errors, training
    for drawing in drawings:
        references = [
            value
            for element in ElementTree.fromstring(drawing).iter()
            for name, value in element.attrib.items()
            if name.endswith("href")
        ]
        assert all(reference.startswith(("#", "data:")) for reference in references)


def test_the_report_says_what_was_reached_in_plain_words(html: str) -> None:
    text = " ".join("".join(Page(html).text).split())
    assert "Half of the 20 test images were located within 0.090 m, and half within 9.00°." in text
    assert "Copying the pose of the nearest training image" in text
    for word in ("Mean training pose", "Nearest training position", "posenet.kitchen", "20 minutes", "Seed"):
        assert word in text


def test_the_worst_images_come_first_and_the_best_are_not_among_them(html: str) -> None:
    shown = re.findall(r"seq-01/frame-(\d+)\.png</span>", html)
    assert [int(number) for number in shown] == [19, 18, 17, 16, 15, 14, 13, 12, 0, 1, 2, 3]


def test_names_are_shown_as_they_are_and_never_run_in_a_section_for_each_set(tmp_path: Path) -> None:
    evil = '<script>alert("1")</script>&.png'
    frames = frames_with_images(tmp_path, line_of_poses(2), names=[evil, "b.png"])
    evaluated = EvaluatedSet(evil, frames, (off_by(frames[0], meters=0.1), Lost(evil)))
    page = page_of(evaluated, small_set(tmp_path / "other", name="day"), scene=evil)
    text = "".join(page.text)
    assert "script" not in page.tags
    assert text.count(evil) >= 5  # heading, title, name, reason, set
    assert f"Test set: {evil}" in text
    assert "Test set: day" in text
    assert f"Results on {evil}" in text


def test_with_every_frame_lost_and_a_image_gone_the_report_says_so(tmp_path: Path) -> None:
    evaluated = lost_set(tmp_path)
    evaluated.frames[0].image.unlink()
    text = " ".join("".join(page_of(evaluated).text).split())
    assert "None of the 6 test images could be located." in text
    assert "Lost: too dark" in text
    assert "The worst 6" in text
    assert "The best" not in text
    assert "image not readable" in text
    assert "nan" not in text.lower().split()


def test_one_frame_in_a_scene_without_extent_makes_a_report(tmp_path: Path) -> None:
    evaluated = small_set(tmp_path, count=1)
    still = TRAINING[np.zeros(3, dtype=np.int64)]
    text = "".join(Page(html_of(evaluated, training=still)).text)
    assert "The one test image was located within 0.000 m and 0.00°." in text


def test_with_most_frames_lost_the_verdict_tells_how_few_are_left(tmp_path: Path) -> None:
    frames = frames_with_images(tmp_path, line_of_poses(3))
    evaluated = EvaluatedSet("test", frames, (off_by(frames[0]), Lost("blur"), Lost("blur")))
    assert verdict(results(evaluated)).startswith("Only 1 of the 3 test images could be located.")


def test_a_scene_of_unknown_scale_has_no_metres(tmp_path: Path) -> None:
    found = results(small_set(tmp_path), unit="units")
    text = verdict(found) + format_table(found)
    assert "0.020 units" in text
    assert re.search(r"0\.020 u .*\n", text)
    assert "u: units of a world whose scale is not known" in text
    assert not re.search(r"\d m\b", text)


def test_the_table_of_a_scene_of_unknown_scale_is_not_wider_than_any(tmp_path: Path) -> None:
    frames = frames_with_images(tmp_path, line_of_poses(40, step=90.0))
    wrong = EvaluatedSet(
        "occluded", frames, tuple(off_by(each, meters=123.4, degrees=120) for each in frames)
    )
    lines = format_table(results(wrong, unit="units")).splitlines()
    assert max(len(line) for line in lines) <= 80


def test_no_test_frames_are_a_sentence(tmp_path: Path) -> None:
    empty = EvaluatedSet("test", (), ())
    with pytest.raises(DatasetError, match="there are no test frames; name a split"):
        score_sets([empty], TRAINING)
    with pytest.raises(DatasetError, match="there are no test frames; name a split"):
        score_sets([], TRAINING)
    assert [each.name for each in score_sets([empty, small_set(tmp_path, name="day")], TRAINING)] == ["day"]


def test_the_same_evaluation_gives_the_same_page_and_leaves_no_style_behind(
    evaluated: EvaluatedSet, html: str
) -> None:
    before = dict(mpl.rcParams)
    assert html_of(evaluated) == html
    assert dict(mpl.rcParams) == before


def test_results_come_back_as_they_were_written(tmp_path: Path) -> None:
    found = results(small_set(tmp_path / "day", name="day"), lost_set(tmp_path / "night"))
    path = tmp_path / "results.json"
    found.save(path)
    assert Results.load(path) == found
    assert found.headline == found.sets[0]
    assert found.headline.estimates.frames == found.test_frames == 6
    assert found.sets[1].lost_reasons == {"too dark": 6}
    text = path.read_text()
    assert "Infinity" not in text
    assert "NaN" not in text
    assert json.loads(text)["sets"][1]["estimates"]["meters"]["mean"] is None
    assert found.timing is not None
    assert found.timing.frames == 3
    assert found.timing.median == pytest.approx(20.0)


def test_results_of_another_version_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    results(small_set(tmp_path / "images")).save(path)
    text = re.sub(r'"checksum":\s*"[^"]*",\s*', "", path.read_text())
    path.write_text(text.replace('"recipe"', '"recipy"'))
    with pytest.raises(CheckpointError, match=r"results\.json is not a results file"):
        Results.load(path)
    with pytest.raises(CheckpointError, match="cannot be read"):
        Results.load(tmp_path / "none.json")


def test_the_table_has_the_baselines_under_every_result(tmp_path: Path) -> None:
    other = frames_with_images(tmp_path / "walk", line_of_poses(6, step=0.7))
    walk = EvaluatedSet("walk", other, tuple(Lost("too dark") for _ in other))
    day, night = small_set(tmp_path / "day", name="[red]day"), lost_set(tmp_path / "night")
    table = format_table(results(day, night, walk))
    lines = table.splitlines()
    shown = [line.split("  ")[0].strip() for line in lines if "(6)" in line]
    assert shown == ["[red]day (6)", "night (6)", "walk (6)"]
    assert max(len(line) for line in lines) <= 80
    # Day and night have the same camera poses, and so the same baselines, which stand there once.
    order = [line.strip().split("  ")[0] for line in lines if "(6)" in line or line.startswith("   ")]
    baselines = ["nearest pose", "nearest position", "mean pose"]
    assert order == ["[red]day (6)", "night (6)", *baselines, "walk (6)", *baselines]
    assert "∞" in next(line for line in lines if "night (6)" in line)
    assert "\x1b" not in table


def test_timing_of_frames_that_only_warm_up_is_none() -> None:
    assert timing_of([0.1, 0.2, 0.3], device="cpu") is None


def test_a_map_shows_the_two_axes_along_which_cameras_spread_most() -> None:
    centres = torch.tensor([[0.0, 0.0, 0.0], [2.0, 0.1, 5.0]], dtype=torch.float64)
    assert map_axes(Pose(torch.eye(3, dtype=torch.float64).expand(2, 3, 3), centres)) == (0, 2)


def test_a_log_without_losses_and_validations_has_no_curve() -> None:
    assert training_curve([]) is None
    assert training_curve([{"epoch": 1, "learning_rate": 0.1}, {"epoch": 2, "loss_a": float("nan")}]) is None
    assert training_curve([{"epoch": 1, "validation_meters": 0.5}]) is not None


@pytest.mark.parametrize(
    ("result", "nearest", "mean", "expected"),
    [
        ((0.1, 1.0), (0.2, 2.0), (1.0, 9.0), "better than the nearest training pose in position and in or"),
        (
            (0.1, 3.0),
            (0.2, 2.0),
            (1.0, 9.0),
            "better than the nearest training pose in position, but not in or",
        ),
        ((0.3, 1.0), (0.2, 2.0), (1.0, 9.0), "better than the nearest training pose in orientation, but not"),
        ((0.3, 3.0), (0.2, 2.0), (1.0, 9.0), "better than the mean pose, but not better than the nearest"),
        ((1.0, 3.0), (0.2, 2.0), (1.0, 9.0), "no better than the mean training pose"),
        ((math.inf, math.inf), (0.2, 2.0), (1.0, 9.0), "worse than both baselines"),
    ],
)
def test_the_comparison_names_the_baselines_with_larger_errors(
    result: tuple[float, float], nearest: tuple[float, float], mean: tuple[float, float], expected: str
) -> None:
    def statistics(error: tuple[float, float]) -> ErrorStatistics:
        meters, degrees = torch.tensor([error], dtype=torch.float64).unbind(1)
        return error_statistics(PoseError(meters, degrees))

    assert expected in comparison(statistics(result), statistics(nearest), statistics(mean))


@pytest.mark.parametrize(
    ("share", "expected"),
    [(0.0, "0 %"), (0.0004, "< 0.1 %"), (0.5, "50.0 %"), (0.9996, "> 99.9 %"), (1.0, "100 %")],
)
def test_a_percentage_is_never_rounded_to_none_or_all(share: float, expected: str) -> None:
    assert percent(share) == expected
