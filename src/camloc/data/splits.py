"""Which frames of a data set are used: missing and excluded images, training and test frames, hold-out.

train.txt, test.txt              names of images, one a line, beside the data
train_NAME.txt, test_NAME.txt    another pair of lists, for the option split=NAME
"""

import os
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any, Generic, Literal, NamedTuple, TypeVar

from camloc.core.files import write_atomically
from camloc.data.formats.parts.files import (
    QUOTED,
    ImageFinder,
    clean_name,
    is_folder,
    is_image_name,
    is_named,
    read_lines,
)
from camloc.data.types import Frame, oriented
from camloc.errors import DatasetError, RecipeError

T = TypeVar("T")

EMPTY: Mapping[str, Sequence[Any]] = MappingProxyType({})

Missing = Literal["refuse", "skip"]

# Values of the option split that are no names of lists.
BLOCKS, NONE = "blocks", "none"

# Frames from which on some are for testing where a data set does not say which.
FEWEST_TO_SPLIT = 24


@dataclass(frozen=True, eq=False)
class Listed(Generic[T]):
    """An image that a data set lists, before it is known whether it exists.

    Attributes:
        where: the file and the line, as messages name them.
        name: of the frame.
        image: the file that its name stands for.
        content: the rest of its record.
        base: a folder above `image` that exists as written; below it, names may be stored otherwise.
    """

    where: str
    name: str
    image: Path
    content: T
    base: Path


@dataclass(frozen=True, eq=False)
class Kept(Generic[T]):
    """The images of a data set that are used.

    Attributes:
        entries: the images, in their order; all of them exist.
        left_out: names of the others.
        notes: how many are left out and why, in words.
    """

    entries: tuple[Listed[T], ...]
    left_out: frozenset[str]
    notes: tuple[str, ...]


class Split(NamedTuple):
    """Training and test frames, and remarks for the user about the choice."""

    train: tuple[Frame, ...]
    test: tuple[Frame, ...]
    notes: tuple[str, ...] = ()


class OwnSplit(NamedTuple):
    """The split that a layout itself defines: names of images, each with the place that lists it.

    Attributes:
        train: of the training frames, or None for all that are not for testing.
        test: of the test frames.
    """

    train: Mapping[str, str] | None
    test: Mapping[str, str]


def own_split(sides: Iterable[tuple[Listed[Any], str, str]]) -> OwnSplit:
    """The split of images that have a value "train" or "test", under a name for messages.

    Raises:
        DatasetError: a value is something else.
    """
    found: dict[str, dict[str, str]] = {"train": {}, "test": {}}
    for each, side, name in sides:
        if side.lower() not in found:
            raise DatasetError(f"{each.where}: {name} is {side[:40]!r}, and not train or test")
        found[side.lower()][each.name] = each.where
    return OwnSplit(found["train"], found["test"])


