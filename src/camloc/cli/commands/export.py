"""`camloc export`: write a run's network as one ONNX file."""

import tyro

from camloc.cli.options import ExportPrecision, OptionalFile, Run
from camloc.errors import RecipeError


def export(
    run: tyro.conf.Positional[Run], *, precision: ExportPrecision = "float32", out: OptionalFile = None
) -> None:
    """Write a run's network as an ONNX file, and print how far its poses differ from the run's.

    The file needs no other: `camloc locate MODEL.onnx IMAGE.jpg` locates with it, and `camloc evaluate
    MODEL.onnx --data FOLDER` measures its accuracy.

    Args:
        run: Folder of a trained run.
        precision: Of matrix products. int8 needs a quarter of the space and less time, and poses differ a
            little; networks that consist mostly of convolutions gain little.
        out: File to write; by default model.onnx, or model-int8.onnx, in the run's folder.
    """
    from camloc.cli.progress import console
    from camloc.inference.onnx.export import export_onnx, largest_difference
    from camloc.models.checkpoint import load_checkpoint

    path = out or run / ("model.onnx" if precision == "float32" else f"model-{precision}.onnx")
    if path.suffix != ".onnx":
        raise RecipeError(f"the exported file must end in .onnx; rename {path}")
    if path.is_dir():
        raise RecipeError(f"{path} is a folder; name a file in it with --out")
    checkpoint = load_checkpoint(run)
    export_onnx(checkpoint, path, precision=precision)
    difference = largest_difference(checkpoint, path)
    megabytes = path.stat().st_size / 1e6
    hint = "" if precision == "float32" else " on images of noise; camloc evaluate measures them on yours"
    print(path)
    console.print(f"{megabytes:.1f} MB; its poses differ from the run's by at most {difference:.1e}{hint}")
