"""Damaged inputs by the thousand: each kind makes one input of a seed, and says how it must end.

A kind writes an undamaged input, spoils it at random, and gives the command that reads it. How the command
may end is an `Expected`: what nobody could notice, such as another digit of a position, has no truth.
`tests.support.damage_runner` runs them in processes with limits.
"""

import json
import os
import shutil
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image
from safetensors.numpy import load, save

from camloc.core.files import is_sound_cache
from camloc.data import formats
from camloc.data.types import Frame
from camloc.errors import CamlocError
from camloc.evaluation.comparison import read_estimates, truth_of
from camloc.evaluation.files import CHECKED_NAMES
from camloc.evaluation.results import Results
from camloc.inference.onnx.bundle import BundleManifest, exported_network
from camloc.inference.onnx.runtime import load_onnx
from camloc.mapping.scene_map import ARRAYS_FILE, METADATA_FILE, SceneMap
from camloc.models.checkpoint import load_checkpoint
from camloc.runs.manifest import RunManifest
from camloc.training.log import read_log
from camloc.training.state import read_position
from tests.support.damage import SCENE, reseal, reseal_file
from tests.support.image_files import encoded, png_chunk, png_header
from tests.support.layouts import FOCAL, HEIGHT, WIDTH, WRITERS
from tests.support.mapped import reseal_map

Random = np.random.Generator

# refused: an error; true: an error, or the same answer as without damage; any: any end but a traceback.
Expected = Literal["refused", "true", "any"]


@dataclass(frozen=True)
class Assets:
    """Undamaged inputs, made once.

    Attributes:
        folder: with `scene` (a data set), `run` (a run that has learned it, evaluated), `map` (a run of a
            map alone), `exported.onnx`, `bundle` (an exported folder), and `cache`.
    """

    folder: Path

    def image(self) -> Path:
        """A test image of the scene."""
        return next((self.folder / "scene" / "seq-02").glob("*.color.png"))


@dataclass(frozen=True)
class Input:
    """A damaged input.

    Attributes:
        damage: name of what was done to it.
        arguments: of the command line that reads it; empty if `read` is all.
        expected: how it may end.
        baseline: arguments that give the answer without damage, for the expectation "true" of a command.
        read: what is read in Python; raises CamlocError if it is refused, AssertionError if it is wrong.
    """

    damage: str
    arguments: tuple[str, ...] = ()
    expected: Expected = "any"
    baseline: tuple[str, ...] = ()
    read: Callable[[], object] | None = None


Kind = Callable[[Assets, Path, Random], Input]


# --- Bytes --------------------------------------------------------------------------------------------------


