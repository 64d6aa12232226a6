"""Several machines: the service on Ray Serve, images located by Ray Data, maps built by Ray's tasks.

Ray is the cluster that RAY_ADDRESS names, or one that is started on this machine. Workers see bundles and
images by the same paths, on a file system that all machines share. Between its workers Ray uses pickles of
its own; nothing of a request becomes one.
"""

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from camloc.core.extras import require_extra
from camloc.data.query import NamedQuery, Query
from camloc.data.types import Estimate
from camloc.errors import CamlocError, ImageError
from camloc.inference.localizer import Localizer

if TYPE_CHECKING:
    from fastapi import FastAPI

    from camloc.mapping.build import MapSettings
    from camloc.runs.manifest import DataSource
    from camloc.runs.map import MappedScene
    from camloc.serve.app import Limits
    from camloc.serve.scenes import SceneStore

_NAME = "camloc"

# Requests that a replica works at, or lets wait, before another one is started.
_TARGET_REQUESTS = 4

# Images that a worker takes at a time.
_BATCH = 16


@dataclass(frozen=True)
class Replicas:
    """The settings of each replica of the service.

    Attributes:
        bundles: bundles and folders of bundles, on a file system that all machines share.
        limits: of requests, in each replica.
        most_bytes: of bundles in memory, in each replica.
        options: of `Localizer.load`.
        api_key: as for `create_app`.
        least, most: number of replicas; Ray starts and ends them by the load.
    """

    bundles: tuple[Path, ...]
    limits: "Limits"
    most_bytes: int = 1 << 30
    options: Mapping[str, Any] = field(default_factory=dict)
    api_key: str = ""
    least: int = 1
    most: int = 1

    def app(self) -> "FastAPI":
        """The application of one replica: that of the service on one machine."""
        from camloc.serve.app import create_app

        return create_app(self.store(), limits=self.limits, api_key=self.api_key)

    def store(self) -> "SceneStore":
        """The scenes of one replica.

        Raises:
            CheckpointError: there is none.
        """
        from camloc.serve.scenes import SceneStore

        return SceneStore(self.bundles, most_bytes=self.most_bytes, options=self.options)

    def deployment_options(self) -> dict[str, Any]:
        """The options for Ray Serve: replicas, processors and requests at a time."""
        return {
            "name": _NAME,
            "autoscaling_config": {
                "min_replicas": self.least,
                "max_replicas": self.most,
                "target_ongoing_requests": _TARGET_REQUESTS,
            },
            "max_ongoing_requests": self.limits.waiting + self.limits.threads,
            "ray_actor_options": {"num_cpus": self.limits.threads},
            "health_check_period_s": 2,
        }


@contextmanager
def running(replicas: Replicas, *, host: str, port: int) -> Iterator[None]:
    """Serve while the block runs; the first replicas are there when it begins.

    Raises:
        MissingExtraError: Ray is not installed.
        CheckpointError: there is no scene.
    """
    require_extra("cluster", "serving on a cluster")
    replicas.store()  # raises errors of the bundles here and not in the log of a worker
    _connect()
    from ray import serve

    logging.getLogger("ray.serve").setLevel(logging.ERROR)

    def app() -> "FastAPI":
        return replicas.app()

    serve.start(proxy_location="HeadOnly", http_options={"host": host, "port": port})
    deployment = serve.deployment(serve.ingress(app)(), **replicas.deployment_options())
    serve.run(deployment.bind(), name=_NAME, route_prefix="/")
    try:
        yield
    finally:
        serve.shutdown()


def located_in_cluster(
    run: Path, items: Sequence[NamedQuery], *, options: Mapping[str, Any], workers: int
) -> Iterator[tuple[NamedQuery, Estimate | ImageError]]:
    """Images of files with their estimates, or the reason why one cannot be read, in order.

    Args:
        run: as for `Localizer.load`.
        items: images in files.
        options: of `Localizer.load`.
        workers: processes that locate.

    Raises:
        MissingExtraError: Ray is not installed.
        ImageError: an image is not in a file.
    """
    if other := next((each for each in items if not isinstance(each.query.image, str | os.PathLike)), None):
        raise ImageError(f"{other.label} is not a file; leave out --cluster for videos and standard input")
    queries = [_absolute(each.query) for each in items]
    require_extra("cluster", "locating on a cluster")
    _connect()
    from ray import data

    logging.getLogger("ray.data").setLevel(logging.ERROR)  # standard error is for what users must know
    context = data.DataContext.get_current()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    rows = data.from_items([{"number": number} for number in range(len(items))])
    estimates = rows.map_batches(
        ImageWorker,
        fn_constructor_args=(os.path.realpath(run), dict(options), queries),
        batch_size=_BATCH,
        compute=data.ActorPoolStrategy(size=workers),
        num_cpus=1,
    )
    for row in estimates.iter_rows():
        yield items[int(row["number"])], row["estimate"]


class ImageWorker:
    """A process of the cluster that locates images."""

    def __init__(self, run: str, options: Mapping[str, Any], queries: Sequence[Query]) -> None:
        self._localizer = Localizer.load(run, **options)
        self._queries = queries

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """The estimates of the images with the numbers of a batch."""
        return {
            "number": batch["number"],
            "estimate": [self._estimate(self._queries[number]) for number in batch["number"].tolist()],
        }

    def _estimate(self, query: Query) -> Estimate | ImageError:
        try:
            return self._localizer.locate(query)
        except ImageError as problem:
            return problem


def _absolute(query: Query) -> Query:
    """A query whose file workers find wherever they run."""
    assert isinstance(query.image, str | os.PathLike)
    path = Path(query.image)
    return replace(query, image=path.absolute(), name=query.name or path.name)


def build_maps_in_cluster(
    sources: "tuple[DataSource, ...]", folder: Path, settings: "MapSettings", *, masks: Path | None = None
) -> "tuple[MappedScene, ...]":
    """As `camloc.runs.map.build_maps`, each scene in a process of the cluster.

    Raises:
        MissingExtraError: Ray is not installed.
        CamlocError: as for `build_maps`.
    """
    require_extra("cluster", "building maps on a cluster")
    _connect()
    import ray

    from camloc.runs.manifest import load_scenes
    from camloc.runs.map import build_map, write_maps

    task = ray.remote(num_cpus=1)(build_map)
    scenes = load_scenes(sources)
    try:
        mapped = tuple(ray.get([task.remote(scene, settings, masks=masks) for scene in scenes]))
    except ray.exceptions.RayTaskError as problem:
        if isinstance(problem.cause, CamlocError):
            raise problem.cause from None
        raise
    write_maps(sources, scenes, folder, mapped)
    return mapped


def _connect() -> None:
    """Join the cluster of RAY_ADDRESS, or start one here, unless that was done."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere
    import ray

    if not ray.is_initialized():
        ray.init(include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False)
