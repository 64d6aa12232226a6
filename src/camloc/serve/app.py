"""The service: `POST /locate` and a page to try it, as a FastAPI application.

Nothing in a request names a file, an address or a program: an image is the bytes of an image file, all else
is JSON of numbers. Each refusal is a status 4xx with one sentence in `detail`.
"""

import asyncio
import hmac
import json
import math
import os
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from importlib import resources
from typing import Annotated, Any

import numpy as np
from fastapi import FastAPI, File, Form, HTTPException, Request, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from starlette.exceptions import HTTPException as StarletteHTTPException

from camloc import __version__
from camloc.core.sampling import even_rows
from camloc.data.image_io import fitted_camera, image_size, read_with_camera
from camloc.data.query import Query
from camloc.data.types import Estimate, Located, Lost
from camloc.errors import CamlocError, ImageError, one_line
from camloc.geometry.camera import Camera
from camloc.geometry.pose import Pose
from camloc.inference.localizer import Localizer
from camloc.mapping.features import FeatureExtractor, FeatureSettings, feature_extractor
from camloc.serve.batching import Batcher, Full
from camloc.serve.metrics import Metrics
from camloc.serve.scenes import SceneStore

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_PAGE = {
    "": ("index.html", "text/html; charset=utf-8"),
    "page.js": ("page.js", "text/javascript; charset=utf-8"),
    "page.css": ("page.css", "text/css; charset=utf-8"),
}

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
        "connect-src 'self'; media-src 'self' blob:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}

# Points and frames of a scene that the page draws.
_DRAWN_POINTS, _DRAWN_FRAMES = 12_000, 400

# Which scene an image shows is found by the index; the maps of at most this many scenes are tried.
_ANY_SCENE = ""
_TRIED = 5

# After a scene has verified a pose, those with fewer votes than the first one's over this are not tried.
_CLEAR_VOTES = 2.0

# Seconds between two searches of the folders of bundles for new scenes.
_LOOK_AGAIN_SECONDS = 10.0

_CAMERA_HELP = 'Intrinsics as JSON: {"width", "height", "fx", "fy", "cx", "cy", "model", "distortion"}.'
_POSE_HELP = 'Where the camera was shortly before, as JSON: {"position", "quaternion_wxyz"}.'

_CAMERA_KEYS = {"width", "height", "fx", "fy", "cx", "cy", "model", "distortion"}
_POSE_KEYS = {"position", "quaternion_wxyz"}


