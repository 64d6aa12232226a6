"""The training log: one JSON line an epoch, and the same numbers for TensorBoard."""

import json
import logging
import math
import os
import re
import time
import zlib
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from camloc.core.files import read_regular, write_atomically
from camloc.errors import CheckpointError

if TYPE_CHECKING:
    from camloc.training.loop import Epoch

_LOG = logging.getLogger(__name__)

# Largest log that is read: that of a hundred thousand epochs.
_MOST_LOG_BYTES = 64_000_000

# Checksum of a row: of its JSON without the checksum itself, which is its last entry.
_CHECKSUM = re.compile(rb'(.*), "crc32": (\d+)\}')
_KNOWN = re.compile(r"epoch|stage|learning_rate|seconds|images_per_second|loss_\w+|validation_\w+")


class TrainingLog:
    """`log.jsonl` of a run, and its TensorBoard folder.

    Epochs that are trained again after an interruption replace their rows. A number that is infinite or NaN
    is left out of its row, since JSON cannot express it. Every row has a checksum.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "log.jsonl"
        self.board = folder / "tensorboard"
        self._events: FileIO | None = None

    def write(self, epoch: "Epoch") -> None:
        """Add the row of an epoch."""
        row: dict[str, float] = {
            "epoch": epoch.epoch,
            "stage": epoch.stage,
            "learning_rate": epoch.learning_rate,
            "seconds": round(epoch.seconds, 3),
            "images_per_second": round(epoch.images_per_second, 1),
            **{f"loss_{name}": value for name, value in epoch.losses.items()},
        }
        if epoch.validation is not None:
            row |= {"validation_meters": epoch.validation[0], "validation_degrees": epoch.validation[1]}
        if epoch.right_scene is not None and len(epoch.scenes) > 1:
            row["validation_right_scene"] = epoch.right_scene
        row = {name: value for name, value in row.items() if math.isfinite(value)}
        rows = [earlier for earlier in read_log(self.path) if earlier["epoch"] < epoch.epoch]
        write_atomically(self.path, b"".join(map(_line, [*rows, row])))
        self._write_board(row)

    def close(self) -> None:
        """Finish the TensorBoard file."""
        if self._events is not None:
            self._events.close()

    def _write_board(self, row: dict[str, float]) -> None:
        """Write the numbers of a row, without the thread of TensorBoard's own writer.

        That thread cannot report a full disk. The curves are a copy of the log, so training goes on without.
        """
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.record_writer import RecordWriter

        step, now = int(row["epoch"]), time.time()
        values = [
            Summary.Value(tag=name, simple_value=value)
            for name, value in row.items()
            if name not in ("epoch", "stage")
        ]
        events = [Event(step=step, wall_time=now, summary=Summary(value=values))]
        try:
            if self._events is None:
                self.board.mkdir(parents=True, exist_ok=True)
                path = self.board / f"events.out.tfevents.{now:.3f}.{os.getpid()}"
                # Without a buffer, so that nothing is left to be written when it is closed.
                self._events = path.open("ab", buffering=0)
                # Later epochs of an earlier, interrupted training do not count.
                start = Event(step=step, wall_time=now, session_log=SessionLog(status=SessionLog.START))
                events = [Event(wall_time=now, file_version="brain.Event:2"), start, *events]
            for event in events:
                RecordWriter(self._events).write(event.SerializeToString())
        except OSError as problem:
            _LOG.warning("camloc: %s is not written (%s)", self.board, (problem.strerror or problem))


def _line(row: dict[str, float]) -> bytes:
    """A row as a line with its checksum."""
    text = json.dumps(row, allow_nan=False).removesuffix("}").encode()
    return b'%b, "crc32": %d}\n' % (text, zlib.crc32(text))


def read_log(path: Path) -> list[dict[str, float]]:
    """The rows of a `log.jsonl`; empty if the file does not exist yet.

    Raises:
        CheckpointError: the file cannot be read, or a line is not the row of an epoch.
    """
    if not path.exists():
        return []
    try:
        lines = read_regular(path, most_bytes=_MOST_LOG_BYTES).splitlines()
    except OSError as problem:
        raise CheckpointError(
            f"{path} cannot be read ({problem.strerror or problem}); move it away to go on"
        ) from None
    return [_row(line, path, number) for number, line in enumerate(lines, start=1) if line.strip()]


def _row(line: bytes, path: Path, number: int) -> dict[str, float]:
    found = _CHECKSUM.fullmatch(line)
    try:
        row = msgspec.json.decode(line, type=dict[str, int | float])
    except (ValueError, RecursionError):
        row = {}
    row.pop("crc32", None)
    is_sound = zlib.crc32(found[1]) == int(found[2]) if found else all(map(_KNOWN.fullmatch, row))
    if "epoch" not in row or not is_sound:
        raise CheckpointError(
            f"{path}, line {number}: this is not the row of an epoch, or it is damaged; delete the line, or "
            f"the file to go on without its training curves"
        )
    return row
