"""The report and the page of a comparison open in a browser: no console message, every figure drawn."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.support.command_line import camloc
from tests.support.trained import Made

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
BROWSER = next((found for name in NAMES if (found := shutil.which(name))), None)

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed to open the pages with")

# Counts the figures, and those that the browser could not draw.
_COUNT = """<script>addEventListener("load", async () => {
  const images = [...document.images];
  const drawn = await Promise.all(images.map(each => each.decode().then(() => true, () => false)));
  document.documentElement.dataset.images = images.length;
  document.documentElement.dataset.broken = drawn.filter(each => !each).length;
})</script>"""


def opened(page: Path, folder: Path) -> tuple[int, int, str]:
    """The figures of a page, those that were not drawn, and what the browser's console says."""
    assert BROWSER is not None
    copy = folder / "copy.html"
    copy.write_text(page.read_text() + _COUNT)
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--log-level=0"]
    options += [f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=5000", "--dump-dom"]
    done = subprocess.run([BROWSER, *options, copy.as_uri()], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    images, broken = (re.search(rf'data-{name}="(\d+)"', done.stdout) for name in ("images", "broken"))
    assert images is not None, done.stderr
    assert broken is not None
    console = "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)
    return int(images[1]), int(broken[1]), console


def test_the_pages_open_without_a_console_message_and_with_all_figures(
    evaluated: Made, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    camloc(capfd, "compare", evaluated.path, evaluated.path / "estimates.tum", "--out", tmp_path / "compared")
    for page, least in ((evaluated.path / "report.html", 10), (tmp_path / "compared" / "index.html", 5)):
        images, broken, console = opened(page, tmp_path)
        assert images >= least
        assert (broken, console) == (0, "")


def test_a_console_message_and_a_broken_figure_are_noticed(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text('<img src="data:image/png;base64,AAAA"><script>console.error("a fault")</script>')
    images, broken, console = opened(page, tmp_path)
    assert (images, broken) == (1, 1)
    assert "a fault" in console
