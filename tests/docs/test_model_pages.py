"""Every model's page has the true numbers of weights of its presets, and is linked."""

import re
from pathlib import Path

import pytest

from camloc.models import model_names, parameter_count, presets

PAGES = Path(__file__).parents[2] / "docs" / "models"
NAMES = model_names()


@pytest.mark.parametrize("name", NAMES)
def test_a_page_has_the_weights_of_presets(name: str) -> None:
    rows = re.findall(
        r"^\| `([\w-]+)` \| ([\d,]+) \|", (PAGES / f"{name}.md").read_text("utf-8"), re.MULTILINE
    )
    assert rows
    known = presets(name)
    for preset, weights in rows:
        assert parameter_count(name, known[preset]) == int(weights.replace(",", "")), preset


@pytest.mark.parametrize("name", NAMES)
def test_the_index_and_the_readme_name_every_model(name: str) -> None:
    root = PAGES.parents[1]
    assert f"models/{name}.md" in (root / "docs" / "index.md").read_text("utf-8")
    assert f"| `{name}` |" in (root / "README.md").read_text("utf-8")
