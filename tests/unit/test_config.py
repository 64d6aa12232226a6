"""Settings survive the way to JSON and back, and nothing that a settings file says is silently ignored."""

import json
import math
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from camloc.core.config import from_builtins, from_json, to_builtins, to_json
from camloc.errors import RecipeError


@dataclass(frozen=True)
class Stage:
    epochs: int
    rate: float = 1e-4
    trains: tuple[str, ...] = ("*",)


@dataclass(frozen=True)
class Network:
    width: int = 256
    heads: int | None = None
    form: Literal["l1", "l2"] = "l2"
    position: tuple[float, float, float] = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Training:
    name: str
    network: Network = Network()
    stages: tuple[Stage, ...] = ()
    fallback: Network | None = None
    by_scene: dict[str, Network] = field(default_factory=dict)
    layers: list[Stage] = field(default_factory=list)
    rate: int | str = 1
    shuffle: bool = True


FULL = Training(
    name="büro",
    network=Network(heads=8, form="l1", position=(1.5, -2.0, 1e-300)),
    stages=(Stage(10), Stage(20, 1e-5, ("head.*", "neck"))),
    fallback=Network(width=3),
    by_scene={"kitchen": Network(1), "office": Network(2)},
    layers=[Stage(1)],
    rate="slow",
    shuffle=False,
)


@pytest.mark.parametrize("settings", [FULL, Training("plain"), Training("one", stages=(Stage(1),), rate=3)])
def test_settings_survive_json_and_plain_values(settings: Training) -> None:
    assert from_json(to_json(settings), Training) == settings
    assert from_builtins(to_builtins(settings), Training) == settings
    assert from_builtins(json.loads(to_json(settings)), Training) == settings


def test_the_json_is_readable() -> None:
    text = to_json(FULL).decode()
    assert text.endswith("}\n")
    assert '\n  "name": "büro",\n' in text
    assert json.loads(text)["stages"][1]["trains"] == ["head.*", "neck"]


def test_a_missing_setting_has_its_default() -> None:
    assert from_json(b'{"name": "a", "network": {"width": 7}}', Training) == Training("a", Network(7))


def _changed(*path: str | int, value: object) -> Any:
    data = json.loads(to_json(FULL))
    inner = data
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return data


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (("typo",), "'typo'"),
        (("network", "nheads"), "'network.nheads'"),
        (("stages", 1, "epoch"), "'stages.1.epoch'"),
        (("fallback", "widht"), "'fallback.widht'"),
        (("by_scene", "office", "heds"), "'by_scene.office.heds'"),
        (("layers", 0, "lr"), "'layers.0.lr'"),
    ],
)
def test_an_unknown_key_fails_at_any_depth(path: tuple[str | int, ...], message: str) -> None:
    data = _changed(*path, value=1)
    for given in (data, _with_tuples(data)):
        with pytest.raises(RecipeError, match=message):
            from_builtins(given, Training)
    with pytest.raises(RecipeError, match=message):
        from_json(json.dumps(data).encode(), Training)


def _with_tuples(data: Any) -> Any:
    """The same values with tuples for lists, as `to_builtins` gives them."""
    if isinstance(data, dict):
        return {key: _with_tuples(value) for key, value in data.items()}
    return tuple(_with_tuples(value) for value in data) if isinstance(data, list) else data


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("name",), 5),
        (("name",), None),
        (("network",), 5),
        (("network",), []),
        (("network", "width"), "256"),
        (("network", "width"), 2.5),
        (("network", "width"), True),
        (("network", "width"), None),
        (("network", "heads"), "8"),
        (("network", "form"), "l3"),
        (("network", "position"), [1.0, 2.0]),
        (("network", "position"), [1.0, 2.0, "3"]),
        (("stages",), {}),
        (("stages", 0, "rate"), "fast"),
        (("stages", 0, "trains"), "head.*"),
        (("shuffle",), 1),
        (("rate",), 1.5),
        (("by_scene", "office"), None),
    ],
)
def test_a_value_of_another_type_fails_and_says_where(path: tuple[str | int, ...], value: object) -> None:
    with pytest.raises(RecipeError, match=r"^Training: .*\$\." + str(path[0])) as refused:
        from_builtins(_changed(*path, value=value), Training)
    assert str(refused.value).isprintable()


def test_a_missing_key_fails_and_says_which() -> None:
    with pytest.raises(RecipeError, match="name"):
        from_json(b"{}", Training)
    with pytest.raises(RecipeError, match="epochs"):
        from_json(b'{"name": "a", "stages": [{"rate": 0.1}]}', Training)


@pytest.mark.parametrize(
    "text",
    [
        *(b"", b"{", b"name: a", b'{"name": "a",}', b"[]", b"null", b'"a"', b"NaN", b'{"name": "a"} {}'),
        *(b"\xff\xfe", b'{"name": "\xff"}', b"[" * 100_000),
        b'{"name": "a", "stages": [{"epochs": 1, "rate": 1e999}]}',
    ],
)
def test_text_that_is_not_a_settings_file_fails(text: bytes) -> None:
    with pytest.raises(RecipeError, match="Training"):
        from_json(text, Training)


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan])
def test_a_number_that_json_cannot_hold_fails_when_it_is_written(number: float) -> None:
    with pytest.raises(RecipeError, match="Training"):
        to_json(Training("a", stages=(Stage(1, rate=number),)))


def test_a_whole_number_is_a_number_but_a_fraction_is_no_whole_number() -> None:
    assert from_builtins({"epochs": 1, "rate": 1}, Stage) == Stage(1, 1.0)
    with pytest.raises(RecipeError):
        from_builtins({"epochs": 1.5}, Stage)


def test_an_error_of_the_settings_themselves_is_raised() -> None:
    @dataclass(frozen=True)
    class Picky:
        size: int

        def __post_init__(self) -> None:
            if self.size < 1:
                raise RecipeError("size must be positive")

    with pytest.raises(RecipeError, match="size must be positive"):
        from_builtins({"size": 0}, Picky)
