"""What a result depends on besides the method: seed, budget, device, time and software."""

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

import torch

from camloc.evaluation.metrics import empirical_quantile

_PACKAGES = ("camloc", "torch", "torchvision", "timm", "numpy", "pillow")


@dataclass(frozen=True)
class Timing:
    """How long one photograph takes from pixels to pose, in milliseconds, after warming up.

    Attributes:
        device: what it was measured on.
        frames: how many were timed.
        warm_up: how many came before and are not counted.
        median, quantile_90, quantile_99, maximum: milliseconds a photograph.
    """

    device: str
    frames: int
    warm_up: int
    median: float
    quantile_90: float
    quantile_99: float
    maximum: float


@dataclass(frozen=True)
class TrainingFacts:
    """What training was given and what it used.

    Attributes:
        seed: of every random choice.
        device: what it ran on.
        precision: of its arithmetic, in the words of Lightning Fabric.
        budget: what was allowed, in words: "20 minutes", "200 epochs".
        schedule_share: what the recipe's epochs were multiplied by to fit the budget; 1 where none was given.
        epochs, updates: passes over the training frames, and steps of the optimiser.
        seconds: wall time of the epochs.
        feature_seconds: wall time of computing the features that training started from, or 0.
        budget_covers_features: whether that time was taken off the budget, or came on top of it.
    """

    seed: int
    device: str
    precision: str = "32-true"
    budget: str = ""
    schedule_share: float = 1.0
    epochs: int = 0
    updates: int = 0
    seconds: float = 0.0
    feature_seconds: float = 0.0
    budget_covers_features: bool = False

    @property
    def is_bfloat16(self) -> bool:
        """Whether products were of bfloat16."""
        return self.precision == "bf16-mixed"


def timing_of(seconds: Sequence[float], *, device: str, warm_up: int = 3) -> Timing | None:
    """Percentiles of the seconds that photographs took, or None when only warming up was measured."""
    counted = torch.tensor(seconds[warm_up:], dtype=torch.float64) * 1000.0
    if not len(counted):
        return None
    return Timing(
        device=device,
        frames=len(counted),
        warm_up=warm_up,
        median=empirical_quantile(counted, 0.5),
        quantile_90=empirical_quantile(counted, 0.9),
        quantile_99=empirical_quantile(counted, 0.99),
        maximum=counted.max().item(),
    )


def software_versions() -> dict[str, str]:
    """Versions of Python, of camloc and of the packages that decide the numbers."""
    versions = {"python": platform.python_version(), "system": f"{platform.system()} {platform.machine()}"}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return versions
