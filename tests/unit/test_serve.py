"""The service: answers, refusals in one sentence, limits, keys, scenes that come and go."""

import io
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from tests.support.coded_images import coded_image, pose_of, read_codes, write_run
from tests.support.command_line import refused
from tests.support.synthetic_map import foreign

from camloc.errors import CheckpointError
from camloc.serve.app import Limits, create_app
from camloc.serve.batching import Batcher, Full
from camloc.serve.scenes import SceneStore


@pytest.fixture(autouse=True)
def codes(monkeypatch: pytest.MonkeyPatch) -> None:
    read_codes(monkeypatch)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    write_run(folder / "first", "room")
    write_run(folder / "second", "attic")
    return folder


@pytest.fixture(scope="module")
def client(runs: Path) -> Iterator[TestClient]:
    limits = Limits(body_bytes=300_000, pixels=100_000, seconds=20.0, waiting=8, threads=2)
    with TestClient(create_app(SceneStore([runs]), limits=limits)) as made:
        yield made


def png(step: int = 3, *, scene: str = "room", is_covered: bool = False) -> bytes:
    file = io.BytesIO()
    Image.fromarray(coded_image(step, scene=scene, is_covered=is_covered)).save(file, "PNG")
    return file.getvalue()


def located(client: TestClient, content: bytes, **data: str) -> dict[str, Any]:
    answer = client.post("/locate", files={"image": content}, data=data)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


@pytest.mark.parametrize("scene", ["room", "attic"])
def test_the_image_finds_its_scene_and_its_pose(scene: str, client: TestClient) -> None:
    found = located(client, png(5, scene=scene))
    assert (found["located"], found["verified"], found["scene"], found["unit"]) == (True, True, scene, "m")
    np.testing.assert_allclose(found["position"], pose_of(5).translation, atol=0.03)
    assert found == json.loads(json.dumps(found))
    named = located(client, png(5, scene=scene), scene=scene, time="2.5")
    assert named["time_seconds"] == 2.5
    assert named["position"] == found["position"]


