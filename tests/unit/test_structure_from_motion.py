"""Which images are compared, which share a camera, and the reasons of those without a pose."""

from pathlib import Path

import numpy as np

from camloc.cli.commands.poses import report_lines
from camloc.data.photos import Photo
from camloc.data.world import Origin, World
from camloc.mapping.structure_from_motion import (
    MotionSettings,
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
        "metres east, north and up of 48.100000°, 11.500000°; GPS positions are 1.8 m off",
    ):
        assert part in text
