"""A map comes back as it was saved, and no damage of its files goes unnoticed."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.support.mapped import reseal_map

from camloc.errors import CheckpointError
from camloc.geometry.camera import Camera
from camloc.mapping.features import FeatureSettings
from camloc.mapping.scene_map import (
    ARRAYS_FILE,
    METADATA_FILE,
    Calibration,
    DescriptorCodec,
    Retrieval,
    SceneMap,
    is_map,
)


def small_map(points: int = 5) -> SceneMap:
    rng = np.random.default_rng(0)

    def half(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(np.float16)

    return SceneMap(
        scene="küche",
        unit="units",
        features=FeatureSettings(most=321),
        origin=np.array([1e6, -2.0, 3.0]),
        points=rng.normal(size=(points, 3)).astype(np.float32),
        point_sigmas=np.abs(half(points)),
        point_scales=np.abs(half(points)),
        descriptors=rng.integers(0, 256, (points, 4), dtype=np.uint8),
        codec=DescriptorCodec(
            rng.normal(size=8).astype(np.float32), rng.normal(size=(8, 4)).astype(np.float32), 0.37
        ),
        frame_names=("a/1.jpg", "a/2\udcff.jpg"),
        frame_positions=rng.normal(size=(2, 3)).astype(np.float32),
        frame_quaternions_wxyz=np.array([[1, 0, 0, 0], [0.5, 0.5, -0.5, 0.5]], dtype=np.float32),
        cameras=(Camera(640, 480, 500.0, 501.0, 320.0, 240.0, "OPENCV", (0.1, 0.01, 0.0, 0.0)),),
        frame_cameras=np.zeros(2, dtype=np.int32),
        seen_offsets=np.array([0, 2, 5], dtype=np.int32),
        seen_points=np.array([0, 3, 1, 2, 4], dtype=np.int32),
        retrieval=Retrieval(half(2, 4), half(8), half(8, 3), half(2, 3)),
        calibration=Calibration(least_inliers=14, position_scale=2.5, frames=30),
    )


def assert_equal(first: SceneMap, second: SceneMap) -> None:
    assert first.to_files() == second.to_files()
    for name in ("points", "descriptors", "seen_points", "seen_offsets", "frame_positions", "origin"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
        assert getattr(first, name).dtype == getattr(second, name).dtype
    for name in ("scene", "unit", "features", "frame_names", "cameras", "calibration"):
        assert getattr(first, name) == getattr(second, name)


def test_a_map_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    scene_map = small_map()
    scene_map.save(tmp_path / "map")
    assert is_map(tmp_path / "map")
    assert not is_map(tmp_path)
    assert_equal(SceneMap.load(tmp_path / "map"), scene_map)


def test_a_map_without_retrieval_and_calibration_comes_back() -> None:
    scene_map = replace(small_map(), retrieval=None, calibration=Calibration())
    back = SceneMap.from_files(scene_map.to_files(), source="here")
    assert back.retrieval is None
    assert_equal(back, scene_map)


def test_more_points_than_two_bytes_count_come_back() -> None:
    count = 70_000
    scene_map = replace(small_map(count), seen_points=np.array([0, 3, 1, 2, count - 1], dtype=np.int32))
    assert SceneMap.from_files(scene_map.to_files(), source="here").seen_points[-1] == count - 1


def test_positions_are_relative_to_the_origin() -> None:
    scene_map = small_map()
    np.testing.assert_allclose(scene_map.points_in_world() - scene_map.origin, scene_map.points, atol=1e-9)
    np.testing.assert_allclose(scene_map.points_in_world(np.array([3]))[0], scene_map.points_in_world()[3])
    np.testing.assert_allclose(scene_map.frame_rotations()[1], [[0, -1, 0], [0, 0, -1], [1, 0, 0]], atol=1e-7)
    assert scene_map.points_seen_by(1).tolist() == [1, 2, 4]


@pytest.mark.parametrize("name", [ARRAYS_FILE, METADATA_FILE])
def test_every_damaged_byte_is_noticed(name: str) -> None:
    files = small_map().to_files()
    for place in range(len(files[name])):
        damaged = bytearray(files[name])
        damaged[place] ^= 0x01
        with pytest.raises(CheckpointError, match="here"):
            SceneMap.from_files({**files, name: bytes(damaged)}, source="here")


@pytest.mark.parametrize("name", [ARRAYS_FILE, METADATA_FILE])
def test_files_that_are_cut_or_missing_are_refused(tmp_path: Path, name: str) -> None:
    small_map().save(tmp_path)
    whole = (tmp_path / name).read_bytes()
    for length in (0, 1, len(whole) // 2, len(whole) - 1):
        (tmp_path / name).write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match="damaged"):
            SceneMap.load(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(CheckpointError, match="is missing"):
        SceneMap.load(tmp_path)


def test_the_files_of_two_maps_do_not_mix() -> None:
    first, second = small_map().to_files(), small_map(6).to_files()
    with pytest.raises(CheckpointError, match="damaged"):
        SceneMap.from_files({**first, ARRAYS_FILE: second[ARRAYS_FILE]}, source="here")


def test_another_version_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("camloc.mapping.scene_map.FORMAT", 99)
    files = small_map().to_files()
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match="has format 99"):
        SceneMap.from_files(files, source="here")


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_map().save(tmp_path)
    monkeypatch.setattr("camloc.mapping.scene_map.MOST_ARRAY_BYTES", 10)
    with pytest.raises(CheckpointError, match="more than 10 bytes"):
        SceneMap.load(tmp_path)
    with pytest.raises(CheckpointError, match="more than 10 bytes"):
        SceneMap.from_files(small_map().to_files(), source="here")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"points": np.zeros((4, 3), np.float32)}, "point_sigmas"),
        ({"points": np.full((5, 3), np.nan, np.float32)}, "not finite"),
        ({"descriptors": np.zeros((5, 4), np.int8)}, "descriptors"),
        ({"unit": "feet"}, "unit"),
        ({"frame_names": ("a", "a")}, "name of its own"),
        ({"seen_points": np.array([0, 3, 1, 2, 5], np.int32)}, "does not have"),
        ({"seen_offsets": np.array([0, 4, 3], np.int32)}, "observations"),
        ({"frame_cameras": np.array([0, 1], np.int32)}, "does not list"),
        ({"frame_quaternions_wxyz": np.zeros((2, 4), np.float32)}, "no rotation"),
        ({"origin": np.zeros(2)}, "origin"),
    ],
)
def test_parts_that_do_not_fit_together_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):  # of shapes, jaxtyping is first
        replace(small_map(), **changes)  # type: ignore[arg-type]


def test_unknown_settings_are_another_version() -> None:
    files = small_map().to_files()
    content = json.loads(files[METADATA_FILE])["content"]
    content["features"]["upside_down"] = True
    from camloc.mapping import scene_map as module

    metadata = {
        "format": module.FORMAT,
        "content_sha256": module._sha256(module._encoded(content)),
        "content": content,
    }
    with pytest.raises(CheckpointError, match="another version"):
        SceneMap.from_files({**files, METADATA_FILE: module._encoded(metadata)}, source="here")


@pytest.mark.parametrize(
    "changes",
    [{"scene": [0]}, {"unit": "km"}, {"codec_step": "x"}, {"frame_names": 3}, {"features": {"most": -1}}],
    ids=repr,
)
def test_values_of_other_types_and_ranges_are_refused(changes: dict[str, object], tmp_path: Path) -> None:
    small_map().save(tmp_path)
    content = json.loads((tmp_path / METADATA_FILE).read_text())["content"]
    reseal_map(tmp_path, content | changes)
    with pytest.raises(CheckpointError, match="of another version of camloc or damaged"):
        SceneMap.load(tmp_path)


def test_codes_keep_distances() -> None:
    rng = np.random.default_rng(3)
    basis = np.linalg.qr(rng.normal(size=(16, 16)))[0].astype(np.float32)
    codec = DescriptorCodec(np.full(16, 100.0, np.float32), basis, 1.5)
    descriptors = rng.uniform(60.0, 140.0, (50, 16)).astype(np.float32)
    codes = codec.decode(codec.encode(descriptors))
    distances = np.linalg.norm(codes[:, None] - codes, axis=2) * codec.step
    expected = np.linalg.norm(descriptors[:, None] - descriptors, axis=2)
    np.testing.assert_allclose(distances, expected, atol=1.5 * np.sqrt(16))
    np.testing.assert_allclose(codec.project(descriptors), codes, atol=0.51)