def processors() -> int:
    """Processors that this process may use: fewer than the machine has in a container or under taskset."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class Limits:
    """The limits of a request and of the service.

    Attributes:
        body_bytes: of a request.
        pixels: of its image.
        seconds: from the request to the answer, and between the arrivals of two parts of a request.
        waiting: requests that wait for a thread; more are refused.
        threads: for the answers.
    """

    body_bytes: int = 20_000_000
    pixels: int = 50_000_000
    seconds: float = 30.0
    waiting: int = 64
    threads: int = field(default_factory=processors)


def create_app(store: SceneStore, *, limits: Limits | None = None, api_key: str = "") -> FastAPI:
    """The application of a service.

    Args:
        store: its scenes.
        limits: of requests.
        api_key: which requests must have in the header X-API-Key, or "" for none. The page and /health need
            none.
    """
    service = Service(store, limits or Limits())

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        looking = asyncio.create_task(_look_again(store))
        yield
        looking.cancel()
        service.close()

    app = FastAPI(
        title="camloc",
        version=__version__,
        description="Finds where a camera is from one photograph. Poses are world_from_cam: camera axes "
        "right, down, forward.",
        docs_url=None,  # its page loads programs from other hosts
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.service = service
    app.add_api_route("/locate", service.locate, methods=["POST"], summary="Locate an image")
    app.add_api_route("/scenes", service.scenes, summary="The scenes that are known")
    app.add_api_route("/scenes/{scene}", service.scene, summary="Points and cameras of a scene's map")
    app.add_api_route("/health", service.health, summary="Whether the service answers")
    app.add_api_route("/metrics", service.metrics_text, summary="Counts for Prometheus")
    for route, (file, kind) in _PAGE.items():
        app.add_api_route(f"/{route}", _static(file, kind), include_in_schema=False)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(StarletteHTTPException, _refused)
    app.add_exception_handler(Exception, _failed)
    app.add_middleware(_Guard, service=service, api_key=api_key)
    return app


class Service:
    """The handlers of the routes."""

    def __init__(self, store: SceneStore, limits: Limits) -> None:
        self.store, self.limits = store, limits
        self.metrics = Metrics()
        self._batcher: Batcher[Query, Estimate] = Batcher(
            self._answer, threads=limits.threads, most_waiting=limits.waiting
        )
        self._drawings: dict[str, bytes] = {}
        self._extractors = threading.local()

    def close(self) -> None:
        """End the threads."""
        self._batcher.close()

    async def locate(
        self,
        image: Annotated[UploadFile, File(description="A photograph: JPEG, PNG, WebP, HEIF, AVIF, TIFF.")],
        scene: Annotated[str, Form(description="Name of the scene; by default the image decides.")] = "",
        camera: Annotated[str, Form(description=_CAMERA_HELP)] = "",
        previous: Annotated[str, Form(description=_POSE_HELP)] = "",
        seconds: Annotated[str, Form(alias="time", description="Time of the image in seconds.")] = "",
    ) -> JSONResponse:
        """The camera pose of an image, or why there is none."""
        started = time.perf_counter()
        content = await image.read()
        query = _query(content, camera, previous, seconds)
        if scene and not await asyncio.to_thread(self.store.has, scene):
            raise HTTPException(404, f"there is no scene {_shown(scene)}; GET /scenes lists them")
        try:
            # Decoding is bounded by the pixels that the header says.
            query = await asyncio.to_thread(_decoded, query, self.limits.pixels)
            future = self._batcher.submit(scene or _ANY_SCENE, query)
        except ImageError as problem:
            raise HTTPException(415, str(problem)) from None
        except Full:
            raise HTTPException(
                429, "too many requests wait; try again in a second", headers={"Retry-After": "1"}
            ) from None
        try:
            estimate = await asyncio.wait_for(asyncio.wrap_future(future), self.limits.seconds)
        except TimeoutError:
            future.cancel()
            raise HTTPException(
                503, f"no answer within {self.limits.seconds:g} s; try again", headers={"Retry-After": "5"}
            ) from None
        except (CamlocError, ValueError) as problem:
            raise HTTPException(422, one_line(problem)) from None
        elapsed = time.perf_counter() - started
        self.metrics.answer(_kind(estimate), elapsed)
        return JSONResponse(self._content(estimate) | {"seconds": round(elapsed, 4)})

    async def scenes(self) -> dict[str, Any]:
        """The names of the scenes, and the bundles that cannot be used with the reason."""
        names = await asyncio.to_thread(self.store.refresh)
        return {"scenes": list(names), "unusable": dict(self.store.damaged)}

    async def scene(self, scene: str) -> Response:
        """Points (x, y, z, ...) and cameras (x, y, z, qw, qx, qy, qz, ...) of a scene's map, subsampled."""
        if not await asyncio.to_thread(self.store.has, scene):
            raise HTTPException(404, f"there is no scene {_shown(scene)}; GET /scenes lists them")
        return Response(await asyncio.to_thread(self._drawing, scene), media_type="application/json")

    async def health(self) -> dict[str, Any]:
        """The status of the service."""
        return {"status": "ok", "version": __version__, "waiting": self._batcher.waiting}

    async def metrics_text(self) -> PlainTextResponse:
        """Counts in the text format of Prometheus."""
        text = self.metrics.text(
            waiting_requests=self._batcher.waiting,
            scenes=len(self.store.names),
            loaded_bundles=self.store.loaded,
            loaded_bundle_bytes=self.store.loaded_bytes,
            index_bytes=self.store.index_bytes,
            bundle_loads=self.store.loads,
            largest_batch=self._batcher.largest_batch,
        )
        return PlainTextResponse(text, media_type="text/plain; version=0.0.4")

    def _answer(self, scene: str, queries: Sequence[Query]) -> list[Estimate]:
        """The estimates of queries in one scene, or each in the scene that it shows."""
        if scene != _ANY_SCENE:
            return self._in_scene(scene, queries)
        if self.store.is_one_bundle:
            names = self.store.names
            localizer = self.store.localizer(names[0])
            if localizer.network is not None or len(names) == 1:  # it finds the scene itself
                return localizer.locate(list(queries))
        return [self._anywhere(query) for query in queries]

    def _in_scene(self, scene: str, queries: Sequence[Query]) -> list[Estimate]:
        found = self._of(scene).locate(list(queries))
        return [_only_in(scene, each) for each in found]

    def _of(self, scene: str) -> Localizer:
        """The localizer of a scene, which tries no map of another one."""
        localizer = self.store.localizer(scene)
        only = {name: each for name, each in localizer.maps.items() if name == scene}
        return replace(localizer, maps=only) if only and len(localizer.maps) > 1 else localizer

    def _anywhere(self, query: Query) -> Estimate:
        """The estimate in the scene that an image shows: the maps of the likeliest few decide.

        Scenes that look alike may both confirm a pose: the one with the most inliers counts, unless the
        first one has by far the most votes.
        """
        upright = np.asarray(read_with_camera(query.frame())[0])
        features = {
            settings: self._extractor(settings).extract(upright) for settings in self.store.feature_settings()
        }
        ranked = self.store.ranked(features)[:_TRIED] or tuple(
            (name, 0.0) for name in self.store.names[:_TRIED]
        )
        best: Estimate = Lost("no scene is like this image")
        for number, (scene, votes) in enumerate(ranked):
            if _is_verified(best) and votes * _CLEAR_VOTES < ranked[0][1]:
                break
            try:
                found = _only_in(scene, self._of(scene).locate(query, features=features))
            except KeyError:  # it was removed meanwhile
                continue
            if (
                number == 0
                or _inliers(found) > _inliers(best)
                or (isinstance(best, Lost) and isinstance(found, Located))
            ):
                best = found
        return best

    def _extractor(self, settings: FeatureSettings) -> FeatureExtractor:
        """An extractor of this thread."""
        own: dict[FeatureSettings, FeatureExtractor] = self._extractors.__dict__.setdefault("own", {})
        if settings not in own:
            own[settings] = feature_extractor(settings)
        return own[settings]

    def _content(self, estimate: Estimate) -> dict[str, Any]:
        content = estimate.to_dict()
        anchor = self.store.anchor(estimate.scene) if isinstance(estimate, Located) else None
        if isinstance(estimate, Located) and anchor is not None:
            content["geopose"] = anchor.geopose(estimate)
        return content

    def _drawing(self, scene: str) -> bytes:
        if scene not in self._drawings:
            scene_map = self.store.localizer(scene).map_of(scene)
            if scene_map is None:
                raise HTTPException(404, f"the scene {_shown(scene)} has no map to draw")
            points, frames = (
                even_rows(len(scene_map), _DRAWN_POINTS),
                even_rows(len(scene_map.frame_names), _DRAWN_FRAMES),
            )
            poses = np.concatenate((scene_map.frame_centers(), scene_map.frame_quaternions_wxyz), axis=1)
            content = {
                "scene": scene,
                "unit": scene_map.unit,
                "points": scene_map.points_in_world(points).round(4).flatten().tolist(),
                "cameras": poses[frames].round(5).flatten().tolist(),
            }
            if len(self._drawings) >= 32:
                self._drawings.clear()
            self._drawings[scene] = json.dumps(content, separators=(",", ":")).encode()
        return self._drawings[scene]


