"""Images of other scenes are lost, for a run and for the file that it is exported to."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.support.trained import train_run, write_scene

from camloc import Localizer, Located, Lost
from camloc.cli.main import main
from camloc.inference.onnx.runtime import load_onnx
from camloc.models.checkpoint import load_checkpoint

# More than a tenth of the training frames are held out, which is enough for a novelty threshold.
FRAMES = 240


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the data set `scene`, the run `run`, and images of noise in `foreign`."""
    folder = tmp_path_factory.mktemp("foreign")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CAMLOC_CACHE", str(folder / "cache"))
        write_scene(folder / "scene", frames=FRAMES)
        train_run(folder / "scene", folder / "run", epochs=1)
        (folder / "foreign").mkdir()
        for number in range(4):
            noise = np.random.default_rng(number).integers(0, 255, (48, 64, 3), dtype=np.uint8)
            Image.fromarray(noise).save(folder / "foreign" / f"{number}.png")
        main(["export", str(folder / "run"), "--out", str(folder / "model.onnx")])
        yield folder


@pytest.mark.parametrize("network", ["run", "model.onnx"])
def test_an_image_of_another_scene_is_lost_and_one_of_the_scene_is_not(network: str, learned: Path) -> None:
    localizer = Localizer.load(learned / network)
    for path in sorted((learned / "foreign").iterdir()):
        estimate = localizer.locate(path)
        assert isinstance(estimate, Lost)
        assert "too different from every training image" in estimate.reason
    for path in sorted((learned / "scene").glob("seq-*/*.color.png"))[2::40]:
        estimate = localizer.locate(path)
        assert isinstance(estimate, Located), path
        assert estimate.novelty is not None
        assert 0.0 <= estimate.novelty <= 1.0


def test_run_and_export_have_the_same_threshold(learned: Path) -> None:
    checkpoint = load_checkpoint(learned / "run")
    assert checkpoint.novelty_detector is not None
    assert (
        checkpoint.metadata.novelty_threshold == load_onnx(learned / "model.onnx").metadata.novelty_threshold
    )


def test_a_scene_of_few_frames_has_no_novelty_detector(trained: Path) -> None:
    checkpoint = load_checkpoint(trained / "run")
    assert checkpoint.novelty_detector is None
    assert checkpoint.metadata.novelty_threshold is None
