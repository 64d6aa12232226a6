"""Auxiliary networks in a run's folder: for each a folder with its weights and a JSON file, written and read.

`AuxiliaryMetadata` is the content of the JSON file. Its subclasses stand beside their networks.
"""

import hashlib
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from camloc.core.config import to_builtins
from camloc.core.sealed import SealError, read_settings, size_beyond_bounds, weights_of_pair, write_pair
from camloc.errors import CheckpointError

FORMAT = 3
WEIGHTS = "weights.safetensors"

Network = TypeVar("Network", bound=nn.Module)
Metadata = TypeVar("Metadata", bound="AuxiliaryMetadata[Any]")


class AuxiliaryMetadata(ABC, Generic[Network]):
    """The metadata beside the weights of an auxiliary network; a subclass is a frozen dataclass.

    Attributes:
        NAME: of the folder and of the JSON file in it.
        source: digest of the network that it was trained from; with other weights it cannot be used.
        format: version of this layout.
    """

    NAME: ClassVar[str]
    source: str
    format: int

    @abstractmethod
    def build(self) -> Network:
        """The network with fresh weights."""

    def tensors(self, network: Network) -> dict[str, Tensor]:
        """The tensors that are stored."""
        return dict(network.state_dict())

    def save(self, run: Path, network: Network) -> None:
        """Write the network into a run's folder; a reader gets the old files or the new ones.

        Raises:
            CamlocError: the folder cannot be written.
        """
        folder = run / self.NAME
        tensors = {name: value.detach().cpu().contiguous() for name, value in self.tensors(network).items()}
        write_pair(folder / f"{self.NAME}.json", self, folder / WEIGHTS, save(tensors))

    @classmethod
    def read(cls: type[Metadata], run: Path) -> Metadata | None:
        """The metadata in a run's folder, whatever network it was trained from; None if there are none.

        Raises:
            CheckpointError: the file is damaged.
        """
        found = cls._read_pair(run)
        return None if found is None else found[0]

    @classmethod
    def _read_pair(cls: type[Metadata], run: Path) -> tuple[Metadata, str] | None:
        """The metadata, and the SHA-256 of the weights."""
        path = run_around(run) / cls.NAME / f"{cls.NAME}.json"
        if not path.exists():
            return None
        try:
            found = read_settings(path, cls, format=FORMAT)
        except SealError as problem:
            raise CheckpointError(f"{path} {problem}; {_TRAIN_AGAIN}") from None
        if giant := size_beyond_bounds(to_builtins(found[0])):
            raise CheckpointError(f"{path} describes a network that is too large: {giant}; {_TRAIN_AGAIN}")
        return found

    @classmethod
    def load(cls: type[Metadata], run: Path, source: nn.Module) -> tuple[Metadata, Network] | None:
        """The metadata and the network in evaluation mode; None if none was trained from `source`.

        Args:
            run: its folder, or its checkpoint's folder.
            source: the network that it must have been trained from.

        Raises:
            CheckpointError: its files are damaged.
        """
        found = cls._read_pair(run)
        if found is None or found[0].source != digest(source):
            return None
        metadata, sha256 = found
        path = run_around(run) / cls.NAME / WEIGHTS
        try:
            tensors = load_file(weights_of_pair(path, sha256))
        except SealError as problem:
            raise CheckpointError(f"{path} {problem}; {_TRAIN_AGAIN}") from None
        except (SafetensorError, OSError):
            raise CheckpointError(f"{path} is damaged; {_TRAIN_AGAIN}") from None
        misfit = CheckpointError(f"{path} does not fit {cls.NAME}.json; {_TRAIN_AGAIN}")
        with torch.device("meta"):  # refused before anything is allocated
            expected = metadata.build().state_dict()
        if {name: value.shape for name, value in expected.items() if name in tensors} != {
            name: value.shape for name, value in tensors.items()
        }:
            raise misfit
        network = metadata.build()
        try:
            network.load_state_dict(tensors)
        except RuntimeError:
            raise misfit from None
        return metadata, network.eval()


_TRAIN_AGAIN = "train it again with camloc autoencode"


def digest(network: nn.Module) -> str:
    """A digest of a network's weights."""
    hashed = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        hashed.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    return hashed.hexdigest()[:32]


def run_around(folder: Path) -> Path:
    """The run's folder, of that folder itself or of the checkpoint's folder in it."""
    return folder.parent if folder.name == "checkpoint" else folder
