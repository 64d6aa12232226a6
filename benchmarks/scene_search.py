"""Two hundred scenes in one service, with memory for a tenth: is the scene found, and what does it cost?

    uv run python -m benchmarks.scene_search --data FOLDER [--maps FOLDER] [--cluster]

The scenes are 198 corners of two fronts of the market square, each with its own fronts (the same kinds of
windows, shutters and walls), and small maps of two real places. `--cluster` measures the same service on Ray
Serve, and a replica that is killed under load.
"""

import io
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import httpx
import numpy as np
import tyro
from PIL import Image

from benchmarks.facade_corners import CAMERA, facade_corner
from benchmarks.maps import load_fox, load_kitchen
from benchmarks.page import RESULTS, machine, result_page, table, write
from benchmarks.service import client_of, metric, served
from camloc.core.config import from_json
from camloc.core.sampling import even_items
from camloc.data.types import Frame, Scene
from camloc.geometry.pose import Pose, pose_error
from camloc.mapping.build import MapSettings, build_scene_map
from camloc.mapping.features import FeatureSettings, feature_extractor
from camloc.serve.scenes import SceneStore

# One of so many scenes fits into memory, and three at least.
IN_MEMORY = 10

_MAP_BYTES = 400_000
_REQUESTS = 300

# A pose is right if it is nearer than this share of the median distance between training cameras and their
# middle, and 5 degrees: the fox has no metres.
_RIGHT, _RIGHT_DEGREES = 0.25, 5.0

_CLIENTS = 4
_KILL_SECONDS = 40.0


@dataclass(frozen=True)
class Search:
    """Images without the name of their scene, and requests that name it.

    Attributes:
        scenes: number of all, and of those that fit into memory.
        images: of all scenes.
        first: share whose scene the index ranks first.
        among_five: share whose scene is among the first five.
        answered: share whose answer has the right scene and pose.
        wrong: answers in another scene or with a wrong pose; the others are lost.
        index_seconds: to read all maps and make the index.
        index_kilobytes: a scene.
        cold_milliseconds, warm_milliseconds: median of requests that name a scene that is not, or is, in
            memory.
        anywhere_milliseconds: median of requests that name none.
        named: requests that name a scene, in random order.
        named_right: share of them with a right pose.
        loads: of bundles, for the named requests.
        most_megabytes, allowed_megabytes: of bundles in memory, at most: measured, and as the limit.
        resident_megabytes: of the process, after the first requests and in the end.
        added_seconds: from the copying of a scene into the folder to its first answer.
    """

    scenes: tuple[int, int]
    images: int
    first: float
    among_five: float
    answered: float
    wrong: int
    index_seconds: float
    index_kilobytes: float
    cold_milliseconds: float
    warm_milliseconds: float
    anywhere_milliseconds: float
    named: int
    named_right: float
    loads: int
    most_megabytes: float
    allowed_megabytes: float
    resident_megabytes: tuple[float, float]
    added_seconds: float


@dataclass(frozen=True)
class Cluster:
    """Requests to two replicas of which one is killed.

    Attributes:
        requests: number of requests by clients.
        failed: requests without an answer at first, which were sent once more.
        lost: requests without an answer at the second try either.
        wrong: answers with another scene or a wrong pose.
        seconds_back: from the kill until two replicas were there again.
    """

    requests: int
    failed: int
    lost: int
    wrong: int
    seconds_back: float


@dataclass(frozen=True)
class Measured:
    """What was measured."""

    search: Search
    cluster: Cluster | None
    machine: str


@dataclass(frozen=True, eq=False)
class Photo:
    """A test image: its file's bytes, its scene and its pose, and what counts as near there."""

    scene: str
    content: bytes
    truth: Pose
    near: float


