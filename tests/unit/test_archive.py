"""A bundle in one file: the same answers, and files that hold anything else are refused."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from tests.support.coded_images import coded_image, pose_of, read_codes, write_run
from tests.support.command_line import camloc, refused

from camloc import Localizer, Located, save_pretrained
from camloc.errors import CamlocError, CheckpointError
from camloc.inference.hub import bundle_of
from camloc.runs.export import export_run
from camloc.serve.scenes import SceneStore


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_run(tmp_path_factory.mktemp("run"))
    entry = {
        "latitude_degrees": 48.1,
        "longitude_degrees": 11.6,
        "height_meters": 520.0,
        "enu_from_world": np.eye(4).tolist(),
    }
    (folder / "anchor.json").write_text(json.dumps({"room": entry}))
    return folder


@pytest.fixture(scope="module")
def file(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_run(run, tmp_path_factory.mktemp("file") / "room.zip").path


def test_a_file_locates_as_its_run_does(run: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read_codes(monkeypatch)
    first, second = (Localizer.load(path).locate(coded_image(5)) for path in (run, file))
    assert isinstance(first, Located)
    assert isinstance(second, Located)
    np.testing.assert_array_equal(first.world_from_cam.matrix(), second.world_from_cam.matrix())
    np.testing.assert_allclose(second.world_from_cam.translation, pose_of(5).translation, atol=0.03)


def test_the_file_has_the_anchor_and_is_the_same_each_time(run: Path, file: Path, tmp_path: Path) -> None:
    assert export_run(run, tmp_path / "again.zip").path.read_bytes() == file.read_bytes()
    store = SceneStore([file])
    assert store.names == ("room",)
    assert store.anchor("room") is not None


def test_commands_take_the_file(
    file: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import Image

    read_codes(monkeypatch)
    Image.fromarray(coded_image(5)).save(tmp_path / "image.png")
    assert '"lat": 48.1' in camloc(capfd, "locate", file, tmp_path / "image.png", "--format", "geopose").out


def members(**changed: bytes) -> dict[str, bytes]:
    return {"bundle.json": b"{}", **changed}


def archive(content: dict[str, bytes], path: Path, *, compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as made:
        for name, data in content.items():
            made.writestr(name, data)
    return path


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({"a.txt": b"x"}, "is not a bundle"),
        ({"bundle.json": b"{}", "../outside": b"x"}, "no bundle has"),
        ({"bundle.json": b"{}", "/etc/passwd": b"x"}, "no bundle has"),
        ({"bundle.json": b"{}", "map/0/weights.pt": b"x"}, "no bundle has"),
        ({"bundle.json": b"{}", "map/0/../../x": b"x"}, "no bundle has"),
    ],
)
def test_files_of_other_names_are_refused(content: dict[str, bytes], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=sentence):
        Localizer.load(archive(content, tmp_path / "a.zip"))
    assert [each.name for each in tmp_path.rglob("*")] == ["a.zip"]


def test_what_is_compressed_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    bomb = archive(
        members(**{"README.md": bytes(50_000_000)}), tmp_path / "a.zip", compression=zipfile.ZIP_DEFLATED
    )
    assert bomb.stat().st_size < 100_000
    with pytest.raises(CheckpointError, match="is compressed"):
        Localizer.load(bomb)


def test_a_damaged_file_is_refused_in_a_sentence(
    file: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    whole = file.read_bytes()
    rng = np.random.default_rng(0)
    for number, position in enumerate(rng.integers(0, len(whole), 40).tolist()):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << int(rng.integers(8))
        path = tmp_path / f"{number}.zip"
        path.write_bytes(damaged)
        try:
            loaded = Localizer.load(path)
        except CamlocError:
            continue
        assert loaded.scenes == ("room",), "a bit that nothing reads, such as that of a date"
    (tmp_path / "cut.zip").write_bytes(whole[: len(whole) // 2])
    assert "damaged" in refused(capfd, "locate", tmp_path / "cut.zip", "image.jpg")
    (tmp_path / "text.zip").write_bytes(b"no archive")
    assert "damaged" in refused(capfd, "locate", tmp_path / "text.zip", "image.jpg")


def test_from_pretrained_takes_what_save_pretrained_wrote(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_codes(monkeypatch)
    folder = save_pretrained(run, tmp_path / "bundle")
    assert isinstance(Localizer.from_pretrained(folder).locate(coded_image(5)), Located)
    card = (folder / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: camloc\n")
    assert "## Licences and citation" in card


def test_a_repository_is_downloaded_by_the_library_of_the_hub(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    folder = save_pretrained(run, tmp_path / "bundle")
    requests = []

    def download(name: str, **options: object) -> str:
        requests.append((name, options))
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert Localizer.from_pretrained("owner/room", revision="v1").scenes == ("room",)
    ((name, options),) = requests
    assert (name, options["revision"]) == ("owner/room", "v1")
    assert all("." in pattern for pattern in options["allow_patterns"])  # type: ignore[attr-defined]
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: str(tmp_path))
    with pytest.raises(CheckpointError, match="holds no bundle"):
        bundle_of("owner/room")
    with pytest.raises(CheckpointError, match="neither a folder nor a repository"):
        bundle_of("../room")
