"""What `camloc export` leaves: a folder with the network, the maps and a card, which needs no torch.

    model.onnx    the network of a run that has one, with cameras, thresholds and training poses
    map/0, ...    the maps of its scenes, with cameras and calibration
    bundle.json   names and SHA-256 of the network, with a checksum of its own
    README.md     the card, for people

A single `.onnx` file is a network without maps.
"""

from dataclasses import dataclass
from pathlib import Path

from camloc.core.files import read_regular, sha256_of, write_atomically
from camloc.core.sealed import SealError, sealed_json, unsealed_json
from camloc.errors import CheckpointError, RecipeError

FORMAT = 1
NETWORK = "model.onnx"
MANIFEST = "bundle.json"
CARD = "README.md"


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