@dataclass(frozen=True)
class Selection:
    """The choice of training and test frames of a data set: the options that all readers have.

    Attributes:
        split: name of a pair of lists beside the data, `train_<split>.txt` and `test_<split>.txt`; or
            "blocks" for blocks of each recording as test frames; or "none" for none.
        train_list, test_list: files of names, one a line, instead of lists beside the data.
        exclude: names of frames to leave out, or patterns such as `seq-03/*`; they count before anything is
            checked, and in lists too.
        missing: "skip" leaves frames out whose image does not exist; "refuse" raises an error.
    """

    split: str = ""
    train_list: Path | None = None
    test_list: Path | None = None
    exclude: Collection[str] = ()
    missing: Missing = "refuse"

    def present(
        self, listed: Sequence[Listed[T]], *, without_pose: Mapping[str, Sequence[Listed[Any]]] = EMPTY
    ) -> Kept[T]:
        """The images that are neither excluded nor missing; images beside them that have no pose are counted.

        Args:
            listed: the images with poses.
            without_pose: images that the reader leaves out, by the reason that a note says; "" for no note.

        Raises:
            DatasetError: `exclude` matches no image, an image is missing, or none is left.
        """
        excluded = self._excluded([each.name for each in listed])
        finder = ImageFinder()
        entries: list[Listed[T]] = []
        absent: list[Listed[T]] = []
        for each in listed:
            if each.name in excluded:
                continue
            found = finder.find(each.image, below=each.base)
            if found is None:
                absent.append(each)
            else:
                entries.append(each if found == each.image else replace(each, image=found))
        unposed = [each for part in without_pose.values() for each in part]
        every = len(listed) + len(unposed)
        notes = [
            note for why, part in without_pose.items() if why for note in left_out(why, len(part), every)
        ]
        if excluded:
            notes.append(f"left out by the option exclude: {len(excluded)} of {len(listed)} frames")
        if absent:
            if self.missing != "skip" or not entries:
                raise DatasetError(_missing_message(absent, len(listed) - len(excluded)))
            notes.append(
                f"left out because their images do not exist: {len(absent)} of {len(listed)} frames, "
                f"the first is {absent[0].name}"
            )
        if listed and not entries:
            raise DatasetError("the option exclude leaves no frame")
        files = [each.image for each in (*listed, *entries, *unposed)]
        if beside := _images_beside([each.image for each in entries], files):
            notes.append(
                f"images in the same folders without a pose: {len(beside)}, the first is {beside[0].name}"
            )
        unused = excluded | {each.name for each in (*absent, *unposed)} - {each.name for each in entries}
        return Kept(tuple(entries), frozenset(unused), tuple(notes))

    def _excluded(self, names: Sequence[str]) -> set[str]:
        excluded: set[str] = set()
        unique = set(names)
        for wanted in self.exclude:
            found = {wanted} & unique or {name for name in unique if _matches(name, wanted)}
            if not found:
                example = next(iter(names), "")
                raise DatasetError(
                    f"exclude: there is no frame {wanted[:QUOTED]!r} to leave out; frames are called like "
                    f"{example!r}"
                )
            excluded |= found
        return excluded

    def lists(self, root: Path) -> tuple[Path | None, Path | None]:
        """The lists of training and of test frames, each None where there is none.

        The given lists; or the lists of `split` in `root`; or, where they exist, `train.txt` and `test.txt`.

        Raises:
            DatasetError: `split` names no list.
        """
        if self.train_list is not None or self.test_list is not None:
            return self.train_list, self.test_list
        ending = f"_{self.split}.txt" if self.split else ".txt"
        train, test = root / f"train{ending}", root / f"test{ending}"
        if not (is_named(train) or is_named(test)) and self.split not in ("", BLOCKS, NONE):
            raise DatasetError(f"there is neither {train} nor {test.name} for the split {self.split!r}")
        return train if is_named(train) else None, test if is_named(test) else None

    def has_lists(self, root: Path) -> bool:
        """Whether there are lists, so that a layout's own split does not count."""
        return self.lists(root) != (None, None)


def left_out(why: str, count: int, of: int, what: str = "images") -> tuple[str, ...]:
    """A list with a note that some images or frames are not used; empty where all are used."""
    return (f"left out because {why}: {count} of {of} {what}",) if count else ()


def _matches(name: str, wanted: str) -> bool:
    """Whether a pattern fits a name; a missing image may be listed without the ending that users write."""
    if PurePosixPath(name).suffix == "":
        wanted = re.sub(r"\.[^./]*$", "", wanted)
    return fnmatchcase(name, wanted)


def _images_beside(used: Sequence[Path], known: Iterable[Path]) -> list[Path]:
    """Further images in the folders of the used images, which nothing names, in alphabetical order."""
    named = set(map(str, known))
    folders = sorted(set(map(os.path.dirname, map(str, used))))
    return sorted(
        Path(entry.path)
        for folder in folders
        for entry in os.scandir(folder or ".")
        if is_image_name(entry.name) and os.path.join(folder, entry.name) not in named  # noqa: PTH118 - as in `files`
    )


# No option is given.
EVERYTHING = Selection()


def _missing_message(absent: Sequence[Listed[T]], count: int) -> str:
    first = absent[0]
    if is_folder(first.image):
        return f"{first.where}: {first.image} is a folder, and an image is needed"
    message = f"{first.where}: the image {str(first.image)[:1000]!r} does not exist"
    if len(absent) < count:
        others = f", and {len(absent) - 1} more of {count} do not" if len(absent) > 1 else ""
        return f"{message}{others}; leave missing images out with --option missing=skip"
    return f"{message}, nor does any other of the {count}; check the folder of the images"


