"""What a model that finds points has learned of a scene: the points, as they are, in a file and on a page."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pycolmap
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from tests.support.estimates import line_of_poses, small_set
from tests.support.models import small_config, some_poses
from tests.support.networks import checkpoint_of, localizer_of

from camloc.core.config import to_builtins
from camloc.data.image_io import Preprocess
from camloc.data.types import Frame, Lost
from camloc.evaluation.errors import EvaluatedSet, ScoredSet, score_sets
from camloc.evaluation.files import MOST_MAPPED, rows_to_map, write_files
from camloc.evaluation.predicted_points import MappedView, PointCloud, middle_range, ply, point_cloud
from camloc.evaluation.report.build import learned_geometry, report_html
from camloc.evaluation.results import Results, results_of
from camloc.geometry import Camera
from camloc.geometry.camera import pixel_grid
from camloc.inference.localizer import Localizer
from camloc.inference.network import NetworkLocalizer
from camloc.inference.onnx.export import export_onnx
from camloc.inference.torch_network import TorchNetwork
from camloc.models.checkpoint import Checkpoint
from camloc.models.decoding import PointMaps
from camloc.models.metadata import FORMAT, Metadata
from camloc.models.posenet import PoseNet
from camloc.models.scene_geometry import SceneGeometry

WIDTH, HEIGHT, STRIDE = 64, 48, 8
CAMERA = Camera(WIDTH, HEIGHT, 50.0, 50.0, WIDTH / 2, HEIGHT / 2)
TRAINING = line_of_poses(20, step=0.3)
HEADING = "Learned scene geometry"


def checkpoint(*, focal: float | None = None) -> Checkpoint:
    torch.manual_seed(0)
    config = small_config("scene_geometry")
    model = SceneGeometry(config)
    model.observe(some_poses(20))
    metadata = Metadata(
        format=FORMAT,
        model="scene_geometry",
        config=to_builtins(config),
        preprocess=Preprocess(WIDTH, HEIGHT),
        scenes=("kitchen",),
        focal=focal,
    )
    return Checkpoint(metadata, model.eval(), (some_poses(20),))


def localizer(*, focal: float | None = None, masks: Path | None = None) -> Localizer:
    return Localizer(NetworkLocalizer(TorchNetwork(checkpoint(focal=focal)), masks=masks))


def image(folder: Path) -> Frame:
    pixels = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(folder / "image.png")
    return Frame("image.png", folder / "image.png", CAMERA)


def mapped(frame: Frame, front_door: Localizer) -> MappedView:
    view = front_door.predicted_view(frame)
    assert view is not None
    return view


def small_view(*, number: int = 0, offset: float = 0.0) -> MappedView:
    """Twelve cells of 4 pixels, whose points and weights grow with the cell's number."""
    index = np.arange(12.0).reshape(3, 4)
    image = np.random.default_rng(number).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    world = np.stack((index, 2 * index, offset + index), axis=-1)
    return MappedView(image, pixel_grid(4, 3, stride=4), world, 1 + index, index / 12)


def read_ply(data: bytes) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    """What any reader of the format finds: `point` and `color` by the header alone."""
    head, _, body = data.partition(b"end_header\n")
    lines = [line.split() for line in head.decode("ascii").splitlines()]
    assert lines[0] == ["ply"]
    assert lines[1] == ["format", "binary_little_endian", "1.0"]
    (count,) = [int(line[2]) for line in lines if line[:2] == ["element", "vertex"]]
    kinds = {"double": "<f8", "float": "<f4", "uchar": "u1"}
    layout = np.dtype([(line[2], kinds[line[1]]) for line in lines if line[0] == "property"])
    assert len(body) == count * layout.itemsize
    rows = np.frombuffer(body, layout)
    return (
        np.stack([rows[name] for name in "xyz"], axis=-1),
        np.stack([rows[name] for name in ("red", "green", "blue")], axis=-1),
    )


def scored(evaluated: EvaluatedSet) -> ScoredSet:
    return score_sets([evaluated], TRAINING)[0]


def results(evaluated: EvaluatedSet) -> Results:
    return results_of(
        [scored(evaluated)], train_frames=len(TRAINING), model="m", recipe="r", scene="kitchen", parameters=1
    )


