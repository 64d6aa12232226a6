"""`camloc export`: a run as one ONNX file."""

import tyro

from camloc.apps.options import OptionalFile, Run
from camloc.errors import RecipeError


def export(run: tyro.conf.Positional[Run], *, out: OptionalFile = None) -> None:
    """Write a run's network as ONNX, and check that it gives the same poses.

    The file stands alone: `camloc locate MODEL.onnx PHOTO.jpg` answers from it.

    Args:
        run: Folder of a trained run.
        out: File to write; model.onnx in the run's folder if not given.
    """
    from camloc.apps.progress import console
    from camloc.checkpoint import load_checkpoint
    from camloc.export import export_onnx, largest_difference

    path = out or run / "model.onnx"
    if path.suffix != ".onnx":
        raise RecipeError(f"the exported file must end in .onnx, unlike {path}")
    if path.is_dir():
        raise RecipeError(f"{path} is a folder; name a file that the network is written to")
    checkpoint = load_checkpoint(run)
    export_onnx(checkpoint, path)
    difference = largest_difference(checkpoint, path)
    megabytes = path.stat().st_size / 1e6
    print(path)
    console.print(f"{megabytes:.1f} MB; its poses differ from the run's by at most {difference:.1e}")
