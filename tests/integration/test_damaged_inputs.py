"""A sample of the damaged inputs that `benchmarks/damage.py` tries by the thousand."""

import shutil
from pathlib import Path

import pytest
from tests.support.damage_runner import tried, with_maps_and_cache
from tests.support.damaged_inputs import FILES, KINDS, Assets
from tests.support.trained import Made

# Of each kind; a tenth of the caches, each of which is made twice.
SAMPLE = {"images": 12, "checkpoints": 6, "maps": 6, "exported files": 3, "caches": 2}


@pytest.fixture(scope="module")
def assets(
    trained: Path, exported: Made, evaluated: Made, tmp_path_factory: pytest.TempPathFactory
) -> Assets:
    folder = tmp_path_factory.mktemp("assets")
    for name in ("scene", "run"):
        shutil.copytree(trained / name, folder / name)
    shutil.copytree(trained / "run" / "last", folder / "other" / "checkpoint")
    for path in (
        *evaluated.path.glob("estimates.*"),
        evaluated.path / "results.json",
        evaluated.path / "truth.tum",
    ):
        shutil.copyfile(path, folder / "run" / path.name)
    shutil.copyfile(exported.path, folder / "exported.onnx")
    return with_maps_and_cache(folder)


@pytest.mark.parametrize("kind", KINDS)
def test_damage_ends_in_one_sentence_or_in_the_true_answer(kind: str, assets: Assets) -> None:
    for number in range(SAMPLE.get(kind, 4)):
        outcome = tried(assets, kind, number)
        assert not outcome.problem, outcome


@pytest.mark.parametrize("kind", FILES)
def test_flipped_bits_and_zeroed_pages_of_every_file_are_noticed(kind: str, assets: Assets) -> None:
    for number in range(6):
        outcome = tried(assets, kind, number)
        assert outcome.is_refused, outcome
        assert not outcome.problem, outcome
