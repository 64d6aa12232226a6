"""A sequence in a synthetic room: near poses, gaps, outliers, times, and the command."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.support.coded_images import coded_image, pose_of, read_codes, scene_map, write_run
from tests.support.command_line import camloc, refused

from camloc import Localizer, Located, Lost, Query
from camloc.data.formats.tum import Trajectory
from camloc.data.query import NamedQuery
from camloc.errors import DatasetError
from camloc.geometry.pose import Pose, pose_error
from camloc.inference.tracking import Track, checked_odometry, interpolated, usual_distance
from camloc.inference.verification import MapLocalizer

Capture = pytest.CaptureFixture[str]
COVERED = range(8, 12)


@pytest.fixture(autouse=True)
def codes(monkeypatch: pytest.MonkeyPatch) -> None:
    read_codes(monkeypatch)


@pytest.fixture(scope="module")
def localizer() -> Localizer:
    return Localizer(maps={"room": MapLocalizer(scene_map())})


def queries(steps: range = range(14), *, covered: range = COVERED) -> Iterator[NamedQuery]:
    for step in steps:
        image = coded_image(step, is_covered=step in covered)
        yield NamedQuery(f"{step}.png", Query(image, time=step / 10.0))


def meters(pose: object, step: int) -> float:
    assert isinstance(pose, Located)
    return float(pose_error(pose.world_from_cam, pose_of(step)).meters)


def test_a_sequence_is_located_near_the_prediction_and_bridged(localizer: Localizer) -> None:
    track = Track(localizer)
    live = list(track.images(queries()))
    found = [each.single.verification for each in live[2:8] if isinstance(each.single, Located)]
    assert [each.found_by for each in found if each] == ["prior"] * 6
    smooth = track.smooth()
    for step, image in enumerate(smooth):
        assert image.name == f"{step}.png"
        assert meters(image.pose, step) < (0.15 if step in COVERED else 0.03)
        assert isinstance(image.pose, Located)
        assert image.pose.is_bridged == (step in COVERED)
        assert image.pose.found_by == ("motion" if step in COVERED else "map")
        assert image.pose.covariance is not None
    assert isinstance(live[9].single, Lost)
    (before, late) = (live[row].pose for row in (7, 11))
    assert isinstance(before, Located)
    assert isinstance(late, Located)
    assert before.expected_error is not None
    assert late.expected_error is not None
    assert late.expected_error.meters > before.expected_error.meters


def test_long_gaps_stay_lost_and_nothing_is_there_before_the_first_pose(localizer: Localizer) -> None:
    track = Track(localizer)
    steps = [NamedQuery("0", Query(coded_image(0, is_covered=True), time=0.0))]
    steps += [NamedQuery(str(step), Query(coded_image(step), time=1.0 + step / 10)) for step in range(3)]
    steps += [NamedQuery("99", Query(coded_image(9, is_covered=True), time=600.0))]
    poses = [image.pose for image in track.images(steps)]
    assert isinstance(poses[0], Lost)
    assert all(isinstance(pose, Located) for pose in poses[1:4])
    assert isinstance(poses[4], Lost)
    assert "too uncertain" in poses[4].reason


def test_times_must_rise(localizer: Localizer) -> None:
    twice = [
        NamedQuery("a", Query(coded_image(0), time=1.0)),
        NamedQuery("b", Query(coded_image(1), time=1.0)),
    ]
    with pytest.raises(DatasetError, match="not after the image before"):
        list(Track(localizer).images(twice))


def test_images_without_times_have_those_of_the_rate(localizer: Localizer) -> None:
    some = [NamedQuery(str(step), Query(coded_image(step))) for step in range(3)]
    assert [each.time for each in Track(localizer, rate=4.0).images(some)] == [0.0, 0.25, 0.5]


def test_odometry_is_interpolated_and_checked() -> None:
    path = Trajectory((0.0, 1.0), Pose.stack([pose_of(0), pose_of(10)]))
    middle = interpolated(path, 0.5)
    assert middle is not None
    np.testing.assert_allclose(middle.translation, (pose_of(0).translation + pose_of(10).translation) / 2)
    assert interpolated(path, 1.5) is None
    back = checked_odometry(Trajectory((1.0, 0.0), path.world_from_cam), "odometry")
    assert back.times == (0.0, 1.0)
    with pytest.raises(DatasetError, match="one time"):
        checked_odometry(Trajectory((1.0, 1.0), path.world_from_cam), "odometry")


def test_the_usual_distance_is_that_of_the_walls() -> None:
    assert 2.0 < usual_distance(scene_map()) < 5.0


def test_the_command_writes_the_path_of_a_folder(tmp_path: Path, capfd: Capture) -> None:
    run = write_run(tmp_path / "run")
    for step in range(7):
        (tmp_path / "walk").mkdir(exist_ok=True)
        Image.fromarray(coded_image(step, is_covered=step in (3, 4))).save(tmp_path / "walk" / f"{step}.png")
    ended = camloc(capfd, "track", run, tmp_path / "walk", "--rate", "10")
    assert ended.status == 0
    assert len(ended.out.splitlines()) == 7
    assert "5 located, 2 bridged, 0 lost" in " ".join(ended.err.split())
    assert sum("bridged" in line for line in ended.out.splitlines()) == 2
    ended = camloc(capfd, "track", run, tmp_path / "walk", "--format", "tum", "--out", tmp_path / "a.tum")
    assert ended.status == 0
    rows = [line.split() for line in (tmp_path / "a.tum").read_text().splitlines()[1:]]
    assert [float(row[0]) for row in rows] == pytest.approx([step / 30.0 for step in range(7)])
    assert "leave out" in refused(
        capfd, "track", run, tmp_path / "walk", "--live", "--format", "tum", status=2
    )
