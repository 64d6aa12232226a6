"""`camloc masks`: from image_folder to masks that `camloc locate` and `camloc evaluate` take."""

import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image
from tests.integration.test_evaluate_geometry import geometry_recipe
from tests.support.command_line import camloc, listing, refused, sentence
from tests.support.trained import HEIGHT, TEST_FRAMES, TRAIN_FRAMES, WIDTH, write_scene
from torchvision.models import get_model_weights

from camloc.data.segmentation import segmentation_network
from camloc.runs.manifest import DataSource
from camloc.runs.prepare import prepare
from camloc.runs.train import train

Capture = pytest.CaptureFixture[str]

NAME = "lraspp_mobilenet_v3_large"
CLASSES = ("street", "person", "sky")


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the data set `scene`, and weights that see people in half of its first image."""
    folder = tmp_path_factory.mktemp("masks")
    write_scene(folder / "scene")
    torch.manual_seed(0)
    network = segmentation_network(NAME, classes=len(CLASSES))
    weights = network.state_dict()
    with torch.no_grad():
        scores = network(seen_by_torchvision(image_folder(folder)[0]))["out"][0]
        # Random weights see one class everywhere; this lets the image decide between the first two.
        weights["classifier.low_classifier.bias"] += torch.tensor(
            [float((scores[1] - scores[0]).median()), 0.0, -1e6]
        )
    safetensors.torch.save_file(weights, folder / "weights.safetensors")
    (folder / "classes.txt").write_text("\n".join(CLASSES) + "\n")
    return folder


def image_folder(folder: Path) -> list[Path]:
    return [frame.image for frame in DataSource(str(folder / "scene")).load().train]


def seen_by_torchvision(image: Path) -> torch.Tensor:
    """An image as torchvision's own preprocessing gives it to its network."""
    with Image.open(image) as opened:
        seen: torch.Tensor = get_model_weights(NAME).DEFAULT.transforms()(opened)
    return seen.unsqueeze(0)


def options(scene: Path, out: Path) -> list[str | Path]:
    return ["--weights", scene / "weights.safetensors", "--classes", scene / "classes.txt", "--out", out]


def is_black(path: Path) -> np.ndarray:
    with Image.open(path) as mask:
        return np.asarray(mask) < 128


def test_a_mask_is_black_where_the_network_sees_people(scene: Path, tmp_path: Path, capfd: Capture) -> None:
    image = image_folder(scene)[0]
    ended = camloc(capfd, "masks", image, *options(scene, tmp_path))
    assert ended.status == 0, ended.err
    assert ended.out == f"{tmp_path}\n"
    network = segmentation_network(NAME, classes=len(CLASSES))
    network.load_state_dict(safetensors.torch.load_file(scene / "weights.safetensors"))
    with torch.no_grad():
        person = network(seen_by_torchvision(image))["out"].argmax(1) == 1
    wanted = torch.nn.functional.interpolate(person[None].float(), (HEIGHT, WIDTH), mode="nearest-exact")
    black = is_black(tmp_path / f"{image.name}.png")
    assert 0.2 < black.mean() < 0.8
    assert (black == (wanted[0, 0].numpy() > 0)).mean() > 0.97
    camloc(capfd, "masks", image, *options(scene, tmp_path / "sky"), "--leave-out", "sky")
    assert not is_black(tmp_path / "sky" / f"{image.name}.png").any()
    camloc(capfd, "masks", image, *options(scene, tmp_path / "all"), "--leave-out", "person,street")
    assert is_black(tmp_path / "all" / f"{image.name}.png").all()


