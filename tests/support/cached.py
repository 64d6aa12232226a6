"""What a training reads from the caches of images and of features."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from camloc.data.augment import Augment
from camloc.runs.manifest import DataSource
from camloc.runs.prepare import prepare
from camloc.training.feature_cache import FeatureVariants
from tests.support.trained import tiny_recipe


def features_and_images(scene: Path, run: Path) -> dict[str, Any]:
    """The arrays of a tiny training on cached features; `run` is a folder that may exist."""
    recipe = tiny_recipe().cached(2, frozen=("backbone.*",))
    recipe = replace(recipe, augment=Augment(roll_degrees=10.0))
    training = prepare(recipe, name="tiny/cached", data=DataSource(str(scene)), folder=run)
    shutil.rmtree(run)
    assert isinstance(training.train, FeatureVariants)
    found = {
        "images": np.array(training.images.images),
        "features": np.array(training.train.images),
        "rotation": training.train.rotation.numpy(),
    }
    for name, owner in (("of images", training.images), ("of features", training.train)):
        assert owner.intrinsics is not None
        found[f"intrinsics {name}"] = owner.intrinsics.numpy()
    return found
