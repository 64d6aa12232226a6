"""Runs: what becomes of a recipe in a folder. Preparing and training, evaluating, extending, teaching."""
