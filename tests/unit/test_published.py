"""The printed tables: complete, trainable where camloc can, and their averages and ranks recomputed."""

import math
from collections.abc import Sequence

import pytest

from camloc.errors import RecipeError
from camloc.evaluation.published import (
    CAMBRIDGE,
    MEAN,
    Cell,
    PrintedTable,
    average_ranks,
    find_table,
    published_of,
    published_tables,
)
from camloc.recipes import find_recipe, find_student

TABLES = tuple(published_tables())

# What the papers print and their own numbers contradict, found by recomputing every average and rank.
WRONG_AVERAGES = {
    ("transposenet_2021/2", "TransPoseNet (Ours)"),
    ("transposenet_2021/2", "IRPNet"),
    ("transposenet_2021/4", "TransPoseNet (Ours)"),
    ("hyperpose_2023/1", "LSTM-PN"),
    ("hyperpose_2023/1", "HyperPose (Ours)"),
}
WRONG_RANKS = {
    ("transposenet_2021/2", "TransPoseNet (Ours)"),
    ("transposenet_2021/2", "IRPNet"),
    ("transposenet_2021/2", "GeoPoseNet"),
}


def average(cells: Sequence[Cell | None]) -> Cell | None:
    """The mean of cells with the largest error that rounding causes; None where a cell is missing."""
    if not cells or any(cell is None for cell in cells):
        return None
    known = [cell for cell in cells if cell is not None]

    def mean(values: Sequence[float | None]) -> float | None:
        numbers = [value for value in values if value is not None]
        return math.fsum(numbers) / len(numbers) if len(numbers) == len(values) else None

    return Cell(
        mean([cell.meters for cell in known]),
        mean([cell.degrees for cell in known]),
        (
            math.fsum(cell.half_units[0] for cell in known) / len(known),
            math.fsum(cell.half_units[1] for cell in known) / len(known),
        ),
    )


def averaged_rows(table: PrintedTable) -> dict[str, tuple[Cell, Cell]]:
    """The printed and the recomputed averages of a table, by method."""
    if table.prints_mean:
        source = {row.method: row.cells for row in table.rows}
        printed = {row.method: row.mean for row in table.rows}
    elif table.of:
        source = {row.method: row.cells for row in find_table(f"{table.paper}/{table.of}").rows}
        printed = {row.method: row.cells[0] for row in table.rows}
    else:
        return {}
    found = {}
    for method, mean in printed.items():
        computed = average(source[method])
        assert (mean is None) == (computed is None)
        if mean is not None and computed is not None:
            found[method] = (mean, computed)
    return found


def agrees(printed: Cell, computed: Cell) -> bool:
    """Whether rounding alone explains the difference of a printed average and a computed one."""
    pairs = ((printed.meters, computed.meters), (printed.degrees, computed.degrees))
    return all(
        first is None or second is None or abs(first - second) <= bound + other + 1e-9
        for (first, second), bound, other in zip(pairs, printed.half_units, computed.half_units, strict=True)
    )


def test_recomputed_averages_agree_except_for_the_listed_misprints() -> None:
    compared = {(name, method): pair for name in TABLES
                for method, pair in averaged_rows(find_table(name)).items()}  # fmt: skip
    assert len(compared) > 60
    wrong = {key for key, (printed, computed) in compared.items() if not agrees(printed, computed)}
    assert wrong == WRONG_AVERAGES
    for name, method in wrong:
        misprints = find_table(name).misprints
        assert misprints is not None
        assert "printed" in misprints[method]


def test_the_listed_misprints_say_what_the_averages_are() -> None:
    averages = averaged_rows(find_table("transposenet_2021/2"))["TransPoseNet (Ours)"]
    assert [str(each) for each in averages] == ["0.91/3.47", "0.92/3.50"]
    printed, computed = averaged_rows(find_table("transposenet_2021/4"))["TransPoseNet (Ours)"]
    assert (printed.degrees, round(computed.degrees or 0, 2)) == (7.78, 7.81)
    printed, computed = averaged_rows(find_table("hyperpose_2023/1"))["HyperPose (Ours)"]
    assert printed.degrees == 3.43
    assert computed.degrees == pytest.approx(3.385)


def test_recomputed_ranks_agree_except_for_the_listed_misprints() -> None:
    wrong, compared = set(), 0
    for name in TABLES:
        table = find_table(name)
        if table.ranks is None:
            continue
        means = {row.method: row.cells[0] for row in table.rows}
        pairs = {method: (each.meters, each.degrees) for method, each in means.items() if each}
        computed = average_ranks(
            {m: (x, y) for m, (x, y) in pairs.items() if x is not None and y is not None}
        )
        assert computed.keys() == table.ranks.keys()
        compared += len(computed)
        wrong |= {(name, method) for method, ranks in computed.items() if ranks != table.ranks[method]}
    assert compared == 20
    assert wrong == WRONG_RANKS


@pytest.mark.parametrize("name", TABLES)
def test_a_table_has_a_cell_for_every_column_and_recipes_that_exist(name: str) -> None:
    table = find_table(name)
    assert table.rows
    assert any(row.recipes for row in table.rows)
    for row in table.rows:
        assert len(row.cells) == len(table.columns)
        for recipe in row.recipes:
            assert find_recipe(recipe).layout == table.layout
        kind, *words = row.use.split(":")
        assert kind in ("", "student", "refine", "filter", "masks")
        if kind in ("student", "refine"):
            find_student(words[-1])
    assert set(table.misprints or {}) <= {row.method for row in table.rows}


def test_a_cell_keeps_the_printed_digits() -> None:
    texts = ("0.60/2.43", "0.30/7.0", "/3.55", "0.86/", "0.47/10.4")
    assert [str(Cell.parse(text)) for text in texts] == [
        "0.60/2.43",
        "0.30/7.0",
        "3.55°",
        "0.86 m",
        "0.47/10.4",
    ]
    assert Cell.parse("-") is None
    assert average([Cell(1.0, 2.0), None]) is None


def test_a_recipe_has_one_result_a_scene_with_its_truth_and_its_misprint() -> None:
    found = {each.scene: each for each in published_of("hyperpose_2023/cambridge-released")}
    assert tuple(found) == (*CAMBRIDGE, MEAN)
    assert found["ShopFacade"].numbers == "0.54 m 3.37°"
    assert found[MEAN].truth == "SfM"
    assert "3.39" in found[MEAN].note
    assert published_of("room/hyperpose") == ()
    (alone,) = published_of("hyperpose_2023/shop-6d")
    assert (alone.meters, alone.numbers) == (None, "4.54°")


def test_an_unknown_table_fails_with_some_that_exist() -> None:
    with pytest.raises(RecipeError, match="hyperpose_2023/1"):
        find_table("hyperpose_2023/12")
    with pytest.raises(RecipeError, match="--list"):
        find_table("nonsense")