def test_the_scene_of_a_turned_photograph_is_sought_in_the_upright_image(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes = []

    class Extractor:
        def extract(self, image: Any, mask: object = None) -> Any:
            del mask
            shapes.append(image.shape)
            return foreign()

    monkeypatch.setattr("camloc.serve.app.feature_extractor", lambda _: Extractor())
    client.app.state.service._extractors = threading.local()  # type: ignore[attr-defined]
    photograph, file = Image.open(io.BytesIO(png())), io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    photograph.save(file, "PNG", exif=exif)
    located(client, file.getvalue())
    assert shapes == [(320, 240, 3)]
    client.app.state.service._extractors = threading.local()  # type: ignore[attr-defined]


def test_intrinsics_and_the_previous_pose_are_used(client: TestClient) -> None:
    camera = {"width": 320, "height": 240, "fx": 260, "fy": 260, "cx": 160, "cy": 120}
    previous = {"position": [0.0, 0.4, 0.1], "quaternion_wxyz": pose_of(4).quaternion_wxyz().tolist()}
    found = located(client, png(5), scene="room", camera=json.dumps(camera), previous=json.dumps(previous))
    assert found["verification"]["found_by"] == "prior"
    assert found["camera"]["fx"] == 260


def test_a_lost_image_is_an_answer(client: TestClient) -> None:
    found = located(client, png(is_covered=True))
    assert found["located"] is False
    assert len(found["reason"]) > 10


def refusals() -> dict[str, tuple[int, dict[str, Any]]]:
    image = {"image": png()}
    huge = io.BytesIO()
    Image.new("1", (4000, 4000)).save(huge, "PNG")
    return {
        "no image": (422, {}),
        "a path": (422, {"data": {"image": "/etc/passwd"}}),
        "an address": (422, {"json": {"image": "http://127.0.0.1/a.png"}}),
        "no image file": (415, {"files": {"image": b"no image"}}),
        "an empty file": (415, {"files": {"image": b""}}),
        "a pickle": (415, {"files": {"image": b"\x80\x04cos\nsystem\n(S'true'\ntR."}}),
        "a damaged image": (415, {"files": {"image": png()[:200]}}),
        "many pixels": (415, {"files": {"image": huge.getvalue()}}),
        "many bytes": (413, {"content": b"0" * 400_000}),
        "an unknown scene": (404, {"files": image, "data": {"scene": "../../etc"}}),
        "a camera that is a path": (422, {"files": image, "data": {"camera": "/etc/passwd"}}),
        "a camera without focal length": (422, {"files": image, "data": {"camera": '{"width": 9}'}}),
        "a camera of another shape": (
            422,
            {
                "files": image,
                "data": {"camera": '{"width": 9, "height": 99, "fx": 9, "fy": 9, "cx": 4, "cy": 9}'},
            },
        ),
        "a deep object": (422, {"files": image, "data": {"camera": "[" * 3000}}),
        "another key": (422, {"files": image, "data": {"camera": '{"path": "/etc/passwd"}'}}),
        "no rotation": (
            422,
            {
                "files": image,
                "data": {"previous": '{"position": [0, 0, 0], "quaternion_wxyz": [0, 0, 0, 0]}'},
            },
        ),
        "a time that is none": (422, {"files": image, "data": {"time": "nan"}}),
    }


@pytest.mark.parametrize("kind", refusals())
def test_what_cannot_be_answered_is_refused_in_a_sentence(kind: str, client: TestClient) -> None:
    status, request = refusals()[kind]
    answer = client.post("/locate", **request)
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"detail"}
    assert 15 < len(answer.json()["detail"]) < 400
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_pages_that_are_not_there_and_wrong_methods_are_sentences(client: TestClient) -> None:
    for status, answer in (
        (404, client.get("/docs")),
        (404, client.get("/page/../app.py")),
        (404, client.get("/scenes/nowhere")),
        (405, client.get("/locate")),
    ):
        assert answer.status_code == status
        assert len(answer.json()["detail"]) > 15


def test_health_metrics_schema_and_page(client: TestClient) -> None:
    located(client, png())
    assert client.get("/health").json()["status"] == "ok"
    text = client.get("/metrics").text
    assert 'camloc_requests_total{route="/locate",status="200"}' in text
    assert "camloc_locate_seconds_count" in text
    assert all(line.startswith("#") or len(line.rsplit(" ", 1)) == 2 for line in text.splitlines())
    assert "/locate" in client.get("/openapi.json").json()["paths"]
    page = client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    for name in ("page.js", "page.css"):
        assert client.get(f"/{name}").status_code == 200
    assert "http" not in page.text.replace("http-equiv", "")


def test_a_scene_is_drawn_from_its_map(client: TestClient) -> None:
    drawing = client.get("/scenes/room").json()
    assert len(drawing["points"]) % 3 == len(drawing["cameras"]) % 7 == 0
    assert np.abs(np.array(drawing["points"])).max() < 5


def test_a_key_is_needed_where_there_is_one(runs: Path) -> None:
    with TestClient(create_app(SceneStore([runs / "first"]), api_key="secret")) as client:
        for headers in ({}, {"X-API-Key": "Secret"}, {"X-API-Key": "secret2"}):
            answer = client.post("/locate", files={"image": png()}, headers=headers)
            assert answer.status_code == 401
            assert "X-API-Key" in answer.json()["detail"]
        assert client.get("/scenes").status_code == 401
        assert client.get("/health").status_code == client.get("/").status_code == 200
        located_with = client.post("/locate", files={"image": png()}, headers={"X-API-Key": "secret"})
        assert located_with.status_code == 200


