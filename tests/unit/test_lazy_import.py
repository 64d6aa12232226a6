"""`import camloc` is instant, and everything public is there when it is used."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.models import small_config, some_poses

import camloc
from camloc.data.image_io import Preprocess
from camloc.models import build_model
from camloc.models.checkpoint import save_checkpoint
from camloc.models.metadata import metadata_for

PUBLIC = [name for name in camloc.__all__ if name != "__version__"]


def modules_after(program: str) -> set[str]:
    """What a fresh interpreter has imported after a program."""
    ended = subprocess.run(
        [sys.executable, "-c", f"{program}\nimport sys\nprint(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(ended.stdout.split())


def test_importing_the_package_imports_nothing_heavy() -> None:
    imported = modules_after("import camloc")
    assert not imported & {"torch", "numpy", "PIL", "scipy", "timm", "rich", "tyro", "msgspec"}
    assert not {name for name in imported if name.startswith("camloc.")}


def test_errors_and_names_need_no_torch() -> None:
    program = (
        "from camloc import CamlocError, __version__\nfrom camloc.models import model_names\nmodel_names()"
    )
    assert not modules_after(program) & {"torch", "numpy", "PIL"}


def test_locating_by_torch_imports_neither_its_compiler_nor_what_trains() -> None:
    imported = modules_after("import camloc.inference.torch_network")
    assert "torch" in imported
    assert not imported & {"torch._dynamo", "roma", "lightning_fabric", "camloc.refinement.choice"}


def test_loading_a_checkpoint_does_not_import_torchs_compiler(tmp_path: Path) -> None:
    config = small_config("hyperpose")
    metadata = metadata_for("hyperpose", config, Preprocess(64, 48), ("kitchen",))
    save_checkpoint(tmp_path, metadata, build_model("hyperpose", config), (some_poses(9),))
    imported = modules_after(
        "from pathlib import Path\nfrom camloc.models.checkpoint import load_checkpoint\n"
        f"load_checkpoint(Path({str(tmp_path)!r}))"
    )
    assert not imported & {"torch._dynamo", "sympy"}


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_is_what_its_module_has(name: str) -> None:
    thing = getattr(camloc, name)
    assert thing.__name__ == name
    assert getattr(importlib.import_module(thing.__module__), name) is thing


def test_the_public_names_are_listed() -> None:
    assert dir(camloc) == sorted(camloc.__all__)
    assert camloc.__version__.count(".") == 2


def test_an_unknown_name_is_an_ordinary_error() -> None:
    with pytest.raises(AttributeError, match="module 'camloc' has no attribute 'Localiser'"):
        camloc.Localiser  # noqa: B018
    assert not hasattr(camloc, "torch")
