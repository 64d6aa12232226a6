"""`check.html`: what a check found, in one file that opens anywhere."""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from jaxtyping import Float
from PIL import Image

from camloc.core.files import write_atomically
from camloc.core.sampling import even_rows
from camloc.data.image_io import read_image
from camloc.data.types import Frame, Unit
from camloc.errors import ImageError
from camloc.mapping.check.check import Checked
from camloc.mapping.check.findings import Finding
from camloc.mapping.check.hypotheses import Scored
from camloc.mapping.check.path import CameraPath
from camloc.mapping.check.readings import px

_STYLE = Path(__file__).parents[2] / "evaluation" / "report" / "style.css"

# Width of the map and of small images in pixels; frames that the map shows; images of a finding; readings.
_MAP, _SMALL, _MOST_MARKS, _IMAGES, _READINGS = 800, 240, 3000, 4, 6

_TRAIN, _TEST, _NAMED = "#0072b2", "#e69f00", "#c0392b"


@dataclass(frozen=True)
class _Card:
    level: str
    kind: str
    sentence: str
    images: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class _Mark:
    x: float
    y: float
    tip_x: float
    tip_y: float
    colour: str
    radius: float
    name: str


@dataclass(frozen=True)
class _Map:
    width: int
    height: int
    extent: str
    lines: tuple[str, ...]
    marks: tuple[_Mark, ...]


def verdict(findings: Sequence[Finding], *, with_features: bool = True) -> str:
    """What the findings mean, in a sentence."""
    errors = sum(each.level == "error" for each in findings)
    if errors:
        return f"Do not train on this yet: {errors} {'fault' if errors == 1 else 'faults'} found."
    if findings:
        return f"Usable, with {len(findings)} {'warning' if len(findings) == 1 else 'warnings'}."
    if not with_features:
        return (
            "Nothing suspicious in the images, the path and the split; poses were not compared with images."
        )
    return "Nothing suspicious: poses, intrinsics and images fit each other."


def write_page(
    out: Path,
    *,
    name: str,
    findings: Sequence[Finding],
    checked: Checked | None = None,
    notes: Sequence[str] = (),
    unit: Unit = "m",
) -> None:
    """Write the page.

    Args:
        out: the file.
        name: of the scene.
        findings: the faults, also those of data that could not be read.
        checked: the whole check, or None where the data could not be read.
        notes: of the reader.
        unit: of positions.

    Raises:
        CamlocError: the file cannot be written.
    """
    frames = {} if checked is None else {frame.name: frame for frame in checked.path.frames}
    import jinja2  # of the extra `report`; `verdict` does without

    cards = [
        _Card(each.level, each.kind, each.sentence, _images([frames[n] for n in each.frames if n in frames]))
        for each in findings
    ]
    readings = () if checked is None or checked.agreement is None else checked.agreement.readings[:_READINGS]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    text = environment.get_template("page.html.j2").render(
        name=name,
        style=_STYLE.read_text(),
        verdict=verdict(findings, with_features=checked is None or checked.sample is not None),
        tiles=_tiles(checked, unit),
        cards=cards,
        notes=notes,
        map=None if checked is None else _map(checked.path, findings, unit),
        readings=[(_label(each), px(each)) for each in readings],
        pair_count=0 if checked is None or checked.sample is None else len(checked.sample.pairs),
    )
    write_atomically(out, text)


def _label(scored: Scored) -> str:
    hypothesis = scored.hypothesis
    if hypothesis.statement:
        return f"{hypothesis.statement[0].upper()}{hypothesis.statement[1:]}"
    x, y = hypothesis.shift
    along_y = "" if hypothesis.aspect == 1 else f" (along y x {hypothesis.focal * hypothesis.aspect:.2f})"
    focal = f"Focal length x {hypothesis.focal:.2f}{along_y}"
    return f"{focal}, principal point {x:+.2f}, {y:+.2f} focal lengths away"


def _tiles(checked: Checked | None, unit: Unit) -> list[tuple[str, str]]:
    if checked is None:
        return []
    path = checked.path
    tiles = [("Frames", str(len(path.frames))), ("of these for testing", str(int(path.is_test.sum())))]
    if checked.agreement is not None and np.isfinite(checked.agreement.depth):
        tiles += [("Typical depth", f"{checked.agreement.depth:.3g} {unit}")]
    if checked.agreement is not None and checked.agreement.readings:
        tiles += [("Epipolar error", px(checked.agreement.readings[0]))]
    return tiles


def _images(frames: Sequence[Frame]) -> tuple[tuple[str, str], ...]:
    found = []
    for frame in frames[:_IMAGES]:
        try:
            image = Image.fromarray(read_image(frame.image))
        except ImageError:
            continue
        image.thumbnail((_SMALL, _SMALL))
        stream = BytesIO()
        image.save(stream, "JPEG", quality=75)
        found.append((f"data:image/jpeg;base64,{b64encode(stream.getvalue()).decode()}", frame.name))
    return tuple(found)


def _map(path: CameraPath, findings: Sequence[Finding], unit: Unit) -> _Map | None:
    """The positions in the plane in which they differ most."""
    if len(path.frames) < 2 or path.radius == 0:
        return None
    centred = path.centres - path.centres.mean(axis=0)
    _, _, axes = np.linalg.svd(centred[:: max(1, len(centred) // 2000)], full_matrices=False)
    flat, forward = centred @ axes[:2].T, path.rotations[:, :, 2] @ axes[:2].T
    low, high = flat.min(axis=0), flat.max(axis=0)
    extent = max(float((high - low).max()), 1e-12)
    scale = (_MAP - 60) / extent
    places = (flat - low) * scale + 30
    height = int((high[1] - low[1]) * scale) + 60
    bad = {name for each in findings for name in each.frames}
    shown = even_rows(len(flat), _MOST_MARKS).tolist()
    marks = []
    for index in shown:
        (x, y), (u, v) = places[index].tolist(), (forward[index] * 12).tolist()
        name = path.frames[index].name
        colour = _NAMED if name in bad else _TEST if path.is_test[index] else _TRAIN
        marks.append(
            _Mark(
                round(x, 1),
                round(y, 1),
                round(x + u, 1),
                round(y + v, 1),
                colour,
                4 if name in bad else 2,
                name,
            )
        )
    return _Map(_MAP, height, f"{extent:.3g} {unit}", tuple(_lines(path, places, shown)), tuple(marks))


def _lines(path: CameraPath, places: Float[np.ndarray, "n 2"], shown: Sequence[int]) -> list[str]:
    """The path of each recording."""
    lines: dict[str, list[str]] = {}
    for index in shown:
        x, y = places[index].tolist()
        lines.setdefault(path.frames[index].sequence, []).append(f"{x:.1f},{y:.1f}")
    return [" ".join(points) for points in lines.values()]
