"""Train a variant of a recipe, add a map, and measure both: `python examples/02_train.py FOLDER runs/mine`"""

import sys
from dataclasses import replace

import camloc
from camloc.recipes import demo

data, out = sys.argv[1:3]
recipe = demo.hyperpose()
(stage,) = recipe.stages
recipe = replace(recipe, stages=(replace(stage, epochs=2),))

run = camloc.train(recipe, data, out)
if camloc.load_dataset(data).test:
    errors = camloc.evaluate(run).headline.estimates
    print(f"median error {errors.meters.median:.2f}, {errors.degrees.median:.1f} degrees")