async def _look_again(store: SceneStore) -> None:
    """Find scenes that are added to the folders, now and then."""
    while True:
        await asyncio.sleep(_LOOK_AGAIN_SECONDS)
        await asyncio.to_thread(store.refresh)


def _only_in(scene: str, found: Estimate) -> Estimate:
    if isinstance(found, Located) and found.scene != scene:
        return Lost(f"the image shows {found.scene}, not {scene}")
    return found


def _is_verified(estimate: Estimate) -> bool:
    return isinstance(estimate, Located) and estimate.is_verified


def _inliers(estimate: Estimate) -> int:
    """Inliers of a verified pose; 0 of others."""
    found = estimate.verification if isinstance(estimate, Located) else None
    return 0 if found is None else found.inliers


class _Guard:
    """Checks the key and the size of a request before anything reads it; counts answers; adds headers."""

    def __init__(
        self, app: Callable[[Scope, Receive, Send], Awaitable[None]], service: Service, api_key: str
    ) -> None:
        self._app, self._service, self._key = app, service, api_key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limits, path = self._service.limits, str(scope["path"])
        headers = dict(scope["headers"])
        received = 0

        async def counted() -> Message:
            nonlocal received
            try:
                message = await asyncio.wait_for(receive(), limits.seconds)
            except TimeoutError:
                raise HTTPException(408, f"the request did not arrive within {limits.seconds:g} s") from None
            received += len(message.get("body", b""))
            if received > limits.body_bytes:
                raise HTTPException(413, _too_large(limits))
            return message

        async def answered(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._service.metrics.request(_route(path), int(message["status"]))
                message["headers"] = [
                    *message.get("headers", []),
                    *((name.lower().encode(), value.encode()) for name, value in _HEADERS.items()),
                ]
            await send(message)

        refusal = None
        if self._key and not _is_open(path) and not self._has_key(headers):
            refusal = (401, "this service needs a key; send it in the header X-API-Key")
        elif not _is_length_allowed(headers.get(b"content-length"), limits.body_bytes):
            refusal = (413, _too_large(limits))
        if refusal is not None:
            status, sentence = refusal
            await JSONResponse({"detail": sentence}, status)(scope, receive, answered)
            return
        try:
            await self._app(scope, counted, answered)
        except HTTPException as problem:
            await JSONResponse({"detail": problem.detail}, problem.status_code)(scope, receive, answered)

    def _has_key(self, headers: Mapping[bytes, bytes]) -> bool:
        return hmac.compare_digest(headers.get(b"x-api-key", b""), self._key)


def _query(content: bytes, camera: str, previous: str, seconds: str) -> Query:
    """The query of a request, its image not decoded yet.

    Raises:
        HTTPException: a part of the form is malformed.
    """
    return Query(
        content,
        camera=_camera(camera) if camera else None,
        previous=_pose(previous) if previous else None,
        time=_finite(seconds, "time") if seconds else None,
        name="the image",
    )


def _decoded(query: Query, most_pixels: int) -> Query:
    """The query with its image in memory, decoded once for all scenes that are tried.

    Raises:
        ImageError: it is not an image, or too large.
        HTTPException: the camera is for images of another shape.
    """
    assert isinstance(query.image, bytes)
    width, height = image_size(query.image, "the image")
    if width * height > most_pixels:
        raise ImageError(
            f"the image has {width} x {height} pixels; {most_pixels:,} are the most, resize it first"
        )
    frame = query.frame()
    if query.camera is not None and fitted_camera(frame) is None:
        raise HTTPException(
            422,
            f"camera is for {query.camera.width} x {query.camera.height} pixels, and the image has "
            f"{width} x {height}",
        )
    assert frame.memory is not None
    return replace(query, image=frame.memory)


def _camera(text: str) -> Camera:
    content = _object(text, "camera", _CAMERA_KEYS)
    try:
        width, height = (int(content[name]) for name in ("width", "height"))
        fx, fy, cx, cy = (float(content[name]) for name in ("fx", "fy", "cx", "cy"))
        distortion = tuple(float(each) for each in content.get("distortion", ()))
        return Camera(width, height, fx, fy, cx, cy, str(content.get("model", "PINHOLE")), distortion)
    except KeyError as problem:
        raise HTTPException(422, f"camera lacks {problem.args[0]}") from None
    except (TypeError, ValueError, OverflowError) as problem:
        raise HTTPException(422, f"camera cannot be used: {one_line(problem)[:200]}") from None


def _pose(text: str) -> Pose:
    content = _object(text, "previous", _POSE_KEYS)
    try:
        position = np.array([float(each) for each in content["position"]])
        quaternion = np.array([float(each) for each in content["quaternion_wxyz"]])
        if position.shape != (3,) or quaternion.shape != (4,):
            raise ValueError("position has 3 numbers and quaternion_wxyz 4")
        pose = Pose.from_quaternion_wxyz(quaternion, position)
        if not bool(pose.is_finite()):
            raise ValueError("a number is not finite")
        return pose
    except KeyError as problem:
        raise HTTPException(422, f"previous lacks {problem.args[0]}") from None
    except (TypeError, ValueError, OverflowError) as problem:
        raise HTTPException(422, f"previous cannot be used: {one_line(problem)[:200]}") from None


def _object(text: str, name: str, keys: set[str]) -> dict[str, Any]:
    if len(text) > 4096:
        raise HTTPException(422, f"{name} has {len(text)} characters; 4096 are the most")
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        raise HTTPException(422, f"{name} is not JSON") from None
    if not isinstance(content, dict):
        raise HTTPException(422, f"{name} is not a JSON object with {', '.join(sorted(keys))}")
    if unknown := content.keys() - keys:
        raise HTTPException(
            422, f"{name} has a key {_shown(min(unknown))}; its keys are {', '.join(sorted(keys))}"
        )
    return content


def _finite(text: str, name: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise HTTPException(422, f"{name} is not a finite number of seconds")
    return number


def _kind(estimate: Estimate) -> str:
    if isinstance(estimate, Lost):
        return "lost"
    return "verified" if estimate.is_verified else "unverified"


def _shown(text: str) -> str:
    return ascii(text[:60])


def _too_large(limits: Limits) -> str:
    return f"the request has more than {limits.body_bytes:,} bytes; resize the image"


def _is_length_allowed(length: bytes | None, most: int) -> bool:
    return length is None or (length.isdigit() and len(length) < 19 and int(length) <= most)


def _route(path: str) -> str:
    """The fixed part of a route, so that metrics stay few."""
    head = path.split("/")[1] if path.count("/") else ""
    return (
        f"/{head}" if head in ("locate", "scenes", "health", "metrics", "openapi.json", *_PAGE) else "other"
    )


def _is_open(path: str) -> bool:
    return path == "/health" or path.removeprefix("/") in _PAGE


def _static(file: str, kind: str) -> Callable[[], Awaitable[Response]]:
    content = resources.files("camloc.serve").joinpath("page", file).read_bytes()

    async def page() -> Response:
        return Response(content, media_type=kind)

    return page


async def _invalid(_: Request, problem: Exception) -> JSONResponse:
    """One sentence instead of FastAPI's list."""
    errors = problem.errors() if isinstance(problem, RequestValidationError) else []
    first = errors[0] if errors else {"loc": ("body",), "msg": "it cannot be read"}
    where = ".".join(str(each) for each in first["loc"][1:]) or "body"
    if where == "image":
        return JSONResponse({"detail": "send the photograph as the file `image` of multipart/form-data"}, 422)
    return JSONResponse({"detail": f"{_shown(where)} cannot be used: {str(first['msg'])[:200]}"}, 422)


async def _refused(_: Request, problem: Exception) -> JSONResponse:
    assert isinstance(problem, StarletteHTTPException)
    detail = str(problem.detail)
    sentences = {404: "there is no such page", 405: "this page does not take that method"}
    if detail in ("Not Found", "Method Not Allowed"):
        detail = f"{sentences[problem.status_code]}; GET /openapi.json lists what there is"
    return JSONResponse({"detail": detail}, problem.status_code, headers=problem.headers)


async def _failed(_: Request, __: Exception) -> JSONResponse:
    return JSONResponse({"detail": "the service failed; its log says why"}, 500)
