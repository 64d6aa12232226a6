"""Dark, blurred, empty and repeated images are named, and sharp ones are not."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter

from camloc.data.types import Frame, Scene
from camloc.geometry.pose import Pose
from camloc.mapping.check.check import check_scene, order
from camloc.mapping.check.findings import Finding
from camloc.mapping.check.images import alike_across, image_statistics
from camloc.mapping.check.path import path_of

COUNT = 8


def _write(folder: Path, change: Callable[[int, Image.Image], Image.Image]) -> Scene:
    """Images of blocks in random greys, sharp at their edges."""
    random = np.random.default_rng(0)
    frames = []
    for number in range(COUNT):
        blocks = Image.fromarray(random.integers(0, 255, (12, 16), dtype=np.uint8)).convert("RGB")
        image = change(number, blocks.resize((320, 240), Image.Resampling.NEAREST))
        path = folder / f"{number}.png"
        image.save(path)
        turn = np.array([np.cos(number / 20), 0.0, np.sin(number / 20), 0.0])
        pose = Pose.from_quaternion_wxyz(turn, np.array([number * 0.1, 0.0, 0.0]))
        frames.append(Frame(path.name, path, None, pose))
    return Scene("blocks", tuple(frames))


def _kinds(scene: Scene) -> list[str]:
    return [each.kind for each in check_scene(scene, with_features=False).findings]


def test_sharp_images_are_not_suspected(tmp_path: Path) -> None:
    assert not _kinds(_write(tmp_path, lambda _, image: image))


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "dark images": lambda image: ImageEnhance.Brightness(image).enhance(0.15),
    "blurred images": lambda image: image.filter(ImageFilter.GaussianBlur(12)),
    "empty images": lambda image: Image.new("RGB", image.size, (80, 80, 80)),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_bad_images_are_named(kind: str, tmp_path: Path) -> None:
    checked = check_scene(
        _write(tmp_path, lambda number, image: CHANGES[kind](image) if number in (2, 5) else image),
        with_features=False,
    )
    found = {each.kind: each for each in checked.findings}
    assert kind in found
    assert set(found[kind].frames) == {"2.png", "5.png"}


def test_an_image_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    scene = _write(tmp_path, lambda _, image: image)
    (tmp_path / "3.png").write_bytes(b"no image")
    checked = check_scene(scene, with_features=False)
    assert not checked.is_sound
    assert "3.png" in checked.findings[0].sentence


def test_copies_of_training_images_among_the_test_images_are_a_leak(tmp_path: Path) -> None:
    scene = _write(tmp_path, lambda _, image: image)
    first, last = scene.train[0], scene.train[-1]
    copy = Frame("copy.png", first.image, None, first.world_from_cam)
    kinds = _kinds(Scene("blocks", scene.train[:-1], (last, copy)))
    assert "leak" in kinds


def test_one_image_with_two_poses_is_an_error(tmp_path: Path) -> None:
    scene = _write(tmp_path, lambda _, image: image)
    again = Frame("9.png", scene.train[0].image, None, scene.train[-1].world_from_cam)
    checked = check_scene(Scene("blocks", (*scene.train, again)), with_features=False)
    assert checked.findings[0].kind == "images with several poses"
    assert "different poses" in checked.findings[0].sentence


def test_poses_that_stand_still_while_the_images_change_are_named(tmp_path: Path) -> None:
    scene = _write(tmp_path, lambda _, image: image)
    stuck = [Frame(f.name, f.image, None, scene.train[2].world_from_cam) for f in scene.train[2:6]]
    checked = check_scene(Scene("blocks", (*scene.train[:2], *stuck, *scene.train[6:])), with_features=False)
    assert "frozen poses" in [each.kind for each in checked.findings]


def test_conditions_may_show_the_places_of_the_test_images_again(tmp_path: Path) -> None:
    scene = _write(tmp_path, lambda _, image: image)
    (tmp_path / "evening").mkdir()
    evening = _write(
        tmp_path / "evening", lambda _, image: image.point([value // 2 for value in range(256)] * 3)
    )
    train, test = scene.train[:6], scene.train[6:]
    checked = check_scene(
        Scene("seasons", train, test, conditions={"evening": evening.train[6:]}), with_features=False
    )
    assert "frozen poses" not in [each.kind for each in checked.findings]
    assert "duplicates" not in [each.kind for each in checked.findings]


def test_frames_of_two_recordings_are_compared_where_they_look_alike(tmp_path: Path) -> None:
    scene = _write(tmp_path, lambda _, image: image)
    second = [replace(frame, name=f"b/{frame.name}", sequence="b") for frame in scene.train]
    path = path_of(Scene("two", (*scene.train, *second)))
    statistics = [image_statistics(frame) for frame in path.frames]
    found = alike_across(path.frames, statistics)
    assert found
    names = [(path.frames[one].name, path.frames[other].name) for one, other in found]
    assert all(other == f"b/{one}" for one, other in names[:2])
    assert alike_across(path.frames[:3], statistics[:3]) == []


def test_equal_poses_are_named_before_what_follows_from_them() -> None:
    kinds = ["jump", "orientations", "frozen poses", "leak"]
    findings = sorted((Finding("error", kind, "") for kind in kinds), key=order)
    assert [each.kind for each in findings] == ["frozen poses", "orientations", "leak", "jump"]
    assert order(Finding("warning", "frozen poses", "")) > order(Finding("error", "leak", ""))
