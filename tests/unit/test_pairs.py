"""Pairs of training frames have views that overlap."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.unit.test_overlap import CAMERA, camera_at

from camloc.data.image_io import read_depth
from camloc.data.types import Frame
from camloc.errors import DatasetError, ImageError
from camloc.refinement.pairs import PairSettings, joined_pairs, overlapping_pairs


def row_of_frames(count: int = 6, *, step: float = 0.5, depth: Path | None = None) -> tuple[Frame, ...]:
    """Cameras side by side in front of a wall, two metres away."""
    return tuple(
        Frame(
            str(number),
            Path(f"{number}.png"),
            CAMERA,
            camera_at(step * number, 0.0, 0.0).numpy(),
            depth=depth,
        )
        for number in range(count)
    )


def depth_image(folder: Path, *, meters: float = 2.0) -> Path:
    path = folder / "wall.png"
    Image.fromarray(np.full((40, 40), round(1000 * meters), np.uint16)).save(path)
    return path


def test_depth_is_in_metres_and_zero_where_it_is_unknown(tmp_path: Path) -> None:
    millimetres = np.array([[1500, 0], [65535, 250]], np.uint16)
    Image.fromarray(millimetres).save(tmp_path / "depth.png")
    assert read_depth(tmp_path / "depth.png").tolist() == [[1.5, 0.0], [0.0, 0.25]]


def test_an_image_is_no_depth_image(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8), (200, 100, 50)).save(tmp_path / "image.png")
    Image.new("L", (8, 8), 200).save(tmp_path / "grey.png")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG")
    for name in ("image.png", "grey.png", "broken.png", "missing.png"):
        with pytest.raises(ImageError, match="depth image"):
            read_depth(tmp_path / name)


def test_pairs_overlap_as_much_as_the_settings_require(tmp_path: Path) -> None:
    frames = row_of_frames(depth=depth_image(tmp_path))
    pairs = overlapping_pairs(frames, PairSettings(per_frame=10, least_overlap=0.7))
    # Two metres from the wall an image is four metres wide: 0.5 m apart share 7/8, 1 m 3/4, 1.5 m 5/8.
    apart = (pairs.query - pairs.reference).abs()
    assert set(apart.tolist()) == {1, 2}
    assert (pairs.overlap >= 0.7).all()
    expected = 1.0 - apart.double() / 8
    torch.testing.assert_close(pairs.overlap, expected, rtol=0, atol=0.05)
    assert pairs.measured == {"depth": 6, "frustum": 0}


def test_a_frame_is_no_pair_with_itself_and_pairs_are_symmetric(tmp_path: Path) -> None:
    frames = row_of_frames(depth=depth_image(tmp_path))
    pairs = overlapping_pairs(frames, PairSettings(per_frame=10))
    both = set(zip(pairs.query.tolist(), pairs.reference.tolist(), strict=True))
    assert all(one != other for one, other in both)
    assert {(other, one) for one, other in both} == both
    assert len(both) == len(pairs)


def test_the_number_of_pairs_is_limited_and_a_seed_repeats_them() -> None:
    frames = row_of_frames(12, step=0.1)
    few = PairSettings(per_frame=3)
    pairs = overlapping_pairs(frames, few, seed=5)
    assert pairs.query.bincount().tolist() == [3] * 12
    again, other = overlapping_pairs(frames, few, seed=5), overlapping_pairs(frames, few, seed=6)
    assert torch.equal(pairs.reference, again.reference)
    assert not torch.equal(pairs.reference, other.reference)


def test_without_depth_views_are_scene_points_or_frusta() -> None:
    frames = row_of_frames()
    grid = torch.linspace(-3, 6, 60, dtype=torch.float64)
    x, y = torch.meshgrid(grid, grid, indexing="ij")
    wall = torch.stack((x, y, torch.full_like(x, 2.0)), dim=-1).flatten(0, 1)
    by_points = overlapping_pairs(frames, PairSettings(per_frame=10, least_overlap=0.7), points=wall.numpy())
    assert by_points.measured == {"depth": 0, "points": 6}
    assert set((by_points.query - by_points.reference).abs().tolist()) == {1, 2}
    by_frusta = overlapping_pairs(frames, PairSettings(per_frame=10))
    assert by_frusta.measured == {"depth": 0, "frustum": 6}


def test_frames_without_overlap_are_refused() -> None:
    back_to_back = tuple(
        replace(frame, world_from_cam=camera_at(0.0, 0.0, 0.0, degrees=180.0 * number))
        for number, frame in enumerate(row_of_frames(2))
    )
    with pytest.raises(DatasetError, match="no two of the 2 training frames"):
        overlapping_pairs(back_to_back, PairSettings())


def test_frames_without_intrinsics_get_assumed_ones() -> None:
    unknown = tuple(replace(frame, camera=None) for frame in row_of_frames(4, step=0.2))
    pairs = overlapping_pairs(unknown, PairSettings(per_frame=10))
    assert 1 in (pairs.query - pairs.reference).abs()


def test_pairs_do_not_cross_scenes() -> None:
    near = overlapping_pairs(row_of_frames(4), PairSettings(per_frame=10))
    far = overlapping_pairs(row_of_frames(3), PairSettings(per_frame=10))
    both = joined_pairs([near, far], [4, 3])
    assert len(both) == len(near) + len(far)
    assert both.query.max() == both.reference.max() == 6
    assert ((both.query < 4) == (both.reference < 4)).all()
    assert both.measured == {"depth": 0, "frustum": 7}
