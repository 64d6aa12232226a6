"""The parts of a web page that is one file: everything it shows is inside it, and all text is escaped."""

from base64 import b64encode
from collections.abc import Iterable, Sequence
from html import escape
from io import BytesIO
from pathlib import Path

from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from camloc.data.image_io import image_tensor, read_image
from camloc.errors import ImageError

STYLE_SHEET = """
:root { color-scheme: light dark;
  --ink: #1f2933; --muted: #5b6773; --line: #dfe4e9; --page: #f6f7f9; --card: #ffffff;
  --accent: #0072b2; --accent-soft: #e3f0f8; --bad: #b3401f; }
@media (prefers-color-scheme: dark) { :root {
  --ink: #e6eaee; --muted: #9aa7b4; --line: #323c46; --page: #14191e; --card: #1c2329;
  --accent: #5ab4e6; --accent-soft: #1d3a4b; --bad: #f0936f; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); overflow-wrap: break-word;
  font: 16px/1.6 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 3rem 1.25rem 4rem; }
header { margin-bottom: 2rem; }
.eyebrow { margin: 0; color: var(--muted); font-size: .85rem; letter-spacing: .04em; }
h1 { margin: .15rem 0 .9rem; font-size: clamp(1.8rem, 5vw, 2.6rem); line-height: 1.15;
  letter-spacing: -.015em; }
h2 { margin: 3rem 0 .6rem; font-size: 1.35rem; line-height: 1.3; letter-spacing: -.01em; }
h3 { margin: 2rem 0 .5rem; font-size: 1.05rem; }
p { margin: .5rem 0 1rem; max-width: 46rem; }
.verdict { font-size: 1.2rem; line-height: 1.5; }
.note, figcaption { color: var(--muted); font-size: .9rem; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(8.5rem, 1fr)); gap: .75rem;
  margin: 1.5rem 0; padding: 0; }
.tile { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: .8rem 1rem; }
.tile dt { color: var(--muted); font-size: .85rem; line-height: 1.35; }
.tile dd { margin: .15rem 0 0; font-size: 1.5rem; font-weight: 650; line-height: 1.25;
  font-variant-numeric: tabular-nums; }
.tile dd small { display: block; color: var(--muted); font-size: .8rem; font-weight: 400; }
.scroll { overflow-x: auto; background: var(--card); border: 1px solid var(--line); border-radius: .6rem; }
table { width: 100%; border-collapse: collapse; font-size: .95rem; font-variant-numeric: tabular-nums; }
th, td { padding: .55rem .9rem; text-align: right; white-space: nowrap;
  border-bottom: 1px solid var(--line); }
thead th { color: var(--muted); font-size: .85rem; font-weight: 500; }
th:first-child { text-align: left; }
tbody th { font-weight: 400; }
tbody tr:last-child > * { border-bottom: 0; }
tr.result > * { font-weight: 650; background: var(--accent-soft); }
td small { display: block; color: var(--muted); font-size: .85em; font-weight: 400; }
tr.result td small { color: var(--ink); }
figure { margin: 1rem 0 1.5rem; }
.drawings { overflow-x: auto; background: #fff; padding: .75rem; border: 1px solid var(--line);
  border-radius: .6rem; }
.drawings img { display: block; width: 100%; height: auto; }
figure.map { max-width: 50rem; }
figure.several .drawings { display: grid; gap: .5rem;
  grid-template-columns: repeat(auto-fit, minmax(min(20rem, 100%), 1fr)); }
figcaption { margin-top: .5rem; max-width: 46rem; }
.frames { display: grid; grid-template-columns: repeat(auto-fill, minmax(13rem, 1fr)); gap: 1rem;
  margin: 1rem 0; padding: 0; list-style: none; }
.frames li { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; overflow: hidden; }
.frames img, .frames .blank { display: block; width: 100%; aspect-ratio: 4 / 3; object-fit: cover;
  background: var(--line); }
.frames .blank { display: grid; scene-items: center; color: var(--muted); font-size: .85rem; }
.frames div.text { padding: .65rem .85rem .8rem; font-size: .85rem; line-height: 1.45; }
.frames strong { display: block; font-size: 1rem; font-variant-numeric: tabular-nums; }
.frames .nearest { display: block; }
.frames .lost { color: var(--bad); }
.frames .name { color: var(--muted); overflow-wrap: anywhere; }
dl.metadata { display: grid; grid-template-columns: max-content 1fr; gap: .35rem 1.5rem; margin: 1rem 0; }
dl.metadata dt { color: var(--muted); }
dl.metadata dd { margin: 0; overflow-wrap: anywhere; }
dl.words dt { font-weight: 650; margin-top: .8rem; }
dl.words dd { margin: .1rem 0 0; max-width: 46rem; }
details { margin: 1rem 0; }
summary { cursor: pointer; color: var(--accent); }
pre { overflow-x: auto; background: var(--card); border: 1px solid var(--line); border-radius: .6rem;
  padding: 1rem; font-size: .8rem; line-height: 1.45; }
footer { margin-top: 3rem; padding-top: 1rem; border-top: 1px solid var(--line); color: var(--muted);
  font-size: .85rem; }
@media (max-width: 34rem) {
  main { padding: 1.75rem 1rem 3rem; }
  .verdict { font-size: 1.08rem; }
  table { font-size: .84rem; }
  th, td { padding: .5rem .3rem; }
  th:first-child { padding-left: .6rem; }
  th:last-child, td:last-child { padding-right: .6rem; }
  th { white-space: normal; line-height: 1.3; }
  thead th { font-size: .78rem; }
  .drawings { padding: .4rem; }
  figure.wide img { width: 40rem; max-width: none; }
  figure.map img { width: 30rem; max-width: none; }
  dl.metadata { grid-template-columns: 1fr; gap: 0; }
  dl.metadata dd { margin-bottom: .6rem; }
  .frames { grid-template-columns: 1fr 1fr; gap: .6rem; }
}
@media print {
  :root { --ink: #000; --muted: #444; --line: #ccc; --page: #fff; --card: #fff; --accent: #000;
    --accent-soft: #eee; --bad: #a00; color-scheme: light; }
  body { font-size: 10.5pt; }
  main { max-width: none; padding: 0; }
  h2, h3 { break-after: avoid; }
  figure, .frames li, .scroll, .tile { break-inside: avoid; }
  .frames { grid-template-columns: repeat(4, 1fr); }
}
"""


