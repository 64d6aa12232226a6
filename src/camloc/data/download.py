"""Data sets of the papers from their official addresses: resumed, verified, and unpacked safely.

FOLDER/chess.zip.part     an archive that is not complete, and beside it which version of it
FOLDER/chess/...          the scene, when its archive is unpacked; the archive is removed then

Nothing here runs unless somebody calls it.
"""

import errno
import http.client
import json
import os
import shutil
import stat
import tempfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from camloc.core.files import sha256_of, write_atomically
from camloc.core.progress import CountProgress, StepProgress, silent
from camloc.errors import CamlocError, DatasetError

_TIMEOUT_SECONDS = 60.0
_CHUNK = 1 << 20

# Times that a broken connection is tried again without a byte more.
_TRIES = 3

# Unpacked archives are at most this many times larger: images in them are compressed already.
_MOST_GROWTH = 20


@dataclass(frozen=True)
class Archive:
    """A zip file at an official address.

    Attributes:
        url: its address.
        size: bytes that it had when this was written, or 0; the server's own number is shown and verified.
        sha256: published by the owners of the data, or "".
    """

    url: str
    size: int = 0
    sha256: str = ""


@dataclass(frozen=True)
class Source:
    """A data set and its address.

    Attributes:
        title: its name and paper.
        page: of its owners, where the terms are.
        terms: of use, in one sentence.
        archives: by name of the scene, or of the group of scenes that share one.
        instead: how to get what cannot be downloaded without an account, or "".
    """

    title: str
    page: str
    terms: str
    archives: dict[str, Archive]
    instead: str = ""


_MICROSOFT = "https://download.microsoft.com/download/2/8/5/28564B23-0828-408F-8631-23B1EFF1DAC8"
_CAMBRIDGE = "https://www.repository.cam.ac.uk/bitstream/handle/1810"
_STANFORD = "https://graphics.stanford.edu/projects/reloc/data"
_TERMS = "for non-commercial research, under the terms of the page"

SOURCES = {
    "7scenes": Source(
        "7Scenes (Shotton et al., CVPR 2013)",
        "https://www.microsoft.com/en-us/research/project/rgb-d-dataset-7-scenes/",
        _TERMS,
        {
            name: Archive(f"{_MICROSOFT}/{name}.zip", size)
            for name, size in {
                "chess": 3_079_608_937,
                "fire": 2_301_204_154,
                "heads": 956_332_240,
                "office": 4_707_873_861,
                "pumpkin": 2_890_874_911,
                "redkitchen": 6_141_181_406,
                "stairs": 1_496_412_431,
            }.items()
        },
    ),
    "cambridge": Source(
        "Cambridge Landmarks (Kendall et al., ICCV 2015)",
        "https://www.repository.cam.ac.uk/handle/1810/251342",
        _TERMS,
        {
            name: Archive(f"{_CAMBRIDGE}/{number}/{name}.zip")
            for name, number in {
                "KingsCollege": 251342,
                "OldHospital": 251340,
                "ShopFacade": 251336,
                "StMarysChurch": 251294,
                "GreatCourt": 251291,
                "Street": 251292,
            }.items()
        },
    ),
    "12scenes": Source(
        "12Scenes (Valentin et al., 3DV 2016)",
        "https://graphics.stanford.edu/projects/reloc/",
        _TERMS,
        {
            name: Archive(f"{_STANFORD}/{name}.zip", size)
            for name, size in {
                "apt1": 1_489_122_810,
                "apt2": 3_001_378_406,
                "office1": 6_298_846_857,
                "office2": 1_849_269_665,
            }.items()
        },
    ),
    "robotcar": Source(
        "Oxford RobotCar (Maddern et al., IJRR 2017)",
        "https://robotcar-dataset.robots.ox.ac.uk",
        "CC BY-NC-SA 4.0, for academic use",
        {},
        "register at https://mrgdatashare.robots.ox.ac.uk/register/, download stereo/centre, gps and the "
        "timestamps of the drives that `camloc datasets` names for the layout robotcar, and unpack them into "
        "one folder",
    ),
    "extended-cambridge": Source(
        "Extended Cambridge Landmarks",
        "https://www.repository.cam.ac.uk/handle/1810/251342",
        _TERMS,
        {},
        "its images are made of those of Cambridge Landmarks: `camloc download cambridge`, then "
        "`camloc edit`",
    ),
}


def find_source(name: str) -> Source:
    """The source of the data set with this name.

    Raises:
        DatasetError: there is none, or its download needs an account.
    """
    source = SOURCES.get(name.lower())
    if source is None:
        raise DatasetError(f"there is no data set {name!r} to download; there are {', '.join(SOURCES)}")
    if not source.archives:
        raise DatasetError(f"{source.title} cannot be downloaded directly: {source.instead}")
    return source