def test_a_scene_is_added_and_removed_without_a_restart_and_memory_is_bounded(tmp_path: Path) -> None:
    write_run(tmp_path / "a", "room")
    store = SceneStore([tmp_path], most_bytes=1)
    assert store.refresh() == ("room",)
    write_run(tmp_path / "b", "attic")
    assert store.refresh() == ("room", "attic")
    for scene in ("room", "attic", "attic", "room"):
        assert store.localizer(scene).scenes == (scene,)
    assert (store.loaded, store.loads) == (1, 3)
    (tmp_path / "a" / "map" / "0" / "map.json").unlink()
    (tmp_path / "a" / "map" / "0" / "map.safetensors").unlink()
    (tmp_path / "a" / "map" / "0").rmdir()
    (tmp_path / "a" / "map").rmdir()
    assert store.refresh() == ("attic",)
    with pytest.raises(KeyError):
        store.localizer("room")


def test_a_damaged_run_does_not_stop_the_others(tmp_path: Path) -> None:
    write_run(tmp_path / "a", "room")
    write_run(tmp_path / "b", "attic")
    (tmp_path / "b" / "map" / "0" / "map.json").write_text("{")
    store = SceneStore([tmp_path])
    assert store.names == ("room",)
    assert len(store.damaged) == 1
    with pytest.raises(CheckpointError, match="no scene"):
        SceneStore([tmp_path / "b"])
    with pytest.raises(CheckpointError, match="does not exist"):
        SceneStore([tmp_path / "c"])


def test_geopose_is_there_where_the_scene_has_a_place(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    entry = {
        "latitude_degrees": 48.1,
        "longitude_degrees": 11.6,
        "height_meters": 520.0,
        "enu_from_world": np.eye(4).tolist(),
    }
    (run / "anchor.json").write_text(json.dumps({"room": entry}))
    with TestClient(create_app(SceneStore([run]))) as client:
        assert set(located(client, png())["geopose"]) == {"position", "quaternion"}


def test_work_that_waits_is_answered_together_and_too_much_is_refused() -> None:
    started, proceed = threading.Event(), threading.Event()
    sizes: list[int] = []

    def answer(key: str, work: Any) -> list[str]:
        sizes.append(len(work))
        started.set()
        proceed.wait(10.0)
        return [f"{key}{each}" for each in work]

    batcher: Batcher[int, str] = Batcher(answer, threads=1, most_waiting=5)
    first = batcher.submit("a", 0)
    started.wait(10.0)
    waiting = [batcher.submit("a", 1), batcher.submit("b", 2), batcher.submit("a", 3), batcher.submit("a", 4)]
    waiting[3].cancel()
    batcher.submit("c", 5)
    with pytest.raises(Full):
        batcher.submit("a", 6)
    proceed.set()
    assert first.result(10.0) == "a0"
    assert [each.result(10.0) for each in waiting[:3]] == ["a1", "b2", "a3"]
    assert sizes[:2] == [1, 2]
    batcher.close()


def test_an_answer_that_fails_is_the_request_s_and_the_thread_goes_on() -> None:
    def answer(key: str, work: Any) -> list[int]:
        if key == "bad":
            raise ValueError("no")
        return list(work)

    batcher: Batcher[int, int] = Batcher(answer, threads=1, most_waiting=5)
    with pytest.raises(ValueError, match="no"):
        batcher.submit("bad", 1).result(10.0)
    assert batcher.submit("good", 2).result(10.0) == 2
    batcher.close()


def test_a_slow_answer_is_given_up(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(*_: object) -> list[object]:
        time.sleep(1.0)
        return []

    app = create_app(SceneStore([runs / "first"]), limits=Limits(seconds=0.2, threads=1))
    monkeypatch.setattr(app.state.service._batcher, "_answer", slow)
    with TestClient(app) as client:
        answer = client.post("/locate", files={"image": png()})
    assert answer.status_code == 503
    assert "no answer within" in answer.json()["detail"]


@pytest.mark.parametrize("option", [("--port", "0"), ("--seconds", "nan"), ("--memory", "much")])
def test_options_that_do_not_fit_are_refused(
    option: tuple[str, str], runs: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert {option[0], f"'{option[1]}'"} & set(
        refused(capfd, "serve", runs, *option, status=2).replace(",", "").split()
    )
