"""Bundles on the Hugging Face hub: `Localizer.from_pretrained` and `save_pretrained`.

Nothing is downloaded or uploaded unless one of them is called with the name of a repository. Of a repository
the files of a bundle are fetched and no others: none of them is a pickle or a program.
"""

from pathlib import Path

from camloc.core.extras import require_extra
from camloc.errors import CheckpointError
from camloc.inference.onnx.bundle import is_bundle

_FILES = ["bundle.json", "model.onnx", "anchor.json", "README.md", "map/*/map.json", "map/*/map.safetensors"]


def bundle_of(source: Path | str, *, revision: str | None = None) -> Path:
    """The folder of a bundle: a local folder, or the download of a repository `owner/name`.

    Raises:
        MissingExtraError: the library of the hub is not installed.
        CheckpointError: there is no such repository, it cannot be reached, or it holds no bundle.
    """
    path = Path(source)
    if path.exists():
        return path
    name = str(source)
    if name.count("/") != 1 or name.startswith((".", "/")):
        raise CheckpointError(f"{name} is neither a folder nor a repository; write owner/name")
    require_extra("hub", "downloading from the hub")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(name, revision=revision, allow_patterns=_FILES))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as problem:
        reason = (str(problem).splitlines() or [type(problem).__name__])[0]
        raise CheckpointError(f"{name} cannot be downloaded: {reason}") from None
    if not is_bundle(folder):
        raise CheckpointError(f"{name} holds no bundle of camloc; save_pretrained writes one")
    return folder


def upload(folder: Path, repository: str, *, private: bool = True) -> str:
    """Upload a bundle's folder as a repository `owner/name`, with the token of `hf auth login`.

    Returns:
        The address of the upload.

    Raises:
        MissingExtraError: the library of the hub is not installed.
        CheckpointError: the folder holds no bundle, or the hub refuses it.
    """
    if not is_bundle(folder):
        raise CheckpointError(f"{folder} holds no bundle; export the run first")
    require_extra("hub", "uploading to the hub")
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError

    api = HfApi()
    try:
        api.create_repo(repository, private=private, exist_ok=True)
        return str(api.upload_folder(repo_id=repository, folder_path=folder, allow_patterns=_FILES))
    except (HfHubHTTPError, HFValidationError, LocalTokenNotFoundError, OSError) as problem:
        reason = (str(problem).splitlines() or [type(problem).__name__])[0]
        raise CheckpointError(f"{repository} cannot be uploaded: {reason}") from None
