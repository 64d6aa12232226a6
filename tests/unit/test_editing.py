"""`camloc edit`: other seasons for the test images, by a stand-in of the pipeline and by the plain change."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.support.layouts import WRITERS, make_scene

from camloc.cli.main import main
from camloc.data import editing, formats
from camloc.data.editing import InstructPix2Pix, Photometric
from camloc.data.types import poses_of
from camloc.errors import MissingExtraError
from camloc.recipes.extended_cambridge_2025 import conditions

SCENE = make_scene()
SIZE = ["--option=width=32", "--option=height=24"]


@dataclass
class StandIn:
    """Called like the pipeline of diffusers; it inverts the image."""

    calls: list[dict[str, Any]] = field(default_factory=list)

    def __call__(self, instruction: str, *, image: Image.Image, **settings: Any) -> SimpleNamespace:
        noise = settings.pop("generator")
        self.calls.append(
            {"instruction": instruction, "size": image.size, "seed": noise.initial_seed(), **settings}
        )
        return SimpleNamespace(images=[Image.eval(image, lambda value: 255 - value)])


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    made = StandIn()
    monkeypatch.setattr(editing, "load_pipeline", lambda _weights, _device: made)
    return made


@pytest.fixture
def cambridge(tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    root = tmp_path / "Shop"
    root.mkdir()
    return root, WRITERS["cambridge"](root, SCENE)


def test_the_conditions_of_a_cambridge_scene_are_found_by_its_reader(
    cambridge: tuple[Path, dict[str, Any]], pipeline: StandIn
) -> None:
    root, options = cambridge
    main(["edit", str(root), "--weights", "hub", *SIZE])
    scene = formats.load(root, **options)
    assert scene.test_name == "original"
    assert set(scene.conditions) == {"winter", "summer", "evening"}
    for frames in scene.conditions.values():
        np.testing.assert_array_equal(poses_of(frames).matrix(), poses_of(scene.test).matrix())
        with Image.open(frames[0].image) as image:
            assert image.size == (32, 24)
            assert image.getpixel((5, 5)) == (165, 165, 165)
    first = pipeline.calls[0]
    assert first["instruction"] == conditions()["winter"].instruction
    assert first["image_guidance_scale"] == conditions()["winter"].image_guidance
    assert first["size"] == (680, 512)  # the short side of 512 pixels, multiples of 8
    assert len({each["seed"] for each in pipeline.calls}) == len(SCENE.test)


def test_an_interrupted_command_goes_on(cambridge: tuple[Path, dict[str, Any]], pipeline: StandIn) -> None:
    root, options = cambridge
    main(["edit", str(root), "--condition", "winter", "--weights", "hub", *SIZE])
    made = formats.load(root, **options).conditions["winter"]
    made[1].image.unlink()
    main(["edit", str(root), "--condition", "winter", "--weights", "hub", *SIZE])
    assert len(pipeline.calls) == len(SCENE.test) + 1
    assert made[1].image.exists()


@pytest.mark.parametrize("variant", ["sevenscenes", "colmap", "table"])
def test_another_layout_becomes_a_data_set_of_its_own(tmp_path: Path, variant: str) -> None:
    root = tmp_path / "data"
    root.mkdir()
    options = WRITERS[variant](root, SCENE)
    words = [f"--option={name}={value}" for name, value in options.items() if isinstance(value, str)]
    out = tmp_path / "edited"
    main(["edit", str(root), "--by", "photometric", "--condition", "evening", "--out", str(out), *words])
    before, after = formats.load(root, **options), formats.load(out / "evening", **options)
    for one, other in ((before.train, after.train), (before.test, after.test)):
        assert [frame.name for frame in one] == [frame.name for frame in other]
        np.testing.assert_array_equal(poses_of(one).matrix(), poses_of(other).matrix())

    def grey(frames: Any) -> float:
        with Image.open(frames[0].image) as image:
            return float(np.asarray(image.convert("L")).mean())

    assert grey(after.train) == grey(before.train)
    assert grey(after.test) < 0.5 * grey(before.test)
    record = json.loads((out / "evening" / "edit.json").read_text())
    assert record == {"condition": "evening", "made by": "photometric change"}


def test_images_of_other_settings_are_not_mixed(
    cambridge: tuple[Path, dict[str, Any]], pipeline: StandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    root, _ = cambridge
    main(["edit", str(root), "--condition", "winter", "--by", "photometric", *SIZE])
    with pytest.raises(SystemExit):
        main(["edit", str(root), "--condition", "winter", "--weights", "hub", *SIZE])
    assert "images of other settings" in capsys.readouterr().err
    assert pipeline.calls == []


def test_an_edit_is_the_same_every_time() -> None:
    stand_in = StandIn()
    editor = InstructPix2Pix(stand_in, conditions())
    image = Image.new("RGB", (40, 30), (10, 20, 30))
    for _ in range(2):
        assert editor.edited(image, "summer", 7).size == (40, 30)
    assert stand_in.calls[0] == stand_in.calls[1]


@pytest.mark.parametrize("condition", ["winter", "summer", "evening"])
def test_the_plain_change_keeps_black_and_the_size(condition: str) -> None:
    pixels = np.zeros((6, 4, 3), dtype=np.uint8)
    pixels[3:] = (200, 100, 50)
    changed = np.asarray(Photometric().edited(Image.fromarray(pixels), condition, 0))
    assert changed.shape == pixels.shape
    assert changed[:3].max() == 0
    assert (changed[3:] != pixels[3:]).any()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "name the weights with --weights"),
        (["--weights", "nowhere"], "no folder with weights|needs diffusers"),
    ],
)
def test_what_is_missing_is_said_in_a_sentence(
    cambridge: tuple[Path, dict[str, Any]],
    words: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        main(["edit", str(cambridge[0]), *SIZE, *words])
    err = capsys.readouterr().err
    assert any(each in err for each in message.split("|")), err


def test_weights_that_cannot_be_loaded_are_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Pipeline:
        @staticmethod
        def from_pretrained(*_: Any, **__: Any) -> None:
            raise OSError("no file model_index.json\nand a long trace")

    monkeypatch.setattr(editing, "require_extra", lambda *_: None)
    monkeypatch.setitem(
        __import__("sys").modules,
        "diffusers",
        SimpleNamespace(StableDiffusionInstructPix2PixPipeline=Pipeline),
    )
    with pytest.raises(
        MissingExtraError, match=r"cannot be loaded from .* \(no file model_index.json\); try"
    ):
        editing.load_pipeline(str(tmp_path), "cpu")
