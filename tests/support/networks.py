"""The network of a localizer that has one."""

from camloc.inference.localizer import Localizer
from camloc.inference.network import NetworkLocalizer


def network_of(localizer: Localizer) -> NetworkLocalizer:
    """The network of a localizer; fails for a localizer of maps alone."""
    assert localizer.network is not None
    return localizer.network