def main(
    data: Annotated[Path, tyro.conf.arg(metavar="FOLDER")],
    maps: Annotated[Path | None, tyro.conf.arg(metavar="FOLDER")] = None,
    scenes: int = 200,
    part: Annotated[str, tyro.conf.arg(metavar="all|maps|search|cluster")] = "all",
) -> None:
    """Measure, and write docs/results/scene_search.json and .md.

    Args:
        data: folder with the folders redkitchen and fox.
        maps: folder that keeps the bundles and the test images; built where they are missing.
        scenes: how many.
        part: what is done: "maps" builds the maps alone; "search" and "cluster" leave the other one as it was
            measured.
    """
    with tempfile.TemporaryDirectory() as scratch:
        folder = maps or Path(scratch)
        photos = prepared(data, folder, scenes)
        if part == "maps":
            return
        numbers = RESULTS / "scene_search.json"
        before = from_json(numbers.read_bytes(), Measured) if numbers.is_file() else None
        search = before.search if part == "cluster" and before else _search(folder, photos)
        cluster = before.cluster if before else None
        if part in ("all", "cluster"):
            cluster = _cluster(folder, photos)
    measured = Measured(search, cluster, machine())
    write("scene_search", measured, page(measured))


# --- scenes ---------------------------------------------------------------------------------------------


def all_scenes(data: Path, count: int) -> Iterator[tuple[str, Any]]:
    """The names of the scenes, and functions that load them."""
    yield "fox", lambda: _few(load_fox(data), every=2)
    yield "kitchen", lambda: _few(load_kitchen(data), every=25)
    for seed in range(count - 2):
        yield f"corner-{seed:03d}", lambda seed=seed: facade_corner(seed)


def prepared(data: Path, folder: Path, count: int) -> list[Photo]:
    """Build the maps that are not there, and return the test images."""
    photos = []
    for name, load in all_scenes(data, count):
        bundle, images = folder / "bundles" / name, folder / "images" / name
        if not (images / "poses.npz").is_file():
            scene: Scene = replace(load(), name=name)
            # Too few frames to hold any out: these maps are not calibrated, and their thresholds cautious.
            features = FeatureSettings(least_pixels=CAMERA.width * CAMERA.height)
            settings = MapSettings(features=features, size_bytes=_MAP_BYTES)
            made, _ = build_scene_map(scene.train, scene=name, unit=scene.unit, settings=settings)
            made.save(bundle / "map" / "0")
            images.mkdir(parents=True, exist_ok=True)
            tests = even_items(scene.test, 3)
            for number, frame in enumerate(tests):
                (images / f"{number}.png").write_bytes(_bytes(frame))
            poses = np.stack([np.asarray(frame.truth().matrix()) for frame in tests])
            centers = np.stack([frame.truth().translation for frame in scene.train])
            near = _RIGHT * float(np.median(np.linalg.norm(centers - np.median(centers, axis=0), axis=1)))
            np.savez(images / "poses.npz", poses=poses, near=near)
            print(name, flush=True)
        content = np.load(images / "poses.npz")
        photos += [
            Photo(
                name, (images / f"{number}.png").read_bytes(), Pose.from_matrix(pose), float(content["near"])
            )
            for number, pose in enumerate(content["poses"])
        ]
    return photos


def _few(scene: Scene, *, every: int) -> Scene:
    """A few frames of a recording."""
    return replace(scene, train=scene.train[::every])


def _bytes(frame: Frame) -> bytes:
    if frame.memory is None:
        return frame.image.read_bytes()
    file = io.BytesIO()
    Image.fromarray(frame.memory.pixels).save(file, "PNG")
    return file.getvalue()


# --- one machine ----------------------------------------------------------------------------------------


