"""Where a scene is: in the folder that was named, or in one of the folders within it."""

from collections.abc import Callable, Sequence
from pathlib import Path

from camloc.errors import DatasetError


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
    """What a place is called that has no other name: its folder, or its file's folder."""
    folder = root.parent if root.is_file() else root
    return folder.resolve().name or "scene"
