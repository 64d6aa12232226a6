"""`camloc export`: a run as one ONNX file."""

from pathlib import Path

import tyro


def export(run: tyro.conf.Positional[Path], *, out: Path | None = None) -> None:
    """Write a run's network as ONNX, and check that it gives the same poses.

    The file stands alone: `camloc locate MODEL.onnx PHOTO.jpg` answers from it.

    Args:
        run: Folder of a trained run.
        out: File to write; model.onnx in the run's folder if not given.
    """
    from camloc.apps.progress import console
    from camloc.checkpoint import load_checkpoint
    from camloc.errors import RecipeError
    from camloc.export import export_onnx, largest_difference

    path = out or run / "model.onnx"
    if path.suffix != ".onnx":
        raise RecipeError(f"the exported file must end in .onnx, unlike {path}")
    checkpoint = load_checkpoint(run)
    export_onnx(checkpoint, path)
    difference = largest_difference(checkpoint, path)
    megabytes = path.stat().st_size / 1e6
    print(path)
    console.print(f"{megabytes:.1f} MB; its poses differ from the run's by at most {difference:.1e}")