def choose_archives(source: Source, scenes: Sequence[str]) -> dict[str, Archive]:
    """The archives of some scenes, or of all if none is named.

    Raises:
        DatasetError: there is no such scene.
    """
    for scene in scenes:
        if scene not in source.archives:
            raise DatasetError(
                f"{source.title} has no archive {scene!r}; its archives are {', '.join(source.archives)}"
            )
    return {name: each for name, each in source.archives.items() if not scenes or name in scenes}


def archive_size(archive: Archive) -> int:
    """The size of an archive in bytes as its server reports it; 0 if it reports none.

    Raises:
        DatasetError: the server cannot be reached, or has no such archive.
    """
    with _opened(archive.url, method="HEAD") as response:
        return _length(response)


def download(name: str, archive: Archive, folder: Path, *, progress: StepProgress = silent) -> None:
    """Download an archive into the folder of a data set and unpack it; an interrupted call is continued.

    Raises:
        DatasetError: the server cannot be reached or sends something else, or the archive is damaged.
        CamlocError: the folder cannot be written.
    """
    path = folder / f"{name}.zip"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            _fetch(archive, path, lambda done, of: progress(f"downloading {name}", done, of))
        _verify(archive, path)
        unpack(path, folder, lambda done, of: progress(f"unpacking {name}", done, of))
        path.unlink()
    except OSError as problem:
        raise CamlocError(
            f"{folder} could not be written ({problem.strerror or problem}); the same command continues later"
        ) from None


def _fetch(archive: Archive, path: Path, progress: CountProgress) -> None:
    """Download into `path`.part and rename it when it is complete."""
    part, version = Path(f"{path}.part"), Path(f"{path}.part.json")
    tries = 0
    while tries < _TRIES:
        before, why = _size(part), "it ended too early"
        try:
            total = _fetch_more(archive.url, part, version, progress)
            if total in (0, _size(part)):
                os.replace(part, path)  # noqa: PTH105 - onto what an interrupted call left
                version.unlink(missing_ok=True)
                return
            if _size(part) > total:
                part.unlink(missing_ok=True)
        except (http.client.HTTPException, ConnectionError, TimeoutError) as problem:
            why = str(problem)
        tries = 0 if _size(part) > before else tries + 1
    raise DatasetError(
        f"{archive.url}: the connection broke after {_size(part):,} bytes ({why}); the same command "
        f"continues there"
    )


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _fetch_more(url: str, part: Path, version: Path, progress: CountProgress) -> int:
    """Append the missing bytes. Returns the size of the whole archive, or 0 if it is unknown."""
    start = _size(part)
    try:
        known = msgspec.json.decode(version.read_bytes(), type=dict[str, str]).get("version", "")
    except (OSError, ValueError):
        known = ""
    headers = {"Range": f"bytes={start}-", "If-Range": known} if start and known else {}
    try:
        with _opened(url, headers=headers) as response:
            offered = response.headers.get("Content-Range") or ""
            resumed = response.status == http.client.PARTIAL_CONTENT and offered.startswith(f"bytes {start}-")
            total = _length(response) + (start if resumed else 0)
            # A weak tag does not promise the same bytes.
            tags = (response.headers.get(name) or "W/" for name in ("ETag", "Last-Modified"))
            tag = next((tag for tag in tags if not tag.startswith("W/")), "")
            write_atomically(version, json.dumps({"version": tag}).encode())
            _check_space(part.parent, total - (start if resumed else 0))
            with part.open("ab" if resumed else "wb") as file:
                while chunk := response.read(_CHUNK):
                    file.write(chunk)
                    progress(file.tell(), total)
            return total
    except _RangeRefusedError:
        part.unlink()  # nothing is left of it, or it is not that file
        return -1


class _RangeRefusedError(Exception):
    """The server does not send bytes from the requested position on."""


