"""Write what locating needs of a run into one folder, whose reader needs no torch."""

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from camloc import __version__
from camloc.core.extras import require_extra
from camloc.core.files import sha256_of, write_atomically
from camloc.data.geopose import ANCHOR_FILE, load_anchors
from camloc.errors import CheckpointError, RecipeError
from camloc.inference.onnx.archive import ENDING, pack
from camloc.inference.onnx.bundle import (
    CARD,
    FORMAT,
    MANIFEST,
    NETWORK,
    BundleManifest,
    is_bundle,
    is_exported,
)
from camloc.inference.onnx.runtime import ExportPrecision
from camloc.mapping.scene_map import MAPS_FOLDER, load_maps, save_maps
from camloc.models.metadata import Metadata, has_checkpoint
from camloc.runs.card import card


@dataclass(frozen=True)
class Exported:
    """What was exported.

    Attributes:
        path: the folder or the file.
        bytes: their size.
        difference: the largest difference of the poses of the run's network and the exported one, as elements
            of pose matrices; None without a network.
    """

    path: Path
    bytes: int
    difference: float | None


def export_run(run: Path, out: Path | None = None, *, precision: ExportPrecision = "float32") -> Exported:
    """Export a run as a folder, as one file that ends in .zip, or its network alone as a .onnx file.

    Args:
        run: folder of the run.
        out: the folder or file; by default the folder `export` in the run's.
        precision: of the network's matrix products; see `export_onnx`.

    Raises:
        CheckpointError: the run holds neither a network nor a map, or one of them is damaged.
        RecipeError: `out` cannot be what is to be written, or a run of maps alone is to be a .onnx file.
        MissingExtraError: the run has a network and torch is not installed.
    """
    if is_exported(run):
        raise RecipeError(f"{run} is exported already; name the folder of the run")
    if out is not None and out.suffix == ".onnx":
        if out.is_dir():
            raise RecipeError(f"{out} is a folder; name a file in it with --out")
        alone, _ = _export_network(run, out, precision)
        return Exported(out, out.stat().st_size, alone)
    if out is not None and out.suffix == ENDING:
        if out.is_dir():
            raise RecipeError(f"{out} is a folder; name a file in it with --out")
        with tempfile.TemporaryDirectory(prefix="camloc-") as scratch:
            whole = export_run(run, Path(scratch) / "bundle", precision=precision)
            pack(whole.path, out)
        return Exported(out, out.stat().st_size, whole.difference)
    folder = run / "export" if out is None else out
    if folder.is_file():
        raise RecipeError(f"{folder} is a file; name a folder, or a file that ends in .onnx")
    # What an interrupted export has left may be replaced, too.
    found = {each.name for each in folder.iterdir()} if folder.is_dir() else set()
    found = {name for name in found if not name.endswith(".part")}
    is_run = folder.resolve() == run.resolve()
    if is_run or (not found <= {NETWORK, MAPS_FOLDER, CARD, ANCHOR_FILE} and not is_bundle(folder)):
        raise RecipeError(f"{folder} holds other files; name a new folder with --out")
    maps = tuple(load_maps(run).values())
    if not maps and not has_checkpoint(run):
        raise CheckpointError(
            f"{run} holds neither a network nor a map; make one with `camloc train` or `camloc map`"
        )
    (folder / MANIFEST).unlink(missing_ok=True)  # it is not a bundle until everything is there
    difference: float | None = None
    metadata, sha256 = None, ""
    if has_checkpoint(run):
        difference, metadata = _export_network(run, folder / NETWORK, precision)
        sha256 = sha256_of(folder / NETWORK)
    else:
        (folder / NETWORK).unlink(missing_ok=True)
    shutil.rmtree(folder / MAPS_FOLDER, ignore_errors=True)
    save_maps(folder, maps)
    learned = () if metadata is None else metadata.scenes
    scenes = (*learned, *(each.scene for each in maps if each.scene not in learned))
    (folder / ANCHOR_FILE).unlink(missing_ok=True)
    if load_anchors(run):
        shutil.copyfile(run / ANCHOR_FILE, folder / ANCHOR_FILE)
    write_atomically(folder / CARD, card(metadata, maps))
    BundleManifest(FORMAT, __version__, scenes, sha256).save(folder)
    size = sum(each.stat().st_size for each in folder.rglob("*") if each.is_file())
    return Exported(folder, size, difference)


def _export_network(run: Path, path: Path, precision: ExportPrecision) -> tuple[float, Metadata]:
    """Write the network's file; the difference of its poses, and its metadata."""
    require_extra("train", "exporting a network")
    from camloc.inference.onnx.export import export_onnx, largest_difference
    from camloc.models.checkpoint import load_checkpoint

    checkpoint = load_checkpoint(run)
    export_onnx(checkpoint, path, precision=precision)
    return largest_difference(checkpoint, path), checkpoint.metadata
