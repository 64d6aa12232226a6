"""`camloc download`, against a server on this machine that breaks, changes its files and has bad archives."""

import io
import stat
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from camloc.cli.main import main
from camloc.data import download
from camloc.data.download import SOURCES, Archive, Source
from camloc.errors import DatasetError


@dataclass
class Server:
    """What it serves and how it behaves.

    Attributes:
        files: by path.
        tag: of the version of all files.
        most: bytes of a body before the connection is closed, or 0.
        ranges: what was requested, in its order.
    """

    address: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    tag: str = '"one"'
    most: int = 0
    ranges: list[str] = field(default_factory=list)

    def archive(self, content: bytes, **other: str) -> Archive:
        self.files["/chess.zip"] = content
        return Archive(f"{self.address}/chess.zip", **other)  # type: ignore[arg-type]


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Nothing is logged."""

        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def do_GET(self) -> None:
            state.ranges.append(self.headers.get("Range", ""))
            self._answer(with_body=True)

        def _answer(self, *, with_body: bool) -> None:
            if self.path == "/page.zip":
                self._head(200, 2, **{"Content-Type": "text/html"})
                return
            if self.path == "/moved.zip":
                self._head(302, 0, Location="file:///etc/passwd")
                return
            if self.path not in state.files:
                self._head(404, 0)
                return
            content, start = state.files[self.path], 0
            if self.headers.get("Range") and self.headers.get("If-Range") == state.tag:
                start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
                if start >= len(content):
                    self._head(416, 0)
                    return
                where = f"bytes {start}-{len(content) - 1}/{len(content)}"
                self._head(206, len(content) - start, **{"Content-Range": where})
            else:
                self._head(200, len(content))
            if with_body:
                body = content[start:]
                self.wfile.write(body[: state.most] if state.most else body)

        def _head(self, status: int, length: int, **headers: str) -> None:
            self.send_response(status)
            headers = {"Content-Type": "application/zip", "ETag": state.tag} | headers
            for name, value in {**headers, "Content-Length": str(length)}.items():
                self.send_header(name, value)
            self.end_headers()

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        state.address = f"http://127.0.0.1:{running.server_port}"
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield state
        running.shutdown()
        thread.join()


def zipped(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


SEQUENCE = zipped({"seq-01/frame-000000.pose.txt": b"1 0 0 0\n", "seq-01/Thumbs.db": b"x"})
CHESS = zipped(
    {"chess/TrainSplit.txt": b"sequence1\n", "chess/seq-01.zip": SEQUENCE, "chess/big": b"." * 5000}
)


def files_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


COMPLETE = {"chess/TrainSplit.txt", "chess/seq-01/frame-000000.pose.txt", "chess/big"}


def test_an_archive_and_those_within_it_are_unpacked(server: Server, tmp_path: Path) -> None:
    archive = server.archive(CHESS, sha256=sha256(CHESS).hexdigest())
    download.download("chess", archive, tmp_path)
    assert files_below(tmp_path) == COMPLETE
    assert (tmp_path / "chess/seq-01/frame-000000.pose.txt").read_bytes() == b"1 0 0 0\n"


def test_a_connection_that_breaks_goes_on_where_it_broke(server: Server, tmp_path: Path) -> None:
    server.most = 2000
    download.download("chess", server.archive(CHESS), tmp_path)
    assert server.ranges[:3] == ["", "bytes=2000-", "bytes=4000-"]
    assert files_below(tmp_path) == COMPLETE


def test_a_later_call_goes_on_where_the_last_one_was_stopped(server: Server, tmp_path: Path) -> None:
    archive = server.archive(CHESS)

    class Stopped(Exception):  # noqa: N818
        pass

    def stop(_step: str, done: int, _of: int) -> None:
        if done >= 1000:
            raise Stopped

    server.most = 1500
    with pytest.raises(Stopped):
        download.download("chess", archive, tmp_path, progress=stop)
    server.most = 0
    download.download("chess", archive, tmp_path)
    assert server.ranges == ["", "bytes=1500-"]
    assert files_below(tmp_path) == COMPLETE


def test_a_file_that_changed_on_the_server_is_started_again(server: Server, tmp_path: Path) -> None:
    (tmp_path / "chess.zip.part").write_bytes(b"old")
    (tmp_path / "chess.zip.part.json").write_text('{"version": "\\"zero\\""}')
    download.download("chess", server.archive(CHESS), tmp_path)
    assert files_below(tmp_path) == COMPLETE


def test_more_bytes_than_the_server_has_are_started_again(server: Server, tmp_path: Path) -> None:
    (tmp_path / "chess.zip.part").write_bytes(CHESS + b"more")
    (tmp_path / "chess.zip.part.json").write_text('{"version": "\\"one\\""}')
    download.download("chess", server.archive(CHESS), tmp_path)
    assert files_below(tmp_path) == COMPLETE


def test_a_server_that_sends_nothing_is_given_up(server: Server, tmp_path: Path) -> None:
    server.most = 1
    archive = server.archive(CHESS)
    server.tag = 'W/"weak"'  # no promise of the same bytes, so each try begins again
    with pytest.raises(DatasetError, match=r"broke after 1 bytes .* continues there"):
        download.download("chess", archive, tmp_path)


def test_another_checksum_is_refused(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="checksum is another"):
        download.download("chess", server.archive(CHESS, sha256="0" * 64), tmp_path)
    assert files_below(tmp_path) == set()


def test_what_is_no_archive_is_refused(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="is no zip archive"):
        download.download("chess", server.archive(b"Not found, but with status 200"), tmp_path)
    assert files_below(tmp_path) == set()


@pytest.mark.parametrize(
    ("path", "message"),
    [("page", "answers with a page"), ("none", "answers 404"), ("moved", "answers 302")],
)
def test_other_answers_are_said_in_a_sentence(
    server: Server, tmp_path: Path, path: str, message: str
) -> None:
    with pytest.raises(DatasetError, match=message):
        download.download("chess", Archive(f"{server.address}/{path}.zip"), tmp_path)


def test_an_unreachable_server_is_said_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="cannot be reached"):
        download.download("chess", Archive("http://127.0.0.1:1/chess.zip"), tmp_path)


def link() -> bytes:
    entry = zipfile.ZipInfo("chess/link")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(entry, "/etc/passwd")
    return stream.getvalue()


def bomb() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("chess/zeros", bytes(4_000_000))
    return stream.getvalue()


def inner_bomb() -> bytes:
    return zipped({"chess/seq-01.zip": bomb(), "chess/a.txt": b"a"})


def flipped() -> bytes:
    at = CHESS.index(b"sequence1\n")
    return CHESS[:at] + b"S" + CHESS[at + 1 :]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (zipped({"../outside": b"x"}), "leads out of the folder"),
        (zipped({"chess/../../outside": b"x"}), "leads out of the folder"),
        (zipped({"/outside": b"x"}), "leads out of the folder"),
        (zipped({"C:\\outside": b"x"}), "leads out of the folder"),
        (zipped({"chess/seq-01.zip": zipped({"../../outside": b"x"})}), "leads out of the folder"),
        (link(), "is a link"),
        (bomb(), "20 times as large"),
        (inner_bomb(), "20 times as large"),
        (flipped(), "is damaged"),
        (CHESS[:200] + CHESS[-300:], "is damaged|no zip archive"),
    ],
)
def test_a_bad_archive_leaves_nothing(server: Server, tmp_path: Path, content: bytes, message: str) -> None:
    folder = tmp_path / "data" / "7scenes"
    with pytest.raises(DatasetError, match=message):
        download.download("chess", server.archive(content), folder)
    assert files_below(tmp_path) <= {"data/7scenes/chess.zip"}


@pytest.fixture
def local(server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    archives = {"chess": server.archive(CHESS, size=len(CHESS) + 1)}  # type: ignore[arg-type]
    monkeypatch.setitem(SOURCES, "7scenes", Source("7Scenes", "https://page", "terms of use", archives))
    return server


def test_the_command_shows_terms_and_sizes_and_then_downloads(
    local: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["download", "7scenes", "--out", str(tmp_path), "--yes"])
    printed = capsys.readouterr().out
    assert "terms of use: https://page" in printed
    assert f"{local.address}/chess.zip" in printed
    assert files_below(tmp_path) == COMPLETE
    main(["download", "7scenes", "--out", str(tmp_path), "--yes"])
    assert "exists and is left as it is" in capsys.readouterr().out
    assert len(local.ranges) == 1


def test_nothing_is_downloaded_without_consent(
    local: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["download", "7scenes", "--out", str(tmp_path)])
    assert ended.value.code == 2
    assert "--yes" in capsys.readouterr().err
    assert local.ranges == []


def test_a_data_set_behind_an_account_says_where_to_register(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["download", "robotcar"])
    assert "register at https://" in capsys.readouterr().err


def test_every_scene_has_a_reader(capsys: pytest.CaptureFixture[str]) -> None:
    from camloc.data.formats import cambridge, sevenscenes, twelvescenes

    assert set(SOURCES["7scenes"].archives) == set(sevenscenes.SCENES)
    assert set(SOURCES["cambridge"].archives) >= set(cambridge.SCENES)
    groups = {name.partition("/")[0] for name in twelvescenes.SCENES}
    assert set(SOURCES["12scenes"].archives) == groups
    main(["download"])
    assert "KingsCollege" in capsys.readouterr().out
