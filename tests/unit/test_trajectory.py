"""Estimates as CSV, TUM, COLMAP and JSON: orders, directions, and what becomes of lost frames."""

import csv
import json
import math
from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import pycolmap
import pytest
import torch
from tests.support.estimates import frames_with_images, line_of_poses, off_by, pose_at
from tests.support.strategies import rotation_about

from camloc.data.estimate_files import (
    csv_header,
    csv_row,
    estimates_json,
    estimates_tum,
    json_line,
    write_colmap,
    write_nerfstudio,
)
from camloc.data.formats import nerfstudio, table
from camloc.data.formats.tum import Trajectory, read_trajectory, write_trajectory
from camloc.data.types import Estimate, ExpectedError, Frame, Located, Lost
from camloc.errors import DatasetError
from camloc.evaluation.errors import EvaluatedSet, score_sets
from camloc.evaluation.files import (
    CSV_COLUMNS,
    estimates_csv,
    truth_tum,
)
from camloc.geometry import Camera, Pose, pose_error


def frames(count: int = 4, *, times: list[float | None] | None = None) -> tuple[Frame, ...]:
    return tuple(
        Frame(
            f"seq/{number}.png",
            Path(f"{number}.png"),
            world_from_cam=pose.numpy(),
            sequence="seq",
            time=times[number] if times else None,
        )
        for number, pose in enumerate(line_of_poses(count))
    )


def located(some: tuple[Frame, ...]) -> tuple[Estimate, ...]:
    return tuple(off_by(frame, meters=0.25, degrees=10.0 * number) for number, frame in enumerate(some))


def as_located(estimate: Estimate) -> Located:
    assert isinstance(estimate, Located)
    return estimate


def csv_of(evaluated: EvaluatedSet) -> str:
    return estimates_csv(score_sets([evaluated], line_of_poses(3)))


def data_lines(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines() if line and not line.startswith("#")]


def test_a_tum_line_is_time_position_and_a_quaternion_with_the_scalar_last() -> None:
    quarter_turn = Pose(
        rotation_about((0.0, 0.0, 1.0), math.pi / 2), torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    )
    frame = Frame("a.png", Path("a.png"), world_from_cam=quarter_turn.numpy(), time=1305031102.1753)
    line = data_lines(truth_tum((frame,)))[0]
    half = math.sqrt(0.5)
    assert [float(word) for word in line] == pytest.approx([1305031102.1753, 1, 2, 3, 0, 0, half, half])
    assert data_lines(estimates_tum((frame,), (Located("kitchen", quarter_turn),)))[0] == line


def test_a_tum_file_is_the_same_whoever_writes_it(tmp_path: Path) -> None:
    some = frames(3, times=[0.1, 0.1000000001, 1305031102.1753])
    poses = Pose.stack([frame.truth() for frame in some])
    write_trajectory(Trajectory((0.1, 0.1000000001, 1305031102.1753), poses), tmp_path / "walk.tum")
    assert truth_tum(some) == (tmp_path / "walk.tum").read_text()
    assert estimates_tum(some, [Located("kitchen", pose) for pose in poses]) == truth_tum(some)
    read = read_trajectory(tmp_path / "walk.tum")
    assert read.times == (0.1, 0.1000000001, 1305031102.1753)
    np.testing.assert_array_equal(read.world_from_cam.translation, poses.translation)


def test_a_tum_file_of_lost_frames_has_its_heading_alone() -> None:
    some = frames(2)
    text = estimates_tum(some, [Lost("blur"), Lost("blur")])
    assert text.startswith("#")
    assert data_lines(text) == []


def test_the_tum_reader_reads_the_estimates_back(tmp_path: Path) -> None:
    some = frames(5, times=[0.5, 1.0, 1.25, 1.5, 9.0])
    estimates = located(some)
    path = tmp_path / "estimates.tum"
    path.write_text(estimates_tum(some, estimates))
    read = read_trajectory(path)
    assert list(read.times) == [0.5, 1.0, 1.25, 1.5, 9.0]
    truth = Pose.stack([estimate.world_from_cam for estimate in estimates if isinstance(estimate, Located)])
    error = pose_error(read.world_from_cam.tensor(), truth)
    assert error.meters.max() < 1e-8
    assert error.degrees.max() < 1e-6


