"""Photographs without poses become a scene: one small reconstruction of rendered images, and its damage."""

import shutil
from pathlib import Path

import numpy as np
import pycolmap
import pytest
from PIL import Image
from tests.support.command_line import camloc
from tests.support.demo_views import pose_looking, shared_renderer

from camloc.data import formats
from camloc.data.types import poses_of
from camloc.errors import DatasetError
from camloc.geometry.alignment import umeyama
from camloc.geometry.camera import Camera
from camloc.mapping.features import FeatureSettings
from camloc.mapping.structure_from_motion import MotionSettings
from camloc.runs.poses import KnownDistance, PosesReport, add_photos, compute_poses, read_report

CAMERA = Camera(width=240, height=180, fx=195.0, fy=195.0, cx=120.0, cy=90.0)
SMALL = MotionSettings(features=FeatureSettings(least_pixels=300 * 225, most=800))

# Camera centres in metres and headings in degrees: an arc in the corner, and three views of another part.
ARC = [((-3.0 + 0.4 * step, 1.0 - 0.15 * step, 1.6), 120.0 + 4.0 * step) for step in range(7)]
ELSEWHERE = [((-3.0 + 0.4 * step, 1.0, 1.6), 300.0) for step in range(3)]
NEW = 3  # of the arc, added later


def render(path: Path, view: tuple[tuple[float, float, float], float]) -> None:
    image = shared_renderer().render_view(pose_looking(*view), CAMERA).rgb
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, PosesReport]:
    """The photographs, the scene that was made of them, and the report."""
    root = tmp_path_factory.mktemp("poses")
    photos = root / "photos"
    for number, view in enumerate(ARC):
        render((root / "new" if number == NEW else photos) / f"a_{number}.png", view)
    for number, view in enumerate(ELSEWHERE):
        render(photos / f"b_{number}.png", view)
    shutil.copy(photos / "a_2.png", photos / "a_copy.png")
    Image.new("RGB", (240, 180)).save(photos / "black.png")
    (photos / "broken.png").write_bytes(b"no image")
    (photos / "notes.txt").write_text("taken on Monday")
    report = compute_poses(
        photos,
        root / "scene",
        settings=SMALL,
        known_distance=KnownDistance("a_0", "a_6.png", true_distance(0, 6)),
    )
    return photos, root / "scene", report


def true_distance(first: int, second: int) -> float:
    return float(np.linalg.norm(np.subtract(ARC[first][0], ARC[second][0])))


def test_all_images_of_the_larger_group_are_placed_where_they_were_taken(
    folders: tuple[Path, Path, PosesReport],
) -> None:
    _, out, report = folders
    assert report.placed == tuple(f"a_{number}.png" for number in range(7) if number != NEW)
    scene = formats.load(out)
    frames = (*scene.train, *scene.test)
    truth = np.array([ARC[int(frame.name[-5])][0] for frame in frames])
    centers = np.asarray(poses_of(frames).translation)
    similarity = umeyama(centers, truth)
    errors = np.linalg.norm(
        similarity.scale * (centers @ similarity.motion.rotation.T) + similarity.motion.translation - truth,
        axis=1,
    )
    assert np.median(errors) < 0.01 * true_distance(0, 6)
    assert similarity.scale == pytest.approx(1.0, abs=0.02)  # by the known distance
    assert scene.unit == "m"
    assert all(frame.camera is not None and abs(frame.camera.fx / 195.0 - 1.0) < 0.1 for frame in frames)


def test_the_world_is_level(folders: tuple[Path, Path, PosesReport]) -> None:
    scene = formats.load(folders[1])
    downs = np.asarray(poses_of(scene.train).rotation)[:, :, 1]
    assert (downs[:, 2] < -0.99).all()


def test_every_other_image_has_a_reason(folders: tuple[Path, Path, PosesReport]) -> None:
    _, out, report = folders
    assert report.unplaced["a_copy.png"] == "it is a copy of a_2.png"
    assert "evenly black" in report.unplaced["black.png"]
    assert "not an image" in report.refused["broken.png"]
    assert report.groups == (("b_0.png", "b_1.png", "b_2.png"),)
    assert {f"b_{number}.png" for number in range(3)} <= set(report.unplaced)
    assert read_report(out) == report


def test_colmap_opens_the_model_with_its_points(folders: tuple[Path, Path, PosesReport]) -> None:
    _, out, report = folders
    model = pycolmap.Reconstruction(out / "sparse" / "0")
    assert model.num_reg_images() == len(report.placed)
    assert model.num_points3D() == report.points > 100
    assert all((out / "images" / image.name).is_file() for image in model.images.values())


def test_a_folder_that_has_a_model_is_not_overwritten(folders: tuple[Path, Path, PosesReport]) -> None:
    with pytest.raises(DatasetError, match="has a model already"):
        compute_poses(folders[0], folders[1])


def test_new_photographs_are_located_in_the_map_and_appended(
    folders: tuple[Path, Path, PosesReport], tmp_path: Path
) -> None:
    photos, out, report = folders
    scene = tmp_path / "scene"
    shutil.copytree(out, scene)
    shutil.copy(photos / "black.png", photos.parent / "new" / "black.png")
    added = add_photos(photos.parent / "new", scene)
    assert added.placed == (f"added-001/a_{NEW}.png",)
    assert list(added.unplaced) == ["black.png"]
    loaded = formats.load(scene)
    new = next(frame for frame in loaded.train if "added-001" in frame.name)
    assert len(loaded.train) + len(loaded.test) == len(report.placed) + 1
    others = {frame.name[-5]: frame.truth().translation for frame in loaded.train}
    expected = np.mean([others[str(NEW - 1)], others[str(NEW + 1)]], axis=0)
    assert np.linalg.norm(new.truth().translation - expected) < 0.05  # metres; the arc is even


def test_start_goes_on_after_the_poses_and_does_nothing_twice(
    folders: tuple[Path, Path, PosesReport], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    photos, out, report = folders
    run = tmp_path / "run"
    shutil.copytree(out, run / "scene")
    first = camloc(capfd, "start", str(photos), "--out", str(run))
    assert first.status == 0, first.err
    assert f"6 of {report.images} images have a pose" in first.out
    assert "points from 6 images" in first.out
    built = (run / "map" / "0" / "map.json").stat().st_mtime_ns
    again = camloc(capfd, "start", str(photos), "--out", str(run))
    assert "is built" in again.err
    assert (run / "map" / "0" / "map.json").stat().st_mtime_ns == built
    other = camloc(capfd, "start", str(photos.parent / "new"), "--out", str(run))
    assert other.status == 2
    assert "holds the poses of" in other.err


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a_0.png"], "two different images or more"),
        (["a_2.png", "a_copy.png"], "copy of"),
        (["a_0.png", "b_0.png"], "no two of the 2 images show the same"),
        (["black.png", "broken.png"], "shows nothing"),
    ],
)
def test_too_few_or_unrelated_images_are_one_sentence(
    folders: tuple[Path, Path, PosesReport], names: list[str], message: str, tmp_path: Path
) -> None:
    (tmp_path / "photos").mkdir()
    for name in names:
        shutil.copy(folders[0] / name, tmp_path / "photos")
    with pytest.raises(DatasetError, match=message):
        compute_poses(tmp_path / "photos", tmp_path / "scene", settings=SMALL)
    assert not (tmp_path / "scene").exists()