def test_a_view_holds_the_points_where_the_model_puts_them(tmp_path: Path) -> None:
    front_door, frame = localizer(), image(tmp_path)
    view = mapped(frame, front_door)
    assert view.world.shape == (HEIGHT // STRIDE, WIDTH // STRIDE, 3)
    model = checkpoint_of(front_door).model
    with torch.inference_mode():
        output: PointMaps = model(torch.from_numpy(view.image).permute(2, 0, 1)[None].float() / 255.0)
    center = some_poses(20).translation.mean(0)
    expected = output.world[0].movedim(0, -1).double() + center
    np.testing.assert_allclose(view.world, expected.numpy(), atol=1e-6)
    np.testing.assert_allclose(view.depth, output.camera[0, 0].double().numpy(), atol=1e-6)
    np.testing.assert_allclose(view.weight, output.weight[0].double().numpy(), atol=1e-6)
    assert view.world.dtype == np.float64
    stored = np.asarray(Image.open(frame.image))
    np.testing.assert_array_equal(view.colors()[2, 3], stored[2 * STRIDE + 4, 3 * STRIDE + 4])


def test_an_exported_network_maps_the_same(tmp_path: Path) -> None:
    export_onnx(checkpoint(), tmp_path / "network.onnx")
    frame = image(tmp_path)
    ours, theirs = mapped(frame, localizer()), mapped(frame, Localizer.load(tmp_path / "network.onnx"))
    np.testing.assert_allclose(theirs.world, ours.world, atol=1e-4, rtol=1e-4)
    np.testing.assert_allclose(theirs.depth, ours.depth, atol=1e-4, rtol=1e-4)
    assert np.array_equal(theirs.image, ours.image)


def test_where_there_is_nothing_to_map_there_is_none(tmp_path: Path) -> None:
    frame = image(tmp_path)
    assert localizer().predicted_view(replace(frame, camera=None)) is None
    assert localizer(focal=0.8).predicted_view(replace(frame, camera=None)) is not None
    (tmp_path / "letter.jpg").write_text("Dear Madam")
    assert localizer().predicted_view(Frame("letter.jpg", tmp_path / "letter.jpg", CAMERA)) is None
    assert localizer().predicted_view(Frame("none.jpg", tmp_path / "none.jpg", CAMERA)) is None
    regressor = replace(checkpoint(), model=PoseNet(small_config("posenet")).eval())
    assert localizer_of(regressor).predicted_view(frame) is None


def test_masked_cells_have_no_weight_and_are_not_among_the_points(tmp_path: Path) -> None:
    frame = image(tmp_path)
    mask = Image.new("L", (WIDTH, HEIGHT), 255)
    mask.paste(0, (0, 0, WIDTH // 2, HEIGHT))
    (tmp_path / "masks").mkdir()
    mask.save(tmp_path / "masks" / "image.png.png")
    view = mapped(frame, localizer(masks=tmp_path / "masks"))
    assert bool((view.weight[:, : view.weight.shape[1] // 2] == 0).all())
    assert bool((view.weight[:, view.weight.shape[1] // 2 :] > 0).all())
    left = view.world[:, : view.weight.shape[1] // 2].reshape(-1, 3)
    assert not {tuple(row) for row in left.tolist()} & {
        tuple(row) for row in point_cloud([view]).points.tolist()
    }


def test_the_half_of_each_image_that_counts_most_makes_the_cloud() -> None:
    views = [small_view(), small_view(number=1, offset=0.5)]
    cloud = point_cloud(views)
    expected = [[n, 2 * n, n + shift] for shift in (0.0, 0.5) for n in range(5, 12)]
    assert cloud.points.tolist() == expected
    colors = np.concatenate([view.colors().reshape(-1, 3)[5:] for view in views])
    assert np.array_equal(cloud.colors, colors)


def test_stray_points_and_points_that_are_no_numbers_are_left_out() -> None:
    view = small_view()
    view.world[2, 3] = [1e4, 0.0, 0.0]
    view.world[2, 2] = np.nan
    view.world[2, 1] = np.inf
    assert point_cloud([view]).points[:, 0].tolist() == [5, 6, 7, 8]
    assert len(point_cloud([]).points) == 0


def test_a_range_leaves_out_the_ends() -> None:
    values = np.arange(101.0)[::-1]
    low, high = middle_range(np.stack((values, -values), axis=-1))
    assert low.tolist() == [2, -98]
    assert high.tolist() == [98, -2]


def test_a_ply_file_holds_every_point_and_its_colour_exactly() -> None:
    far = np.array([5_735_000.125, 620_000.25, 109.5])  # as maps count metres
    cloud = point_cloud([small_view()])
    cloud = PointCloud(cloud.points + far, cloud.colors)
    points, colors = read_ply(ply(cloud))
    np.testing.assert_array_equal(points, cloud.points)
    np.testing.assert_array_equal(colors, cloud.colors)


def test_colmap_opens_the_ply_file(tmp_path: Path) -> None:
    cloud = point_cloud([small_view()])
    (tmp_path / "points.ply").write_bytes(ply(cloud))
    reconstruction = pycolmap.Reconstruction()
    reconstruction.import_PLY(tmp_path / "points.ply")
    found = {(*map(float, point.xyz), *map(int, point.color)) for point in reconstruction.points3D.values()}
    assert found == {
        (*point, *color) for point, color in zip(cloud.points.tolist(), cloud.colors.tolist(), strict=True)
    }


def test_the_report_of_a_model_that_finds_points_shows_them(tmp_path: Path) -> None:
    evaluated = small_set(tmp_path / "images")
    views = {row: small_view(number=row) for row in rows_to_map(scored(evaluated))}
    write_files(tmp_path / "run", results(evaluated), [scored(evaluated)], mapped=views)
    html = report_html(results(evaluated), [scored(evaluated)], TRAINING, mapped=views)
    assert HEADING in html
    for title in ("The best: 0.000 m, 0.00°", "The middle one: 0.030 m, 3.00°", "The worst: 0.050 m, 5.00°"):
        assert title in html
    assert "predicts for 6 test images" in html
    assert html.count("data:image/png;base64,") == 9  # three maps of three images
    points, _ = read_ply((tmp_path / "run" / "points.ply").read_bytes())
    np.testing.assert_array_equal(points, point_cloud(views.values()).points)


def test_the_report_of_a_model_that_regresses_is_as_without_it(tmp_path: Path) -> None:
    evaluated = small_set(tmp_path / "images")
    write_files(tmp_path / "run", results(evaluated), [scored(evaluated)], mapped={})
    html = report_html(results(evaluated), [scored(evaluated)], TRAINING, mapped={})
    assert html == report_html(results(evaluated), [scored(evaluated)], TRAINING)
    assert HEADING not in html
    assert not (tmp_path / "run" / "points.ply").exists()


def test_lost_images_are_not_mapped_and_others_evenly(tmp_path: Path) -> None:
    evaluated = small_set(tmp_path, count=6)
    estimates = list(evaluated.estimates)
    estimates[5] = Lost("blur")
    assert rows_to_map(scored(replace(evaluated, estimates=tuple(estimates)))) == [0, 1, 2, 3, 4]
    assert rows_to_map(scored(replace(evaluated, estimates=(Lost("blur"),) * 6))) == []
    times = 50
    many = EvaluatedSet("test", evaluated.frames * times, evaluated.estimates * times)
    rows = rows_to_map(scored(many))
    assert MOST_MAPPED <= len(rows) <= MOST_MAPPED + 3
    assert max(b - a for a, b in pairwise(rows)) <= 6


@pytest.mark.parametrize("count", [1, 2])
def test_few_images_are_shown_once(count: int, tmp_path: Path) -> None:
    evaluated = small_set(tmp_path, count=count)
    views = {row: small_view(number=row) for row in range(count)}
    learned = learned_geometry(scored(evaluated), views, TRAINING, unit="m")
    assert learned is not None
    assert len(learned.galleries) == count


def test_maps_without_extent_or_numbers_do_not_break_the_page(tmp_path: Path) -> None:
    evaluated = small_set(tmp_path)
    alike = small_view()
    alike.world[:], alike.weight[:], alike.depth[:] = 1.0, 1.0, 2.0
    broken = small_view(number=1)
    broken.world[:], broken.depth[:], broken.weight[:] = torch.nan, torch.nan, torch.nan
    for mapped, is_shown in (({0: alike, 1: broken}, True), ({1: broken}, False), ({}, False)):
        html = report_html(results(evaluated), [scored(evaluated)], TRAINING, mapped=mapped)
        assert (HEADING in html) == is_shown
