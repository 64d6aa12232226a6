"""A room, or any place of a thousand photographs, learned in minutes on two CPU cores.

Not rows of a paper: every regressor, and scene geometry, on pretrained MobileNetV2 features, with what makes
few photographs go a long way. What counts most is turning the camera about its centre: an epoch shows views
that nobody took, each with its exact pose. 16 such views of every photograph pass once through the network's
first half, which stands still. Settings were chosen on frames held out of the training frames of 7Scenes' Red
Kitchen; `docs/results/redkitchen.md` has what they reach.
"""

from camloc.recipes.room.geometry import scene_geometry, scene_geometry_context
from camloc.recipes.room.regressors import (
    atloc,
    atloc_hypernetwork,
    baseline,
    held_blocks,
    hyperpose,
    mapnet,
    posenet,
)
from camloc.recipes.room.several import ms_hyperpose, ms_transformer, ms_transposenet
from camloc.recipes.room.transformers import hyperpose_2023, hyperpose_2023_compact, transposenet

__all__ = [
    "atloc",
    "atloc_hypernetwork",
    "baseline",
    "held_blocks",
    "hyperpose",
    "hyperpose_2023",
    "hyperpose_2023_compact",
    "mapnet",
    "ms_hyperpose",
    "ms_transformer",
    "ms_transposenet",
    "posenet",
    "scene_geometry",
    "scene_geometry_context",
    "transposenet",
]
