"""The localizer returns an accepted pose, or the reason why the image is lost."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image
from tests.support.models import some_poses
from tests.support.networks import checkpoint_of, localizer_of
from torch import Tensor, nn

from camloc.core.device import torch_device
from camloc.data.batch import Batch
from camloc.data.image_io import Preprocess
from camloc.data.types import Estimate, ExpectedError, Frame, Located, Lost
from camloc.errors import ImageError, RecipeError
from camloc.geometry import Camera, Pose
from camloc.geometry.arrays import Array
from camloc.inference.localizer import Localizer
from camloc.models.base import FeatureMaps, PoseModel, Prediction
from camloc.models.checkpoint import Checkpoint
from camloc.models.decoding import Decoded, PoseDecoding, single_scene
from camloc.models.metadata import FORMAT, Metadata

WIDTH, HEIGHT = 64, 48
CAMERA = Camera(WIDTH, HEIGHT, 50.0, 50.0, WIDTH / 2, HEIGHT / 2)


class ColourOutput(NamedTuple):
    colour: Tensor


class ColourDecoding(PoseDecoding):
    def decode(self, output: Any, *, intrinsics: Array | None = None) -> Decoded:
        position = output.colour.astype(np.float64)
        if intrinsics is not None:
            position[:, 2] += intrinsics[:, 0, 0] / 1000
        return single_scene(Pose(np.tile(np.eye(3), (len(position), 1, 1)), position))


class ColourModel(PoseModel[ColourOutput]):
    """The position is the image's mean colour; a known focal length adds to its last coordinate."""

    def __init__(self, *, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(scale))

    def predict(self, images: Tensor, *, novelty_detector: object = None) -> Prediction:
        del novelty_detector
        return Prediction(ColourOutput(images.mean((2, 3)) * self.scale))

    def heads(self, feature_maps: FeatureMaps, *, width: int, height: int) -> ColourOutput:
        raise NotImplementedError

    @property
    def decoding(self) -> PoseDecoding:
        return ColourDecoding(torch.zeros(1, 3))

    def losses(self, output: ColourOutput, batch: Batch) -> dict[str, Tensor]:
        raise NotImplementedError


def localizer(model: PoseModel[ColourOutput] | None = None, *, is_validated: bool = True) -> Localizer:
    metadata = Metadata(
        format=FORMAT,
        model="colour",
        config={},
        preprocess=Preprocess(WIDTH, HEIGHT),
        scenes=("kitchen",),
        expected_error=(0.12, 3.4) if is_validated else None,
    )
    checkpoint = Checkpoint(metadata, (model or ColourModel()).eval(), (some_poses(20),))
    return localizer_of(checkpoint)


def image(folder: Path, number: int = 0, *, size: tuple[int, int] = (WIDTH, HEIGHT)) -> Path:
    """An image of patches about a colour of its own."""
    rng = np.random.default_rng(number)
    patches = rng.integers(0, 120, (6, 8, 3)) + rng.integers(0, 120, 3)
    path = folder / f"{number}.png"
    Image.fromarray(patches.astype(np.uint8)).resize(size, Image.Resampling.NEAREST).save(path)
    return path


def located(estimate: Estimate) -> Located:
    assert isinstance(estimate, Located), estimate
    return estimate


def assert_equal(ours: Sequence[Estimate], theirs: Sequence[Estimate]) -> None:
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        if isinstance(one, Lost):
            assert one == other
            continue
        expected = located(one).world_from_cam.matrix()
        np.testing.assert_allclose(located(other).world_from_cam.matrix(), expected, rtol=0, atol=1e-6)


def test_an_estimate_has_the_scene_and_the_expected_error(tmp_path: Path) -> None:
    estimate = located(localizer().locate(image(tmp_path)))
    assert estimate.scene == "kitchen"
    assert estimate.expected_error == ExpectedError(meters=0.12, degrees=3.4)
    assert estimate.probability == 1.0
    assert estimate.world_from_cam.translation.dtype == np.float64
    assert estimate.world_from_cam.shape == ()


def test_a_model_that_was_never_validated_has_no_expected_error(tmp_path: Path) -> None:
    assert located(localizer(is_validated=False).locate(image(tmp_path))).expected_error is None


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (90, 120, 30)])
def test_a_blank_image_is_lost(colour: tuple[int, int, int], tmp_path: Path) -> None:
    Image.new("RGB", (WIDTH, HEIGHT), colour).save(tmp_path / "blank.png")
    assert localizer().locate(tmp_path / "blank.png") == Lost("the image is blank")


