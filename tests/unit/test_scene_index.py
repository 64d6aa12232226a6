"""The index of many scenes ranks the one that an image shows, of maps with codecs of their own."""

from dataclasses import replace

import numpy as np
import pytest
from tests.support.coded_images import pose_of
from tests.support.synthetic_map import map_of, room, seen

from camloc.mapping.features import Features
from camloc.mapping.scene_map import DescriptorCodec, SceneMap
from camloc.serve.scene_index import SceneIndex

ROOMS = {f"room {seed}": room(points=1600, frames=16, seed=seed) for seed in range(40)}


def scene(name: str) -> SceneMap:
    """The map of a room, whose codes are in a space that no other map has."""
    found = replace(map_of(ROOMS[name], retrieval=False), scene=name)
    rng = np.random.default_rng(len(name) + int(name.split()[1]))
    basis = np.linalg.qr(rng.normal(size=(32, 32)))[0].astype(np.float32)
    codec = DescriptorCodec(rng.uniform(100, 150, 32).astype(np.float32), basis, 2.5)
    raw = found.codec.decode(found.descriptors) + 128
    return replace(found, codec=codec, descriptors=codec.encode(raw))


def query(name: str) -> Features:
    return seen(ROOMS[name], pose_of(5), noise=0.5)


@pytest.fixture(scope="module")
def index() -> SceneIndex:
    made = SceneIndex()
    for name in list(ROOMS)[:36]:
        made.add(name, scene(name))
    made.settle()
    return made


def best(index: SceneIndex, name: str) -> str:
    (settings,) = index.feature_settings()
    return index.ranked({settings: query(name)})[0][0]


def test_the_scene_of_an_image_comes_first(index: SceneIndex) -> None:
    names = list(ROOMS)[:36]
    assert [best(index, name) for name in names] == names


def test_a_scene_that_is_added_later_is_found_and_a_removed_one_is_not(index: SceneIndex) -> None:
    before = index.snapshot()
    for name in list(ROOMS)[36:]:
        index.add(name, scene(name))
    index.settle()
    assert [best(index, name) for name in list(ROOMS)[34:]] == list(ROOMS)[34:]
    assert best(before, "room 39") != "room 39"
    index.remove("room 39")
    assert best(index, "room 39") != "room 39"
    for name in list(ROOMS)[36:]:
        index.remove(name)


def test_the_size_of_a_scene_in_the_index_is_bounded(index: SceneIndex) -> None:
    assert 0 < index.nbytes / 36 < 45_000


def test_an_image_without_features_and_an_empty_index_rank_nothing(index: SceneIndex) -> None:
    (settings,) = index.feature_settings()
    assert index.ranked({settings: query("room 0").rows(np.zeros(0, np.int64))}) == ()
    assert SceneIndex().ranked({settings: query("room 0")}) == ()
