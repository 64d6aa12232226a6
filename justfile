# The checks of camloc; `just` lists them.

default:
    @just --list

# Everything that a change must pass
check: format-check lint types layers test

format-check:
    uv run ruff format --check

lint:
    uv run ruff check

# The strict type checker
types:
    uv run mypy

# Which layer may import which
layers:
    uv run lint-imports

test *ARGS:
    uv run pytest {{ARGS}}

# The site of the documentation, in `site`; a warning is an error
docs:
    uv run --group docs mkdocs build --strict

# Rewrite files in the project's format
format:
    uv run ruff format
    uv run ruff check --fix
