"""What a cluster is made of: the application of a replica, its options, and the worker of images.

Ray itself is needed by one test, which is left out where it is not installed.
"""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from tests.support.coded_images import coded_image, pose_of, read_codes, write_run
from tests.support.command_line import refused

from camloc.data.query import NamedQuery, Query
from camloc.data.types import Located
from camloc.errors import ImageError
from camloc.serve.app import Limits
from camloc.serve.cluster import ImageWorker, Replicas, located_in_cluster

HAS_RAY = importlib.util.find_spec("ray") is not None


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("run"))


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    Image.fromarray(coded_image(5)).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def test_a_replica_is_the_service_of_one_machine(
    run: Path, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_codes(monkeypatch)
    replicas = Replicas((run,), Limits(threads=2, waiting=10), api_key="k", least=1, most=3)
    with TestClient(replicas.app(), headers={"X-API-Key": "k"}) as client:
        answer = client.post("/locate", files={"image": photo.read_bytes()}).json()
    np.testing.assert_allclose(answer["position"], pose_of(5).translation, atol=0.03)
    options = replicas.deployment_options()
    assert options["autoscaling_config"]["max_replicas"] == 3
    assert options["max_ongoing_requests"] == 12
    assert options["ray_actor_options"] == {"num_cpus": 2}


def test_a_worker_locates_the_images_of_its_batch(
    run: Path, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_codes(monkeypatch)
    worker = ImageWorker(str(run), {}, (Query(photo, time=2.0), Query(run / "missing.png")))
    found = worker({"number": np.array([1, 0])})
    assert found["number"].tolist() == [1, 0]
    missing, located = found["estimate"]
    assert isinstance(missing, ImageError)
    assert isinstance(located, Located)
    assert located.time == 2.0


def test_images_that_are_no_files_are_refused_before_a_cluster_is_started(run: Path) -> None:
    item = NamedQuery("video#1", Query(coded_image(5)))
    with pytest.raises(ImageError, match="video#1 is not a file"):
        next(located_in_cluster(run, [item], options={}, workers=1))


@pytest.mark.skipif(HAS_RAY, reason="Ray is installed")
def test_without_ray_a_sentence_names_the_extra(
    run: Path, photo: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for command in (("serve", run, "--cluster"), ("locate", run, photo, "--cluster", "2")):
        assert "pip install 'camloc[cluster]'" in refused(capfd, *command)


@pytest.mark.skipif(not HAS_RAY, reason="Ray is not installed; pip install 'camloc[cluster]'")
def test_ray_data_locates_images_in_order(run: Path, photo: Path) -> None:
    items = [NamedQuery(str(number), Query(photo)) for number in range(3)]
    items.append(NamedQuery("missing", Query(photo.with_name("missing.png"))))
    found = list(located_in_cluster(run, items, options={"verify": "always"}, workers=1))
    assert [item.label for item, _ in found] == ["0", "1", "2", "missing"]
    assert isinstance(found[-1][1], ImageError)
