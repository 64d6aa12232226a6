"""Images of a scene in another season or light, with the names, sizes and poses of the originals.

`InstructPix2Pix` follows an instruction; `Photometric` only changes brightness and colours, which makes no
snow and lights no lamp, and is not what the papers measured.
"""

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from camloc.core.config import to_json
from camloc.core.extras import require_extra
from camloc.core.files import link_or_copy, write_atomically, writing
from camloc.core.progress import CountProgress, silent
from camloc.data.types import Frame
from camloc.errors import DatasetError, ImageError, MissingExtraError

# Records in the folder of edited images how they were made.
SETTINGS_FILE = "edit.json"

# Where the authors of InstructPix2Pix publish their weights.
PUBLISHED_WEIGHTS = "timbrooks/instruct-pix2pix"

# The network was trained on images of this side; its sides are multiples of 8.
_SIDE, _MULTIPLE = 512, 8


@dataclass(frozen=True)
class Edit:
    """How InstructPix2Pix changes an image (Brooks et al., CVPR 2023, section 3.2.1).

    Attributes:
        instruction: in words.
        image_guidance: weight of the image, s_I; larger keeps more of it.
        text_guidance: weight of the instruction, s_T.
        steps: of the diffusion.
        seed: of its noise.
    """

    instruction: str
    image_guidance: float = 1.5
    text_guidance: float = 7.5
    steps: int = 30
    seed: int = 0


class InstructPix2Pix:
    """InstructPix2Pix by `StableDiffusionInstructPix2PixPipeline`, or a function with the same arguments.

    The edits are by condition; the noise is made on `device`.
    """

    name = "InstructPix2Pix"

    def __init__(self, pipeline: Callable[..., Any], edits: Mapping[str, Edit], device: str = "cpu") -> None:
        self._pipeline, self._edits, self._device = pipeline, edits, device

    def edited(self, image: Image.Image, condition: str, seed: int) -> Image.Image:
        """Edit an RGB image to a condition, at the same size; the noise depends on the seed alone."""
        import torch

        edit = self._edits[condition]
        scale = _SIDE / min(image.size)
        width, height = (max(1, round(side * scale / _MULTIPLE)) * _MULTIPLE for side in image.size)
        made = self._pipeline(
            edit.instruction,
            image=image.resize((width, height), Image.Resampling.LANCZOS),
            num_inference_steps=edit.steps,
            image_guidance_scale=edit.image_guidance,
            guidance_scale=edit.text_guidance,
            generator=torch.Generator(self._device).manual_seed(seed + edit.seed),
        ).images[0]
        found: Image.Image = made.convert("RGB").resize(image.size, Image.Resampling.LANCZOS)
        return found


def load_pipeline(weights: str, device: str) -> Callable[..., Any]:
    """Load the pipeline of InstructPix2Pix, without its safety checker, which turns images black.

    `weights` is "hub" (the published weights, downloaded once) or a folder of diffusers.

    Raises:
        MissingExtraError: the extra `edit` is not installed, or the weights cannot be downloaded or read.
    """
    require_extra("edit", "editing images by InstructPix2Pix")
    import torch
    from diffusers import StableDiffusionInstructPix2PixPipeline

    source = PUBLISHED_WEIGHTS if weights == "hub" else weights
    if weights != "hub" and not Path(weights).is_dir():
        raise MissingExtraError(f"{weights} is no folder with weights of InstructPix2Pix; name one, or hub")
    try:
        pipeline = StableDiffusionInstructPix2PixPipeline.from_pretrained(
            source,
            torch_dtype=torch.float32 if device == "cpu" else torch.float16,
            use_safetensors=True,  # never pickles
            local_files_only=weights != "hub",
            safety_checker=None,
            requires_safety_checker=False,
        )
    except (OSError, ValueError, KeyError) as problem:
        detail = str(problem).splitlines()[0][:150] if str(problem) else type(problem).__name__
        raise MissingExtraError(
            f"the weights of InstructPix2Pix cannot be loaded from {source} ({detail}); try again with a "
            f"connection, name a folder of them with --weights, or use --by photometric"
        ) from None
    pipeline.set_progress_bar_config(disable=True)
    found: Callable[..., Any] = pipeline.to(device)
    return found


