"""`camloc export`: write a run as one folder that locates without torch."""

import tyro

from camloc.cli.options import ExportPrecision, OptionalFile, Run


def export(
    run: tyro.conf.Positional[Run], *, precision: ExportPrecision = "float32", out: OptionalFile = None
) -> None:
    """Write a run as one folder or file that locates without torch, and print how far its poses differ.

    The folder holds the network as an ONNX file, the maps, cameras and calibration, and a card. It needs
    nothing else: `camloc locate FOLDER IMAGE.jpg` locates with it, and `camloc evaluate FOLDER --data DATA`
    measures its accuracy.

    Args:
        run: Folder of a run.
        precision: Of the network's matrix products. int8 needs a quarter of the space and less time, and
            poses differ a little; networks that consist mostly of convolutions gain little.
        out: Folder to write, by default export in the run's folder; or a file: one that ends in .zip holds
            the same as the folder, one that ends in .onnx the network alone.
    """
    from camloc.cli.progress import console
    from camloc.runs.export import export_run

    exported = export_run(run, out, precision=precision)
    print(exported.path)
    text = f"{exported.bytes / 1e6:.1f} MB"
    if exported.difference is not None:
        text += f"; its poses differ from the run's by at most {exported.difference:.1e}"
        if precision != "float32":
            text += " on images of noise; camloc evaluate measures them on yours"
    console.print(text)