def whole_page(title: str, body: str) -> str:
    """A complete page around `body`, which is HTML already; `title` is text."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE_SHEET}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def drawing(*svgs: bytes, title: str, caption: str, kind: str = "wide") -> str:
    """One figure of one or several drawings, which stand side by side where there is room.

    Args:
        svgs: the drawings.
        title: what it shows, for those who cannot see it.
        caption: how to read it.
        kind: "wide" fills the page, "map" leaves a margin.
    """
    images = "".join(
        f'<img src="data:image/svg+xml;base64,{b64encode(svg).decode()}" alt="{escape(title)}">'
        for svg in svgs
    )
    form = "several" if len(svgs) > 1 else kind
    return (
        f'<figure class="{form}"><div class="drawings">{images}</div>'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def table(headings: Sequence[str], rows: Iterable[tuple[str, Sequence[str]]], *, emphasis: str) -> str:
    """A table whose first column is a label (text); the other cells are HTML.

    Args:
        headings: of all columns, the first one included.
        rows: a label and the cells beside it.
        emphasis: the label of the rows that stand out.
    """
    head = "".join(f'<th scope="col">{escape(heading)}</th>' for heading in headings)
    body = "\n".join(
        f"<tr{' class=' + chr(34) + 'result' + chr(34) if label == emphasis else ''}>"
        f'<th scope="row">{escape(label)}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'
        for label, cells in rows
    )
    return (
        f'<div class="scroll"><table>\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody></table></div>"
    )


def definitions(pairs: Iterable[tuple[str, str]], *, kind: str) -> str:
    """A list of terms and what they are; both are text."""
    items = "\n".join(f"<dt>{escape(term)}</dt><dd>{escape(text)}</dd>" for term, text in pairs)
    return f'<dl class="{kind}">\n{items}\n</dl>'


def thumbnail(path: Path, *, width: int = 360) -> str:
    """An image file as a small JPEG inside the page, or a grey field where it cannot be read."""
    try:
        pixels = read_image(path)
    except ImageError:
        return '<span class="blank">image not readable</span>'
    return image(image_tensor(pixels), width=width)


def image(pixels: UInt8[Tensor, "3 h w"], *, width: int = 360) -> str:
    """An image, at most this wide, as a JPEG inside the page."""
    image = Image.fromarray(pixels.permute(1, 2, 0).numpy())
    image.thumbnail((width, 2 * width))
    data = BytesIO()
    image.save(data, format="JPEG", quality=72, optimize=True)
    return f'<img src="data:image/jpeg;base64,{b64encode(data.getvalue()).decode()}" alt="">'


def sharp_image(pixels: UInt8[Tensor, "3 h w"]) -> str:
    """An image of few pixels inside the page, whose pixels stay squares when it is shown larger."""
    data = BytesIO()
    Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy()).save(data, format="PNG", optimize=True)
    return (
        f'<img style="image-rendering: pixelated" '
        f'src="data:image/png;base64,{b64encode(data.getvalue()).decode()}" alt="">'
    )
