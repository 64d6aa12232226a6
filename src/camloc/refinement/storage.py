"""Auxiliary networks in a run's folder: for each a folder with its weights and a JSON file, written and read.

`AuxiliaryMetadata` is the content of the JSON file. Its subclasses stand beside their networks.
"""

import hashlib
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from camloc.core.config import from_json, to_json
from camloc.core.files import write_atomically
from camloc.errors import CheckpointError, RecipeError

FORMAT = 2
WEIGHTS = "weights.safetensors"

Network = TypeVar("Network", bound=nn.Module)
Metadata = TypeVar("Metadata", bound="AuxiliaryMetadata[Any]")


class AuxiliaryMetadata(ABC, Generic[Network]):
    """What is stored beside the weights of an auxiliary network; a subclass is a frozen dataclass.

    Attributes:
        NAME: of the folder and of the JSON file in it.
        source: digest of the network that it was trained from: it is of use with these weights only.
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
        write_atomically(folder / WEIGHTS, save(tensors))
        write_atomically(folder / f"{self.NAME}.json", to_json(self))

    @classmethod
    def read(cls: type[Metadata], run: Path) -> Metadata | None:
        """The metadata in a run's folder, whatever network it was trained from; None if there are none.

        Raises:
            CheckpointError: the file is damaged.
        """
        path = run_around(run) / cls.NAME / f"{cls.NAME}.json"
        if not path.exists():
            return None
        try:
            metadata = from_json(path.read_bytes(), cls)
        except (RecipeError, OSError) as problem:
            raise CheckpointError(f"{path} cannot be read: {problem}; {_TRAIN_AGAIN}") from None
        if metadata.format != FORMAT:
            raise CheckpointError(
                f"{path} has format {metadata.format}, this version of camloc reads {FORMAT}; {_TRAIN_AGAIN}"
            )
        return metadata

    @classmethod
    def load(cls: type[Metadata], run: Path, source: nn.Module) -> tuple[Metadata, Network] | None:
        """The metadata and the network in evaluation mode; None if none was trained from `source`.

        Args:
            run: its folder, or its checkpoint's folder.
            source: the network that it must have been trained from.

        Raises:
            CheckpointError: its files are damaged.
        """
        metadata = cls.read(run)
        if metadata is None or metadata.source != digest(source):
            return None
        network, path = metadata.build(), run_around(run) / cls.NAME / WEIGHTS
        try:
            network.load_state_dict(load_file(path))
        except (SafetensorError, OSError, RuntimeError):
            raise CheckpointError(
                f"{path} is missing, damaged or does not fit {cls.NAME}.json; {_TRAIN_AGAIN}"
            ) from None
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
