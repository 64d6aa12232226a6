"""Write the parts of a run that locating needs into one folder, whose reader needs no torch."""

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import UInt8
from numpy.typing import NDArray

from camloc import __version__
from camloc.core.config import from_builtins
from camloc.core.extras import require_extra
from camloc.core.files import sha256_of, write_atomically
from camloc.core.sampling import even_items
from camloc.data.geopose import ANCHOR_FILE, load_anchors
from camloc.data.image_io import ScaledImage
from camloc.data.splits import HoldOut, hold_out
from camloc.data.types import oriented, poses_of
from camloc.errors import CamlocError, CheckpointError, RecipeError
from camloc.inference.onnx.bundle import (
    CARD,
    ENDING,
    FORMAT,
    MANIFEST,
    NETWORK,
    BundleManifest,
    is_bundle,
    is_exported,
    pack,
)
from camloc.inference.onnx.runtime import ExportInput, ExportPrecision
from camloc.mapping.scene_map import MAPS_FOLDER, load_maps, save_maps
from camloc.models.decoding import Decoding, PointDecoding
from camloc.models.metadata import Metadata, has_checkpoint
from camloc.runs.card import card
from camloc.runs.manifest import RunManifest, load_scenes

if TYPE_CHECKING:
    from camloc.inference.onnx.quantization import Calibration


@dataclass(frozen=True)
class Exported:
    """The files of an export.

    Attributes:
        path: the folder or the file.
        bytes: their total size.
        difference: the largest difference of the poses of the run's network and the exported one, as elements
            of pose matrices; None without a network.
        notes: sentences about the integers of "int8": errors on held-out images, layers in single precision.
    """

    path: Path
    bytes: int
    difference: float | None
    notes: tuple[str, ...] = ()


def export_run(
    run: Path,
    out: Path | None = None,
    *,
    precision: ExportPrecision = "float32",
    input: ExportInput = "tensor",
) -> Exported:
    """Export a run as a folder, as one file that ends in .zip, or its network alone as a .onnx file.

    Args:
        run: folder of the run.
        out: the folder or file; by default the folder `export` in the run's.
        precision: of the network; "int8" is calibrated on the run's training images, if they are there.
        input: of the network; see `export_onnx`.

    Raises:
        CheckpointError: the run holds neither a network nor a map, or one of them is damaged.
        RecipeError: the name of `out` does not fit the export, or a run of maps alone cannot be a .onnx file.
        MissingExtraError: the run has a network and torch is not installed.
    """
    if is_exported(run):
        raise RecipeError(f"{run} is exported already; name the folder of the run")
    if out is not None and out.suffix == ".onnx":
        if out.is_dir():
            raise RecipeError(f"{out} is a folder; name a file in it with --out")
        alone, _, notes = _export_network(run, out, precision, input)
        return Exported(out, out.stat().st_size, alone, notes)
    if out is not None and out.suffix == ENDING:
        if out.is_dir():
            raise RecipeError(f"{out} is a folder; name a file in it with --out")
        with tempfile.TemporaryDirectory(prefix="camloc-") as scratch:
            whole = export_run(run, Path(scratch) / "bundle", precision=precision, input=input)
            pack(whole.path, out)
        return Exported(out, out.stat().st_size, whole.difference, whole.notes)
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
    metadata, sha256, notes = None, "", ()
    if has_checkpoint(run):
        difference, metadata, notes = _export_network(run, folder / NETWORK, precision, input)
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
    return Exported(folder, size, difference, notes)


def _export_network(
    run: Path, path: Path, precision: ExportPrecision, input: ExportInput
) -> tuple[float, Metadata, tuple[str, ...]]:
    """Write the network's file; the difference of its poses, its metadata, and notes about its integers."""
    require_extra("train", "exporting a network")
    from camloc.inference.onnx.export import export_onnx, largest_difference
    from camloc.models.checkpoint import load_checkpoint

    checkpoint = load_checkpoint(run)
    calibration, problem = None, ""
    if precision == "int8":
        try:
            calibration = calibration_of(run, checkpoint.metadata, checkpoint.model.decoding.numpy())
        except CamlocError as missing:
            problem = str(missing)
    made = export_onnx(checkpoint, path, precision=precision, calibration=calibration, input=input)
    notes = () if made is None else (f"{problem}; {_UNCALIBRATED}",) if problem else made.notes()
    return largest_difference(checkpoint, path), checkpoint.metadata, notes


_UNCALIBRATED = (
    "without training images convolutions stay in single precision: put the images back and export again"
)


def calibration_of(run: Path, metadata: Metadata, decoding: Decoding) -> "Calibration":
    """The training images of a run that its quantisation needs, read from its data.

    Raises:
        CamlocError: the folder is not a run with data, or its images cannot be read.
    """
    from camloc.inference.onnx.quantization import CALIBRATION_IMAGES, HELD_OUT_IMAGES, Calibration

    manifest = RunManifest.load(run)
    settings = from_builtins(manifest.settings.get("hold_out", {}), HoldOut)
    scenes = [hold_out(scene.train, settings) for scene in load_scenes(manifest.data)]
    kept = [frame for frames, _ in scenes for frame in oriented(frames)]
    held = [(frame, number) for number, (_, frames) in enumerate(scenes) for frame in frames]
    if not held:  # nothing was held out: the training images themselves decide
        held = [(frame, number) for number, (frames, _) in enumerate(scenes) for frame in oriented(frames)]
    held = even_items(held, HELD_OUT_IMAGES)
    focal = metadata.focal if isinstance(decoding, PointDecoding) else None
    cut = [metadata.preprocess.cut(frame, assumed_focal=focal) for frame, _ in held]
    cameras = [each.camera for each in cut]
    return Calibration(
        images=_stacked(list(map(metadata.preprocess.cut, even_items(kept, CALIBRATION_IMAGES)))),
        held_out=_stacked(cut),
        world_from_cam=poses_of([frame for frame, _ in held]).numpy().to(np.float64),
        scene=np.array([number for _, number in held]),
        intrinsics=np.stack([each.matrix() for each in cameras if each is not None]).astype(np.float32)
        if all(cameras)
        else None,
        decoding=decoding,
    )


def _stacked(images: Sequence[ScaledImage]) -> UInt8[NDArray[np.uint8], "n 3 h w"]:
    return np.stack([each.pixels for each in images]).transpose(0, 3, 1, 2)