@pytest.mark.parametrize("times", [None, [1.0, 2.0, None, 4.0], [1.0, 2.0, 2.0, 3.0]])
def test_frames_without_times_of_their_own_are_numbered(times: list[float | None] | None) -> None:
    some = frames(4, times=times)
    estimates = (*located(some)[:1], Lost("blur"), *located(some)[2:])
    assert [line[0] for line in data_lines(truth_tum(some))] == ["0", "1", "2", "3"]
    assert [line[0] for line in data_lines(estimates_tum(some, estimates))] == ["0", "2", "3"]


def test_the_csv_holds_truth_estimate_errors_and_reasons() -> None:
    some = frames(3, times=[0.5, 1.5, 2.5])
    wrong = off_by(some[0], meters=0.25, degrees=30.0)
    evaluated = EvaluatedSet("day, noon", some, (wrong, Lost("too dark"), Lost("")))
    rows = list(csv.DictReader(StringIO(csv_of(evaluated))))
    assert tuple(rows[0]) == CSV_COLUMNS
    first, second, third = rows
    assert isinstance(wrong, Located)
    found = Pose.from_quaternion_wxyz(
        torch.tensor(
            [float(first[f"{name}_world_from_cam"]) for name in ("qw", "qx", "qy", "qz")], dtype=torch.float64
        ),
        torch.tensor([float(first[name]) for name in ("tx", "ty", "tz")], dtype=torch.float64),
    )
    assert pose_error(found, wrong.world_from_cam).meters < 1e-8
    assert pose_error(found, wrong.world_from_cam).degrees < 1e-6
    assert float(first["meters"]) == pytest.approx(0.25)
    assert float(first["degrees"]) == pytest.approx(30.0)
    assert float(first["truth_tx"]) == 0.0
    assert float(second["truth_tx"]) == 0.5
    assert first["lost"] == ""
    assert (second["lost"], second["tx"], second["qw_world_from_cam"], second["meters"]) == (
        "too dark",
        "",
        "",
        "",
    )
    assert third["lost"] == "no reason given"
    assert (first["image"], first["set"], first["sequence"], first["time"]) == (
        "seq/0.png",
        "day, noon",
        "seq",
        "0.5",
    )


def test_the_table_reader_reads_the_estimates_back(tmp_path: Path) -> None:
    some = frames_with_images(
        tmp_path / "seq", line_of_poses(3), names=[f"seq/{row}.png" for row in range(3)]
    )
    estimates = located(some)
    path = tmp_path / "estimates.csv"
    path.write_text(csv_of(EvaluatedSet("day", some, estimates)))
    read = table.load(path)
    assert [frame.name for frame in read.train] == [frame.name for frame in some]
    for frame, estimate in zip(read.train, estimates, strict=True):
        assert isinstance(estimate, Located)
        error = pose_error(frame.truth().tensor(), estimate.world_from_cam)
        assert error.meters < 1e-8
        assert error.degrees < 1e-6


def test_a_reason_of_several_lines_stays_in_its_row() -> None:
    some = frames(1)
    text = csv_of(EvaluatedSet("day", some, (Lost("too dark\nand blurred"),)))
    assert len(text.splitlines()) == 2
    assert "too dark and blurred" in text


def test_colmap_reads_the_estimates_back_as_cam_from_world(tmp_path: Path) -> None:
    some = frames(3)
    camera = Camera(64, 48, 60.0, 61.0, 32.0, 24.0)
    estimates: tuple[Estimate, ...] = (located(some)[0], Lost("blur"), located(some)[2])
    estimates = tuple(
        replace(each, camera=camera) if isinstance(each, Located) else each for each in estimates
    )
    write_colmap(some, estimates, tmp_path)
    images = pycolmap.Reconstruction(tmp_path).images
    (of_colmap,) = pycolmap.Reconstruction(tmp_path).cameras.values()
    assert Camera.from_colmap(of_colmap) == camera
    assert sorted(image.name for image in images.values()) == ["seq/0.png", "seq/2.png"]
    for image in images.values():
        row = int(image.name[4])
        estimate = estimates[row]
        assert isinstance(estimate, Located)
        matrix = torch.eye(4, dtype=torch.float64)
        matrix[:3] = torch.from_numpy(image.cam_from_world().matrix().copy())
        error = pose_error(Pose.from_matrix(matrix).inverse(), estimate.world_from_cam)
        assert error.meters < 1e-7
        assert error.degrees < 1e-6


