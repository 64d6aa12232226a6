"""`camloc evaluate`: errors of a run on test images."""

from typing import TYPE_CHECKING, Annotated, Any

import tyro

from camloc.cli.options import (
    Device,
    Filter,
    Folders,
    Layout,
    OptionalFile,
    OptionalFolder,
    ReaderOptions,
    Refine,
    Run,
    Scenes,
    Verify,
    data_sources,
)
from camloc.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from camloc.models.outlier_filters import OutlierFilter
    from camloc.runs.manifest import DataSource


def evaluate(
    run: tyro.conf.Positional[Run],
    *,
    data: Folders = (),
    scene: Scenes = (),
    layout: Layout = "auto",
    option: ReaderOptions = (),
    test_list: OptionalFile = None,
    filter: Filter = "auto",
    inliers_within: Annotated[
        float | None, tyro.conf.arg(metavar="METERS|PIXELS", help_behavior_hint="")
    ] = None,
    masks: OptionalFolder = None,
    refine: Refine = "none",
    verify: Verify = "auto",
    retrieval: bool = False,
    out: OptionalFolder = None,
    device: Device = "cpu",
) -> None:
    """Locate test images and write results.json, estimates.csv, TUM files and report.html.

    Models that align points also write points.ply, the points that they predict for the scene.

    Beside every error stand those of two baselines: copying the nearest training pose, which is chosen with
    the true pose, and always answering the mean training pose. For a run of several scenes each scene is
    evaluated, and the share of images that are located in the right scene.

    Args:
        run: Folder of a run; or an exported folder or .onnx file, which needs --data.
        data: Folder of a data set; the run's own test frames if not given.
        scene: Scene of the data set, where it has several; with several folders the names of the scenes.
        layout: Layout of the data set.
        option: Option of the layout's reader, such as split=blocks; for one of several scenes
            SCENE:split=blocks.
        test_list: Text file with the names of the test images, one a line.
        filter: For models that align points, how outliers are excluded; auto is the filter that was best on
            held-out frames.
        inliers_within: Largest error of an inlier of --filter rigid-ransac, in the unit of the scene, or of
            pnp-ransac, in pixels of an image 480 high; the papers have 0.1 and 10.
        masks: For models that align points, folder with masks named IMAGE.png, black where an image does not
            count.
        refine: Refinement method of positions, as for camloc locate. Where the run has a pose auto-encoder,
            the table shows every method.
        verify: Use of the run's map, as for camloc locate. The table shows the network alone and its poses
            verified by the map.
        retrieval: Also score the poses of the most similar training images, by local features and by the
            network's pooled features, which takes a while: every training image is read.
        out: Folder to write into; the run's own if not given, and for model.onnx the folder model beside it.
        device: Device of the network.
    """
    sources: tuple[DataSource, ...] = ()
    if not data and (scene or layout != "auto" or option or test_list):
        raise UsageError(
            "--scene, --layout, --option and --test-list describe a data set; name it with --data"
        )
    if data:
        sources = data_sources(data, layout=layout, scenes=scene, options=option, test_list=test_list)
    evaluate_and_report(
        run,
        sources=sources,
        out=out,
        device=device,
        outlier_filter=None if filter == "auto" else filter,
        masks=masks,
        refine=refine,
        verify=verify,
        retrieval=retrieval,
        inlier_threshold=inliers_within,
    )


def evaluate_and_report(
    run: "Path",
    *,
    sources: "tuple[DataSource, ...]" = (),
    out: "Path | None" = None,
    device: str = "cpu",
    outlier_filter: "OutlierFilter | None" = None,
    masks: "Path | None" = None,
    refine: str = "none",
    verify: "Verify" = "auto",
    retrieval: bool = False,
    inlier_threshold: float | None = None,
) -> None:
    """Evaluate, print the table and the path of the report."""
    from rich.console import Console

    from camloc.cli.progress import console, counted
    from camloc.evaluation.table import results_table, scenes_table
    from camloc.runs.evaluate import evaluate_run, evaluate_scenes, learned_scenes

    options: dict[str, Any] = {"out": out, "device": device, "refine": refine, "verify": verify}
    options["retrieval"] = retrieval
    if len(learned_scenes(run)) > 1:
        if outlier_filter or masks or inlier_threshold is not None:
            raise UsageError("--filter and --masks are for models that align points, which learn one scene")
        with counted("locating") as progress:
            scenes = evaluate_scenes(run, data=sources, progress=progress, **options)
        Console(highlight=False).print(scenes_table(scenes.results))
        console.print(report_line(scenes.report))
        return
    if len(sources) > 1:
        raise UsageError(f"{run} has learned one scene; give one --data")
    with counted("locating") as progress:
        evaluation = evaluate_run(
            run,
            data=sources[0] if sources else None,
            outlier_filter=outlier_filter,
            masks=masks,
            inlier_threshold=inlier_threshold,
            progress=progress,
            **options,
        )
    Console(highlight=False).print(results_table(evaluation.results))
    console.print(report_line(evaluation.report))


def report_line(report: "Path | None") -> str:
    if report is not None:
        return f"report {report}"
    return "no report was drawn: install its libraries with pip install 'camloc[report]'"
