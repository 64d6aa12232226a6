"""Maps on disk, and maps whose content was changed with checksums that fit."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from camloc.mapping.scene_map import ARRAYS_FILE, METADATA_FILE, DescriptorCodec, save_maps
from camloc.runs.manifest import DataSource, RunManifest
from tests.support.synthetic_map import map_of, room


def write_map_run(folder: Path, scene: Path, *, seed: int = 0) -> None:
    """A run of the map of a made-up room."""
    RunManifest("", {}, (DataSource(str(scene)),), ("room",)).save(folder)
    found = map_of(room(points=600, frames=8, seed=seed))
    # Its descriptors are of 32 numbers; those of SIFT, which images are located by, are of 128.
    basis = np.random.default_rng(seed).normal(0, 0.1, (128, len(found.codec.mean))).astype(np.float32)
    codec = DescriptorCodec(np.full(128, 40, np.float32), basis, found.codec.step)
    save_maps(folder, [replace(found, codec=codec)])


def reseal_map(folder: Path, content: Any = None) -> None:
    """Give a map the checksums of its files, and its metadata another content if one is given."""
    if content is None:
        content = json.loads((folder / METADATA_FILE).read_text())["content"]
        content["arrays_sha256"] = _sha256((folder / ARRAYS_FILE).read_bytes())
    metadata = {"format": json.loads((folder / METADATA_FILE).read_text())["format"]}
    text = json.dumps(content, indent=1).encode() + b"\n"
    whole = {**metadata, "content_sha256": _sha256(text), "content": content}
    (folder / METADATA_FILE).write_bytes(json.dumps(whole, indent=1).encode() + b"\n")


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
