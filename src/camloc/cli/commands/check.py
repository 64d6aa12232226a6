"""`camloc check`: faults of the poses, intrinsics and images of a data set."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from camloc.cli.options import Layout, ReaderOptions, Scene

if TYPE_CHECKING:
    from camloc.data.types import Scene as LoadedScene


def check(
    data: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="FOLDER")]],
    *,
    scene: Scene = "",
    layout: Layout = "auto",
    option: ReaderOptions = (),
    quick: bool = False,
    out: Annotated[Path, tyro.conf.arg(metavar="FILE")] = Path("check.html"),
) -> None:
    """Look for faults of poses, intrinsics, images and split before anything is trained.

    Local features of some images are matched, and the poses must explain the matches: a wrong direction,
    other axes, another order of the quaternion, mirrored poses, wrong intrinsics, mixed units, jumps and
    shuffled images are named. The exit status is 1 if training on this data would be wasted.

    Args:
        data: Folder of a data set, or its file of poses.
        scene: Scene of the data set if it has several.
        layout: Layout of the data set.
        option: Option of the layout's reader, such as split=blocks.
        quick: Match no features: look at each image, at the path and at the split alone.
        out: Page with the findings, the map of the cameras and the evidence.
    """
    from camloc.cli.options import read_scene
    from camloc.data.checks import far_frames_allowed
    from camloc.data.formats import detect
    from camloc.errors import DatasetError
    from camloc.mapping.check.findings import Finding
    from camloc.mapping.check.page import verdict, write_page

    layout = detect(data) if layout == "auto" else layout
    try:
        with far_frames_allowed():
            loaded, _ = read_scene(data, layout=layout, scene=scene, options=option)
    except DatasetError as problem:
        findings = (Finding("error", "refused by the reader", str(problem)),)
        write_page(out, name=scene or data.resolve().name, findings=findings)
        print(f"{layout}: {problem}")
        print(f"{verdict(findings)} See {out}")
        sys.exit(1)
    print(f"{loaded.name}: layout {layout}, {len(loaded.train)} training and {len(loaded.test)} test frames")
    for note in loaded.notes:
        print(f"  note: {note}")
    if not check_and_print(loaded, out, with_features=not quick):
        sys.exit(1)


def check_and_print(scene: "LoadedScene", out: Path, *, with_features: bool = True) -> bool:
    """Check a scene, print the findings and write the page. Returns whether no finding is an error.

    The page is left out where the libraries of reports are not installed.
    """
    from camloc.cli.progress import counted, show
    from camloc.core.extras import has_extra
    from camloc.mapping.check.check import check_scene
    from camloc.mapping.check.page import verdict, write_page

    with counted("checking") as update:

        def progress(step: str, share: float) -> None:
            update(round(100 * (share / 2 if step == "images" else 0.5 + share / 2)), 100)

        checked = check_scene(scene, with_features=with_features, progress=progress)
    where = ""
    if has_extra("report"):
        write_page(
            out,
            name=scene.name,
            findings=checked.findings,
            checked=checked,
            notes=scene.notes,
            unit=scene.unit,
        )
        where = f" See {out}"
    if checked.findings:
        show(("", "fault", "what was found"), [(f.level, f.kind, f.sentence) for f in checked.findings])
    print(f"{verdict(checked.findings, with_features=with_features)}{where}")
    return checked.is_sound
