"""What the JSON files of companions hold: whom they belong to, their settings, and how good they are."""

from dataclasses import dataclass, field

from camloc.refiners.image_decoder import ImageDecoderConfig
from camloc.refiners.pose_autoencoder import PoseAutoencoderConfig
from camloc.refiners.position import PositionRefinement
from camloc.refiners.relative_pose import RelativePoseConfig
from camloc.refiners.virtual_view import VirtualView

FORMAT = 1


@dataclass(frozen=True)
class PositionErrors:
    """Position errors on the frames held out of training, in metres.

    Attributes:
        median, mean: of all frames.
        sure_gain: how much less the mean is than that of the network's own answers, less three standard
            errors of the difference; what is positive is no luck of single frames.
    """

    median: float
    mean: float
    sure_gain: float = 0.0


@dataclass(frozen=True)
class HeldOutErrors:
    """Median errors on the frames held out of training."""

    meters: float
    degrees: float


@dataclass(frozen=True)
class AutoencoderFacts:
    """What `autoencoder/autoencoder.json` holds.

    Attributes:
        teacher: digest of the weights that it has learned from.
        scenes: names of the places, in the order of their numbers.
        config: its settings.
        latents: sizes of the teacher's position and orientation latents.
        recipe: name of the recipe that it was taught by.
        answers: the teacher's errors, or None where no frames were held out.
        student: errors of the teacher's heads on the encodings of the true poses, or None.
        student_of_answers: the same on the encodings of the teacher's own answers, or None.
        refined: position errors with each way of refining, by its name; "none" is the teacher's own.
        settings: of every way that were best on held-out frames, by its name; empty where there were none.
        format: version of this layout.
    """

    teacher: str
    scenes: tuple[str, ...]
    config: PoseAutoencoderConfig
    latents: tuple[int, int]
    recipe: str = ""
    answers: HeldOutErrors | None = None
    student: HeldOutErrors | None = None
    student_of_answers: HeldOutErrors | None = None
    refined: dict[str, PositionErrors] = field(default_factory=dict)
    settings: dict[str, PositionRefinement] = field(default_factory=dict)
    format: int = FORMAT


@dataclass(frozen=True)
class DecoderFacts:
    """What `decoder/decoder.json` holds.

    Attributes:
        encoder: digest of the auto-encoder whose encodings it reads.
        config: its settings.
        latents: sizes of the encodings' halves.
        is_shared: whether they are one.
        differences: mean absolute differences to the pictures held out, of brightness from 0 to 1, by what
            was compared: "decoded", "nearest photograph" and "mean photograph".
        format: version of this layout.
    """

    encoder: str
    config: ImageDecoderConfig
    latents: tuple[int, int]
    is_shared: bool
    differences: dict[str, float] = field(default_factory=dict)
    format: int = FORMAT


@dataclass(frozen=True)
class RelativeFacts:
    """What `relative/relative.json` holds.

    Attributes:
        encoder: digest of the auto-encoder whose encodings it reads.
        config: its settings.
        latents: sizes of the encodings' halves.
        view: the settings of virtual relative pose regression that were best on the held-out frames.
        published: position errors with the paper's settings, or None where no frames were held out.
        refined: with the best ones, or None.
        format: version of this layout.
    """

    encoder: str
    config: RelativePoseConfig
    latents: tuple[int, int]
    view: VirtualView = VirtualView()
    published: PositionErrors | None = None
    refined: PositionErrors | None = None
    format: int = FORMAT
