"""When a hypernetwork helps: by light, view, training data, size of its generator, and kind of head.

    uv run python -m benchmarks.hypernetworks

trains the baseline regressor and the same with a hypernetwork on every fourth training frame of the embedded
square's corner, and reads the other answers from `robustness.json`, `regressors.json` and
`compact_generators.json`. Writes `docs/results/hypernetworks.json`, `.md` and a figure, and the summary on
the page of HyperPose. Existing runs are not trained again.
"""

import csv
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from camloc import api
from camloc.data.formats import load
from camloc.data.types import poses_of
from camloc.evaluation.baselines import baseline_errors
from camloc.evaluation.results import Results
from camloc.evaluation.trajectory import CSV_NAME
from camloc.recipes import find_recipe

# The regressor without and with its hypernetwork.
WITHOUT, WITH = "demo/baseline", "demo/hyperpose"

# Every so many training frames are left, and are seen so many times: half as many steps as of all frames.
EVERY, EPOCHS = 4, 26
SEEDS = 3


@dataclass(frozen=True)
class Half:
    """Median errors of one half of a test set: of the views that are near to, or far from, training views."""

    meters: float
    degrees: float


@dataclass(frozen=True)
class Thinned:
    """One training on a part of the frames.

    Attributes:
        results: of all test sets.
        near, far: of each test set the halves of the frames, by the error of the nearest training pose.
    """

    results: Results
    near: dict[str, Half]
    far: dict[str, Half]


def thinned_scene(root: Path, folder: Path) -> Path:
    """The scene with every fourth training frame, beside links to its images."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(root / "scene.json", folder / "scene.json")
    with (root / "frames.csv").open(newline="") as file:
        header, *rows = list(csv.reader(file))
    split = header.index("split")
    training = [row for row in rows if row[split] == "train"]
    kept = training[::EVERY] + [row for row in rows if row[split] != "train"]
    with (folder / "frames.csv").open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *kept])
    for name in ("train", "test"):
        if not (folder / name).exists():
            (folder / name).symlink_to(root / name)
    return folder


def trained(recipe: str, scene: Path, folder: Path, seed: int) -> Thinned:
    """A training on the thinned scene, or that of an earlier call."""
    if not (folder / CSV_NAME).exists():
        settings = find_recipe(recipe)
        (stage,) = settings.stages
        settings = replace(settings, stages=(replace(stage, epochs=EPOCHS),))
        api.train(settings, scene, folder, layout="demo", seed=seed)
        api.evaluate(folder)
    return measured_run(folder, scene)


def measured_run(folder: Path, scene: Path) -> Thinned:
    """The results of an evaluated run, and the errors of near and of far views."""
    loaded = load(scene, layout="demo")
    truth, training = poses_of(loaded.test).numpy(), poses_of(loaded.train).numpy()
    nearest = baseline_errors(truth, training).nearest_pose
    order = np.argsort(
        nearest.meters / np.median(nearest.meters) + nearest.degrees / np.median(nearest.degrees)
    )
    near = np.zeros(len(order), dtype=bool)
    near[order[: len(order) // 2]] = True
    with (folder / CSV_NAME).open(newline="") as file:
        rows = list(csv.DictReader(file))
    halves: tuple[dict[str, Half], dict[str, Half]] = ({}, {})
    for name in dict.fromkeys(row["set"] for row in rows):
        errors = np.array([[float(row["meters"] or "inf"), float(row["degrees"] or "inf")]
                           for row in rows if row["set"] == name])  # fmt: skip
        for half, chosen in zip(halves, (near, ~near), strict=True):
            meters, degrees = np.median(errors[chosen], axis=0).tolist()
            half[name] = Half(meters, degrees)
    return Thinned(Results.load(folder / "results.json"), *halves)
