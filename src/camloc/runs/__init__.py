"""Runs: preparing, training, extending and evaluating, with every file that a run folder holds."""
