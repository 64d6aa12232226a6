"""Train a recipe for a sixth of its epochs, and measure it: `python examples/02_train.py FOLDER runs/mine`"""

import sys

import camloc

data, out = sys.argv[1:3]
recipe = camloc.find_recipe("demo/hyperpose").scaled(1 / 6)

run = camloc.train(recipe, data, out)
if camloc.load_dataset(data).test:
    errors = camloc.evaluate(run).headline.estimates
    print(f"median error {errors.meters.median:.2f}, {errors.degrees.median:.1f} degrees")
