"""The worked example of the conventions page runs, and its drawing is there."""

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "conventions.md"


def test_the_worked_example_holds() -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 1
    assert blocks[0].count("assert ") >= 8
    exec(compile(blocks[0], str(PAGE), "exec"), {"__name__": "worked_example"})


def test_the_drawing_is_there_and_well_formed() -> None:
    (drawing,) = re.findall(r"!\[.+\]\((.+\.svg)\)", PAGE.read_text("utf-8"))
    root = ElementTree.fromstring((PAGE.parent / drawing).read_text("utf-8"))
    assert root.tag.endswith("svg")
    labels = " ".join(root.itertext())
    for label in ("x right", "y down", "z forward", "(0.5, 0.5)", "world_from_cam"):
        assert label in labels
