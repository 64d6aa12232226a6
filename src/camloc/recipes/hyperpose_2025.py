"""HyperPose (Ferens and Keller 2025), the single-scene rows of its supplement.

Adam with eps 1e-10 and decay 1e-4, batches of 8, learning rate 1e-4 lowered by a quarter at each step;
pictures scaled to a shorter side of 256 and cut to 224 x 224 (section 3). The paper trains in three
phases, of which it gives the length of the first only; the two that fine-tune one half of the pose are
a tenth of it here.
"""

from camloc.core.augment import Augment
from camloc.core.images import Preprocess
from camloc.models.hyperpose import HyperPoseConfig
from camloc.models.parts.balance import BalanceConfig
from camloc.models.parts.hypernetwork import HypernetworkConfig
from camloc.models.parts.regression import RegressionConfig
from camloc.recipes.base import Published, Recipe
from camloc.training.stages import Stage

_CROP = Preprocess(224, 224, short_side=256)
_CAMBRIDGE = ("KingsCollege", "OldHospital", "ShopFacade", "StMarysChurch")


def cambridge_baseline() -> Recipe:
    """Baseline APR on Cambridge Landmarks: supplement Table 1, "original", first rows."""
    errors = ((0.89, 2.29), (1.49, 3.30), (0.74, 4.79), (1.40, 4.95))
    return _cambridge(None, errors, "supplement Table 1, Baseline APR, original")


def cambridge_hypernetwork() -> Recipe:
    """Baseline APR with hypernetwork on Cambridge Landmarks: supplement Table 1, "original", second rows."""
    errors = ((0.61, 1.84), (1.44, 3.03), (0.70, 3.62), (1.37, 4.85))
    return _cambridge(HypernetworkConfig(), errors, "supplement Table 1, Baseline APR w/ hypernet, original")


def sevenscenes_baseline() -> Recipe:
    """Baseline APR on 7Scenes, without hypernetwork; the supplement prints no row for it."""
    return _sevenscenes(None, ())


def sevenscenes_hypernetwork() -> Recipe:
    """Baseline APR with hypernetwork on 7Scenes: supplement Table 6, row 256/512."""
    published = Published("redkitchen", 0.17, 8.79, "supplement Table 6, 256/512")
    return _sevenscenes(HypernetworkConfig(), (published,))


def _cambridge(
    hypernetwork: HypernetworkConfig | None, errors: tuple[tuple[float, float], ...], source: str
) -> Recipe:
    published = tuple(
        Published(scene, meters, degrees, source)
        for scene, (meters, degrees) in zip(_CAMBRIDGE, errors, strict=True)
    )
    return Recipe(
        model="hyperpose",
        config=HyperPoseConfig(
            hypernetwork=hypernetwork, regression=RegressionConfig(balance=BalanceConfig(-3.0, -6.5))
        ),
        preprocess=_CROP,
        stages=_phases(epochs=600, step_epochs=200),
        augment=Augment(random_crop=True, brightness=0.5, contrast=0.5, saturation=0.5),
        batch_size=8,
        validate_every=5,
        layout="cambridge",
        published=published,
    )


def _sevenscenes(hypernetwork: HypernetworkConfig | None, published: tuple[Published, ...]) -> Recipe:
    return Recipe(
        model="hyperpose",
        config=HyperPoseConfig(
            hypernetwork=hypernetwork, regression=RegressionConfig(balance=BalanceConfig(0.0, 0.0))
        ),
        preprocess=_CROP,
        stages=_phases(epochs=100, step_epochs=20),
        augment=Augment(random_crop=True),
        batch_size=8,
        layout="sevenscenes",
        published=published,
    )


def _phases(*, epochs: int, step_epochs: int) -> tuple[Stage, ...]:
    def phase(epochs: int, trains: tuple[str, ...], without: str = "") -> Stage:
        return Stage(
            epochs=epochs,
            learning_rate=1e-4,
            trains=trains,
            epsilon=1e-10,
            weight_decay=1e-4,
            schedule="step",
            step_epochs=step_epochs,
            step_factor=0.75,
            loss_weights={without: 0.0} if without else None,
        )

    return (
        phase(epochs, ("*",)),
        phase(epochs // 10, ("position_*",), without="orientation"),
        phase(epochs // 10, ("orientation_*",), without="position"),
    )
