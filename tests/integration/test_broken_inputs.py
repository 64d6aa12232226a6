"""Images and options that are wrong: one sentence, status 1, and nothing left behind."""

import io
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from tests.support.command_line import camloc, listing, refused
from tests.support.image_files import FORMATS, encoded, png_chunk, png_header, sample_image

Capture = pytest.CaptureFixture[str]

NOISE = Image.fromarray(np.random.default_rng(2).integers(0, 256, (48, 64, 3), dtype=np.uint8))
TWO = [sample_image(), sample_image().transpose(Image.Transpose.ROTATE_180)]
DEPTH = Image.fromarray(np.arange(64 * 48, dtype=np.uint16).reshape(48, 64))


def stack(kind: str) -> bytes:
    return encoded(TWO[0], kind, save_all=True, append_images=TWO[1:])


# What the file is called, and what it holds.
NO_IMAGES: dict[str, tuple[str, bytes]] = {
    "nothing": ("empty.jpg", b""),
    "one zero": ("zero.jpg", b"\0"),
    "zeros": ("zeros.png", b"\0" * 5000),
    "a letter": ("letter.jpg", b"Dear Madam,\nthe images are not in here.\n" * 30),
    "a page of errors": ("page.jpg", b"<html><body>404 Not Found</body></html>"),
    "SVG": ("drawing.jpg", b"<svg xmlns='http://www.w3.org/2000/svg' width='64' height='48'/>"),
    "PDF": ("paper.jpg", b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog >>\nendobj\ntrailer\n%%EOF\n"),
    "EPS": ("figure.jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 48\n%%EndComments\nshowpage\n"),
    "HEIC": ("phone.jpg", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 400),
    "video": ("film.jpg", b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + b"\0" * 400),
    "ZIP": ("album.jpg", b"PK\x03\x04" + b"\0" * 200),
    "ICO": ("icon.jpg", encoded(sample_image(), "ICO")),
    "JPEG's first bytes": ("start.jpg", b"\xff\xd8\xff"),
    "GIF's first bytes": ("start.gif", b"GIF89a"),
    "RIFF without WebP": ("start.webp", b"RIFF\x00\x00\x00\x00WEBP"),
    "1 x 1": ("dot.png", encoded(Image.new("RGB", (1, 1)), "PNG")),
    "15 x 400": ("stripe.png", encoded(Image.new("RGB", (15, 400)), "PNG")),
    "20,000 x 20,000": ("huge.png", png_header(20_000, 20_000) + png_chunk(b"IEND", b"")),
    "2 billion wide": ("wide.png", png_header(2**31 - 1, 20) + png_chunk(b"IEND", b"")),
    "0 x 0": ("none.png", png_header(0, 0) + png_chunk(b"IEND", b"")),
    "no pixels": ("hollow.png", png_header(64, 48) + png_chunk(b"IEND", b"")),
    "wrong check sum": ("sum.png", encoded(sample_image(), "PNG").replace(b"IDAT", b"IDAX")),
    "16-bit grey PNG": ("depth.png", encoded(DEPTH, "PNG")),
    "16-bit grey TIFF": ("depth.tiff", encoded(DEPTH, "TIFF")),
    "32-bit TIFF": ("float.tiff", encoded(sample_image().convert("F"), "TIFF")),
    "animated GIF": ("wave.gif", stack("GIF")),
    "animated WebP": ("wave.webp", stack("WEBP")),
    "animated PNG": ("wave.png", stack("PNG")),
    "pages of TIFF": ("scan.tiff", stack("TIFF")),
}


@pytest.fixture(autouse=True)
def workplace(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The current folder is empty, and the cache is another."""
    assert trained.is_dir()
    monkeypatch.chdir(tmp_path)


def refused_without_a_trace(capfd: Capture, folder: Path, *arguments: str | Path, status: int = 1) -> str:
    before = listing(folder)
    message = refused(capfd, *arguments, status=status)
    assert listing(folder) == before
    return message


@pytest.mark.parametrize("percent", [0.5, 5, 12, 25, 40, 60, 75, 90, 97])
@pytest.mark.parametrize("kind", FORMATS)
def test_a_image_that_is_cut_short(
    kind: str, percent: float, trained: Path, tmp_path: Path, capfd: Capture
) -> None:
    whole = encoded(NOISE, kind, **FORMATS[kind])
    path = tmp_path / f"image.{kind.lower()}"
    path.write_bytes(whole[: max(1, int(len(whole) * percent / 100))])
    message = refused_without_a_trace(capfd, tmp_path, "locate", trained / "run", path)
    assert path.name in message


@pytest.mark.parametrize("what", NO_IMAGES)
def test_a_file_that_is_no_image(what: str, trained: Path, tmp_path: Path, capfd: Capture) -> None:
    name, data = NO_IMAGES[what]
    (tmp_path / name).write_bytes(data)
    message = refused_without_a_trace(capfd, tmp_path, "locate", trained / "run", tmp_path / name)
    assert name in message


def nothing(_: Path) -> None:
    """Leave the folder as it is."""


# What is named as an image, and how it came to be what it is.
PATHS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "missing": ("nowhere.jpg", nothing),
    "missing folder": ("no/where.jpg", nothing),
    "folder": (".", nothing),
    "endless name": ("x" * 400 + ".jpg", nothing),
    "pipe": ("pipe.jpg", lambda folder: os.mkfifo(folder / "pipe.jpg")),
    "dangling link": ("link.jpg", lambda folder: (folder / "link.jpg").symlink_to("gone")),
    "circular link": ("link.jpg", lambda folder: (folder / "link.jpg").symlink_to("link.jpg")),
    "below a file": ("file/a.jpg", lambda folder: (folder / "file").write_bytes(b"x")),
    "name of two lines": ("two\nlines\x1b[31m.jpg", nothing),
    "name that is not UTF-8": (os.fsdecode(b"caf\xe9.jpg"), nothing),
    "device": ("/dev/zero", nothing),
}


@pytest.mark.parametrize("what", PATHS)
def test_a_path_without_a_image(what: str, trained: Path, tmp_path: Path, capfd: Capture) -> None:
    name, make = PATHS[what]
    make(tmp_path)
    refused_without_a_trace(capfd, tmp_path, "locate", trained / "run", tmp_path / name)


def test_a_image_that_may_not_be_read(
    trained: Path, tmp_path: Path, capfd: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deny(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    NOISE.save(tmp_path / "secret.png")
    monkeypatch.setattr(Image, "open", deny)
    assert "may not be read" in refused(capfd, "locate", trained / "run", tmp_path / "secret.png")


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        *(("CMYK", "JPEG"), ("CMYK", "TIFF"), ("YCbCr", "JPEG"), ("L", "JPEG"), ("L", "PNG"), ("1", "PNG")),
        *(("LA", "PNG"), ("P", "GIF"), ("P", "BMP"), ("RGBA", "PNG"), ("RGBA", "WEBP"), ("RGBA", "TIFF")),
    ],
)
def test_a_image_of_any_kind_is_answered(
    mode: str, kind: str, trained: Path, tmp_path: Path, capfd: Capture
) -> None:
    source = sample_image(64, 48).convert("L") if mode == "LA" else sample_image(64, 48)
    path = tmp_path / os.fsdecode(b"caf\xe9.") / f"image of {mode}.{kind}"
    path.parent.mkdir()
    path.write_bytes(encoded(source.convert(mode), kind))
    ended = camloc(capfd, "locate", trained / "run", path)
    assert (ended.status, ended.err) == (0, "")
    assert len(ended.out.splitlines()) == 1


# Wrong whatever the data are: the exit status is 2.
USAGE: dict[str, tuple[list[str], tuple[str, ...]]] = {
    "unknown layout": (["--layout", "sevenscene"], ("'sevenscene'", "sevenscenes")),
    "layout with a path": (["--layout", "../tum"], ("'../tum'",)),
    "unknown option": (["--option", "stride=2"], ("'stride'", "train_list")),
    "budget without a number": (["--budget", "soon"], ("'soon'", "20m")),
    "budget of nothing": (["--budget", "0m"], ("'0m'", "1.5h")),
    "budget in weeks": (["--budget", "2w"], ("'2w'",)),
    "budget in foreign digits": (["--budget", "٣m"], ("duration",)),
    "budget without end": (["--budget", "9" * 400 + "h"], ("duration",)),
    "option without value": (["--option", "split"], ("'split'", "NAME=VALUE")),
    "option without name": (["--option", "=x"], ("'=x'", "NAME=VALUE")),
    "option twice": (["--option", "split=a", "--option", "split=b"], ("split", "twice")),
    "negative seed": (["--seed", "-1"], ("-1", "4,294,967,295")),
    "endless seed": (["--seed", "9" * 40], ("seed",)),
    "no devices": (["--devices", "0"], ("1 device or more",)),
}

# Wrong for these data, or on this machine.
WORDS: dict[str, tuple[list[str], tuple[str, ...]]] = {
    "layout of another kind": (["--layout", "tum"], ("rgb.txt",)),
    "option that is no word": (["--option", "camera=pinhole"], ("camera", "camera.json")),
    "option with a wrong value": (["--option", "exclude=no.png"], ("no.png",)),
    "unknown split": (["--option", "split=winter"], ("winter",)),
    "missing list": (["--train-list", "none.txt"], ("none.txt", "does not exist")),
    "list that is a folder": (["--test-list", "."], ("is a folder",)),
    "missing weights": (["--backbone-weights", "w.pth"], ("w.pth", "do not exist")),
    "weights that are a folder": (["--backbone-weights", "."], ("do not exist",)),
    "no scene": (["--layout", "sevenscenes", "--scene", "bathroom"], ("'bathroom'", "attic")),
}


@pytest.mark.parametrize("what", [*USAGE, *WORDS])
def test_an_option_of_train_with_a_wrong_value(
    what: str, trained: Path, tmp_path: Path, capfd: Capture
) -> None:
    options, parts = (USAGE | WORDS)[what]
    (tmp_path / "scenes").mkdir()
    (tmp_path / "scenes" / "attic").symlink_to(trained / "scene")
    scene = tmp_path / "scenes" if "--scene" in options else trained / "scene"
    arguments = ("train", "demo/hyperpose", "--data", scene, "--out", tmp_path / "out")
    status = 2 if what in USAGE else 1
    message = refused_without_a_trace(capfd, tmp_path, *arguments, *options, status=status)
    for part in parts:
        assert part in message


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
@pytest.mark.parametrize("command", [["train", "demo/hyperpose", "--data", "."], ["locate", "RUN", "a.jpg"]])
def test_a_device_that_is_not_there(
    command: list[str], trained: Path, tmp_path: Path, capfd: Capture
) -> None:
    arguments = [str(trained / "run") if word == "RUN" else word for word in command]
    message = refused_without_a_trace(capfd, tmp_path, *arguments, "--device", "cuda")
    assert "'cuda'" in message
    assert "only cpu" in message


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("demo/hyperpos", "demo/hyperpose"),
        ("hyperpose", "hyperpose"),
        ("", "/"),
        ("../demo", "demo/"),
        ("room/hyperpose/x", "room/hyperpose"),
        ("räume", "/"),
    ],
)
def test_an_unknown_recipe_suggests_others(
    name: str, meant: str, trained: Path, tmp_path: Path, capfd: Capture
) -> None:
    words = ("train", name, "--data", trained / "scene")
    message = refused_without_a_trace(capfd, tmp_path, *words, status=2)
    _, _, suggested = message.partition("did you mean ")
    assert meant in suggested


class _Trap:
    """Something that leaves a mark when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.mkdir, ("unpickled",)


def _pickled(thing: object) -> bytes:
    import pickle

    return pickle.dumps(thing)


def _torch_file(thing: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(thing, buffer)
    return buffer.getvalue()


def weights_of_another_network() -> bytes:
    save_file({"conv1.weight": torch.zeros(8, 3, 3, 3)}, "other.safetensors")
    data = Path("other.safetensors").read_bytes()
    Path("other.safetensors").unlink()
    return data


WEIGHTS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "a pickle": ("w.pth", lambda: _pickled(_Trap())),
    "a pickle in safetensors' name": ("w.safetensors", lambda: _pickled(_Trap())),
    "a trap in torch's format": ("w.pth", lambda: _torch_file(_Trap())),
    "a list": ("w.pth", lambda: _torch_file([1, 2])),
    "words": ("w.pth", lambda: _torch_file({"a": "b"})),
    "nothing": ("w.pth", lambda: b""),
    "empty safetensors": ("w.safetensors", lambda: b""),
    "text": ("w.pth", lambda: b"weights\n" * 99),
    "half a torch file": ("w.pth", lambda: _torch_file({"a": torch.zeros(999)})[:2000]),
    "half a safetensors file": ("w.safetensors", lambda: weights_of_another_network()[:300]),
    "another network": ("w.safetensors", weights_of_another_network),
    "no tensors": ("w.pth", lambda: _torch_file({})),
}


@pytest.mark.parametrize("what", WEIGHTS)
def test_backbone_weights_that_are_none(what: str, trained: Path, tmp_path: Path, capfd: Capture) -> None:
    name, make = WEIGHTS[what]
    (tmp_path / name).write_bytes(make())
    arguments = ("train", "demo/hyperpose", "--data", trained / "scene", "--out", "out")
    message = refused_without_a_trace(capfd, tmp_path, *arguments, "--backbone-weights", name)
    assert name in message
