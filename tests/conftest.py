"""What holds in every test: one thread, no network, the same examples every time, checked shapes.

While the tests run, every call into `camloc` is checked against its annotations, tensor shapes included. The
hook that does this must be in place before anything imports `camloc`, hence here. Warnings are errors too;
that stands in pyproject.toml.
"""

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # so that programs that tests start compile camloc once

from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
import roma  # noqa: F401 - outside the hook, which would compile the thousand modules below roma anew
import torch
from jaxtyping import install_import_hook

import tests.support.type_checker  # noqa: F401 - the hook names it and does not import it

install_import_hook("camloc", "tests.support.type_checker.check")

torch.set_num_threads(1)
hypothesis.settings.register_profile("camloc", derandomize=True, deadline=None, max_examples=15)
hypothesis.settings.load_profile("camloc")


@pytest.fixture(scope="session", autouse=True)
def networks_of_seconds_count_as_learned() -> Iterator[None]:
    """Networks that tests train for seconds would be rejected as unlearned: the comparison is left out.

    `tests/unit/test_unlearned.py` tests the rejection with errors of its own.
    """
    from camloc.runs import train

    compute = train._mean_pose_errors

    def computed_and_left_out(*arguments: Any) -> dict[str, Any]:
        assert all(min(errors) > 0.0 for errors in compute(*arguments).values())
        return {}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "_mean_pose_errors", computed_and_left_out)
        yield
