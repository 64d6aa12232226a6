"""What a writer writes, its reader reads: the same poses, cameras, splits and points."""

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.kinds import assert_alike
from tests.support.layouts import write_image
from tests.support.strategies import MILD_DISTORTION, cameras, clouds, pose_batches

from camloc.data import formats as datasets
from camloc.data.formats import colmap, nerfstudio, table, tum
from camloc.data.types import Frame, Scene, poses_of
from camloc.geometry import Camera, Pose, pixel_grid, pose_error

COUNT = 4

# Models for which transforms.json has no name, or no name for all that they can do.
NOT_NERFSTUDIO = {
    "DIVISION",
    "EUCM",
    "FOV",
    "FULL_OPENCV",
    "RAD_TAN_THIN_PRISM_FISHEYE",
    "SIMPLE_DIVISION",
    "THIN_PRISM_FISHEYE",
}
each_model = pytest.mark.parametrize("model", list(MILD_DISTORTION))
few = settings(max_examples=4)


def _frames(images: Path, poses: Pose, lens: list[Camera]) -> tuple[Frame, ...]:
    frames = []
    for number, pose in enumerate(poses):
        name = f"walk {number % 2}/{number}.png"
        camera = lens[number % len(lens)]
        write_image(images / name, (camera.width, camera.height))
        sequence = f"walk {number % 2}"
        frames.append(Frame(name, images / name, camera, pose.numpy(), sequence=sequence, time=number / 7))
    return tuple(frames)


def _assert_round_trip(poses: Pose, lens: list[Camera], again: Callable[[Scene, Path, Path], Scene]) -> None:
    """Write a scene with `again`, which reads it back, and compare."""
    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder) / "images"
        frames = _frames(images, poses, lens)
        scene = Scene("scene", frames[:-1], frames[-1:])
        found = again(scene, Path(folder) / "written", images)
        assert [frame.name for frame in found.train] == [frame.name for frame in scene.train]
        assert [frame.name for frame in found.test] == [frame.name for frame in scene.test]
        both = (*found.train, *found.test)
        error = pose_error(poses_of(both).tensor(), poses)
        assert error.meters.max() < 1e-9
        assert error.degrees.max() < 1e-9
        for frame, given_frame in zip(both, frames, strict=True):
            assert frame.camera is not None
            assert given_frame.camera is not None
            assert frame.sequence == given_frame.sequence
            _assert_same_lens(frame.camera, given_frame.camera)


def _assert_same_lens(found: Camera, expected: Camera) -> None:
    assert (found.width, found.height) == (expected.width, expected.height)
    grid = torch.from_numpy(pixel_grid(expected.width // 40, expected.height // 40, stride=40)).reshape(-1, 2)
    torch.testing.assert_close(found.project(expected.unproject(grid)), grid, rtol=0.0, atol=1e-6)


def _colmap(form: str) -> Callable[[Scene, Path, Path], Scene]:
    def again(scene: Scene, folder: Path, images: Path) -> Scene:
        colmap.write(scene, folder, form="text" if form == "text" else "binary")
        assert (folder / "images.txt").exists() == (form == "text")
        return datasets.load(folder, images=images)

    return again


def _nerfstudio(scene: Scene, folder: Path, images: Path) -> Scene:
    nerfstudio.write(scene, folder / "transforms.json")
    return datasets.load(folder, images=images)


def _table(scene: Scene, folder: Path, images: Path) -> Scene:
    table.write(scene, folder / "poses.csv")
    return datasets.load(folder, images=images)


def _unspaced(again: Callable[[Scene, Path, Path], Scene]) -> Callable[[Scene, Path, Path], Scene]:
    """COLMAP's text form cuts names at blanks, so there these names have none."""

    def without(frame: Frame) -> Frame:
        name = frame.name.replace(" ", "")
        frame.image.parents[1].joinpath(name).parent.mkdir(exist_ok=True)
        frame.image.rename(frame.image.parents[1] / name)
        return replace(frame, name=name)

    def run(scene: Scene, folder: Path, images: Path) -> Scene:
        renamed = Scene(scene.name, tuple(map(without, scene.train)), tuple(map(without, scene.test)))
        found = again(renamed, folder, images)

        def spaced(frame: Frame) -> Frame:
            return replace(
                frame,
                name=frame.name.replace("walk", "walk "),
                sequence=frame.sequence.replace("walk", "walk "),
            )

        return Scene(found.name, tuple(map(spaced, found.train)), tuple(map(spaced, found.test)))

    return run


@each_model
@few
@given(data=st.data())
def test_colmap_binary_is_read_as_written(model: str, data: st.DataObject) -> None:
    lens = [data.draw(cameras([model])), data.draw(cameras([model]))]
    _assert_round_trip(data.draw(pose_batches(COUNT)), lens, _colmap("binary"))


@each_model
@few
@given(data=st.data())
def test_colmap_text_is_read_as_written(model: str, data: st.DataObject) -> None:
    lens = [data.draw(cameras([model]))]
    _assert_round_trip(data.draw(pose_batches(COUNT)), lens, _unspaced(_colmap("text")))


@pytest.mark.parametrize("model", [model for model in MILD_DISTORTION if model not in NOT_NERFSTUDIO])
@few
@given(data=st.data())
def test_transforms_json_is_read_as_written(model: str, data: st.DataObject) -> None:
    lens = data.draw(st.lists(cameras([model]), min_size=1, max_size=2))
    _assert_round_trip(data.draw(pose_batches(COUNT)), lens, _nerfstudio)


@each_model
@few
@given(data=st.data())
def test_a_table_is_read_as_written(model: str, data: st.DataObject) -> None:
    lens = [data.draw(cameras([model])), data.draw(cameras())]
    _assert_round_trip(data.draw(pose_batches(COUNT)), lens, _table)


@given(poses=pose_batches(COUNT))
def test_a_trajectory_is_read_as_written(poses: Pose) -> None:
    times = tuple(1e9 + number / 7 for number in range(COUNT))
    with tempfile.TemporaryDirectory() as folder:
        tum.write_trajectory(tum.Trajectory(times, poses), Path(folder) / "walk.tum")
        found = tum.read_trajectory(Path(folder) / "walk.tum")
    assert found.times == times
    assert_alike(found.world_from_cam, poses.numpy(), atol=1e-12)


@few
@given(points=clouds(5))
def test_points_are_read_as_written(points: torch.Tensor) -> None:
    with tempfile.TemporaryDirectory() as folder:
        camera = Camera(32, 24, 30.0, 30.0, 16.0, 12.0)
        frames = _frames(Path(folder) / "images", Pose.identity(COUNT), [camera])
        colmap.write(Scene("scene", frames, points=points.numpy()), Path(folder) / "model")
        found = datasets.load(Path(folder) / "model", images=Path(folder) / "images")
    assert found.points is not None
    np.testing.assert_array_equal(found.points, points.numpy())
    assert found.test == ()
