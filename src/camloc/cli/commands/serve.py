"""`camloc serve`: answer photographs over HTTP."""

import math
import os
import time
from pathlib import Path
from typing import Annotated

import tyro

from camloc.cli.options import Device, OptionalFile, Verify, size_in_bytes
from camloc.core.extras import require_extra
from camloc.errors import CamlocError, UsageError

# A variable of the environment with the key, which unlike an option no list of processes shows.
_KEY_VARIABLE = "CAMLOC_API_KEY"


def serve(
    bundles: tyro.conf.Positional[
        Annotated[tuple[Path, ...], tyro.conf.arg(metavar="RUN|FOLDER ...", help_behavior_hint="")]
    ],
    *,
    host: Annotated[str, tyro.conf.arg(metavar="ADDRESS")] = "127.0.0.1",
    port: Annotated[int, tyro.conf.arg(metavar="NUMBER")] = 8000,
    api_key_file: OptionalFile = None,
    verify: Verify = "auto",
    device: Device = "cpu",
    memory: Annotated[str, tyro.conf.arg(metavar="1GB")] = "1GB",
    threads: Annotated[int, tyro.conf.arg(metavar="NUMBER", help_behavior_hint="")] = 0,
    waiting: Annotated[int, tyro.conf.arg(metavar="NUMBER")] = 64,
    megabytes: Annotated[float, tyro.conf.arg(metavar="NUMBER")] = 20.0,
    megapixels: Annotated[float, tyro.conf.arg(metavar="NUMBER")] = 50.0,
    seconds: Annotated[float, tyro.conf.arg(metavar="NUMBER")] = 30.0,
    cluster: bool = False,
    replicas: Annotated[int, tyro.conf.arg(metavar="NUMBER")] = 2,
) -> None:
    """Answer photographs over HTTP: POST /locate, GET /scenes, /health, /metrics, /openapi.json, and a page.

    The page at / takes a photograph or the webcam and shows the pose among the cameras and points of the map.
    A folder of runs is searched again when its scenes are listed: copy a run into it to add a scene.
    The key of CAMLOC_API_KEY or of --api-key-file must then be in the header X-API-Key of requests.

    Args:
        bundles: Runs, exported files, or folders of runs.
        host: Address to listen at; 0.0.0.0 for all of this machine.
        port: Port to listen at.
        api_key_file: File with the key that requests must have.
        verify: Use of the maps; see camloc locate.
        device: Where networks run.
        memory: Bytes that runs in memory may take together, such as 500MB; those that were not used for
            longest go.
        threads: Threads that answer; as many as processors by default.
        waiting: Requests that may wait; more are refused with status 429.
        megabytes: Largest request.
        megapixels: Largest image.
        seconds: Longest time to an answer.
        cluster: Answer in several processes or on several machines, by Ray Serve: on the cluster that
            RAY_ADDRESS names, or one that is started here. --memory, --threads and --waiting are those of
            each replica, which has one thread by default.
        replicas: Replicas of a cluster, at most; by the load there are fewer.
    """
    if not bundles:
        raise UsageError("name at least one run, or a folder of runs")
    if min(port, waiting, replicas) < 1 or threads < 0 or port > 65_535:
        raise UsageError(
            "--port, --waiting and --replicas are positive numbers, --threads 0 or more; correct them"
        )
    most_bytes = size_in_bytes(memory)
    if not all(math.isfinite(each) and each > 0 for each in (megabytes, megapixels, seconds)):
        raise UsageError("--megabytes, --megapixels and --seconds are positive numbers; correct them")
    require_extra("serve", "the service")
    import uvicorn

    from camloc.cli.progress import console
    from camloc.serve.app import Limits, create_app
    from camloc.serve.scenes import SceneStore

    limits = Limits(
        body_bytes=int(megabytes * 1e6),
        pixels=int(megapixels * 1e6),
        seconds=seconds,
        waiting=waiting,
        threads=threads or (1 if cluster else Limits().threads),
    )
    options = {"verify": verify, "device": device}
    key = _key(api_key_file)
    if cluster:
        from camloc.serve.cluster import Replicas, running

        paths = tuple(path.resolve() for path in bundles)
        served = Replicas(paths, limits, most_bytes, options, key, least=1, most=replicas)
        with running(served, host=host, port=port):
            console.print(f"open http://{host}:{port}/ or POST an image to /locate")
            while True:
                time.sleep(3600.0)
    store = SceneStore(bundles, most_bytes=most_bytes, options=options)
    app = create_app(store, limits=limits, api_key=key)
    for reason in store.damaged.values():
        console.print(f"left out: {reason}")
    console.print(f"{len(store.names)} scenes; open http://{host}:{port}/ or POST an image to /locate")
    uvicorn.run(app, host=host, port=port, log_level="warning", timeout_keep_alive=10, server_header=False)


def _key(file: Path | None) -> str:
    """The key of requests, or ""."""
    if file is None:
        return os.environ.get(_KEY_VARIABLE, "").strip()
    try:
        key = file.read_text().strip()
    except (OSError, UnicodeDecodeError) as problem:
        raise CamlocError(f"the key in {file} cannot be read: {problem}") from None
    if not key:
        raise CamlocError(f"{file} is empty; write the key into it")
    return key
