"""How every figure of the report looks, and how it becomes SVG.

Figures are drawn without a display and without pyplot, whose figures live in a global list. Colours
are Okabe and Ito's, which stay apart for colour-blind readers, and every kind of line has a dash
pattern of its own, so that the figures also read in grey.
"""

from contextlib import AbstractContextManager
from io import BytesIO

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

INK, MUTED, GRID = "#1f2933", "#64707d", "#e4e8ec"
BLUE, ORANGE, PURPLE, GREY, RED = "#0072b2", "#d55e00", "#cc79a7", "#7b8794", "#c0392b"

# More points than this are stored as pixels inside the SVG, which keeps it small.
MOST_VECTOR_POINTS = 1500


def styled() -> AbstractContextManager[None]:
    """The settings under which a figure is built and rendered; the former ones come back after it."""
    return mpl.rc_context(
        {
            "font.family": ["DejaVu Sans"],
            "font.size": 10,
            "text.color": INK,
            "axes.edgecolor": "#c3cad1",
            "axes.labelcolor": INK,
            "axes.titlesize": 11,
            "axes.titleweight": "bold",
            "axes.titlelocation": "left",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "axes.axisbelow": True,
            "grid.color": GRID,
            "grid.linewidth": 0.8,
            "xtick.color": MUTED,
            "ytick.color": MUTED,
            "legend.frameon": False,
            "legend.fontsize": 9.5,
            "svg.hashsalt": "camloc",
            "figure.dpi": 100,
        }
    )


def log_scale(axes: Axes, which: str) -> None:
    """Make the "x" or the "y" axis logarithmic, with plain numbers instead of powers of ten."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def legend_below(figure: Figure, axes: Axes, *, columns: int = 4) -> None:
    """One legend for all panels, under them, with the entries of `axes`."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=min(columns, len(labels)), markerscale=1.6
    )


def svg(figure: Figure) -> bytes:
    """The figure as SVG; the same figure gives the same bytes."""
    FigureCanvasSVG(figure)
    data = BytesIO()
    figure.savefig(data, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return data.getvalue()
