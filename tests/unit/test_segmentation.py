"""What does not belong to the scene is left out where the network sees it, and nowhere else."""

import pytest
import torch
from torch import Tensor, nn

from camloc.data.segmentation import (
    LONGEST,
    SHORT_SIDE,
    Segmentation,
    left_out_numbers,
    network_names,
    published_classes,
    segmentation_network,
)
from camloc.errors import RecipeError

CPU = torch.device("cpu")


class RedIsClassOne(nn.Module):
    """Gives a cell of 8 x 8 pixels class 1 where the image is red, 2 where it is green, else 0."""

    seen: tuple[int, ...] = ()

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        self.seen = tuple(images.shape)
        cells = nn.functional.avg_pool2d(images, 8, ceil_mode=True)
        scores = torch.stack((torch.zeros_like(cells[:, 0]), cells[:, 0], cells[:, 1]), dim=1)
        return {"out": nn.functional.interpolate(scores, images.shape[-2:], mode="nearest")}


def sample_image(height: int = 96, width: int = 128) -> Tensor:
    """Red on the left, green on the right, black in the middle."""
    image = torch.zeros(3, height, width, dtype=torch.uint8)
    image[0, :, : width // 4] = 255
    image[1, :, -width // 4 :] = 255
    return image


@pytest.mark.parametrize(("left_out", "columns"), [((1,), 32), ((2,), 32), ((1, 2), 64), ((0,), 64)])
def test_pixels_of_the_classes_that_are_left_out_do_not_count(
    left_out: tuple[int, ...], columns: int
) -> None:
    belongs = Segmentation(RedIsClassOne(), left_out, CPU).belonging(sample_image())
    assert belongs.shape == (96, 128)
    assert bool((belongs == belongs[:1]).all())
    assert int((~belongs[0]).sum()) == pytest.approx(columns, abs=4)
    assert bool(belongs[0, 16]) != (1 in left_out)
    assert bool(belongs[0, -16]) != (2 in left_out)
    assert bool(belongs[0, 64]) != (0 in left_out)


@pytest.mark.parametrize(("height", "width"), [(96, 128), (128, 96), (1000, 2000), (16, 4000)])
def test_the_network_sees_images_of_its_own_size(height: int, width: int) -> None:
    network = RedIsClassOne()
    belongs = Segmentation(network, (1,), CPU).belonging(sample_image(height, width))
    assert belongs.shape == (height, width)
    assert min(network.seen[2:]) <= SHORT_SIDE
    assert max(network.seen[2:]) <= LONGEST * SHORT_SIDE
    assert min(network.seen[2:]) == SHORT_SIDE or max(network.seen[2:]) == LONGEST * SHORT_SIDE


def test_what_moves_is_left_out_where_nothing_is_named() -> None:
    classes = ("road", "person", "sky", "car")
    assert left_out_numbers(classes, ()) == (1, 3)
    assert left_out_numbers(classes, ("sky", "person")) == (1, 2)


@pytest.mark.parametrize(
    ("classes", "leave_out", "message"),
    [
        (("road", "person"), ("persons",), "no 'persons'.*person"),
        (("road", "sky"), (), "no class of things that move.*--leave-out.*road, sky"),
    ],
)
def test_classes_that_are_not_known_are_reported(
    classes: tuple[str, ...], leave_out: tuple[str, ...], message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        left_out_numbers(classes, leave_out)


def test_the_published_classes_have_what_moves_in_them() -> None:
    for name in network_names():
        classes = published_classes(name)
        assert len(classes) == 21
        assert {classes[number] for number in left_out_numbers(classes, ())} >= {"person", "car", "dog"}
        assert "chair" not in {classes[number] for number in left_out_numbers(classes, ())}


def test_a_network_that_is_not_there_is_reported_with_those_that_are() -> None:
    with pytest.raises(RecipeError, match=r"'lraspp'.*lraspp_mobilenet_v3_large"):
        segmentation_network("lraspp", classes=2)
    with pytest.raises(RecipeError, match="'lraspp'"):
        published_classes("lraspp")
