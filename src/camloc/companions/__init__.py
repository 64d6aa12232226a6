"""Small networks that stand beside a checkpoint: folders in the run, each with its weights and a JSON file.

A companion belongs to the weights that it has learned from. Their digest stands in its JSON, and beside other
weights it is no companion.
"""

from camloc.companions.facts import (
    AutoencoderFacts,
    DecoderFacts,
    HeldOutErrors,
    PositionErrors,
    RelativeFacts,
)
from camloc.companions.folders import (
    AUTOENCODER,
    DECODER,
    RELATIVE,
    WEIGHTS,
    autoencoder_facts,
    digest,
    load_autoencoder,
    load_decoder,
    load_relative,
    run_around,
    save_autoencoder,
    save_decoder,
    save_relative,
)

__all__ = [
    "AUTOENCODER",
    "DECODER",
    "RELATIVE",
    "WEIGHTS",
    "AutoencoderFacts",
    "DecoderFacts",
    "HeldOutErrors",
    "PositionErrors",
    "RelativeFacts",
    "autoencoder_facts",
    "digest",
    "load_autoencoder",
    "load_decoder",
    "load_relative",
    "run_around",
    "save_autoencoder",
    "save_decoder",
    "save_relative",
]
