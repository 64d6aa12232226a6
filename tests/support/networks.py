"""The network of a localizer that has one."""

from camloc.inference.localizer import Localizer
from camloc.inference.network import NetworkLocalizer
from camloc.inference.torch_network import TorchNetwork
from camloc.models.checkpoint import Checkpoint


def network_of(localizer: Localizer) -> NetworkLocalizer:
    """The network of a localizer; fails for a localizer of maps alone."""
    assert localizer.network is not None
    return localizer.network


def checkpoint_of(localizer: Localizer) -> Checkpoint:
    """The checkpoint of a localizer with a network of torch."""
    network = network_of(localizer).network
    assert isinstance(network, TorchNetwork)
    return network.checkpoint


def localizer_of(checkpoint: Checkpoint) -> Localizer:
    """A localizer of a network alone."""
    return Localizer(NetworkLocalizer(TorchNetwork(checkpoint)))