@contextmanager
def _opened(url: str, *, method: str = "GET", headers: dict[str, str] | None = None) -> Iterator[Any]:
    """Open the response of a server, which must be a file and not a web page."""
    request = urllib.request.Request(url, method=method, headers={"User-Agent": "camloc", **(headers or {})})
    opener = urllib.request.build_opener(_SafeRedirects)
    try:
        response = opener.open(request, timeout=_TIMEOUT_SECONDS)
    except urllib.error.HTTPError as problem:
        problem.close()
        if problem.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise _RangeRefusedError from None
        raise DatasetError(f"{url}: the server answers {problem.code} {problem.reason}") from None
    except urllib.error.URLError as problem:
        if isinstance(problem.reason, (ConnectionResetError, TimeoutError)):
            raise problem.reason from None
        raise DatasetError(f"{url} cannot be reached ({problem.reason}); look at the connection") from None
    with response:
        if response.headers.get_content_type() == "text/html":
            raise DatasetError(
                f"{url}: the server answers with a page and no archive; download it from there by hand"
            )
        yield response


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but not from https to http and to no other protocol."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        is_safe = newurl.startswith("https://") or (
            newurl.startswith("http://") and req.full_url.startswith("http://")
        )
        if not is_safe:
            raise DatasetError(f"{req.full_url}: the server refers to {newurl}, which is not encrypted")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _length(response: Any) -> int:
    text = response.headers.get("Content-Length") or "0"
    return int(text) if text.isdecimal() else 0


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DatasetError(f"{folder} has {free / 1e9:.1f} GB left, and {needed / 1e9:.1f} GB are needed")


def _verify(archive: Archive, path: Path) -> None:
    """Check the published checksum and that the archive opens; remove a wrong archive."""
    if archive.sha256 and sha256_of(path) != archive.sha256:
        path.unlink()
        raise DatasetError(f"{archive.url}: the checksum is another than the published one; try again")
    if not zipfile.is_zipfile(path):
        path.unlink()
        raise DatasetError(f"{archive.url}: what was downloaded is no zip archive; try again")


def unpack(path: Path, folder: Path, progress: CountProgress = silent) -> None:
    """Unpack an archive into a folder, and the archives within it.

    Refused are names that lead out of the folder, links and other special files, passwords, and more bytes
    than 20 times the size of the archive. The folder is written only when everything is unpacked; files that
    exist are replaced. `progress` is called with the files that are done and how many there are.

    Raises:
        DatasetError: the archive is damaged or refused.
        OSError: the folder cannot be written.
    """
    most = max(_MOST_GROWTH * path.stat().st_size, _CHUNK)
    with tempfile.TemporaryDirectory(prefix=".camloc-", dir=folder) as name:
        unfinished = Path(name)
        _unpack_into(path, unfinished, unfinished, most, progress, is_inner=False)
        for each in sorted(unfinished.iterdir()):
            _move(each, folder / each.name)


def _unpack_into(
    path: Path, folder: Path, root: Path, most: int, progress: CountProgress, *, is_inner: bool
) -> int:
    """Unpack an archive. Returns how many bytes of `most` are left."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            if sum(entry.file_size for entry in entries) > most:
                raise DatasetError(f"{path.name} would become more than {_MOST_GROWTH} times as large")
            _check_space(root, sum(entry.file_size for entry in entries))
            for done, entry in enumerate(entries, start=1):
                target = folder / _safe_name(entry, path.name)
                if entry.is_dir():
                    target.mkdir(parents=True, exist_ok=True)
                elif target.name not in ("Thumbs.db", ".DS_Store"):
                    target.parent.mkdir(parents=True, exist_ok=True)
                    # No more bytes than the archive says are read, and their checksum is checked.
                    with archive.open(entry) as source, target.open("wb") as file:
                        shutil.copyfileobj(source, file, _CHUNK)
                    most -= entry.file_size
                progress(done, len(entries))
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError, OSError) as problem:
        if isinstance(problem, OSError) and problem.errno != errno.EINVAL:  # a place before the file's start
            raise
        raise DatasetError(f"{path.name} is damaged ({problem}); remove it and download it again") from None
    # 7Scenes has an archive for each sequence; archives within these are not unpacked.
    for each in [] if is_inner else sorted(folder.rglob("*.zip")):
        most = _unpack_into(each, each.parent, root, most, progress, is_inner=True)
        each.unlink()
    return most


def _safe_name(entry: zipfile.ZipInfo, archive: str) -> Path:
    """The path of an entry within the folder."""
    name = PurePosixPath(entry.filename.replace("\\", "/"))
    kind = stat.S_IFMT(entry.external_attr >> 16)
    problem = ""
    if name.is_absolute() or ".." in name.parts or ":" in entry.filename or not name.parts:
        problem = "leads out of the folder"
    elif kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        problem = "is a link or a special file"
    elif entry.flag_bits & 0x1:
        problem = "has a password"
    if problem:
        raise DatasetError(f"{archive}: {entry.filename[:80]!r} {problem}, so nothing was unpacked")
    return Path(*name.parts)


def _move(source: Path, target: Path) -> None:
    """Move a file or a folder, into a folder that may exist."""
    if source.is_dir() and target.is_dir() and not target.is_symlink():
        for each in sorted(source.iterdir()):
            _move(each, target / each.name)
        return
    if target.is_symlink():
        raise DatasetError(f"{target} is a link; name another folder with --out")
    os.replace(source, target)  # noqa: PTH105 - onto what an interrupted call left