def _search(folder: Path, photos: Sequence[Photo]) -> Search:
    bundles = folder / "bundles"
    started = time.perf_counter()
    store = SceneStore([bundles])
    index_seconds = time.perf_counter() - started
    first, among_five = _ranks(store, photos)
    fit = max(3, len(store.names) // IN_MEMORY)
    for scene in store.names[-fit:]:
        store.localizer(scene)
    allowed = fit * store.loaded_bytes / store.loaded
    count = len(store.names)
    index_kilobytes = store.index_bytes / len(store.names) / 1e3
    del store
    spare = folder / "spare"
    shutil.rmtree(spare, ignore_errors=True)
    (bundles / photos[-1].scene).rename(spare)  # the last scene is added later
    rng = np.random.default_rng(0)
    known = [photo for photo in photos if photo.scene != photos[-1].scene]
    order = rng.integers(0, len(known), _REQUESTS).tolist()
    try:
        with served([bundles, "--memory", f"{allowed / 1e6:.3f}MB"]) as address, client_of(address) as http:
            right, most, resident = [], 0.0, []
            cold: list[float] = []
            warm: list[float] = []
            loads = metric(http, "camloc_bundle_loads")
            for number, row in enumerate(order):
                answer, seconds = _located(http, known[row], named=True)
                right.append(_is_right(answer, known[row]))
                again = metric(http, "camloc_bundle_loads")
                (warm if again == loads else cold).append(seconds)
                loads = again
                most = max(most, metric(http, "camloc_loaded_bundle_bytes"))
                if number in (50, _REQUESTS - 1):
                    resident.append(metric(http, "process_resident_memory_bytes") / 1e6)
            shutil.copytree(spare, bundles / photos[-1].scene)
            added = time.perf_counter()
            while _located(http, photos[-1], named=True)[0].get("scene") != photos[-1].scene:
                time.sleep(0.2)
            added_seconds = time.perf_counter() - added
            anywhere = [_located(http, photo, named=False) for photo in photos]
    finally:
        shutil.rmtree(bundles / photos[-1].scene, ignore_errors=True)
        spare.rename(bundles / photos[-1].scene)
    found = [_is_right(answer, photo) for (answer, _), photo in zip(anywhere, photos, strict=True)]
    located = [bool(answer.get("located")) for answer, _ in anywhere]
    return Search(
        scenes=(count, fit),
        images=len(photos),
        first=first,
        among_five=among_five,
        answered=float(np.mean(found)),
        wrong=sum(has and not good for has, good in zip(located, found, strict=True)),
        index_seconds=index_seconds,
        index_kilobytes=index_kilobytes,
        cold_milliseconds=1e3 * float(np.median(cold)),
        warm_milliseconds=1e3 * float(np.median(warm)),
        anywhere_milliseconds=1e3 * float(np.median([seconds for _, seconds in anywhere])),
        named=len(right),
        named_right=float(np.mean(right)),
        loads=int(loads),
        most_megabytes=most / 1e6,
        allowed_megabytes=allowed / 1e6,
        resident_megabytes=(resident[0], resident[1]),
        added_seconds=added_seconds,
    )


def _ranks(store: SceneStore, photos: Sequence[Photo]) -> tuple[float, float]:
    """The shares of images whose scene the index ranks first, and among the first five."""
    ranks = []
    (settings,) = store.feature_settings()
    extractor = feature_extractor(settings)
    for photo in photos:
        pixels = np.asarray(Image.open(io.BytesIO(photo.content)).convert("RGB"))
        names = [name for name, _ in store.ranked({settings: extractor.extract(pixels)})]
        ranks.append(names.index(photo.scene) if photo.scene in names else len(photos))
    return float(np.mean(np.array(ranks) < 1)), float(np.mean(np.array(ranks) < 5))


def _located(http: httpx.Client, photo: Photo, *, named: bool) -> tuple[dict[str, Any], float]:
    started = time.perf_counter()
    data = {"scene": photo.scene} if named else {}
    answer = http.post("/locate", files={"image": photo.content}, data=data)
    return (answer.json() if answer.status_code == 200 else {}), time.perf_counter() - started


def _is_right(answer: dict[str, Any], photo: Photo) -> bool:
    if not answer.get("located") or answer["scene"] != photo.scene:
        return False
    error = pose_error(Pose.from_matrix(np.array(answer["world_from_cam"])), photo.truth)
    return bool(error.meters < photo.near and error.degrees < _RIGHT_DEGREES)


# --- a cluster ------------------------------------------------------------------------------------------


def _cluster(folder: Path, photos: Sequence[Photo]) -> Cluster:
    """Clients send for a while; in the middle one of two replicas is killed."""
    chosen = photos[:: max(1, len(photos) // 60)]
    lock = threading.Lock()
    counts = {"requests": 0, "failed": 0, "lost": 0, "wrong": 0}
    options = [folder / "bundles", "--cluster", "--replicas", "2", "--memory", "50MB"]
    with served(options, seconds=180.0) as address:
        stop = threading.Event()

        def client(number: int) -> None:
            row = number
            with client_of(address) as http:
                while not stop.is_set():
                    photo = chosen[row % len(chosen)]
                    answer = _tried(http, photo)
                    failed = answer is None
                    if answer is None:
                        time.sleep(0.5)
                        answer = _tried(http, photo)
                    with lock:
                        counts["requests"] += 1
                        counts["failed"] += failed
                        counts["lost"] += answer is None
                        counts["wrong"] += answer is not None and not _is_right(answer, photo)
                    row += _CLIENTS

        threads = [threading.Thread(target=client, args=(number,)) for number in range(_CLIENTS)]
        for thread in threads:
            thread.start()
        try:
            _wait_for_replicas()  # their load starts the second one
            end = time.monotonic() + _KILL_SECONDS
            time.sleep(_KILL_SECONDS / 3)
            killed = time.monotonic()
            victim = _replicas()[0]
            os.kill(victim, signal.SIGKILL)
            back = float("nan")
            while time.monotonic() < end:
                if np.isnan(back) and len([pid for pid in _replicas() if pid != victim]) >= 2:
                    back = time.monotonic() - killed
                time.sleep(0.2)
        finally:
            stop.set()
        for thread in threads:
            thread.join()
    return Cluster(**counts, seconds_back=back)


def _tried(http: httpx.Client, photo: Photo) -> dict[str, Any] | None:
    """The answer, or None without one."""
    try:
        answer = http.post("/locate", files={"image": photo.content}, data={"scene": photo.scene})
    except httpx.HTTPError:
        return None
    return answer.json() if answer.status_code == 200 else None


def _wait_for_replicas(seconds: float = 180.0) -> None:
    end = time.monotonic() + seconds
    while len(_replicas()) < 2:
        if time.monotonic() > end:
            raise RuntimeError(f"no second replica was started in {seconds:.0f} s of load")
        time.sleep(0.5)


def _replicas() -> list[int]:
    """The processes of the replicas on this machine."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes().startswith(b"ray::ServeReplica:"):
                found.append(int(path.parent.name))
        except OSError:
            continue
    return sorted(found)


# --- the page -------------------------------------------------------------------------------------------


def page(measured: Measured) -> str:
    """The page."""
    found, cluster = measured.search, measured.cluster
    count, fit = found.scenes
    rows = [
        ("scene ranked first by the index", f"{found.first:.1%} of {found.images} images"),
        ("scene among the first five", f"{found.among_five:.1%}"),
        (
            "answered without its scene's name",
            f"{found.answered:.1%} with the right scene and pose, {found.wrong} wrong",
        ),
        ("answered with it", f"{found.named_right:.1%} of {found.named} requests in random order"),
        (
            "memory of bundles",
            f"{found.most_megabytes:.1f} MB at most, of {found.allowed_megabytes:.1f} MB allowed; "
            f"{found.loads} loads",
        ),
        (
            "memory of the process",
            f"{found.resident_megabytes[0]:.0f} MB after 50 requests, "
            f"{found.resident_megabytes[1]:.0f} MB in the end",
        ),
        ("a named scene, in memory", f"{found.warm_milliseconds:.0f} ms"),
        ("a named scene, not in memory", f"{found.cold_milliseconds:.0f} ms"),
        ("no scene named", f"{found.anywhere_milliseconds:.0f} ms"),
        (
            "the index",
            f"{found.index_seconds:.1f} s for all maps, {found.index_kilobytes:.0f} kB a scene",
        ),
        ("a scene that is copied into the folder", f"answers after {found.added_seconds:.1f} s"),
    ]
    on_cluster = ""
    if cluster is not None:
        on_cluster = (
            f"On Ray Serve (`--cluster`), with two replicas on this machine and {_CLIENTS} clients, one "
            f"replica was killed: of {cluster.requests} requests {cluster.failed} had no answer at first and "
            f"were sent once more, {cluster.lost} had none then; {cluster.wrong} answers were not right. Two "
            f"replicas were there again after {cluster.seconds_back:.0f} s."
        )
    return result_page(
        "Many scenes in one service",
        "scene_search",
        f"`camloc serve FOLDER` with {count} scenes and memory for {fit}: {count - 2} corners of two "
        f"fronts of the market square, each with its own fronts, which have the same kinds of windows, "
        f"shutters and walls, and two real places. {measured.machine}; other programs ran too.",
        table(("", ""), rows),
        on_cluster,
        command="--data FOLDER",
    )


if __name__ == "__main__":
    tyro.cli(main)
