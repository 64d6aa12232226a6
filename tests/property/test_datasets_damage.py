"""Whatever becomes of a file of poses, reading it ends in a scene or in one sentence."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.damage import SCENE
from tests.support.layouts import WRITERS

from camloc.data import formats as datasets
from camloc.errors import DatasetError

NASTY = st.sampled_from(
    [
        *(b"", b"\0", b"\xff\xfe", b"\xff" * 16, b"\xe2\x80\xa8", b"\r", b"\n\n", b"\t", b'"', b",,", b"#"),
        *(b"{", b"]", b"null", b"nan", b"-inf", b"1e999", b"9" * 400, b"99999999", b"-1", b"0x1"),
        *(b"../..", b"/", b"PINHOLE"),
    ]
)


@pytest.mark.parametrize("variant", WRITERS)
@settings(max_examples=25)
@given(data=st.data())
def test_a_damaged_file_is_read_or_refused_in_a_sentence(variant: str, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        options = WRITERS[variant](root, SCENE)
        path = data.draw(st.sampled_from(sorted(path for path in root.rglob("*") if _holds_poses(path))))
        content = path.read_bytes()
        start = data.draw(st.integers(0, len(content)))
        end = min(len(content), start + data.draw(st.integers(0, 30)))
        path.write_bytes(content[:start] + data.draw(NASTY) + content[end:])
        try:
            scene = datasets.load(root, layout=variant.partition(":")[0], **options)
        except DatasetError as refusal:
            assert "\n" not in str(refusal)  # noqa: PT017 - a scene is as good an end
        else:
            assert scene.train


def _holds_poses(path: Path) -> bool:
    return path.is_file() and path.suffix != ".png"