@pytest.mark.usefixtures("no_report")
def test_masks_of_a_data_set_are_what_evaluation_and_location_take(
    scene: Path, tmp_path: Path, capfd: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAMLOC_CACHE", str(tmp_path / "cache"))
    masks, run = tmp_path / "masks", tmp_path / "run"
    ended = camloc(capfd, "masks", "--data", scene / "scene", *options(scene, masks))
    assert ended.status == 0, ended.err
    assert len(list(masks.rglob("*.png"))) == TRAIN_FRAMES + TEST_FRAMES
    data = DataSource(str(scene / "scene"))
    for _ in train(prepare(geometry_recipe(), name="tiny/points", data=data, folder=run)):
        pass
    chosen: dict[str, list[str | Path]] = {"plain": [], "masked": ["--masks", masks]}
    for name, words in chosen.items():
        camloc(capfd, "evaluate", run, "--filter", "weights", "--out", tmp_path / name, *words)
    plain, masked = (
        json.loads((tmp_path / name / "results.json").read_text())["headline"]["estimates"]["meters"][
            "median"
        ]
        for name in ("plain", "masked")
    )
    assert plain != pytest.approx(masked, rel=1e-6)
    image = image_folder(scene)[0]
    (tmp_path / "beside").mkdir()
    folders = {"none": tmp_path / "beside", "its own": masks / image.parent.name}
    answers = {
        name: camloc(capfd, "locate", run, image, "--filter", "weights", "--masks", folder).out
        for name, folder in folders.items()
    }
    assert camloc(capfd, "locate", run, image, "--filter", "weights").out == answers["none"]
    assert answers["its own"] != answers["none"]


def test_masks_that_are_there_are_not_made_again(scene: Path, tmp_path: Path, capfd: Capture) -> None:
    images = image_folder(scene)[:2]
    camloc(capfd, "masks", *images, *options(scene, tmp_path))
    before = listing(tmp_path)
    (tmp_path / f"{images[1].name}.png").unlink()
    assert camloc(capfd, "masks", *images, *options(scene, tmp_path)).status == 0
    after = listing(tmp_path)
    assert {path for path in before if before[path] != after[path]} == {
        str(tmp_path / f"{images[1].name}.png")
    }


def test_masks_with_other_settings_do_not_mix(scene: Path, tmp_path: Path, capfd: Capture) -> None:
    image = image_folder(scene)[0]
    camloc(capfd, "masks", image, *options(scene, tmp_path))
    before = listing(tmp_path)
    message = refused(capfd, "masks", image, *options(scene, tmp_path), "--leave-out", "sky")
    assert "other settings" in message
    assert listing(tmp_path) == before


def test_a_image_that_cannot_be_read_is_reported_and_the_others_get_masks(
    scene: Path, tmp_path: Path, capfd: Capture
) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"not an image")
    image = image_folder(scene)[0]
    ended = camloc(capfd, "masks", broken, image, *options(scene, tmp_path / "masks"))
    assert ended.status == 1
    assert "broken.jpg" in ended.err
    assert [path.name for path in (tmp_path / "masks").glob("*.png")] == [f"{image.name}.png"]


def test_what_cannot_be_done_is_reported_in_a_sentence(scene: Path, tmp_path: Path, capfd: Capture) -> None:
    image = image_folder(scene)[0]
    twin = tmp_path / "other" / image.name
    twin.parent.mkdir()
    twin.write_bytes(image.read_bytes())
    (tmp_path / "two.txt").write_text("street\nperson\n")
    (tmp_path / "twice.txt").write_text("street\nstreet\n")
    out = tmp_path / "out"
    words = options(scene, out)
    file = scene / "weights.safetensors"
    message = {
        "one of the two": refused(capfd, "masks", *words, status=2),
        "one of the two ": refused(capfd, "masks", image, "--data", scene / "scene", *words, status=2),
        "two folders": refused(capfd, "masks", image, twin, *words),
        "no segmentation network 'lraspp'": refused(capfd, "masks", image, *words, "--network", "lraspp"),
        "no 'persons'": refused(capfd, "masks", image, *words, "--leave-out", "persons"),
        "3 classes, not 2": refused(
            capfd, "masks", image, "--weights", file, "--classes", tmp_path / "two.txt", "--out", out
        ),
        "without repetition": refused(
            capfd, "masks", image, "--weights", file, "--classes", tmp_path / "twice.txt", "--out", out
        ),
        "not a text file": refused(
            capfd, "masks", image, "--weights", file, "--classes", tmp_path / "none.txt", "--out", out
        ),
        "do not exist": refused(capfd, "masks", image, "--weights", tmp_path / "none.pth", "--out", out),
    }
    for part, line in message.items():
        assert part.strip() in line
    assert not out.exists()


def test_a_file_that_is_cut_short_is_reported_in_a_sentence(
    scene: Path, tmp_path: Path, capfd: Capture
) -> None:
    whole = (scene / "weights.safetensors").read_bytes()
    (tmp_path / "short.safetensors").write_bytes(whole[: len(whole) // 2])
    ended = camloc(
        capfd,
        "masks",
        image_folder(scene)[0],
        "--weights",
        tmp_path / "short.safetensors",
        "--out",
        tmp_path / "m",
    )
    assert ended.status == 1
    assert "short.safetensors is neither" in sentence(ended.err)
