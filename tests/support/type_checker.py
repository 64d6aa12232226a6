"""The checker of types and shapes that `tests/conftest.py` puts on every function of camloc."""

from beartype import BeartypeConf, beartype

# A whole number is a number: `fx=500` is a fine focal length, in Python's own typing rules as well.
check = beartype(conf=BeartypeConf(is_pep484_tower=True))
