"""What an image is recognised by: the maps that are used, and one in the middle of the network."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from camloc.models.layers.backbone import FINAL, Backbone, BackboneConfig

CASES = {
    "final map": (BackboneConfig("test_resnet"), (FINAL,), "layer3"),
    "final map, at the same stride": (
        BackboneConfig("test_resnet", {"output_stride": 16}),
        (FINAL,),
        "layer3",
    ),
    "final map of mobile blocks": (BackboneConfig("mobilenetv2_100"), (FINAL,), "blocks.4"),
    "the middle is used anyway": (BackboneConfig("test_resnet"), (FINAL, 3), ""),
    "cut before the end": (BackboneConfig("test_resnet"), (2, 3), ""),
}


@pytest.mark.parametrize("case", CASES)
def test_the_middle_is_seen_beside_the_maps_where_these_lack_it(case: str) -> None:
    config, taps, middle = CASES[case]
    backbone = Backbone(config, taps=taps).eval()
    assert backbone.middle == middle
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        maps, seen = backbone.forward_with_novelty_maps(images)
        alone = backbone(images)
    for one, other in zip(maps, alone, strict=True):
        assert torch.equal(one, other)
    assert len(seen) == len(maps) + bool(middle)
    assert sum(each.shape[1] for each in seen) == backbone.novelty_channels
    if middle:
        assert seen[0].shape[-2:] == (4, 4)


def test_threads_that_ask_the_same_network_do_not_see_each_others_images() -> None:
    backbone = Backbone(BackboneConfig("test_resnet")).eval()

    def shapes(count: int) -> set[tuple[int, ...]]:
        with torch.no_grad():
            found = [backbone.forward_with_novelty_maps(torch.rand(count, 3, 64, 64))[1] for _ in range(30)]
        return {(len(seen), *(len(each) for each in seen)) for seen in found}

    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(shapes, (1, 2, 3)))
    assert answers == [{(2, count, count)} for count in (1, 2, 3)]
