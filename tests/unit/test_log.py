"""The log of a training: one strict JSON line an epoch, whatever happened in between."""

import json
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tests.support.tiny_training import tiny_model

from camloc.errors import CheckpointError
from camloc.training.log import TrainingLog, read_log
from camloc.training.loop import Epoch


def epoch(number: int, **changes: Any) -> Epoch:
    settings: dict[str, Any] = {
        "epoch": number,
        "stage": 0,
        "losses": {"position": 1.5, "orientation": -0.25},
        "learning_rate": 1e-3,
        "epochs": 9,
        "measures": {"meters": 0.5, "degrees": 3.0},
        "is_best": False,
        "images_per_second": 123.456,
        "seconds": 10.0 * number,
        "model": None,
    }
    return Epoch(**{**settings, "model": tiny_model(), **changes})


def rows(folder: Path) -> list[dict[str, Any]]:
    """The rows, read by a parser that refuses infinite numbers."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    text = (folder / "log.jsonl").read_text()
    assert text.endswith("\n")
    found = [json.loads(line, parse_constant=refuse) for line in text.splitlines()]
    assert all(row.pop("crc32") for row in found)
    return found


def write(folder: Path, *epochs: Epoch) -> None:
    log = TrainingLog(folder)
    for each in epochs:
        log.write(each)
    log.close()


def test_a_row_has_all_numbers_of_its_epoch(tmp_path: Path) -> None:
    write(tmp_path, epoch(1))
    assert rows(tmp_path) == [
        {
            "epoch": 1,
            "stage": 0,
            "learning_rate": 1e-3,
            "seconds": 10.0,
            "images_per_second": 123.5,
            "loss_position": 1.5,
            "loss_orientation": -0.25,
            "validation_meters": 0.5,
            "validation_degrees": 3.0,
        }
    ]


def test_an_epoch_that_was_not_validated_has_no_validation(tmp_path: Path) -> None:
    write(tmp_path, epoch(1, measures={}))
    assert not [name for name in rows(tmp_path)[0] if name.startswith("validation")]


def test_rows_are_replaced_when_epochs_are_done_again(tmp_path: Path) -> None:
    write(tmp_path, *(epoch(number, seconds=1.0) for number in (1, 2, 3, 4)))
    write(tmp_path, *(epoch(number, seconds=2.0) for number in (3, 4, 5)))
    assert [(row["epoch"], row["seconds"]) for row in rows(tmp_path)] == [
        (1, 1.0),
        (2, 1.0),
        (3, 2.0),
        (4, 2.0),
        (5, 2.0),
    ]


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_numbers_that_json_cannot_express_are_left_out(tmp_path: Path, value: float) -> None:
    write(tmp_path, epoch(1, measures={"meters": value, "degrees": 3.0}), epoch(2))
    first, second = rows(tmp_path)
    assert "validation_meters" not in first
    assert first["validation_degrees"] == 3.0
    assert second["validation_meters"] == 0.5


def test_rows_are_read_as_they_were_written(tmp_path: Path) -> None:
    assert read_log(tmp_path / "log.jsonl") == []
    write(tmp_path, epoch(1), epoch(2))
    assert read_log(tmp_path / "log.jsonl") == rows(tmp_path)


@pytest.mark.parametrize(
    "line",
    [
        b"[1, 2]",
        b'"epoch"',
        b"3",
        b"null",
        b'{"epoch": 1',
        b'{"epoch": "one"}',
        b'{"epoch": null}',
        b'{"epoch": [1]}',
        b'{"loss_position": 1.5}',
        b'{"epoch": 1, "loss_position": NaN}',
        b"\xff\xfe\x00",
        b"[" * 100_000,
    ],
)
def test_a_line_that_is_not_the_row_of_an_epoch_is_named(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"epoch": 1}\n' + line + b"\n")
    with pytest.raises(CheckpointError, match=r"log\.jsonl, line 2: .*delete") as caught:
        read_log(path)
    assert "\n" not in str(caught.value)
    with pytest.raises(CheckpointError, match="line 2"):
        write(tmp_path, epoch(2))


def test_a_log_that_is_a_folder_is_reported(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").mkdir()
    with pytest.raises(CheckpointError, match=r"log\.jsonl cannot be read"):
        read_log(tmp_path / "log.jsonl")


def test_tensorboard_gets_the_curves(tmp_path: Path) -> None:
    write(tmp_path, epoch(1), epoch(2))
    (path,) = (tmp_path / "tensorboard").iterdir()
    events = list(EventFileLoader(str(path)).Load())
    assert events[0].file_version == "brain.Event:2"
    found = [(event.step, value.tag) for event in events for value in event.summary.value]
    assert {step for step, _ in found} == {1, 2}
    assert (2, "loss_position") in found


def test_a_board_that_cannot_be_written_stops_no_training(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "tensorboard").write_bytes(b"")
    write(tmp_path, epoch(1))
    assert "tensorboard is not written" in caplog.text
    assert len(rows(tmp_path)) == 1


@pytest.mark.parametrize("bit", [1, 16])
def test_every_flipped_bit_of_a_row_is_noticed(tmp_path: Path, bit: int) -> None:
    write(tmp_path, epoch(1), epoch(2))
    path = tmp_path / "log.jsonl"
    whole = path.read_bytes()
    for place in range(len(whole) - 1):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ bit]) + whole[place + 1 :])
        with pytest.raises(CheckpointError, match="line"):
            read_log(path)


def test_a_log_that_wrote_nothing_closes(tmp_path: Path) -> None:
    write(tmp_path)
    assert list(tmp_path.iterdir()) == []
