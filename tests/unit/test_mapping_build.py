"""A map is built from frames: what is left out is counted, budgets hold, the order does not matter."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.spatial.transform import Rotation

from camloc.data.types import Frame
from camloc.errors import DatasetError
from camloc.geometry.alignment import umeyama
from camloc.geometry.camera import Camera
from camloc.geometry.pose import Pose
from camloc.mapping import build
from camloc.mapping.build import MapSettings, assemble_map, build_scene_map, match_frames
from camloc.mapping.features import Features
from camloc.mapping.scene_map import SceneMap

CAMERA = Camera(640, 480, 500.0, 500.0, 320.0, 240.0)
FRAMES = 12
POINTS = np.random.default_rng(1).uniform(-1.2, 1.2, (600, 3))
DESCRIPTORS = np.random.default_rng(2).integers(0, 120, (600, 32), dtype=np.uint8)


def pose_of(number: int) -> Pose:
    """On an arc of 4 m radius, looking at the origin."""
    angle = -0.5 + number / FRAMES
    rotation = Rotation.from_rotvec((0.0, -angle, 0.0)).as_matrix()
    return Pose(rotation, np.array((4.0 * np.sin(angle), 0.05 * (number % 3), -4.0 * np.cos(angle))))


class Projector:
    """In place of an extractor: an image's brightness is its number, its features are the points there."""

    def __init__(self, camera: Camera = CAMERA) -> None:
        self.camera = camera

    def extract(self, image: np.ndarray, mask: np.ndarray | None = None) -> Features:
        pixels = self.camera.project(pose_of(int(image[0, 0, 0])).inverse().apply(POINTS))
        inside = (pixels > 0).all(axis=1) & (pixels < (self.camera.width, self.camera.height)).all(axis=1)
        if mask is not None:
            whole = pixels.astype(int).clip(0, (self.camera.width - 1, self.camera.height - 1))
            inside &= mask[whole[:, 1], whole[:, 0]]
        count = int(inside.sum())
        return Features(
            pixels[inside].astype(np.float32), np.full(count, 2.0, np.float32), DESCRIPTORS[inside]
        )


@pytest.fixture
def frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Frame]:
    monkeypatch.setattr(build, "feature_extractor", lambda _: Projector())
    return written(tmp_path, CAMERA)


def written(folder: Path, camera: Camera) -> list[Frame]:
    frames = []
    for number in range(FRAMES):
        path = folder / f"{number:02}.png"
        Image.new("RGB", (camera.width, camera.height), (number,) * 3).save(path)
        frames.append(Frame(path.name, path, camera, pose_of(number)))
    return frames


SETTINGS = MapSettings(dimensions=16)


def built(frames: list[Frame], settings: MapSettings = SETTINGS) -> SceneMap:
    return build_scene_map(frames, scene="arc", unit="m", settings=settings)[0]


def nearest_distances(scene_map: SceneMap) -> np.ndarray:
    offsets = scene_map.points_in_world()[:, None] - POINTS
    distances: np.ndarray = np.linalg.norm(offsets, axis=2).min(axis=1)
    return distances


def test_points_are_where_they_are(frames: list[Frame]) -> None:
    scene_map, report = build_scene_map(frames, scene="arc", unit="m", settings=SETTINGS)
    assert len(scene_map) > 500
    assert np.median(nearest_distances(scene_map)) < 1e-5  # keypoints are single precision
    assert report.frames == report.frames_kept == FRAMES
    assert report.points == len(scene_map)
    assert report.size_bytes == sum(map(len, scene_map.to_files().values()))
    assert report.depth == pytest.approx(4.0, rel=0.2)
    assert report.without_points == ()
    assert set(report.seconds) == {"features", "pairs", "matching", "triangulation", "selection"}
    np.testing.assert_allclose(scene_map.frame_centers()[3], pose_of(3).translation, atol=1e-6)
    np.testing.assert_allclose(scene_map.frame_rotations()[3], pose_of(3).rotation, atol=1e-6)
    np.testing.assert_allclose(scene_map.point_scales, 2.0 * 4.0 / 500.0, rtol=0.4)


def test_observations_are_of_points_in_view(frames: list[Frame]) -> None:
    scene_map = built(frames)
    for row in range(FRAMES):
        seen = scene_map.points_in_world(scene_map.points_seen_by(row))
        pixels = CAMERA.project(pose_of(row).inverse().apply(seen))
        assert len(seen) > 200
        assert ((pixels > 0) & (pixels < (640, 480))).all()


def test_the_order_of_frames_does_not_matter(frames: list[Frame]) -> None:
    first, second = built(frames), built(frames[::-1])
    assert first.to_files() == second.to_files()


def test_a_map_without_some_frames_knows_nothing_of_them(frames: list[Frame]) -> None:
    held_out = [frame.name for frame in frames[3:6]]
    matched = match_frames(frames, scene="arc", settings=SETTINGS, kept_features=held_out)
    scene_map, report = assemble_map(matched, scene="arc", unit="m", settings=SETTINGS, without=held_out)
    assert set(matched.features()) == set(held_out)
    assert report.frames == FRAMES - 3
    assert not set(held_out) & set(scene_map.frame_names)
    others = built([frame for frame in frames if frame.name not in held_out])
    assert scene_map.frame_names == others.frame_names
    assert len(scene_map) == pytest.approx(len(others), rel=0.1)
    np.testing.assert_array_less(nearest_distances(scene_map), 1e-3)


