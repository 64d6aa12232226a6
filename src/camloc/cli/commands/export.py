"""`camloc export`: a run as one ONNX file."""

import tyro

from camloc.cli.options import ExportPrecision, OptionalFile, Run
from camloc.errors import RecipeError


def export(
    run: tyro.conf.Positional[Run], *, precision: ExportPrecision = "float32", out: OptionalFile = None
) -> None:
    """Write a run's network as ONNX, and say how far its poses are from the run's.

    The file stands alone: `camloc locate MODEL.onnx IMAGE.jpg` answers from it, and `camloc evaluate
    MODEL.onnx --data FOLDER` measures how well.

    Args:
        run: Folder of a trained run.
        precision: Of matrix products. With int8 they take a quarter of the size and less time, and poses
            differ a little; networks that are mostly convolutions gain little.
        out: File to write; model.onnx, or model-int8.onnx, in the run's folder if not given.
    """
    from camloc.cli.progress import console
    from camloc.inference.onnx.export import export_onnx, largest_difference
    from camloc.models.checkpoint import load_checkpoint

    path = out or run / ("model.onnx" if precision == "float32" else f"model-{precision}.onnx")
    if path.suffix != ".onnx":
        raise RecipeError(f"the exported file must end in .onnx, unlike {path}")
    if path.is_dir():
        raise RecipeError(f"{path} is a folder; name a file that the network is written to")
    checkpoint = load_checkpoint(run)
    export_onnx(checkpoint, path, precision=precision)
    difference = largest_difference(checkpoint, path)
    megabytes = path.stat().st_size / 1e6
    where = "" if precision == "float32" else " on images of noise; camloc evaluate measures it on yours"
    print(path)
    console.print(f"{megabytes:.1f} MB; its poses differ from the run's by at most {difference:.1e}{where}")
