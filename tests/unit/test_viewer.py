"""What the viewer draws: the sizes of ellipsoids, the layers, and that its page is served."""

import socket
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.spatial.transform import Rotation
from tests.support.coded_images import pose_of

from camloc.data.types import Estimate, Frame, Located, Lost
from camloc.errors import CamlocError
from camloc.geometry.pose import Pose
from camloc.serve.viewer import Content, _photograph, ellipsoid, show, typical_size


def frames(folder: Path, count: int = 4) -> list[Frame]:
    made = []
    for number in range(count):
        Image.new("RGB", (64, 48)).save(folder / f"{number}.png")
        made.append(Frame(f"{number}.png", folder / f"{number}.png", world_from_cam=pose_of(5 * number)))
    return made


def test_an_ellipsoid_has_three_deviations_along_its_axes() -> None:
    turn = Rotation.from_euler("xyz", [0.3, -0.5, 1.1]).as_matrix()
    covariance = turn @ np.diag([0.01, 0.04, 0.09]) @ turn.T
    axes, (w, x, y, z) = ellipsoid(covariance)
    np.testing.assert_allclose(axes, [0.3, 0.6, 0.9])
    found = Rotation.from_quat([x, y, z, w]).as_matrix()
    np.testing.assert_allclose(found @ np.diag(axes**2) @ found.T, 9.0 * covariance, atol=1e-12)


def test_the_size_of_a_scene_is_that_of_the_walk(tmp_path: Path) -> None:
    assert typical_size(Content("a", np.zeros((0, 3)), frames(tmp_path)[:1])) == 1.0
    assert 0.05 < typical_size(Content("a", np.zeros((0, 3)), frames(tmp_path))) < 1.0


def test_the_page_is_served_and_has_all_layers(tmp_path: Path) -> None:
    some = frames(tmp_path)
    near = Located("a", Pose(pose_of(5).rotation, pose_of(5).translation + 0.1), covariance=np.eye(6) * 1e-4)
    content = Content(
        "a",
        np.random.default_rng(0).normal(size=(50, 3)),
        some[:2],
        [(some[1], near), (some[2], Lost("dark"))],
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = show(content, host="127.0.0.1", port=port)
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.get_port()}/", timeout=10) as answer:
            assert b"<html" in answer.read().lower()
        for name in ("/points", "/training/0", "/truth/1", "/estimates/0", "/uncertainty/0", "/errors"):
            assert server.scene.get_handle_by_name(name) is not None, name
        assert server.scene.get_handle_by_name("/estimates/1") is None
    finally:
        server.stop()


def test_an_address_that_cannot_be_used_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(CamlocError, match="--port"):
        show(Content("a", np.zeros((0, 3)), frames(tmp_path)), host="256.0.0.1", port=1)


class _Server:
    """A server of viser, as far as the button for photographs uses it."""

    def __init__(self) -> None:
        self.gui, self.scene = self, self
        self.drawn: list[list[float]] = []
        self.value = SimpleNamespace(content=b"")

    def add_upload_button(self, _label: str, *, mime_type: str) -> "_Server":
        assert mime_type == "image/*"
        return self

    def on_upload(self, call: Callable[[object], None]) -> None:
        self.upload = call

    def add_camera_frustum(self, _name: str, **options: Any) -> None:
        self.drawn.append(options["position"].tolist())


def test_a_photograph_is_shown_where_it_was_taken(tmp_path: Path) -> None:
    frames(tmp_path, 1)
    photograph = (tmp_path / "0.png").read_bytes()
    answers: list[Estimate] = [Located("a", pose_of(5)), Lost("dark"), Located("b", pose_of(5))]
    content = Content("a", np.zeros((0, 3)))
    server, image, text = _Server(), SimpleNamespace(), SimpleNamespace()
    _photograph(server, content, lambda _: answers.pop(0), 1.0, image, text)
    shown = []
    for bytes_given in (photograph, photograph, photograph, b"no image"):
        server.value.content = bytes_given
        if bytes_given == b"no image":
            answers.append(Lost("never shown"))
        server.upload(None)
        shown.append(text.content)
    assert server.drawn == [pose_of(5).translation.tolist()]
    assert image.image.shape == (48, 64, 3)
    assert shown[0].startswith("not verified at ")
    assert shown[1:3] == ["lost: dark", "this is in another scene, b"]
    assert "the photograph" in shown[3]
