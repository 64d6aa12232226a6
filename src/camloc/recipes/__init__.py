"""Recipes: Python functions that return the settings of one row of a table, one file a paper."""
