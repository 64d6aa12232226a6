"""Which images are compared, which share a camera, and the reasons of those without a pose."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pycolmap
import pytest

from camloc.cli.commands.poses import report_lines
from camloc.data.photos import Photo
from camloc.data.world import Origin, World
from camloc.mapping import structure_from_motion
from camloc.mapping.features import Features
from camloc.mapping.structure_from_motion import (
    MotionSettings,
    _best_model,
    _explained,
    _Extracted,
    _groups,
    camera_key,
    image_pairs,
    initial_camera,
)
from camloc.runs.poses import Gap, PosesReport, _gaps


def pairs(sequences: list[str], similarity: np.ndarray, settings: MotionSettings) -> set[tuple[int, int]]:
    return {(first, second) for first, second in image_pairs(sequences, similarity, settings).tolist()}


def test_few_images_are_all_compared() -> None:
    assert pairs([""] * 4, np.eye(4), MotionSettings()) == {(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)}


def test_many_images_are_compared_with_neighbours_in_their_sequence_and_with_similar_ones() -> None:
    similarity = np.zeros((6, 6))
    similarity[0, 5] = similarity[5, 0] = 0.9
    similarity[(1, 2, 3, 4), (2, 1, 4, 3)] = 0.5
    settings = MotionSettings(exhaustive=3, neighbours=1, similar=1)
    found = pairs(["a", "a", "a", "b", "b", "b"], similarity, settings)
    assert found == {(0, 1), (1, 2), (3, 4), (4, 5), (0, 5)}


def test_pairs_of_many_images_grow_with_their_number_and_not_with_its_square() -> None:
    settings = MotionSettings()
    similarity = np.random.default_rng(0).uniform(size=(300, 300))
    assert len(image_pairs([""] * 300, similarity, settings)) <= 300 * (
        settings.neighbours + settings.similar
    )


def test_images_of_one_size_device_and_focal_length_share_a_camera() -> None:
    first = Photo("1.jpg", Path("1.jpg"), 4000, 3000, focal=3000.0, device="Phone")
    assert camera_key(first) == camera_key(Photo("2.jpg", Path(), 4000, 3000, focal=3000.0, device="Phone"))
    assert camera_key(first) != camera_key(Photo("3.jpg", Path(), 4000, 3000, focal=1500.0, device="Phone"))
    assert camera_key(first) != camera_key(Photo("4.jpg", Path(), 3000, 4000, focal=3000.0, device="Phone"))


def test_the_focal_length_of_exif_is_where_the_refinement_starts() -> None:
    known = initial_camera(Photo("1.jpg", Path(), 4000, 3000, focal=3100.0))
    unknown = initial_camera(Photo("1.jpg", Path(), 4000, 3000))
    assert (known.mean_focal_length(), known.has_prior_focal_length) == (3100.0, True)
    assert (unknown.mean_focal_length(), unknown.has_prior_focal_length) == (4800.0, False)


def test_images_apart_are_a_group_from_three_on() -> None:
    names = ["a", "b", "c", "d", "e", "f", "g"]
    connected = {(0, 1): 90, (2, 3): 50, (3, 4): 50, (5, 6): 50, (1, 2): 26}
    assert _groups(names, connected, {"a", "b"}) == (("c", "d", "e"),)


def _model_and_matches() -> tuple[pycolmap.Reconstruction, _Extracted, dict[tuple[int, int], np.ndarray]]:
    """A synthetic model, its keypoints, and the matches of every two images."""
    options = pycolmap.SyntheticDatasetOptions()
    options.num_rigs, options.num_cameras_per_rig, options.num_frames_per_rig = 1, 1, 6
    options.num_points3D = 60
    pycolmap.set_random_seed(0)
    model = pycolmap.synthesize_dataset(options)
    images = sorted(model.images.values(), key=lambda image: image.name)
    camera = next(iter(model.cameras.values()))
    photos = tuple(Photo(image.name, Path(), camera.width, camera.height) for image in images)
    keypoints = [np.array([point.xy for point in image.points2D], np.float32) for image in images]
    points = [np.array([point.point3D_id for point in image.points2D]) for image in images]
    features = tuple(
        Features(each, np.ones(len(each), np.float32), np.zeros((len(each), 8), np.uint8))
        for each in keypoints
    )
    connected = {}
    for first, second in combinations(range(len(images)), 2):
        rows, others = np.nonzero(points[first][:, None] == points[second])
        is_known = np.isin(points[first][rows], list(model.points3D))
        connected[first, second] = np.stack((rows, others), axis=1)[is_known].astype(np.uint32)
    return model, _Extracted(photos, features, (), {}, {}), connected


def _bent(model: pycolmap.Reconstruction) -> pycolmap.Reconstruction:
    """The model with its last image at a wrong place."""
    bent = pycolmap.Reconstruction(model)
    last = max(bent.images.values(), key=lambda image: image.name)
    pose = last.cam_from_world()
    moved = pycolmap.Rigid3d(pose.rotation, pose.translation + np.array([1.0, 0.5, 0.0]))
    last.frame.set_cam_from_world(last.camera_id, moved)
    return bent


def test_pairs_that_contradict_a_model_are_those_of_the_image_at_a_wrong_place() -> None:
    model, extracted, connected = _model_and_matches()
    assert _explained(model, extracted, connected, MotionSettings()) == (len(connected), [])
    explained, contradicted = _explained(_bent(model), extracted, connected, MotionSettings())
    assert contradicted == [(first, 5) for first in range(5)]
    assert explained == len(connected) - 5


@pytest.mark.parametrize(("attempts", "chosen"), [(["bent", "right"], 1), (["bent", "bent", "bent"], 0)])
def test_the_mapper_begins_again_where_its_poses_contradict_matches(
    attempts: list[str], chosen: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    model, extracted, connected = _model_and_matches()
    models = [model if attempt == "right" else _bent(model) for attempt in attempts]
    left = iter(models)
    monkeypatch.setattr(structure_from_motion, "_reconstruct", lambda *_: [next(left)])
    found = _best_model(tmp_path / "none", tmp_path, extracted, connected, MotionSettings(), lambda *_: None)
    assert found is not None
    assert found[0] is models[chosen]
    assert next(left, None) is None


def test_gaps_are_the_longest_runs_of_neighbours_without_a_pose() -> None:
    names = [str(number) for number in range(10)]
    assert _gaps(names, {"0", "4", "6", "7"}) == (Gap("1", "3", 3), Gap("8", "9", 2), Gap("5", "5", 1))


def test_the_report_names_reasons_gaps_and_the_scale() -> None:
    report = PosesReport(
        source="photos",
        images=9,
        placed=("1.jpg", "2.jpg", "9.jpg"),
        unplaced={f"{number}.jpg": "blurred" for number in range(3, 9)},
        refused={},
        groups=(),
        gaps=(Gap("3.jpg", "8.jpg", 6),),
        longest_step=("2.jpg", "9.jpg", 7.2),
        connected=900,
        contradicted=9,
        doubtful=("9.jpg", "2.jpg"),
        pixels=0.61,
        points=1234,
        cameras=("4000 x 3000",),
        test=0,
        world=World("m", "GPS", Origin(48.1, 11.5, 520.0), 1.8),
        seconds=12.0,
    )
    text = "\n".join(report_lines(report))
    for part in (
        "3 of 9 images have a pose, 1,234 points, 0.61 px",
        "3.jpg, 4.jpg, 5.jpg, 6.jpg and 2 more: blurred",
        "6 images in a row, 3.jpg to 8.jpg",
        "2.jpg to 9.jpg is 7 times the usual step",
        "9 of 900 pairs of images that show the same contradict the poses (9.jpg, 2.jpg)",
        "metres east, north and up of 48.100000°, 11.500000°; GPS positions are 1.8 m off",
    ):
        assert part in text
