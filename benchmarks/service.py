"""The service under load and under attack, on this machine.

    uv run python -m benchmarks.service --runs FOLDER --images FOLDER [--minutes 1]

Eight clients send photographs over loopback for some minutes; then 1,000 requests that should be refused.
"""

import io
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import httpx
import numpy as np
import tyro
from PIL import Image

from benchmarks.page import machine, result_page, table, write
from camloc import Localizer
from camloc.data.photos import image_files

_CLIENTS = 8
_HOSTILE = 1000


@dataclass(frozen=True)
class Soak:
    """Eight clients on loopback."""

    minutes: float
    requests: int
    failed: int
    images_a_second: float
    library_images_a_second: float
    share: float
    p50_seconds: float
    p99_seconds: float
    megabytes_after_warm_up: float
    megabytes_in_the_end: float


@dataclass(frozen=True)
class Hostile:
    """Requests that should be refused: how many, and the statuses that came back."""

    requests: int
    statuses: dict[str, int]
    refused_with_a_sentence: int
    answers_afterwards: bool


@dataclass(frozen=True)
class Service:
    """What was measured."""

    soak: Soak
    hostile: Hostile
    machine: str


def main(
    runs: Annotated[Path, tyro.conf.arg(metavar="FOLDER")],
    images: Annotated[Path, tyro.conf.arg(metavar="FOLDER")],
    minutes: float = 1.0,
    scene: str = "",
) -> None:
    """Measure, and write docs/results/service.json and .md.

    Args:
        runs: run that is served.
        images: folder with photographs of its scene.
        minutes: how long the clients send.
        scene: name of the scene in the requests.
    """
    paths = image_files(images)[::5]
    contents = [path.read_bytes() for path in paths]
    library = library_rate(runs, contents, seconds=min(20.0, 60.0 * minutes))
    with served([runs]) as address:
        soak = _soak(address, contents, minutes, library, scene)
        hostile = attack(address, contents[0])
    measured = Service(soak, hostile, machine())
    write("service", measured, page(measured))


@contextmanager
def served(options: Sequence[Any], *, seconds: float = 120.0) -> Iterator[str]:
    """The address of `camloc serve` with these options; it ends with the block."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "camloc", "serve", *map(str, options), "--port", str(port)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        end = time.monotonic() + seconds
        while time.monotonic() < end and process.poll() is None:
            try:
                if httpx.get(f"{address}/health", timeout=2.0).status_code == 200:
                    break
            except httpx.HTTPError:
                time.sleep(0.1)
        else:
            raise RuntimeError("the service did not start")
        yield address
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()


def client_of(address: str) -> httpx.Client:
    """A client of the service."""
    return httpx.Client(base_url=address, timeout=60.0)


def metric(http: httpx.Client, name: str) -> float:
    """A number of the service's metrics; NaN where it has none of that name."""
    for line in http.get("/metrics").text.splitlines():
        if line.startswith(f"{name} "):
            return float(line.split()[1])
    return float("nan")


def library_rate(run: Path, contents: list[bytes], *, seconds: float) -> float:
    """Images a second of the library in as many threads as processors, without a service."""
    localizer = Localizer.load(run)
    localizer.locate(contents[0])
    count, started = 0, time.perf_counter()
    threads = os.cpu_count() or 1
    with ThreadPoolExecutor(threads) as pool:
        while time.perf_counter() - started < seconds:
            batch = [contents[(count + each) % len(contents)] for each in range(4 * threads)]
            list(pool.map(localizer.locate, batch))
            count += len(batch)
    return count / (time.perf_counter() - started)


