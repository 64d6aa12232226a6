"""The files of a rendered scene: images, depth images, a table of poses, and the scene file."""

import csv
import io
import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import msgspec
import numpy as np
from PIL import Image
from scipy.spatial.transform import Rotation

from market_square.renderer import RenderedView
from market_square.scene import Shot, SquareSettings

SCENE_FILE = "scene.json"
FRAMES_FILE = "frames.csv"
COLUMNS = ("image", "depth", "split", "variant", "walk", "seconds", "qw", "qx", "qy", "qz", "tx", "ty", "tz")


def read_scene(folder: Path) -> SquareSettings:
    """The settings in a folder's scene file."""
    content = json.loads((folder / SCENE_FILE).read_text())
    return msgspec.convert(content["scene"], SquareSettings)


def write_frame(folder: Path, shot: Shot, view: RenderedView) -> None:
    """Write an image and its depth image. The image comes last: it marks the frame as complete."""
    (folder / shot.image).parent.mkdir(parents=True, exist_ok=True)
    if shot.depth:
        millimeters = np.round(view.depth.astype(np.float64) * 1000)
        millimeters[millimeters > np.iinfo(np.uint16).max] = 0
        _save(Image.fromarray(millimeters.astype(np.uint16)), folder / shot.depth, format="PNG")
    _save(Image.fromarray(view.rgb), folder / shot.image, format="JPEG", quality=95, subsampling=0)


def _save(image: Image.Image, path: Path, **options: str | int) -> None:
    buffer = io.BytesIO()
    image.save(buffer, **options)  # type: ignore[arg-type]
    unfinished = path.with_name(path.name + ".unfinished")
    unfinished.write_bytes(buffer.getvalue())
    unfinished.rename(path)


def frames_table(planned: Iterable[Shot]) -> str:
    """The table of all frames as CSV; poses keep all digits of double precision."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for shot in planned:
        rotation = Rotation.from_matrix(shot.world_from_cam[:3, :3])
        quaternion_wxyz = rotation.as_quat(canonical=True, scalar_first=True)
        pose = [*quaternion_wxyz.tolist(), *shot.world_from_cam[:3, 3].tolist()]
        names = (shot.image, shot.depth, shot.split, shot.variant, shot.walk)
        writer.writerow([*names, repr(shot.seconds), *(repr(number) for number in pose)])
    return text.getvalue()


def scene_json(scene: SquareSettings, *, renderer: str) -> str:
    """The content of the scene file; `renderer` is the version of the renderer."""
    content = {
        "scene": asdict(scene),
        "camera": {"model": "PINHOLE", **asdict(scene.intrinsics())},
        "renderer": renderer,
        "poses": "world_from_cam, quaternion w x y z and metres; camera axes right, down, forward",
        "depth": "16-bit PNG, z-depth in millimetres, 0 where there is none",
    }
    return json.dumps(content, indent=2) + "\n"
