"""The site of the documentation: navigation, links, images and the API reference are complete.

`just docs` builds the site; these checks need no site generator.
"""

import ast
import re
from pathlib import Path

import pytest

import camloc

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))
LINKED = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(DOCS / page for page in PAGES)]


def without_code(text: str) -> str:
    """The text of a page without fenced and inline code."""
    return re.sub(r"^```.*?^```|`[^`\n]*`", "", text, flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"\s+", "-", re.sub(r"[^\w\s-]", "", heading.lower()).strip()) for heading in headings}


def test_the_navigation_names_every_page_once() -> None:
    _, _, navigation = (ROOT / "mkdocs.yml").read_text("utf-8").partition("\nnav:\n")
    named = re.findall(r"^\s+- (?:[^:\n]+: )?(\S+\.md)$", navigation, re.MULTILINE)
    assert sorted(named) == PAGES


@pytest.mark.parametrize("page", LINKED, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_and_images_resolve(page: Path) -> None:
    text = without_code(page.read_text("utf-8"))
    for target in re.findall(r"\]\(\s*([^)\s]+)\s*\)", text) + re.findall(r'(?:src|href)="([^"]+)"', text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{page.name} links to {target}"
        assert file.is_relative_to(ROOT), f"{page.name} links out of the repository: {target}"
        if anchor and file.suffix == ".md":
            assert anchor in anchors(file), f"{page.name} links to {target}"


def test_the_api_reference_has_every_public_name() -> None:
    page = (DOCS / "api.md").read_text("utf-8")
    names = re.findall(r"^        - (\w+)$", page, re.MULTILINE)
    assert len(names) == len(set(names))
    assert set(camloc.__all__) - {"__version__"} <= set(names)
    module = ast.parse((ROOT / "src" / "camloc" / "errors.py").read_text("utf-8"))
    assert {node.name for node in module.body if isinstance(node, ast.ClassDef)} <= set(names)


def test_a_page_fetches_nothing_from_the_network() -> None:
    settings = (ROOT / "mkdocs.yml").read_text("utf-8")
    assert re.search(r"^  font: false\b", settings, re.MULTILINE)
    assert "://" not in settings