def _soak(address: str, contents: list[bytes], minutes: float, library: float, scene: str) -> Soak:
    times: list[float] = []
    failed = 0
    lock = threading.Lock()
    end = time.perf_counter() + 60.0 * minutes
    data = {"scene": scene} if scene else {}

    def client(number: int) -> None:
        nonlocal failed
        row = number
        with client_of(address) as http:
            while time.perf_counter() < end:
                started = time.perf_counter()
                answer = http.post("/locate", files={"image": contents[row % len(contents)]}, data=data)
                with lock:
                    times.append(time.perf_counter() - started)
                    failed += answer.status_code != 200
                row += _CLIENTS

    with client_of(address) as http:
        for content in contents[:8]:
            http.post("/locate", files={"image": content}, data=data)
        before = metric(http, "process_resident_memory_bytes") / 1e6
        started = time.perf_counter()
        threads = [threading.Thread(target=client, args=(number,)) for number in range(_CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds = time.perf_counter() - started
        after = metric(http, "process_resident_memory_bytes") / 1e6
    rate = len(times) / seconds
    return Soak(
        minutes=minutes,
        requests=len(times),
        failed=failed,
        images_a_second=rate,
        library_images_a_second=library,
        share=rate / library,
        p50_seconds=float(np.quantile(times, 0.5)),
        p99_seconds=float(np.quantile(times, 0.99)),
        megabytes_after_warm_up=before,
        megabytes_in_the_end=after,
    )


def attack(address: str, image: bytes) -> Hostile:
    """Send requests that should be refused, each with a sentence and a status 4xx."""
    rng = random.Random(0)
    statuses: Counter[str] = Counter()
    refused = 0
    with client_of(address) as http:
        for number in range(_HOSTILE):
            answer = hostile_request(http, number, image, rng)
            statuses[str(answer.status_code)] += 1
            try:
                sentence = answer.json()["detail"]
            except (ValueError, KeyError, TypeError):
                sentence = ""
            is_sentence = isinstance(sentence, str) and len(sentence) > 15 and "Traceback" not in sentence
            refused += 400 <= answer.status_code < 500 and is_sentence
        still = http.post("/locate", files={"image": image}).status_code == 200
    return Hostile(_HOSTILE, dict(sorted(statuses.items())), refused, still)


def hostile_request(http: httpx.Client, number: int, image: bytes, rng: random.Random) -> httpx.Response:
    """One of many kinds of requests that should be refused."""
    kinds = [
        lambda: http.post("/locate", files={"image": rng.randbytes(rng.randrange(0, 5000))}),
        lambda: http.post("/locate", files={"image": image[: rng.randrange(1, len(image) // 2)]}),
        lambda: http.post("/locate", files={"image": b""}),
        lambda: http.post("/locate", files={"image": _bomb()}),
        lambda: http.post("/locate", files={"image": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n"}),
        lambda: http.post("/locate", files={"image": b"<svg xmlns='http://www.w3.org/2000/svg'/>"}),
        lambda: http.post("/locate", files={"image": b"\x80\x04\x95cos\nsystem\n(S'true'\ntR."}),
        lambda: http.post("/locate", data={"image": "/etc/passwd"}),
        lambda: http.post("/locate", data={"image": "http://127.0.0.1/secret.png"}),
        lambda: http.post("/locate", json={"image": "file:///etc/passwd"}),
        lambda: http.post(
            "/locate", content=rng.randbytes(200), headers={"Content-Type": "multipart/form-data"}
        ),
        lambda: http.post(
            "/locate", content=b"x", headers={"Content-Type": "multipart/form-data; boundary=" + "b" * 90}
        ),
        lambda: http.post("/locate"),
        lambda: http.get("/locate"),
        lambda: http.post("/locate", files={"image": image}, data={"scene": rng.choice(_PATHS)}),
        lambda: http.post("/locate", files={"image": image}, data={"camera": rng.choice(_CAMERAS)}),
        lambda: http.post("/locate", files={"image": image}, data={"previous": rng.choice(_POSES)}),
        lambda: http.post(
            "/locate", files={"image": image}, data={"time": rng.choice(("nan", "inf", "now", "1e999"))}
        ),
        lambda: http.post(
            "/locate", content=b"0" * 21_000_000, headers={"Content-Type": "multipart/form-data; boundary=b"}
        ),
        lambda: http.get("/scenes/" + rng.choice(("nowhere", "%2e%2e%2fetc%2fpasswd", "a" * 3000, "%00"))),
        lambda: http.get(
            "/" + rng.choice(("../../etc/passwd", "page/../app.py", "docs", ".git/config", "admin"))
        ),
        lambda: http.request(rng.choice(("DELETE", "PUT", "PATCH")), "/locate"),
    ]
    return kinds[number % len(kinds)]()


_PATHS = (
    "../../etc/passwd",
    "/etc/passwd",
    "nowhere",
    "\x00",
    "a" * 10_000,
    "${jndi:ldap://x}",
    "; rm -rf /",
    "é" * 99,
)
_CAMERAS = (
    "/etc/passwd",
    "camera.json",
    "[]",
    "null",
    '{"width": 640}',
    '{"width": -1, "height": 480, "fx": 500, "fy": 500, "cx": 320, "cy": 240}',
    '{"width": 640, "height": 480, "fx": NaN, "fy": 500, "cx": 320, "cy": 240}',
    '{"width": 640, "height": 480, "fx": 1e999, "fy": 500, "cx": 320, "cy": 240}',
    '{"width": 640, "height": 480, "fx": 500, "fy": 500, "cx": 320, "cy": 240, "model": "__import__"}',
    '{"width": 640, "height": 480, "fx": 500, "fy": 500, "cx": 320, "cy": 240, "path": "/etc/passwd"}',
    '{"width": 640, "height": 480, "fx": 500, "fy": 500, "cx": 320, "cy": 240, "model": "OPENCV"}',
    '{"width": 10, "height": 480, "fx": 500, "fy": 500, "cx": 320, "cy": 240}',
    "[" * 2000,
    "9" * 5000,
)
_POSES = (
    "{}",
    '{"position": [1, 2], "quaternion_wxyz": [1, 0, 0, 0]}',
    '{"position": [1, 2, 3], "quaternion_wxyz": [0, 0, 0, 0]}',
    '{"position": [1, 2, NaN], "quaternion_wxyz": [1, 0, 0, 0]}',
    '{"position": "/etc/passwd", "quaternion_wxyz": [1, 0, 0, 0]}',
    '{"position": [1e400, 2, 3], "quaternion_wxyz": [1, 0, 0, 0]}',
    "{" * 3000,
    "!!python/object/apply:os.system [true]",
)


def page(measured: Service) -> str:
    """The page."""
    soak, hostile = measured.soak, measured.hostile
    rows = [
        ("requests", f"{soak.requests} in {soak.minutes:g} min, {soak.failed} failed"),
        ("images a second", f"{soak.images_a_second:.2f}"),
        ("of the library's own", f"{soak.share:.0%} of {soak.library_images_a_second:.2f}"),
        ("time to the answer", f"p50 {soak.p50_seconds:.2f} s, p99 {soak.p99_seconds:.2f} s"),
        (
            "memory",
            f"{soak.megabytes_after_warm_up:.0f} MB after the first images, "
            f"{soak.megabytes_in_the_end:.0f} MB in the end",
        ),
    ]
    statuses = ", ".join(f"{count} with {status}" for status, count in hostile.statuses.items())
    return result_page(
        "The service",
        "service",
        f"`camloc serve` with one map, and {_CLIENTS} clients on the same machine that send a photograph as "
        f"soon as the one before is answered. {measured.machine}.",
        table(("", ""), rows),
        f"Then {hostile.requests:,} requests that should be refused: damaged and huge images, other "
        f"formats, paths, addresses and pickles in place of images, impossible cameras and poses, wrong "
        f"methods. {hostile.refused_with_a_sentence:,} of them had a status 4xx and a sentence ({statuses}); "
        f"afterwards the service {'still' if hostile.answers_afterwards else 'no longer'} located a "
        f"photograph.",
        command="--runs RUN --images FOLDER",
    )


@cache
def _bomb() -> bytes:
    """A small PNG of 144 million pixels."""
    file = io.BytesIO()
    Image.new("1", (12_000, 12_000)).save(file, "PNG")
    return file.getvalue()


if __name__ == "__main__":
    tyro.cli(main)
