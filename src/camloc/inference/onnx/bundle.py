"""What `camloc export` writes: a folder with the network, the maps and a card, which needs no torch.

    model.onnx    the network of a run that has one, with cameras, thresholds and training poses
    map/0, ...    the maps of its scenes, with cameras and calibration
    bundle.json   names and SHA-256 of the network, with a checksum of its own
    README.md     the card, for people

`camloc export RUN --out kitchen.zip` writes the same as one file, a zip archive that is not compressed.
Only the files of a bundle are read from it, by their exact names, so that no name leads elsewhere;
compressed files are refused, so that a small file cannot become a large one. The checksums of zip, and the
bundle's own, are checked.

A single `.onnx` file is a network without maps.
"""

import io
import re
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from camloc.core.files import read_regular, sha256_of, write_atomically
from camloc.core.sealed import SealError, sealed_json, unsealed_json
from camloc.errors import CheckpointError, RecipeError

FORMAT = 1
NETWORK = "model.onnx"
MANIFEST = "bundle.json"
CARD = "README.md"
ENDING = ".zip"

_MEMBER = re.compile(
    r"bundle\.json|model\.onnx|anchor\.json|README\.md|map/\d{1,4}/map\.(json|safetensors)", re.ASCII
)

# More files, or more bytes of one, than any bundle has.
_MOST_MEMBERS = 2000
_MOST_BYTES = 4 << 30


@dataclass(frozen=True)
class BundleManifest:
    """The content of `bundle.json`.

    Attributes:
        format: version of this layout.
        camloc: version that exported it.
        scenes: names of the scenes.
        network_sha256: of `model.onnx`; "" for a bundle of maps alone.
    """

    format: int
    camloc: str
    scenes: tuple[str, ...]
    network_sha256: str = ""

    def save(self, folder: Path) -> None:
        """Write the manifest; it completes a bundle, so it is written last.

        Raises:
            CamlocError: the folder cannot be written.
        """
        write_atomically(folder / MANIFEST, sealed_json(self))

    @classmethod
    def load(cls, folder: Path) -> "BundleManifest":
        """Read the manifest of a bundle.

        Raises:
            CheckpointError: it is damaged or of another version.
        """
        path = folder / MANIFEST
        try:
            found = unsealed_json(read_regular(path), cls)
        except SealError as problem:
            raise CheckpointError(f"{path} {problem}") from None
        except (OSError, RecipeError) as problem:
            raise CheckpointError(f"{path} cannot be read: {problem}; export the run again") from None
        if found.format != FORMAT:
            raise CheckpointError(f"{path} has format {found.format}, this version of camloc reads {FORMAT}")
        return found


def is_bundle(path: Path) -> bool:
    """Whether a path is a folder that `camloc export` wrote."""
    return (path / MANIFEST).is_file()


def is_exported(path: Path) -> bool:
    """Whether a path is an export (a file or a folder of `camloc export`) and not a run."""
    return path.suffix == ".onnx" or is_bundle(path)


def exported_network(path: Path) -> Path | None:
    """The `.onnx` file of an exported file or folder; None for a run.

    Raises:
        CheckpointError: the file is missing, or is not the one that was exported.
    """
    if not is_bundle(path):
        return path if path.suffix == ".onnx" else None
    network, manifest = path / NETWORK, BundleManifest.load(path)
    if not manifest.network_sha256:
        raise CheckpointError(f"{path} holds a map and no network; locate with the map (--verify auto)")
    try:
        is_sound = sha256_of(network) == manifest.network_sha256
    except OSError:
        raise CheckpointError(f"{network} is missing; export the run again") from None
    if not is_sound:
        raise CheckpointError(f"{network} is damaged: it does not have its checksum; export the run again")
    return network


def has_network(path: Path) -> bool:
    """Whether an exported file or folder holds a network."""
    return path.suffix == ".onnx" or bool(BundleManifest.load(path).network_sha256)


def scenes_of(path: Path) -> tuple[str, ...]:
    """The names of the scenes of an exported file or folder.

    Raises:
        CheckpointError: it is missing or damaged.
    """
    if is_bundle(path):
        return BundleManifest.load(path).scenes
    from camloc.inference.onnx.runtime import load_onnx

    return load_onnx(path).metadata.scenes


def is_archive(path: Path) -> bool:
    """Whether a path names a bundle in one file."""
    return path.suffix == ENDING and path.is_file()


def pack(folder: Path, file: Path) -> None:
    """Write a bundle's folder as one file; the same bundle gives the same bytes.

    Raises:
        CamlocError: the file cannot be written.
    """
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in names:
            if _MEMBER.fullmatch(name):
                archive.writestr(zipfile.ZipInfo(name), (folder / name).read_bytes())
    write_atomically(file, buffer.getvalue())


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """The folder of a bundle, for as long as the block runs; other paths stay as they are.

    Raises:
        CheckpointError: the file is damaged, or holds something else than a bundle.
    """
    if not is_archive(path):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="camloc-") as name:
        folder = Path(name)
        _unpack(path, folder)
        yield folder


def _unpack(path: Path, folder: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            names = [each.filename for each in members]
            if len(names) > _MOST_MEMBERS or len(set(names)) != len(names) or MANIFEST not in names:
                raise CheckpointError(
                    f"{path} is not a bundle; write one with camloc export RUN --out FILE.zip"
                )
            for each in members:
                if not _MEMBER.fullmatch(each.filename):
                    raise CheckpointError(
                        f"{path} has a file {each.filename[:80]!a}, which no bundle has; it is not opened"
                    )
                if each.compress_type != zipfile.ZIP_STORED or each.file_size != each.compress_size:
                    raise CheckpointError(
                        f"{path} is compressed, which a bundle is not; unzip it and name the folder"
                    )
                if each.file_size > _MOST_BYTES:
                    raise CheckpointError(
                        f"{path} has a file of {each.file_size:,} bytes, too large for a bundle"
                    )
            for each in members:
                (folder / each.filename).parent.mkdir(parents=True, exist_ok=True)
                (folder / each.filename).write_bytes(archive.read(each))
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, NotImplementedError, RuntimeError) as problem:
        if isinstance(problem, CheckpointError):
            raise
        raise CheckpointError(f"{path} is damaged ({problem}); copy it or export the run again") from None
