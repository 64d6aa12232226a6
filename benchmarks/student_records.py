"""Measurements of a run's pose auto-encoder, and the file that stores them."""

from dataclasses import dataclass
from pathlib import Path

from camloc.core.config import from_json
from camloc.evaluation.results import TrainingRecord
from camloc.geometry.pose_search import Nearness
from camloc.refinement.choice import surest
from camloc.refinement.image_decoder import DecoderMetadata
from camloc.refinement.refiner import LatentHalf, PositionErrors, RefinementMethod
from camloc.refinement.relative_pose import InputKind, RelativePoseMetadata

NAME = "students.json"

# The forms with further tables on the page: `students/quick` with the published Fourier features, and
# `students/four-layers` without.
WITH_FOURIER, WITHOUT_FOURIER = "Fourier features, four layers, whole pose", "four layers"

# Numbers of neighbours that are tried.
NEIGHBOURS = (1, 3, 5, 10, 30)


@dataclass(frozen=True)
class Medians:
    """Median errors in metres and degrees."""

    meters: float
    degrees: float


@dataclass(frozen=True)
class Form:
    """One form of auto-encoder.

    Attributes:
        label: of the form.
        parameters: learned values.
        megabytes: of its file.
        seconds: of its training, without computing the teacher's latents.
        held, test: errors of its encodings of true poses through the teacher's heads.
        held_of_answers, test_of_answers: the same of the teacher's own answers.
        refined: errors on held-out frames, by refinement method.
        refined_test: on test frames, with the settings that the held-out frames chose.
    """

    label: str
    parameters: int
    megabytes: float
    seconds: float
    held: Medians
    held_of_answers: Medians
    test: Medians
    test_of_answers: Medians
    refined: dict[str, PositionErrors]
    refined_test: dict[str, PositionErrors]

    @property
    def auto(self) -> str:
        """The method that `--refine auto` chooses by the gains on held-out frames."""
        return surest(self.refined)


@dataclass(frozen=True)
class Setting:
    """One refinement method with one setting, and its median metres on held-out frames."""

    method: RefinementMethod
    neighbours: int
    metric: Nearness
    turn_weight: float
    latents: LatentHalf
    ridge: float
    median: float


@dataclass(frozen=True)
class Start:
    """Noisy true positions of test frames: median metres before and after refinement, by method."""

    off: float
    before: float
    after: dict[str, float]


@dataclass(frozen=True)
class Drawn:
    """One image decoder: its size, and how far its images are from those held out."""

    label: str
    parameters: int
    metadata: DecoderMetadata


@dataclass(frozen=True)
class Seen:
    """One relative pose regressor.

    Attributes:
        sees: its inputs.
        references: kind of the references in its training.
        metadata: with the errors on held-out frames.
        test: on test frames, with the paper's settings and with those that the held-out frames chose.
    """

    sees: InputKind
    references: str
    metadata: RelativePoseMetadata
    test_published: PositionErrors
    test: PositionErrors


@dataclass(frozen=True)
class Measured:
    """Everything about one run.

    Attributes:
        scene, recipe: of the teacher.
        latent: sizes of the teacher's latents.
        held, test: the teacher's errors.
        frames: numbers of frames learned from, held out, and tested on.
        training: of the teacher.
        software: versions of the packages.
        forms, settings, starts, decoders, virtual: the parts.
    """

    scene: str
    recipe: str
    latent: tuple[int, int]
    held: Medians
    test: Medians
    frames: tuple[int, int, int]
    training: TrainingRecord
    software: dict[str, str]
    forms: tuple[Form, ...]
    settings: tuple[Setting, ...]
    starts: tuple[Start, ...]
    decoders: tuple[Drawn, ...] = ()
    virtual: tuple[Seen, ...] = ()

    def form(self, label: str) -> Form:
        """The form of a label."""
        (found,) = (each for each in self.forms if each.label == label)
        return found

    @classmethod
    def load(cls, run: Path) -> "Measured":
        """What was written into a run's folder."""
        return from_json((run / NAME).read_bytes(), cls)
