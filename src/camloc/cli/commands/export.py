"""`camloc export`: write a run as one folder that locates without torch."""

import tyro

from camloc.cli.options import ExportInput, ExportPrecision, OptionalFile, Run


def export(
    run: tyro.conf.Positional[Run],
    *,
    precision: ExportPrecision = "float32",
    input: ExportInput = "tensor",
    out: OptionalFile = None,
) -> None:
    """Write a run as one folder or file that locates without torch, and print how far its poses differ.

    The folder holds the network as an ONNX file, the maps, cameras and calibration, and a card. It needs
    nothing else: `camloc locate FOLDER IMAGE.jpg` locates with it, and `camloc evaluate FOLDER --data DATA`
    measures its accuracy.

    Args:
        run: Folder of a run.
        precision: int8 needs a quarter of the space and less time. It is calibrated on the run's training
            images; layers whose rounding makes the medians of held-out images more than 5 % worse stay in
            single precision.
        input: What the network is given: tensor for a batch of prepared images (float32, in [0, 1]); image
            for one image of any size as bytes (height x width x 3, RGB), which it scales and cuts itself.
        out: Folder to write, by default export in the run's folder; or a file: one that ends in .zip holds
            the same as the folder, one that ends in .onnx the network alone.
    """
    from camloc.cli.progress import console
    from camloc.runs.export import export_run

    exported = export_run(run, out, precision=precision, input=input)
    print(exported.path)
    text = f"{exported.bytes / 1e6:.1f} MB"
    if exported.difference is not None:
        text += f"; its poses differ from the run's by at most {exported.difference:.1e}"
        if precision != "float32":
            text += " on images of noise; camloc evaluate measures them on yours"
    console.print(text)
    for note in exported.notes:
        console.print(note)
