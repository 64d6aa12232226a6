"""Which frames are to learn from and which are kept apart: lists of names beside the data."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path

from camloc.data.formats.parts.files import clean_name, is_named, read_lines
from camloc.data.types import Frame, oriented
from camloc.errors import DatasetError, RecipeError

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


def scene_folder(
    root: Path, scene: str, *, is_scene: Callable[[Path], bool], scenes: Sequence[str], looks_for: str
) -> Path:
    """The folder of a scene, from that folder itself or the one that it is in.

    Args:
        root: either of the two.
        scene: the scene's name, or "" for the scene whose folder `root` is.
        is_scene: whether a folder is a scene of the layout.
        scenes: the scenes that the layout is known for.
        looks_for: what makes a folder a scene, in words.

    Raises:
        DatasetError: there is no such folder, or it is not clear which.
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
    raise DatasetError(f"{root} holds the scenes {', '.join(found)}; name the one to read")


def folder_name(root: Path) -> str:
    """What a scene is called that has no other name: its folder, or its file's folder."""
    folder = root.parent if root.is_file() else root
    return folder.resolve().name or "scene"


# Parts of a scene that are held out, where blocks of `SHORTEST_BLOCK` frames or more allow it.
FROZEN_PARTS = 3
SHORTEST_BLOCK = 5


@dataclass(frozen=True)
class HoldOut:
    """Which training frames are kept for validation.

    Neighbours in a recording are nearly the same image, so whole blocks are held out, not single
    frames, and validation errors stay honest.

    Attributes:
        every: one block of so many is held out; 0 holds out nothing.
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


def hold_out(frames: Sequence[Frame], settings: HoldOut) -> tuple[tuple[Frame, ...], tuple[Frame, ...]]:
    """Frames to train on and frames to validate on, each in the order given.

    Blocks are counted within each sequence, also where frames of several alternate, and the middle one
    of every `every` is held out. Where there are few frames, blocks are shorter, down to `SHORTEST_BLOCK`
    frames, so that some `FROZEN_PARTS` parts of the scene are held out: a single one may show what no other
    frame does. Short recordings get shorter blocks too, so that each of at least `every` frames gives some.

    Frames of which only the position is known validate nothing and count for no block. Those between two
    frames of a block that is held out are left out of both: their positions would tell what it asks.
    """
    if settings.every == 0:
        return tuple(frames), ()
    complete = oriented(frames)
    lengths = Counter(frame.sequence for frame in complete)
    several = len(complete) // (FROZEN_PARTS * settings.every)
    longest = min(settings.block, max(SHORTEST_BLOCK, several))
    passed: Counter[str] = Counter()
    held: list[Frame] = []
    for frame in complete:
        block = max(1, min(longest, lengths[frame.sequence] // settings.every))
        if (passed[frame.sequence] // block) % settings.every == settings.every // 2:
            held.append(frame)
        passed[frame.sequence] += 1
    apart = set(held)
    apart |= _follow(frames, apart) & _follow(frames[::-1], apart)
    return tuple(frame for frame in frames if frame not in apart), tuple(held)


def _follow(frames: Sequence[Frame], held: Set[Frame]) -> set[Frame]:
    """Positions alone whose last complete frame of the same sequence is held out."""
    is_within: dict[str, bool] = {}
    found = set()
    for frame in frames:
        if not frame.is_position_only:
            is_within[frame.sequence] = frame in held
        elif is_within.get(frame.sequence, False):
            found.add(frame)
    return found


def keep_orientations(frames: Sequence[Frame], every: int) -> tuple[Frame, ...]:
    """The frames, of whose orientations only every n-th stays, from the first; 0 leaves all as they are.

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
