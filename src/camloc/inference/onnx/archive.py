"""A bundle as one file: a zip archive of what `camloc export` writes, not compressed.

    camloc export RUN --out kitchen.zip
    camloc locate kitchen.zip IMAGE.jpg

Only the files of a bundle are read, by their exact names, so that no name leads elsewhere; what is compressed
is refused, so that a small file cannot become a large one. The checksums of zip, and the bundle's own, are
checked.
"""

import io
import re
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from camloc.core.files import write_atomically
from camloc.errors import CheckpointError
from camloc.inference.onnx.bundle import MANIFEST

ENDING = ".zip"

_MEMBER = re.compile(
    r"bundle\.json|model\.onnx|anchor\.json|README\.md|map/\d{1,4}/map\.(json|safetensors)", re.ASCII
)

# More files, or more bytes of one, than any bundle has.
_MOST_MEMBERS = 2000
_MOST_BYTES = 4 << 30


def is_archive(path: Path) -> bool:
    """Whether a path names a bundle in one file."""
    return path.suffix == ENDING and path.is_file()


def pack(folder: Path, file: Path) -> None:
    """Write a bundle's folder as one file; the same bundle gives the same bytes.

    Raises:
        CamlocError: the file cannot be written.
    """
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in names:
            if _MEMBER.fullmatch(name):
                archive.writestr(zipfile.ZipInfo(name), (folder / name).read_bytes())
    write_atomically(file, buffer.getvalue())


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """The folder of a bundle, for as long as the block runs; other paths stay as they are.

    Raises:
        CheckpointError: the file is damaged, or holds something else than a bundle.
    """
    if not is_archive(path):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="camloc-") as name:
        folder = Path(name)
        _unpack(path, folder)
        yield folder


def _unpack(path: Path, folder: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            names = [each.filename for each in members]
            if len(names) > _MOST_MEMBERS or len(set(names)) != len(names) or MANIFEST not in names:
                raise CheckpointError(
                    f"{path} is not a bundle; write one with camloc export RUN --out FILE.zip"
                )
            for each in members:
                if not _MEMBER.fullmatch(each.filename):
                    raise CheckpointError(
                        f"{path} has a file {each.filename[:80]!a}, which no bundle has; it is not opened"
                    )
                if each.compress_type != zipfile.ZIP_STORED or each.file_size != each.compress_size:
                    raise CheckpointError(
                        f"{path} is compressed, which a bundle is not; unzip it and name the folder"
                    )
                if each.file_size > _MOST_BYTES:
                    raise CheckpointError(
                        f"{path} has a file of {each.file_size:,} bytes, too large for a bundle"
                    )
            for each in members:
                (folder / each.filename).parent.mkdir(parents=True, exist_ok=True)
                (folder / each.filename).write_bytes(archive.read(each))
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, NotImplementedError, RuntimeError) as problem:
        if isinstance(problem, CheckpointError):
            raise
        raise CheckpointError(f"{path} is damaged ({problem}); copy it or export the run again") from None