# Gains of red, green and blue, a gamma (above 1 darkens), and the saturation (0 is grey).
_LOOKS = {
    "winter": ((0.95, 1.0, 1.1), 0.8, 0.45),
    "summer": ((1.08, 1.03, 0.92), 0.95, 1.35),
    "evening": ((0.75, 0.65, 0.7), 1.9, 0.8),
}


class Photometric:
    """Changes brightness and colours alone: no snow, no leaves, no lamps."""

    name = "photometric change"

    def edited(self, image: Image.Image, condition: str, seed: int) -> Image.Image:
        """Edit an RGB image to a condition, at the same size; nothing is random."""
        del seed
        gains, gamma, saturation = _LOOKS[condition]
        pixels = (np.asarray(image.convert("RGB"), dtype=np.float32) / 255.0) ** gamma
        grey = pixels.mean(axis=2, keepdims=True)
        pixels = (grey + (pixels - grey) * saturation) * np.array(gains, dtype=np.float32)
        changed: UInt8[np.ndarray, "h w 3"] = np.rint(np.clip(pixels, 0.0, 1.0) * 255.0).astype(np.uint8)
        return Image.fromarray(changed)


Editor: TypeAlias = InstructPix2Pix | Photometric


def write_edited(
    frames: Sequence[Frame],
    root: Path,
    out: Path,
    condition: str,
    editor: Editor,
    *,
    edits: Mapping[str, Edit],
    keep: bool,
    progress: CountProgress = silent,
) -> None:
    """Write frames edited to a condition, under their paths relative to `root`.

    Images that exist are kept, so that the same call continues an interrupted one.

    Args:
        frames: whose images are edited.
        root, out: folders of the data set and of the new images.
        condition, editor: which images are made, and by what.
        edits: by condition.
        keep: link every other file of the data set too, so that `out` is a data set of the same layout.
        progress: called with the images that are done and their number.

    Raises:
        DatasetError: an image is not below `root`, or `out` holds other edits.
        ImageError: an image cannot be read.
        CamlocError: the folder cannot be written.
    """
    try:
        names = {frame.image: frame.image.resolve().relative_to(root.resolve()) for frame in frames}
    except ValueError:
        raise DatasetError(f"images of {root} lie outside of it; copy them with `camloc import`") from None
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
        _record(out, condition, editor, edits[condition])
        for done, (path, name) in enumerate(names.items(), start=1):
            if not (out / name).exists():
                (out / name).parent.mkdir(parents=True, exist_ok=True)
                _write_one(path, out / name, condition, editor)
            progress(done, len(names))
        if keep:
            _link_others(root, out)


def _record(out: Path, condition: str, editor: Editor, edit: Edit) -> None:
    settings = {"condition": condition, "made by": editor.name}
    if editor.name != Photometric.name:
        settings |= asdict(edit)
    path, content = out / SETTINGS_FILE, to_json(settings)
    if path.exists() and path.read_bytes() != content:
        raise DatasetError(f"{out} holds images of other settings; name another folder, or delete it")
    write_atomically(path, content)


def _write_one(path: Path, target: Path, condition: str, editor: Editor) -> None:
    """Edit the stored pixels; the orientation stays a number beside them."""
    seed = int.from_bytes(hashlib.sha256(path.name.encode()).digest()[:4], "big")
    try:
        with Image.open(path) as opened:
            exif, image = opened.getexif(), opened.convert("RGB")
    except (OSError, ValueError, Image.DecompressionBombError) as problem:
        raise ImageError(f"{path} cannot be read ({problem})") from None
    changed = editor.edited(image, condition, seed)
    if changed.size != image.size:
        raise ImageError(f"{path} became {changed.size} pixels, of {image.size}")
    unfinished = target.with_name(f".{target.stem}.part{target.suffix}")
    kept = Image.Exif()
    if 0x0112 in exif:
        kept[0x0112] = exif[0x0112]
    try:
        changed.save(unfinished, quality=95, exif=kept)
    except (KeyError, ValueError):
        raise ImageError(f"{path}: images of the kind {path.suffix} are not written") from None
    os.replace(unfinished, target)  # noqa: PTH105 - onto what an interrupted call left


def _link_others(root: Path, out: Path) -> None:
    """Link the files of a data set that have no edited image, or copy them where links are not possible."""
    inside = out.resolve()
    for path in sorted(root.rglob("*")):
        target = out / path.relative_to(root)
        if inside in (path.resolve(), *path.resolve().parents) or not path.is_file() or target.exists():
            continue
        link_or_copy(path, target)