def test_what_cannot_be_used_is_left_out_and_counted(frames: list[Frame], tmp_path: Path) -> None:
    (tmp_path / "cut.png").write_bytes((tmp_path / "00.png").read_bytes()[:60])
    left_out = [
        Frame("gps.png", tmp_path / "01.png", CAMERA, pose_of(1).without_orientation()),
        Frame("cut.png", tmp_path / "cut.png", CAMERA, pose_of(1)),
        Frame("gone.png", tmp_path / "gone.png", CAMERA, pose_of(1)),
        Frame("unknown.png", tmp_path / "01.png", None, pose_of(1)),
        Frame("query.png", tmp_path / "01.png", CAMERA, None),
        Frame("other.png", tmp_path / "01.png", replace(CAMERA, width=480, height=640), pose_of(1)),
    ]
    scene_map, report = build_scene_map(frames + left_out, scene="arc", unit="m", settings=SETTINGS)
    assert report.frames == FRAMES
    assert report.position_only == ("gps.png",)
    assert report.without_camera == ("unknown.png",)
    assert report.without_pose == ("query.png",)
    assert set(report.unreadable) == {"cut.png", "gone.png", "other.png"}
    assert "does not exist" in report.unreadable["gone.png"]
    assert scene_map.to_files() == built(frames).to_files()


@pytest.mark.parametrize("size", [12_000, 25_000])
def test_budgets_hold_and_every_frame_keeps_points(frames: list[Frame], size: int) -> None:
    settings = replace(SETTINGS, size_bytes=size)
    scene_map, report = build_scene_map(frames, scene="arc", unit="m", settings=settings)
    assert 0.8 * size < report.size_bytes <= size
    assert np.diff(scene_map.seen_offsets).min() >= 20
    assert len(scene_map) < len(built(frames))
    assert np.median(nearest_distances(scene_map)) < 1e-5


def test_a_budget_that_is_too_small_is_refused(frames: list[Frame]) -> None:
    with pytest.raises(DatasetError, match="does not fit into 2,000 bytes"):
        built(frames, replace(SETTINGS, size_bytes=2000))


def test_masked_points_are_not_in_the_map(frames: list[Frame]) -> None:
    left = np.zeros((480, 640), dtype=bool)
    left[:, :320] = True
    scene_map, _ = build_scene_map(frames, scene="arc", unit="m", settings=SETTINGS, masks=lambda _: left)
    for row in range(FRAMES):
        seen = scene_map.points_in_world(scene_map.points_seen_by(row))
        assert (CAMERA.project(pose_of(row).inverse().apply(seen))[:, 0] < 320).all()


def test_a_mask_of_another_size_is_counted_as_unusable(frames: list[Frame]) -> None:
    def masks(frame: Frame) -> np.ndarray | None:
        return np.ones((10, 10), dtype=bool) if frame.name == "03.png" else None

    _, report = build_scene_map(frames, scene="arc", unit="m", settings=SETTINGS, masks=masks)
    assert list(report.unreadable) == ["03.png"]


def test_lens_distortion_is_undone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lens = replace(CAMERA, model="OPENCV", distortion=(-0.2, 0.05, 0.001, 0.0))
    monkeypatch.setattr(build, "feature_extractor", lambda _: Projector(lens))
    scene_map = built(written(tmp_path, lens))
    assert len(scene_map) > 500
    assert np.median(nearest_distances(scene_map)) < 1e-4


def test_one_frame_is_too_few(frames: list[Frame]) -> None:
    with pytest.raises(DatasetError, match="two frames or more"):
        built(frames[:1])
    with pytest.raises(DatasetError, match="two frames or more"):
        built([])


def test_frames_from_one_place_give_no_point(frames: list[Frame]) -> None:
    still = [replace(frame, image=frames[0].image, world_from_cam=pose_of(0)) for frame in frames]
    with pytest.raises(DatasetError, match="check that poses are world_from_cam"):
        built(still)


def test_wrong_poses_show_in_the_report(frames: list[Frame]) -> None:
    mixed = [
        replace(frame, world_from_cam=pose_of((7 * number) % FRAMES)) for number, frame in enumerate(frames)
    ]
    _, right = build_scene_map(frames, scene="arc", unit="m", settings=SETTINGS)
    _, wrong = build_scene_map(mixed, scene="arc", unit="m", settings=SETTINGS)
    assert right.matches > 0.99 * right.descriptor_matches
    assert wrong.matches < 0.7 * wrong.descriptor_matches


def test_poses_that_are_off_are_refined(frames: list[Frame]) -> None:
    """Poses a centimetre off come back to within millimetres, but for a motion of the whole."""
    rng = np.random.default_rng(5)
    off = [
        replace(
            frame,
            world_from_cam=Pose(
                frame.truth().rotation, frame.truth().translation + rng.normal(0.0, 0.008, 3)
            ),
        )
        for frame in frames
    ]
    settings = replace(SETTINGS, refine_poses=True)
    scene_map, report = build_scene_map(off, scene="arc", unit="m", settings=settings)
    assert report.pose_changes is not None
    assert 0.002 < report.pose_changes.median < 0.05
    assert report.pose_changes.pixels_after < 0.05 < report.pose_changes.pixels_before
    truth = np.stack([frame.truth().translation for frame in frames])
    similarity = umeyama(scene_map.frame_centers(), truth)
    moved = similarity.motion.apply(similarity.scale * scene_map.frame_centers())
    assert np.abs(moved - truth).max() < 2e-3
    assert build_scene_map(frames, scene="arc", unit="m", settings=SETTINGS)[1].pose_changes is None