def flipped(data: bytes, rng: Random) -> bytes:
    """With one to eight bits flipped, all different."""
    changed = bytearray(data)
    for bit in rng.choice(8 * len(data), min(int(rng.integers(1, 9)), 8 * len(data)), replace=False):
        changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def zeroed(data: bytes, rng: Random) -> bytes:
    """With a page of zeros, of 4096 bytes or of a quarter of a small file."""
    page = min(4096, max(1, len(data) // 4))
    start = int(rng.integers(0, max(1, len(data) // page))) * page
    length = len(data[start : start + page])
    changed = data[:start] + bytes(length) + data[start + page :]
    return changed if changed != data else flipped(data, rng)


def shortened(data: bytes, rng: Random) -> bytes:
    return data[: int(rng.integers(0, len(data)))]


def extended(data: bytes, rng: Random) -> bytes:
    return data + rng.bytes(int(rng.integers(1, 5000)))


def noise(data: bytes, rng: Random) -> bytes:
    return rng.bytes(max(1, len(data)))


BYTES: dict[str, Callable[[bytes, Random], bytes]] = {
    "bits flipped": flipped,
    "a page of zeros": zeroed,
    "cut": shortened,
    "longer": extended,
    "noise": noise,
}


def no_file(path: Path, rng: Random) -> str:
    """Put something in the place of a file that is no file with content; its name."""
    path.unlink()
    match str(rng.choice(["a folder", "a pipe", "a loop", "a dead link", "endless", "empty", "huge"])):
        case "a folder":
            path.mkdir()
            return "a folder"
        case "a pipe":
            os.mkfifo(path)
            return "a pipe"
        case "a loop":
            path.symlink_to(path.name)
            return "a loop of links"
        case "a dead link":
            path.symlink_to("nowhere")
            return "a dead link"
        case "endless":
            path.symlink_to("/dev/zero")
            return "a device without an end"
        case "empty":
            path.write_bytes(b"")
            return "empty"
        case _:
            with path.open("wb") as file:
                file.truncate(2**37)
            return "a hole of 128 GB"


NASTY_VALUES: tuple[Any, ...] = (
    *(None, True, -1, 0, 1, 10**9, 10**30, 10**400, -(10**18), 1e300, -1e300, 0.5, "", "x", "../..", "/etc"),
    *("a" * 100_000, "\n[/b]\x1b[31m", [], {}, [[]], [0] * 2000, {"a": {"b": {"c": 1}}}),
)


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def with_nasty_value(content: Any, rng: Random) -> str:
    """Exchange or remove a value at a random place of a JSON object; says where."""
    places: list[tuple[Any, Any]] = []

    def walk(value: Any) -> None:
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in items:
            places.append((value, key))
            if isinstance(inner, dict | list):
                walk(inner)

    walk(content)
    holder, key = places[int(rng.integers(len(places)))]
    choice = int(rng.integers(len(NASTY_VALUES) + 3))
    if choice == len(NASTY_VALUES):
        holder[key] = deep(500)
    elif choice == len(NASTY_VALUES) + 1:
        del holder[key]
    elif choice == len(NASTY_VALUES) + 2 and isinstance(holder, dict):
        holder["colour of\nmine"] = "red"
    else:
        holder[key] = NASTY_VALUES[choice % len(NASTY_VALUES)]
    return "a JSON value exchanged"


def pick(rng: Random, names: Any) -> Any:
    options = list(names)
    return options[int(rng.integers(len(options)))]


# --- Images -------------------------------------------------------------------------------------------------

_FORMATS: dict[str, dict[str, Any]] = {
    "PNG": {},
    "JPEG": {"quality": 92},
    "WEBP": {"lossless": True},
    "BMP": {},
    "TIFF": {"compression": "tiff_deflate"},
    "AVIF": {},
    "GIF": {},
}
_MODES = ("L", "LA", "P", "PA", "RGBA", "1", "I;16", "I", "F", "CMYK", "YCbCr", "HSV", "LAB")


def image(assets: Assets, folder: Path, rng: Random) -> Input:
    """An image file, to be located."""
    path, whole = folder / "query.jpg", folder / "whole" / "query.jpg"
    whole.parent.mkdir()
    picture = Image.open(assets.image()).convert("RGB").resize((160, 120))
    damage, data, good, expected = _spoilt_image(picture, rng)
    path.write_bytes(data)
    if data == b"" and damage == "":
        damage = no_file(path, rng)
    run = str(assets.folder / "run")
    baseline: tuple[str, ...] = ()
    if good is not None:
        whole.write_bytes(good)
        baseline = ("locate", run, str(whole))
    return Input(damage, ("locate", run, str(path)), expected, baseline)


def _spoilt_image(picture: Image.Image, rng: Random) -> tuple[str, bytes, bytes | None, Expected]:
    """Name, content, content without the damage, and how it may end."""
    kind = pick(rng, _FORMATS)
    data = encoded(picture, kind, **_FORMATS[kind])
    match int(rng.integers(10)):
        case 0 | 1:
            name = pick(rng, BYTES)
            # Checksums of PNG notice every flip; other formats have none.
            return f"{kind}: {name}", BYTES[name](data, rng), data, "true" if kind == "PNG" else "any"
        case 2:
            return f"{kind}: cut", shortened(data, rng), data, "true" if kind == "PNG" else "any"
        case 3:
            content = pick(rng, _OTHER_FILES)
            return "another kind of file", content, None, "refused"
        case 4:
            return "a huge size", _with_huge_size(kind, data, rng), None, "refused"
        case 5:
            mode = pick(rng, _MODES)
            try:
                made = encoded(picture.convert("I" if mode == "I;16" else mode), "TIFF")
            except (OSError, ValueError):
                made = encoded(picture.convert("L").convert("F"), "TIFF")
            return f"colours {mode}", made, None, "any"
        case 6:
            frames = [picture.rotate(angle) for angle in (0, 5, 9)]
            several = pick(rng, ("GIF", "PNG", "WEBP", "TIFF"))
            made = encoded(frames[0], several, save_all=True, append_images=frames[1:])
            return f"{several} of several images", made, None, "refused"
        case 7:
            return _with_metadata(picture, rng)
        case 8:
            small = picture.resize((int(rng.integers(1, 16)), int(rng.integers(1, 200))))
            return "too small", encoded(small, "PNG"), None, "refused"
        case _:
            return "", b"", None, "refused"


_OTHER_FILES = (
    b"<html><body>404</body></html>",
    b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\nshowpage\n",
    b"%PDF-1.7\n1 0 obj\n",
    b"<svg xmlns='http://www.w3.org/2000/svg' width='99' height='99'/>",
    b"PK\x03\x04" + bytes(60),
    b"\x80\x04\x95cos\nsystem\n(S'true'\ntR.",
    b"\x00\x00\x00\x24ftypheic\x00\x00\x00\x00mif1heic" + bytes(400),
    b"\x00\x00\x00\x20ftypisom" + bytes(400),
    b"II*\x00" + b"\xff" * 40,
    b"\x89PNG\r\n\x1a\n",
    b"\xff\xd8\xff\xe0",
    b"GIF89a",
    b"RIFF\xff\xff\xff\xffWEBPVP8 ",
    b"P6 999999999 999999999 255\n",
)


def _with_huge_size(kind: str, data: bytes, rng: Random) -> bytes:
    sides = (int(rng.integers(20_000, 2**31 - 1)), int(rng.integers(20_000, 2**31 - 1)))
    match kind:
        case "JPEG":
            start = data.index(b"\xff\xc0") + 5
            return data[:start] + struct.pack(">HH", 65_500, 65_500) + data[start + 4 :]
        case "BMP":
            return data[:18] + struct.pack("<ii", *sides) + data[26:]
        case "GIF":
            return data[:6] + struct.pack("<HH", 65_535, 65_535) + data[10:]
        case "TIFF":  # a sliver that the network would see a part of
            return encoded(Image.new("RGB", (16, 400_000)), "PNG")
        case _:
            return png_header(*sides) + png_chunk(b"IDAT", b"x") + png_chunk(b"IEND", b"")


def _with_metadata(picture: Image.Image, rng: Random) -> tuple[str, bytes, bytes, Expected]:
    """Broken EXIF or colour profiles beside a sound image, which is to be read as if they were not there."""
    kind = pick(rng, ("PNG", "WEBP", "JPEG"))
    good = encoded(picture, kind, **_FORMATS[kind])
    if rng.integers(3) == 0:
        made = encoded(picture, kind, **_FORMATS[kind], icc_profile=rng.bytes(int(rng.integers(1, 500))))
        return f"{kind} with a broken profile", made, good, "true"
    header = pick(rng, (b"", b"Exif\0\0", b"Exif\0\0II*\0\x08\0\0\0", b"Exif\0\0MM\0*"))
    length = int(rng.integers(1, 300))
    body = bytes(length) if rng.integers(2) else bytes(value % 16 for value in rng.bytes(length))
    made = encoded(picture, kind, **_FORMATS[kind], exif=header + body)
    return f"{kind} with broken EXIF", made, good, "true"


# --- Data sets ----------------------------------------------------------------------------------------------

_CAMERA = f"PINHOLE,{WIDTH},{HEIGHT},{FOCAL},{FOCAL},{WIDTH / 2},{HEIGHT / 2}"
_NUMBERS = ("nan", "inf", "-inf", "1e30", "-1e200", "9" * 400, "", "x", "0x10", "1,5", "１", "--1")  # noqa: RUF001


def data_set(variant: str) -> Kind:
    """A data set in a layout, to be checked by `camloc datasets`."""

    def make(_: Assets, folder: Path, rng: Random) -> Input:
        root, layout = folder / "data", variant.partition(":")[0]
        root.mkdir()
        options = WRITERS[variant](root, SCENE)
        truth = _frames(root, layout, options)
        words = [
            f"--option={name}={_CAMERA if name == 'camera' else value}" for name, value in options.items()
        ]
        damage, expected, further = _spoilt_data_set(root, rng)
        if rng.integers(2):
            words += ["--layout", layout]
        words += [f"--option={name}={value}" for name, value in further.items()]

        def read() -> None:
            found = _frames(root, layout, {**options, **further})
            if expected == "true":
                for name, frame in found.items():
                    assert name in truth, f"{name} is no frame"
                    _assert_same(frame, truth[name])

        return Input(damage, ("datasets", str(root), *words), expected, read=read)

    return make


def _frames(root: Path, layout: str, options: dict[str, Any]) -> dict[str, Frame]:
    scene = formats.load(root, layout=layout, **options)
    return {frame.name: frame for frame in (*scene.train, *scene.test)}


def _assert_same(frame: Frame, truth: Frame) -> None:
    ours, theirs = frame.truth(), truth.truth()
    assert np.allclose(ours.translation, theirs.translation, atol=1e-6), f"{frame.name} is elsewhere"
    assert frame.is_position_only or np.allclose(ours.rotation, theirs.rotation, atol=1e-6), "turned"
    assert frame.camera == truth.camera, f"{frame.name} has another camera"
    assert frame.image.name == truth.image.name


def _spoilt_data_set(root: Path, rng: Random) -> tuple[str, Expected, dict[str, Any]]:
    """Name of the damage, how it may end, and further options."""
    files = sorted(path for path in root.rglob("*") if path.is_file())
    images = [path for path in files if path.suffix in (".png", ".jpg")]
    texts = [path for path in files if path not in images]
    path = pick(rng, texts)
    data = path.read_bytes()
    is_text = path.suffix not in (".bin", ".npy")
    match int(rng.integers(12)):
        case 0:
            name = pick(rng, BYTES)
            path.write_bytes(BYTES[name](data, rng))
            return f"{name} ({'text' if is_text else 'binary'})", "any", {}
        case 1:
            return no_file(path, rng), "true", {}
        case 2:
            return f"an image is {no_file(pick(rng, images), rng)}", "any", {}
        case 3:
            for each in rng.choice(len(images), int(rng.integers(1, len(images))), replace=False):
                images[int(each)].unlink()
            skip = {"missing": "skip"} if rng.integers(2) else {}
            return f"absent images{', to be left out' if skip else ''}", "true", skip
        case 4:
            pick(rng, images).write_bytes(rng.bytes(200))
            return "an image of noise", "any", {}
        case 5 if is_text:
            path.write_bytes(data.decode().encode(pick(rng, ("utf-16", "utf-8-sig", "utf-32", "utf-16-be"))))
            return "another encoding", "true", {}
        case 6 if is_text:
            ends = pick(rng, (b"\r\n", b"\r", b"\n\n", b"\0\n", b" \t \n", b"\n#\xff\n", "\u2028".encode()))
            path.write_bytes(data.replace(b"\n", ends))
            return "other line ends", "true", {}
        case _ if is_text and path.suffix == ".json":
            return _spoilt_json(path, rng)
        case _ if is_text:
            return _spoilt_lines(path, rng)
        case _:
            path.write_bytes(shortened(data, rng))
            return "cut (binary)", "true", {}


def _spoilt_json(path: Path, rng: Random) -> tuple[str, Expected, dict[str, Any]]:
    content = json.loads(path.read_text())
    if not isinstance(content, dict) or "frames" not in content:  # of a phone's app or a reconstruction
        damage = with_nasty_value(content, rng)
        path.write_text(json.dumps(content))
        return damage, "any", {}
    frame = pick(rng, content["frames"])
    matrix = np.array(frame["transform_matrix"])
    match int(rng.integers(6)):
        case 0:
            damage, expected = with_nasty_value(content, rng), "any"
        case 1:
            content["frames"].append(dict(frame))
            damage, expected = "a frame twice", "true"
        case 2:
            name, changed = pick(rng, _wrong_matrices(matrix, rng).items())
            frame["transform_matrix"] = changed.tolist()
            damage, expected = f"a matrix {name}", "refused"
        case 3:
            row, column = int(rng.integers(3)), int(rng.integers(4))
            frame["transform_matrix"][row][column] = pick(rng, (None, "x", 10**400, float("nan"), 1e30, [1]))
            damage, expected = "a matrix with an absurd number", "refused"
        case 4:
            path.write_text(json.dumps(content)[: int(rng.integers(1, 500))])
            return "JSON cut", "refused", {}
        case _:
            path.write_text("[" * 200_000)
            return "deep JSON", "refused", {}
    path.write_text(json.dumps(content))
    return damage, expected, {}  # type: ignore[return-value]


def _wrong_matrices(matrix: Any, rng: Random) -> dict[str, Any]:
    """Matrices that are no pose, by what is wrong."""
    mirrored, sheared = matrix.copy(), matrix.copy()
    mirrored[:3, int(rng.integers(3))] *= -1
    sheared[0, :3] += rng.uniform(0.2, 1.0) * matrix[1, :3]
    scaled = matrix.copy()
    scaled[:3, :3] *= rng.uniform(1.05, 100.0)
    return {"mirrored": mirrored, "sheared": sheared, "scaled": scaled, "transposed": matrix.T}


def _spoilt_lines(path: Path, rng: Random) -> tuple[str, Expected, dict[str, Any]]:
    lines = path.read_text().splitlines()
    number = int(rng.integers(len(lines)))
    words = [line.split() for line in lines]
    if [len(row) for row in words] == [4] * 4 and "inf" not in "".join(lines).lower() and rng.integers(2):
        rows = np.array(words)
        name, changed = pick(rng, _wrong_matrices(rows.astype(float), rng).items())
        path.write_text("\n".join(" ".join(map(repr, row)) for row in changed.tolist()))
        return f"a matrix {name}", "refused", {}
    separator = "," if path.suffix == ".csv" else None
    match int(rng.integers(7)):
        case 0:
            del lines[number]
            # Poses between two solutions of an INS are interpolated, also across one that is not there.
            may_move = path.suffixes[:-1] == [".info"] or path.name == "ins.csv"
            damage, expected = "a line less", "any" if may_move else "true"
        case 1:
            lines.insert(number, lines[number])
            damage, expected = "a line twice", "true"
        case 2 | 3:
            cells = lines[number].split(separator)
            if cells:
                place = int(rng.integers(len(cells)))
                cells[place] = pick(rng, _NUMBERS)
                lines[number] = (separator or " ").join(cells)
            damage, expected = "an absurd number", "true"
        case 4:
            whole = path.read_text()
            place = int(rng.integers(1, len(whole)))
            path.write_text(whole[:place])
            # Within the last number of a line, nobody can tell.
            after = whole[place - 1 : place + 1]
            is_within = len(after) == 2 and not any(sign.isspace() or sign in ",;\t" for sign in after)
            return "cut", "any" if is_within else "true", {}
        case 5:
            lines[number] = (
                "7" * int(rng.integers(2, 20_000_000)) if rng.integers(4) == 0 else lines[number] * 3
            )
            damage, expected = "a long line", "any"
        case _:
            lines[number] = pick(rng, ("../../x.png", "/etc/passwd", "a\0b", "\x1b[31m", "é" * 300, "C:\\x"))
            damage, expected = "a line of another kind", "any"
    path.write_text("\n".join(lines) + "\n")
    return damage, expected, {}  # type: ignore[return-value]


# --- What camloc writes -------------------------------------------------------------------------------------


def _query(assets: Assets, run: Path) -> tuple[str, ...]:
    return ("locate", str(run), str(assets.image()))


def _spoilt(path: Path, rng: Random, *, swapped: Path | None = None) -> str:
    """Spoil a file that has a checksum; its name and what was done."""
    data, choice = path.read_bytes(), int(rng.integers(12))
    if choice == 0:
        return f"{path.name}: {no_file(path, rng)}"
    if choice == 1 and swapped is not None and swapped.read_bytes() != data:
        shutil.copyfile(swapped, path)
        return f"{path.name}: of another run"
    name = ("bits flipped", "a page of zeros")[choice % 2] if choice > 5 else pick(rng, BYTES)
    path.write_bytes(BYTES[name](data, rng))
    return f"{path.name}: {name}"


def checkpoint(assets: Assets, folder: Path, rng: Random) -> Input:
    """A run whose checkpoint is spoilt, with its checksums or with others that fit."""
    left_out = shutil.ignore_patterns("state.safetensors", "tensorboard", "*.html")
    run = Path(shutil.copytree(assets.folder / "run", folder / "run", ignore=left_out))
    name = pick(rng, ("checkpoint.json", "weights.safetensors"))
    path = run / "checkpoint" / name
    if name.endswith(".json") and rng.integers(2):
        content = json.loads(path.read_text())
        damage = with_nasty_value(content, rng)
        path.write_text(json.dumps(content))
        reseal(path.parent)
        return Input(f"checkpoint.json: {damage}", _query(assets, run), "any")
    other = assets.folder / "other" / "checkpoint" / name
    return Input(_spoilt(path, rng, swapped=other), _query(assets, run), "refused")


def scene_map(assets: Assets, folder: Path, rng: Random) -> Input:
    """A run of a map alone, spoilt with its checksums or with others that fit."""
    run = Path(shutil.copytree(assets.folder / "map", folder / "run"))
    inner = run / "map" / "0"
    name = pick(rng, (METADATA_FILE, ARRAYS_FILE))
    path = inner / name
    if rng.integers(3) > 0:
        other = assets.folder / "other-map" / "map" / "0" / name
        return Input(_spoilt(path, rng, swapped=other), _query(assets, run), "refused")
    if name == ARRAYS_FILE:
        arrays = load(path.read_bytes())
        key = pick(rng, arrays)
        array = arrays[key]
        changes: dict[str, Callable[[], Any]] = {
            "shorter": lambda: array[:-1],
            "of another type": lambda: array.astype(np.float64 if array.dtype != np.float64 else np.int8),
            "with NaN": lambda: np.full_like(array, np.nan if array.dtype.kind == "f" else array.max()),
            "of ones": lambda: np.ones_like(array),
            "of another shape": lambda: array.reshape(-1, 1),
        }
        damage = pick(rng, changes)
        arrays[key] = np.ascontiguousarray(changes[damage]())
        path.write_bytes(save(arrays))
        reseal_map(inner)
        return Input(f"{name}: an array {damage}", _query(assets, run), "any")
    content = json.loads(path.read_text())["content"]
    damage = with_nasty_value(content, rng)
    reseal_map(inner, content)
    return Input(f"{name}: {damage}", _query(assets, run), "any")


def exported(assets: Assets, folder: Path, rng: Random) -> Input:
    """An exported file, spoilt with its checksum or with another that fits."""
    import onnx

    path = Path(shutil.copyfile(assets.folder / "exported.onnx", folder / "exported.onnx"))
    if rng.integers(3) > 0:
        return Input(_spoilt(path, rng), _query(assets, path), "refused")
    model = onnx.load(path)
    (entry,) = (each for each in model.metadata_props if each.key == "camloc")
    content = json.loads(entry.value)
    damage = with_nasty_value(content, rng)
    entry.value = json.dumps(content)
    try:
        onnx.save(model, path)
    except ValueError:  # text that protobuf cannot hold
        return exported(assets, _fresh(folder), rng)
    reseal_file(path)
    return Input(f"exported.onnx: {damage}", _query(assets, path), "any")


def _fresh(folder: Path) -> Path:
    inner = folder / "again"
    inner.mkdir()
    return inner


def cache(assets: Assets, folder: Path, rng: Random) -> Input:
    """A cache of images and features, which is made again."""
    from tests.support.cached import features_and_images

    shutil.copytree(assets.folder / "cache", folder / "cache")
    truth = _cached(features_and_images, assets, folder)
    files = sorted(path for path in (folder / "cache").rglob("*") if path.is_file())
    path = pick(rng, files)
    alike = [each for each in files if each.suffix == path.suffix and each != path]
    damage = _spoilt(path, rng, swapped=pick(rng, alike) if alike else None)

    def read() -> None:
        found = _cached(features_and_images, assets, folder)
        assert found.keys() == truth.keys()
        for name, array in truth.items():
            assert np.array_equal(found[name], array, equal_nan=True), f"other {name}"

    return Input(f"cache, {damage}".replace(path.stem.partition(".")[0], "*"), expected="true", read=read)


def _cached(make: Callable[[Path, Path], dict[str, Any]], assets: Assets, folder: Path) -> dict[str, Any]:
    before = os.environ.get("CAMLOC_CACHE")
    os.environ["CAMLOC_CACHE"] = str(folder / "cache")
    try:
        return make(assets.folder / "scene", folder / "run")
    finally:
        if before is None:
            del os.environ["CAMLOC_CACHE"]
        else:
            os.environ["CAMLOC_CACHE"] = before


# Kinds, and the share of all inputs that each has.
KINDS: dict[str, tuple[Kind, float]] = {
    "images": (image, 0.22),
    **{f"data set, {variant}": (data_set(variant), 0.4 / len(WRITERS)) for variant in WRITERS},
    "checkpoints": (checkpoint, 0.11),
    "maps": (scene_map, 0.09),
    "exported files": (exported, 0.06),
    "caches": (cache, 0.05),
}


# --- Every file that is read again --------------------------------------------------------------------------


def _sound_cache(path: Path) -> None:
    """Refuse a cache that would be made again."""
    stem = path.name.partition(".")[0]
    others = sorted(path.parent.glob(f"{stem}.*.np[yz]"))
    if not is_sound_cache(path.with_name(f"{stem}.npy"), others, of="cache"):
        raise CamlocError("the cache is made again")


# The files below `Assets.folder`, by their pattern, with what reads them. Pages for people are not read.
_READERS: dict[str, Callable[[Path], object]] = {
    "run/run.json": lambda path: RunManifest.load(path.parent),
    "run/log.jsonl": read_log,
    "run/results.json": Results.load,
    "run/estimates.csv": lambda path: read_estimates(path, name=""),
    "run/estimates.tum": truth_of,
    "run/truth.tum": truth_of,
    "run/estimates.sha256": lambda path: [_read_evaluation(path.with_name(name)) for name in CHECKED_NAMES],
    "run/state.safetensors": read_position,
    "run/checkpoint/checkpoint.json": lambda path: load_checkpoint(path.parent),
    "run/checkpoint/weights.safetensors": lambda path: load_checkpoint(path.parent),
    "map/map/0/map.json": lambda path: SceneMap.load(path.parent),
    "map/map/0/map.safetensors": lambda path: SceneMap.load(path.parent),
    "exported.onnx": load_onnx,
    "bundle/bundle.json": lambda path: BundleManifest.load(path.parent),
    "bundle/model.onnx": lambda path: exported_network(path.parent),
    "cache/images/*": _sound_cache,
    "cache/features/*": _sound_cache,
}


def _read_evaluation(path: Path) -> object:
    return read_estimates(path, name="") if path.suffix == ".csv" else truth_of(path)


def written_file(pattern: str) -> Kind:
    """A file that camloc wrote, with flipped bits or a page of zeros, to be noticed by what reads it."""

    def make(assets: Assets, folder: Path, rng: Random) -> Input:
        path = pick(rng, sorted(assets.folder.glob(pattern)))
        damaged = Path(shutil.copytree(path.parent, folder / "copy", ignore=_large_files)) / path.name
        shutil.copyfile(path, damaged)
        damage = pick(rng, ("bits flipped", "a page of zeros"))
        damaged.write_bytes(BYTES[damage](damaged.read_bytes(), rng))
        suffix = "".join(path.suffixes)
        return Input(f"{suffix}: {damage}", expected="refused", read=lambda: _READERS[pattern](damaged))

    return make


def _large_files(folder: str, names: list[str]) -> list[str]:
    """Of a run, what the readers of its other files do not need."""
    return [name for name in names if Path(folder, name).is_dir() or name.startswith("state")]


# Kinds of single files, which are tried apart from the others: all of their damage must be noticed.
FILES: dict[str, Kind] = {f"file {pattern}": written_file(pattern) for pattern in _READERS}