def split_frames(
    frames: Sequence[Frame],
    unused: Set[str],
    *,
    root: Path,
    selection: Selection,
    own: OwnSplit | None = None,
) -> Split:
    """Training and test frames.

    By lists of names, in the lists' order, where there are some; otherwise by the layout's own split;
    otherwise blocks of each recording are for testing. With a test list alone, the other frames are for
    training.

    Args:
        frames: all frames that are used.
        unused: names of others; where lists have them, they do not count.
        root: the folder with the lists.
        selection: the options.
        own: the layout's own split, or None.

    Raises:
        DatasetError: a list is missing, empty, or names a frame that does not exist or that the other
            list names too; or no frame is left to train on.
    """
    if selection.has_lists(root):
        train, test = (None if path is None else _listed(path) for path in selection.lists(root))
        own = OwnSplit(train, test or {})
    elif selection.split == NONE:
        return Split(tuple(frames), (), ("the option split=none: no frame is for testing",))
    elif selection.split == BLOCKS or own is None:
        return _split_by_blocks(frames, is_chosen=selection.split == BLOCKS)
    return _split_by_names(frames, own, unused, root)


def _split_by_names(frames: Sequence[Frame], split: OwnSplit, unused: Set[str], source: Path) -> Split:
    by_name = {frame.name: frame for frame in frames}
    train, test = split
    if train is None:
        train = {name: str(source) for name in by_name if name not in test}
    train = {name: where for name, where in train.items() if name not in unused}
    test = {name: where for name, where in test.items() if name not in unused}
    for name, where in (*train.items(), *test.items()):
        if name not in by_name:
            example = next(iter(by_name), "")
            raise DatasetError(
                f"{where}: there is no frame {name[:QUOTED]!r}; frames are called like {example!r}"
            )
    for name, where in test.items():
        if name in train:
            raise DatasetError(
                f"{where}: the frame {name} is also at {train[name]}; a test frame cannot be trained on"
            )
    if not train:
        raise DatasetError(f"{source} leaves no frame to train on")
    unnamed = len(by_name) - len(train) - len(test)
    notes = left_out("neither list names them", unnamed, len(by_name), "frames")
    return Split(tuple(by_name[name] for name in train), tuple(by_name[name] for name in test), notes)


def _split_by_blocks(frames: Sequence[Frame], *, is_chosen: bool) -> Split:
    """Every eighth block of each recording as test frames; positions alone are never tested on."""
    count = len(oriented(frames))
    if not is_chosen and count < FEWEST_TO_SPLIT:
        note = (
            f"no frame is for testing, because there are no lists and fewer than {FEWEST_TO_SPLIT} "
            f"frames; name some in test.txt, or use --option split=blocks"
        )
        return Split(tuple(frames), (), (note,))
    train, test = hold_out(frames, HoldOut())
    if not train or not test:
        raise DatasetError(
            f"split=blocks needs recordings of 8 frames or more, and the longest of these has "
            f"{max(Counter(frame.sequence for frame in frames).values(), default=0)}; name test frames in "
            f"test.txt"
        )
    note = (
        f"{len(test)} frames in blocks of each recording are for testing, because no list says which; name "
        f"others in test.txt, or use --option split=none"
    )
    return Split(train, test, () if is_chosen else (note,))


def write_lists(folder: Path, train: Sequence[Frame], test: Sequence[Frame]) -> None:
    """Write `train.txt` and, where there are test frames, `test.txt`, which `split_frames` reads.

    Raises:
        CamlocError: a file cannot be written.
    """
    for name, frames in (("test.txt", test), ("train.txt", train)):
        if frames or name == "train.txt":
            write_atomically(folder / name, "".join(f"{frame.name}\n" for frame in frames))


def _listed(path: Path) -> dict[str, str]:
    """The names in a list, each with its place."""
    found: dict[str, str] = {}
    for line in read_lines(path):
        name = clean_name(line.text, line.where, root=path.parent)
        if name in found:
            raise DatasetError(f"{line.where}: the frame {name} is already at {found[name]}")
        found[name] = line.where
    if not found:
        raise DatasetError(f"{path} names no frame")
    return found


def scene_folder(
    root: Path, scene: str, *, is_scene: Callable[[Path], bool], scenes: Sequence[str], looks_for: str
) -> Path:
    """The folder of a scene: `root` itself or a folder in it.

    Args:
        root: the folder.
        scene: the scene's name, or "" for the scene whose folder `root` is.
        is_scene: whether a folder is a scene of the layout.
        scenes, looks_for: see `camloc.data.formats`.

    Raises:
        DatasetError: there is no such folder, or more than one.
    """
    if not root.is_dir():
        raise DatasetError(
            f"{root} is {'not a folder' if root.exists() else 'missing'}; name the data's folder"
        )
    if scene and is_scene(root / scene):
        return root / scene
    if is_scene(root):
        if scene and root.resolve().name in scenes and scene in scenes and root.resolve().name != scene:
            raise DatasetError(f"{root} is the scene {root.resolve().name!r}, not {scene!r}")
        return root
    inside = {path.name for path in root.iterdir() if path.is_dir()}
    found = [name for name in sorted(inside | set(scenes)) if is_scene(root / name)]
    if scene or not found:
        there = f"; the scenes in it are {', '.join(found)}" if found else f", which needs {looks_for}"
        raise DatasetError(
            f"{root} has no scene {scene!r}{there}" if scene else f"{root} is not a scene{there}"
        )
    raise DatasetError(f"{root} holds the scenes {', '.join(found)}; name the one to read with --scene")


