"""Train a variant of a recipe: `python examples/02_train.py FOLDER runs/mine`"""

import sys
from dataclasses import replace
from pathlib import Path

from camloc.recipes import demo
from camloc.runs.evaluate import evaluate_run
from camloc.runs.manifest import DataSource
from camloc.runs.prepare import prepare
from camloc.runs.train import train
from camloc.training.loop import Epoch

data, out = sys.argv[1:3]
recipe = demo.hyperpose()
(stage,) = recipe.stages
recipe = replace(recipe, stages=(replace(stage, epochs=2),))

training = prepare(recipe, name="mine", data=DataSource(data), folder=Path(out))
for event in train(training):
    if isinstance(event, Epoch) and event.validation is not None:
        meters, degrees = event.validation
        print(f"epoch {event.epoch}: {meters:.2f} m, {degrees:.1f} degrees on held-out frames")

if training.scenes[0].test:
    print(evaluate_run(Path(out)).report)
