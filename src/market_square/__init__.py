"""The embedded scene: a market square rendered with NumPy and Pillow, with exact poses, intrinsics and depth.

`render` draws a scene into a folder once: images, depth maps and a table of poses. A `Renderer` renders the
square from any pose.
"""

from market_square.atmosphere import CONDITIONS
from market_square.renderer import RenderedView, Renderer
from market_square.rendering import render
from market_square.scene import OCCLUDED, VARIANTS, SquareSettings

__all__ = [
    "CONDITIONS",
    "OCCLUDED",
    "VARIANTS",
    "RenderedView",
    "Renderer",
    "SquareSettings",
    "render",
]