def folder_name(root: Path) -> str:
    """The default name of a scene: the name of its folder, or of its file's folder."""
    folder = root.parent if root.is_file() else root
    return folder.resolve().name or "scene"


# Number of parts of a scene that are held out, where blocks of `SHORTEST_BLOCK` frames or more allow it.
HELD_OUT_PARTS = 3
SHORTEST_BLOCK = 5


@dataclass(frozen=True)
class HoldOut:
    """The choice of the training frames that are kept for validation.

    Neighbours in a recording are nearly the same image, so whole blocks are held out, not single
    frames, and validation errors stay honest.

    Attributes:
        every: one block of `every` is held out; 0 holds out nothing.
        block: length of a block in frames.

    Raises:
        RecipeError: nothing would be left to train on.
    """

    every: int = 8
    block: int = 20

    def __post_init__(self) -> None:
        if self.every == 1 or self.every < 0 or self.block < 1:
            raise RecipeError(
                f"one of every {self.every} blocks of {self.block} frames cannot be held out; let it be one "
                f"of every 2 or more (0 for none), of 1 frame or more"
            )


def hold_out(
    frames: Sequence[Frame], settings: HoldOut, fold: int = 0
) -> tuple[tuple[Frame, ...], tuple[Frame, ...]]:
    """Frames to train on and frames to validate on, each in the order given.

    Blocks are counted within each sequence, also where frames of several sequences alternate, and the middle
    one of every `every` is held out. Where there are few frames, blocks are shorter, down to `SHORTEST_BLOCK`
    frames, so that about `HELD_OUT_PARTS` parts of the scene are held out: a single part may show what no
    other frame does. Short recordings get shorter blocks too, so that each one of at least `every` frames
    gives some.

    Position-only frames are never held out and do not count in blocks. Those between two frames of a held-out
    block are in neither result: their positions would give the block's poses away. For cross-validation,
    `fold` says which of the `every` blocks is held out, counted from the middle one on.
    """
    if settings.every == 0:
        return tuple(frames), ()
    complete = oriented(frames)
    lengths = Counter(frame.sequence for frame in complete)
    several = len(complete) // (HELD_OUT_PARTS * settings.every)
    longest = min(settings.block, max(SHORTEST_BLOCK, several))
    passed: Counter[str] = Counter()
    held: list[Frame] = []
    for frame in complete:
        block = max(1, min(longest, lengths[frame.sequence] // settings.every))
        if (passed[frame.sequence] // block) % settings.every == (
            settings.every // 2 + fold
        ) % settings.every:
            held.append(frame)
        passed[frame.sequence] += 1
    apart = set(held)
    apart |= _follow(frames, apart) & _follow(frames[::-1], apart)
    return tuple(frame for frame in frames if frame not in apart), tuple(held)


def _follow(frames: Sequence[Frame], held: Set[Frame]) -> set[Frame]:
    """Position-only frames whose last complete frame of the same sequence is held out."""
    is_within: dict[str, bool] = {}
    found = set()
    for frame in frames:
        if not frame.is_position_only:
            is_within[frame.sequence] = frame in held
        elif is_within.get(frame.sequence, False):
            found.add(frame)
    return found


def keep_orientations(frames: Sequence[Frame], every: int) -> tuple[Frame, ...]:
    """The frames with orientations for every n-th frame only, from the first on; 0 keeps all orientations.

    Source: "Implicit Learning of Scene Geometry", section IV-F, where n is 3.

    Raises:
        RecipeError: `every` is negative.
    """
    if every < 0:
        raise RecipeError(
            f"keep_orientation_every is {every}; let it be 1 or more, or 0 to keep every orientation"
        )
    if every == 0:
        return tuple(frames)
    kept = set(oriented(frames)[::every])
    return tuple(
        frame if frame in kept else replace(frame, world_from_cam=frame.truth().without_orientation())
        for frame in frames
    )