def test_an_image_with_little_contrast_is_not_blank(tmp_path: Path) -> None:
    image = Image.new("RGB", (WIDTH, HEIGHT), (90, 90, 90))
    image.paste((110, 110, 110), (0, 0, WIDTH, HEIGHT // 6))
    image.save(tmp_path / "wall.png")
    assert isinstance(localizer().locate(tmp_path / "wall.png"), Located)


def test_a_pose_far_from_every_training_camera_is_rejected(tmp_path: Path) -> None:
    estimate = localizer(ColourModel(scale=100.0)).locate(image(tmp_path))
    assert isinstance(estimate, Lost)
    assert "far from every training camera" in estimate.reason


class ConstantModel(ColourModel):
    """Predicts one position, whatever the image."""

    def __init__(self, x: float) -> None:
        super().__init__()
        self.x = x

    def predict(self, images: Tensor, *, novelty_detector: object = None) -> Prediction:
        del novelty_detector
        position = torch.tensor([self.x, 0.0, 0.0], dtype=torch.float64)
        return Prediction(ColourOutput(position.expand(len(images), 3)))


@pytest.mark.parametrize(
    ("meters", "x", "is_accepted"),
    [
        (None, 0.49, True),
        (None, 0.51, False),
        (0.001, 0.49, True),
        (0.001, 0.51, False),
        (0.12, 1.19, True),
        (0.12, 1.21, False),
    ],
)
def test_for_training_cameras_in_one_spot_the_expected_error_bounds_the_distance(
    meters: float | None, x: float, is_accepted: bool, tmp_path: Path
) -> None:
    on_a_tripod = Pose(some_poses(20).rotation, torch.zeros(20, 3, dtype=torch.float64))
    whole = checkpoint_of(localizer(ConstantModel(x)))
    metadata = replace(whole.metadata, expected_error=None if meters is None else (meters, 1.0))
    checkpoint = replace(whole, metadata=metadata, training_poses=(on_a_tripod,))
    estimate = localizer_of(checkpoint).locate(image(tmp_path))
    assert isinstance(estimate, Located) == is_accepted


def test_for_training_cameras_apart_their_radius_bounds_the_distance(tmp_path: Path) -> None:
    along = torch.tensor([[-2.0, 0.0, 0.0], [2.0, 0.0, 0.0]], dtype=torch.float64)  # 2 from their mean
    training = Pose(torch.eye(3, dtype=torch.float64).expand(2, 3, 3), along)
    for x, is_accepted in ((7.9, True), (8.1, False)):
        checkpoint = replace(checkpoint_of(localizer(ConstantModel(x))), training_poses=(training,))
        estimate = localizer_of(checkpoint).locate(image(tmp_path))
        assert isinstance(estimate, Located) == is_accepted


@pytest.mark.parametrize("scale", [float("nan"), float("inf")])
def test_a_pose_that_is_not_a_number_is_rejected(scale: float, tmp_path: Path) -> None:
    estimate = localizer(ColourModel(scale=scale)).locate(image(tmp_path))
    assert estimate == Lost("the network's pose is not a number")


@pytest.mark.parametrize("size", [(16, 16), (64, 48), (640, 480), (48, 64), (301, 199), (1200, 90)])
def test_an_image_of_any_size_is_located(size: tuple[int, int], tmp_path: Path) -> None:
    assert isinstance(localizer().locate(image(tmp_path, size=size)), Located)
    assert isinstance(localizer().locate(str(image(tmp_path, size=size))), Located)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_in_a_file_is_followed(orientation: int, tmp_path: Path) -> None:
    rows = np.linspace(0, 255, 96).astype(np.uint8)
    upright = Image.fromarray(np.repeat(rows[:, None], 128, axis=1)).convert("RGB")
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = upright.transpose(undo[orientation]) if orientation in undo else upright
    stored.save(tmp_path / "turned.png", exif=exif)
    upright.save(tmp_path / "upright.png")

    class TopModel(ColourModel):
        """Sees only the upper third."""

        def predict(self, images: Tensor, *, novelty_detector: object = None) -> Prediction:
            return super().predict(images[:, :, : HEIGHT // 3], novelty_detector=novelty_detector)

    ours, theirs = (localizer(TopModel()).locate(tmp_path / name) for name in ("turned.png", "upright.png"))
    assert_equal([theirs], [ours])


def test_a_file_that_is_no_image_is_named_in_the_error(tmp_path: Path) -> None:
    (tmp_path / "letter.jpg").write_text("Dear Madam")
    with pytest.raises(ImageError, match=r"letter\.jpg"):
        localizer().locate(tmp_path / "letter.jpg")


def mixed_frames(folder: Path) -> list[Frame]:
    """With and without cameras, blank, broken and missing, in no order."""
    frames = [
        Frame(str(number), image(folder, number), CAMERA if number % 3 else None) for number in range(7)
    ]
    Image.new("RGB", (WIDTH, HEIGHT), (9, 9, 9)).save(folder / "blank.png")
    (folder / "broken.png").write_bytes(b"\x89PNG")
    frames.insert(2, Frame("blank", folder / "blank.png", CAMERA))
    frames.insert(5, Frame("broken", folder / "broken.png"))
    frames.insert(6, Frame("missing", folder / "missing.png", CAMERA))
    return frames


@pytest.mark.parametrize("batch_size", [1, 2, 3, 4, 10, 32])
def test_an_estimate_does_not_depend_on_the_other_images(batch_size: int, tmp_path: Path) -> None:
    frames = mixed_frames(tmp_path)
    alone = [estimate for frame in frames for estimate in localizer().locate_all([frame])]
    together = list(localizer().locate_all(frames, batch_size=batch_size))
    assert_equal(alone, together)
    backwards = list(localizer().locate_all(frames[::-1], batch_size=batch_size))
    assert_equal(alone, backwards[::-1])


def test_a_camera_is_used_where_it_is_known(tmp_path: Path) -> None:
    path = image(tmp_path)
    without, with_camera = (
        located(localizer().locate(path, camera=camera)).world_from_cam.translation
        for camera in (None, CAMERA)
    )
    np.testing.assert_allclose(with_camera - without, [0.0, 0.0, 0.05], atol=1e-7)


def test_images_that_cannot_be_read_are_lost_and_keep_the_order(tmp_path: Path) -> None:
    estimates = list(localizer().locate_all(mixed_frames(tmp_path), batch_size=4))
    lost = {index: estimate.reason for index, estimate in enumerate(estimates) if isinstance(estimate, Lost)}
    assert list(lost) == [2, 5, 6]
    assert lost[2] == "the image is blank"
    assert "broken.png" in lost[5]
    assert "does not exist" in lost[6]


def test_no_frames_give_no_estimates() -> None:
    assert list(localizer().locate_all([])) == []


def test_estimates_come_before_all_images_are_read(tmp_path: Path) -> None:
    read = 0

    def frames() -> object:
        nonlocal read
        for number in range(6):
            read += 1
            yield Frame(str(number), image(tmp_path, number))

    estimates = localizer().locate_all(frames(), batch_size=2)  # type: ignore[arg-type]
    next(estimates)
    assert read == 2


def test_a_device_that_does_not_exist_is_refused_in_a_sentence() -> None:
    assert torch_device("cpu") == torch.device("cpu")
    assert torch_device("auto").type in ("cpu", "cuda", "mps")
    for name in ("toaster", "cuda:99", "xpu", ""):
        with pytest.raises(RecipeError, match=r"device") as refused:
            torch_device(name)
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("mean_pose", "is_accepted"),
    [((0.2, 5.0), True), ((0.1, 5.0), True), ((0.05, 5.0), False), ((0.05, 2.0), False)],
)
def test_a_network_no_better_than_the_mean_pose_locates_nothing(
    mean_pose: tuple[float, float], is_accepted: bool, tmp_path: Path
) -> None:
    """The network's own errors on held-out frames are 0.12 m and 3.4 degrees."""
    whole = checkpoint_of(localizer())
    metadata = replace(whole.metadata, mean_pose_errors={"kitchen": mean_pose})
    estimate = localizer_of(replace(whole, metadata=metadata)).locate(image(tmp_path))
    assert isinstance(estimate, Located) == is_accepted
    if isinstance(estimate, Lost):
        assert "has not learned" in estimate.reason
