"""The real images that some tests read, which are not part of the project."""

import os
from pathlib import Path

import pytest

VARIABLE = "CAMLOC_TEST_DATA"

_CHECKOUT = Path(__file__).parents[2]


def real_data(name: str) -> Path:
    """The folder of a real data set; where it is absent, the test is skipped with the reason.

    It is looked for in the folder that the environment variable `CAMLOC_TEST_DATA` names, or else in
    `../shared/data` beside the checkout.
    """
    folder = Path(os.environ.get(VARIABLE) or _CHECKOUT.parent / "shared" / "data") / name
    if not folder.is_dir():
        pytest.skip(f"{folder} is absent; set {VARIABLE} to the folder of the real data sets")
    return folder