def test_a_name_that_would_break_the_colmap_file_is_refused(tmp_path: Path) -> None:
    frame = replace(frames(1)[0], name="a\nb.png")
    estimate = replace(as_located(off_by(frame)), camera=Camera(64, 48, 60.0, 60.0, 32.0, 24.0))
    with pytest.raises(DatasetError, match="blank"):
        write_colmap((frame,), (estimate,), tmp_path)


def test_what_one_world_cannot_hold_is_refused(tmp_path: Path) -> None:
    some = frames(2)
    with pytest.raises(DatasetError, match="no image is located"):
        write_colmap(some, (Lost("blur"), Lost("blur")), tmp_path)
    apart = (off_by(some[0]), replace(as_located(off_by(some[1])), scene="attic"))
    with pytest.raises(DatasetError, match="one world"):
        write_nerfstudio(some, apart, tmp_path / "transforms.json")


def test_the_nerfstudio_reader_reads_the_estimates_back(tmp_path: Path) -> None:
    some = frames_with_images(tmp_path, line_of_poses(3), names=[f"{row}.png" for row in range(3)])
    camera = Camera(64, 48, 60.0, 60.0, 32.0, 24.0)
    estimates = [replace(each, camera=camera) for each in located(some) if isinstance(each, Located)]
    write_nerfstudio(some, estimates, tmp_path / "transforms.json")
    read = nerfstudio.load(tmp_path)
    for frame, estimate in zip(read.train, estimates, strict=True):
        assert pose_error(frame.truth().tensor(), estimate.world_from_cam).meters < 1e-8


def test_lines_of_tables_and_of_json_lines_hold_the_answers(tmp_path: Path) -> None:
    some = frames_with_images(tmp_path, line_of_poses(2), names=["0.png", "1.png"])
    estimate = replace(as_located(off_by(some[0])), time=1.5)
    text = csv_header() + csv_row("0.png", estimate) + csv_row("1.png", Lost("too dark\nto see", time=2.0))
    rows = list(csv.DictReader(StringIO(text)))
    assert [row["lost"] for row in rows] == ["", "too dark to see"]
    assert [row["time"] for row in rows] == ["1.5", "2.0"]
    (tmp_path / "poses.csv").write_text(csv_header() + csv_row("0.png", estimate))
    (frame,) = table.load(tmp_path / "poses.csv").train
    assert pose_error(frame.truth().tensor(), estimate.world_from_cam).meters < 1e-8
    line = json_line("0.png", estimate)
    assert line.count("\n") == 1
    assert json.loads(line)["time_seconds"] == 1.5


def test_json_names_the_order_of_the_quaternion_and_keeps_lost_frames() -> None:
    some = frames(2)
    pose = pose_at(1.0, 2.0, 3.0, degrees=90.0)
    estimates = (Located("kitchen", pose, ExpectedError(0.1, 2.0), 0.75), Lost("too dark"))
    first, second = json.loads(estimates_json(some, estimates))
    assert first["position"] == [1.0, 2.0, 3.0]
    assert first["quaternion_wxyz"] == pytest.approx([math.sqrt(0.5), 0.0, math.sqrt(0.5), 0.0])
    assert (first["scene"], first["probability"]) == ("kitchen", 0.75)
    assert first["expected_error"] == {"meters": 0.1, "degrees": 2.0}
    assert first["world_from_cam"] == pose.matrix().tolist()
    assert second == {"image": "seq/1.png", "located": False, "reason": "too dark"}
    assert Located("kitchen", pose).to_dict()["expected_error"] is None


def test_json_leaves_out_values_that_a_model_does_not_have() -> None:
    known = {"residual_meters": 0.02, "novelty": 0.4, "unrefined_position": [1.0, 2.0, 4.0]}
    pose, unrefined = pose_at(1.0, 2.0, 3.0), pose_at(1.0, 2.0, 4.0)
    without = Located("kitchen", pose).to_dict()
    assert without.keys() & known.keys() == set()
    estimate = Located("kitchen", pose, residual=0.02, novelty=0.4, unrefined=unrefined)
    assert estimate.to_dict() == without | known | {"found_by": "refined network"}
