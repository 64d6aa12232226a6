"""The embedded place: a market square rendered with NumPy and Pillow, with exact poses, intrinsics and depth.

`render` draws a place into the cache once, `load` reads it as a Scene, `conditions` gives the test walks in
other light, weather and company. A `Renderer` photographs the square from anywhere.
"""

from typing import TYPE_CHECKING, Any

from camloc.datasets.demo.atmosphere import CONDITIONS
from camloc.datasets.demo.place import OCCLUDED, VARIANTS, DemoPlace
from camloc.datasets.demo.renderer import RenderedView, Renderer
from camloc.datasets.demo.rendering import render
from camloc.datasets.demo.walks import AREAS

if TYPE_CHECKING:
    from camloc.datasets.demo.reading import conditions, load, load_condition

SCENES: tuple[str, ...] = tuple(AREAS)

__all__ = [
    "CONDITIONS",
    "OCCLUDED",
    "SCENES",
    "VARIANTS",
    "DemoPlace",
    "RenderedView",
    "Renderer",
    "conditions",
    "load",
    "load_condition",
    "render",
]

_READING = ("conditions", "load", "load_condition")


def __getattr__(name: str) -> Any:
    # Reading needs torch, drawing does not: the processes that draw should start in an instant.
    if name in _READING:
        from camloc.datasets.demo import reading

        return getattr(reading, name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
