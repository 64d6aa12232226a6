"""Which frames are to learn from and which are kept apart: lists of names beside the data."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from camloc.core.types import Frame
from camloc.datasets.parts.files import clean_name, is_named, read_lines
from camloc.errors import DatasetError

Split = tuple[tuple[Frame, ...], tuple[Frame, ...]]


@dataclass(frozen=True)
class Selection:
    """Which frames of a data set to use, and for what.

    Attributes:
        split: name of a pair of lists beside the data: `train_<split>.txt` and `test_<split>.txt`.
        train_list, test_list: files of names, one a line, instead of lists beside the data.
        exclude: names of frames to leave out, in the lists as well.
    """

    split: str = ""
    train_list: Path | None = None
    test_list: Path | None = None
    exclude: Collection[str] = ()

    def lists(self, root: Path) -> tuple[Path | None, Path | None]:
        """The lists of training and of test frames, each None where there is none.

        They are those given; or those that `split` names in `root`; or, where they exist, `train.txt`
        and `test.txt` in `root`.

        Raises:
            DatasetError: `split` names no list.
        """
        if self.train_list is not None or self.test_list is not None:
            return self.train_list, self.test_list
        ending = f"_{self.split}.txt" if self.split else ".txt"
        train, test = root / f"train{ending}", root / f"test{ending}"
        if self.split and not (is_named(train) or is_named(test)):
            raise DatasetError(f"there is neither {train} nor {test.name} for the split {self.split!r}")
        return train if is_named(train) else None, test if is_named(test) else None


def split_by_lists(frames: Sequence[Frame], root: Path, selection: Selection) -> Split:
    """Training and test frames by lists of names, in the lists' order.

    With a test list alone, the other frames are for training; with no list, all are. Frames that
    neither list names are left out.

    Raises:
        DatasetError: a list is missing, empty, or names a frame that does not exist or that the other
            list names too; or no frame is left to train on.
    """
    train, test = (None if path is None else _listed(path) for path in selection.lists(root))
    return split_by_names(frames, train, test or {}, exclude=selection.exclude, source=root)


def split_by_names(
    frames: Sequence[Frame],
    train: Mapping[str, str] | None,
    test: Mapping[str, str],
    *,
    exclude: Collection[str] = (),
    source: Path,
) -> Split:
    """Training and test frames by their names.

    Args:
        frames: all frames.
        train, test: names, each with where it stands; None for every frame that is not for testing.
        exclude: names that do not count.
        source: what to name in messages.

    Raises:
        DatasetError: a name is of no frame or is in both, or no frame is left to train on.
    """
    by_name = {frame.name: frame for frame in frames}
    left_out = set(exclude)
    if train is None:
        train = {name: str(source) for name in by_name if name not in test}
    train = {name: where for name, where in train.items() if name not in left_out}
    test = {name: where for name, where in test.items() if name not in left_out}
    for name, where in (*train.items(), *test.items()):
        if name not in by_name:
            example = next(iter(by_name), "")
            raise DatasetError(f"{where}: there is no frame {name!r}; frames are called like {example!r}")
    for name, where in test.items():
        if name in train:
            raise DatasetError(
                f"{where}: the frame {name} is also at {train[name]}; a test frame cannot be trained on"
            )
    if not train:
        raise DatasetError(f"{source} leaves no frame to train on")
    return tuple(by_name[name] for name in train), tuple(by_name[name] for name in test)


def lists_text(frames: Sequence[Frame]) -> str:
    """The names of frames as a list that `split_by_lists` reads."""
    return "".join(f"{frame.name}\n" for frame in frames)


def _listed(path: Path) -> dict[str, str]:
    """The names in a list, each with where it stands."""
    found: dict[str, str] = {}
    for line in read_lines(path):
        name = clean_name(line.text, line.where)
        if name in found:
            raise DatasetError(f"{line.where}: the frame {name} is already at {found[name]}")
        found[name] = line.where
    if not found:
        raise DatasetError(f"{path} names no frame")
    return found
