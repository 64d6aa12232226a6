"""Camera pose auto-encoder: predicts from a pose the latents that a regressor computes from an image.

    x -> Fourier features -> MLP -> position latent        q -> Fourier features -> MLP -> orientation latent

It is trained from a regressor, its teacher, whose heads turn the latents back into the pose. The poses of the
training images then stand for the images, with seven numbers each.

Source: Shavit and Keller, "Camera Pose Auto-Encoders for Improving Pose Regression", ECCV 2022, section 3.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from camloc.errors import RecipeError
from camloc.geometry.pose import Pose, pose_error
from camloc.geometry.pose_search import camera_radius, mean_pose
from camloc.geometry.rotation import quaternion_wxyz_from_rotation
from camloc.models.base import Latents, Regressor
from camloc.models.layers.fourier import FourierFeatures
from camloc.models.losses import PoseLossConfig
from camloc.refinement.refiner import PositionErrors, PositionRefinement
from camloc.refinement.storage import FORMAT, AuxiliaryMetadata
from camloc.refinement.teacher import TeacherOutputs
from camloc.training.tasks import AuxiliaryTask

Branches = Literal["separate", "joint", "shared"]
InputForm = Literal["raw", "standardised"]
SceneCode = Literal["one_hot", "embedding", "fourier"]
StoredPrecision = Literal["single", "half"]

# Size of a learned scene embedding: that of the published Fourier features of the scene number.
_EMBEDDED = 13


@dataclass(frozen=True)
class PoseAutoencoderConfig:
    """Settings of `PoseAutoencoder`; with the defaults its layers are the published ones.

    Attributes:
        frequencies: of the Fourier features (the paper's L); 0 for none.
        with_pi: whether angles are multiplied by pi, as in the paper, or not, as in its code.
        hidden: sizes of the layers before the last. The last has the size of the teacher's latents.
        branches: "separate": each half of the latents from its half of the pose, as published. "joint": each
            half from the whole pose. "shared": one network gives both halves from the whole pose, for
            teachers whose halves are the same tensor.
        numbers: the seven inputs. "raw": world coordinates and quaternions, as in the paper's code.
            "standardised": offsets from the mean training pose, positions in units of the camera radius;
            latents are then relative to their mean.
        scene_code: how the scene number enters, if there are several: "one_hot", a learned "embedding", or
            "fourier" features of the number, as published.
        rank: of the last layer, which becomes a product of two matrices if that has fewer weights, since
            wide latents vary in few directions. 0 for a full layer, as published.
        kept: precision of the stored weights: "single", as published, or "half". Computation is in single.
    """

    frequencies: int = 6
    with_pi: bool = True
    hidden: tuple[int, ...] = (64, 128, 256)
    branches: Branches = "separate"
    numbers: InputForm = "standardised"
    scene_code: SceneCode = "one_hot"
    rank: int = 0
    kept: StoredPrecision = "single"


class PoseAutoencoder(nn.Module):
    """A small network that maps poses to the latents of a regressor."""

    def __init__(self, config: PoseAutoencoderConfig, *, latents: tuple[int, int], scenes: int = 1) -> None:
        """A network with fresh weights.

        Args:
            config: its settings.
            latents: sizes of the teacher's position and orientation latents.
            scenes: number of scenes of the teacher.

        Raises:
            RecipeError: the branches are "shared" and the halves have different sizes.
        """
        super().__init__()
        if config.branches == "shared" and latents[0] != latents[1]:
            raise RecipeError(
                f"one network cannot give latents of {latents[0]} and {latents[1]} numbers; let the "
                f"auto-encoder's branches be joint or separate"
            )
        self.config, self.latents, self.scenes = config, latents, scenes
        self.features = FourierFeatures(config.frequencies, base=math.pi if config.with_pi else 1.0)
        self.scene_embedding = None
        if scenes > 1 and config.scene_code == "embedding":
            self.scene_embedding = nn.Embedding(scenes, _EMBEDDED)
        move, turn, code = self.features.size(3), self.features.size(4), self._code_size()
        wide = (move + turn + code, move + turn + code)
        inputs = (move + code, turn + code) if config.branches == "separate" else wide
        self.position = perceptron(inputs[0], *config.hidden, latents[0], rank=config.rank)
        self.orientation: nn.Module | None = None
        if config.branches != "shared":
            self.orientation = perceptron(inputs[1], *config.hidden, latents[1], rank=config.rank)
        # The mean pose and camera radius of each scene, and the mean and scale of the teacher's latents.
        self.register_buffer("center", torch.zeros(scenes, 3, dtype=torch.float64))
        self.register_buffer("radius", torch.ones(scenes, dtype=torch.float64))
        self.register_buffer("mean_rotation", torch.eye(3, dtype=torch.float64).repeat(scenes, 1, 1))
        for half, size in zip(Latents._fields, latents, strict=True):
            self.register_buffer(f"{half}_mean", torch.zeros(size))
            self.register_buffer(f"{half}_scale", torch.ones(()))

    def observe(self, world_from_cam: Sequence[Pose], latents: Latents) -> None:
        """Set the constants that standardise poses and latents, from those of the training frames.

        Args:
            world_from_cam: for each scene its training poses.
            latents: the teacher's latents of all training frames.
        """
        if self.config.numbers == "raw":
            return
        for scene, poses in enumerate(world_from_cam):
            centers = poses.translation.double()
            radius = camera_radius(Pose(poses.rotation, centers))
            self.get_buffer("center")[scene] = centers.mean(0)
            self.get_buffer("radius")[scene] = radius.clamp_min(1e-6)
            self.get_buffer("mean_rotation")[scene] = mean_pose(poses).rotation.double()
        for half, values in zip(Latents._fields, latents, strict=True):
            self.get_buffer(f"{half}_mean").copy_(values.mean(0))
            self.get_buffer(f"{half}_scale").copy_(values.std(0).square().mean().sqrt().clamp_min(1e-6))

    def forward(self, world_from_cam: Pose, scene: Int[Tensor, "b"] | None = None) -> Latents:
        """The latents of (b,) poses.

        Args:
            world_from_cam: poses in any precision.
            scene: (b,) numbers of the scenes, or None for scene 0.
        """
        if scene is None:
            scene = torch.zeros(len(world_from_cam), dtype=torch.int64, device=self._device)
        return self.encode(self.inputs(world_from_cam, scene), scene)

    def inputs(self, world_from_cam: Pose, scene: Int[Tensor, "b"]) -> Float[Tensor, "b 7"]:
        """The seven inputs of the networks for (b,) poses: a position and a quaternion with w >= 0."""
        poses = world_from_cam.to(self._device).to(torch.float64)
        center, radius = self.get_buffer("center")[scene], self.get_buffer("radius")[scene].unsqueeze(-1)
        rotation = self.get_buffer("mean_rotation")[scene].mT @ poses.rotation
        position = (poses.translation - center) / radius
        return torch.cat((position, quaternion_wxyz_from_rotation(rotation)), dim=-1).float()

    def encode(self, inputs: Float[Tensor, "b 7"], scene: Int[Tensor, "b"]) -> Latents:
        """The latents of poses, from their `inputs`."""
        # The features of all seven inputs, wave by wave, are split into those of the position and of the
        # quaternion.
        waves: Tensor = self.features(inputs).unflatten(-1, (-1, 7))
        move, turn = waves[..., :3].flatten(-2), waves[..., 3:].flatten(-2)
        if self.config.branches != "separate":
            move = turn = torch.cat((move, turn), dim=-1)
        if self.scenes > 1:
            code = self._code(scene)
            move, turn = (torch.cat((half, code), dim=-1) for half in (move, turn))
        position = self.position(move)
        orientation = position if self.orientation is None else self.orientation(turn)
        return Latents(self._scaled("position", position), self._scaled("orientation", orientation))

    def parameter_count(self) -> int:
        """Number of learned values."""
        return sum(parameter.numel() for parameter in self.parameters())

    def stored(self) -> dict[str, Tensor]:
        """The tensors that files hold: the weights in their stored precision, and the constants."""
        precision = torch.float16 if self.config.kept == "half" else torch.float32
        weights = {name for name, _ in self.named_parameters()}
        return {
            name: value.to(precision) if name in weights else value
            for name, value in self.state_dict().items()
        }

    def round_to_stored(self) -> None:
        """Round the weights to their stored precision, so that measurements hold for the stored network."""
        self.load_state_dict(self.stored())

    @property
    def megabytes(self) -> float:
        """Size of the stored tensors."""
        size: int = sum(value.numel() * value.element_size() for value in self.stored().values())
        return size / 1e6

    @property
    def _device(self) -> torch.device:
        return self.get_buffer("center").device

    def _scaled(self, half: str, values: Float[Tensor, "b d"]) -> Float[Tensor, "b d"]:
        return self.get_buffer(f"{half}_mean") + self.get_buffer(f"{half}_scale") * values

    def _code_size(self) -> int:
        if self.scenes == 1:
            return 0
        match self.config.scene_code:
            case "one_hot":
                return self.scenes
            case "embedding":
                return _EMBEDDED
            case "fourier":
                return self.features.size(1)

    def _code(self, scene: Int[Tensor, "b"]) -> Float[Tensor, "b c"]:
        if self.scene_embedding is not None:
            embedded: Tensor = self.scene_embedding(scene)
            return embedded
        if self.config.scene_code == "fourier":
            waves: Tensor = self.features(scene.float().unsqueeze(-1))
            return waves
        return F.one_hot(scene, self.scenes).float()


def perceptron(*sizes: int, rank: int = 0) -> nn.Sequential:
    """Linear layers with ReLU between them; at the start Xavier weights and zero biases, as released.

    With a `rank`, the last layer becomes a product of two with `rank` numbers between them, if that has fewer
    weights.
    """
    inputs, outputs = sizes[-2:]
    if 0 < rank * (inputs + outputs) < inputs * outputs:
        return nn.Sequential(*perceptron(*sizes[:-1], rank), *perceptron(rank, outputs))
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        linear = nn.Linear(inputs, outputs)
        nn.init.xavier_uniform_(linear.weight)
        nn.init.zeros_(linear.bias)
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


@dataclass(frozen=True)
class HeldOutErrors:
    """Median errors on held-out frames."""

    meters: float
    degrees: float


@dataclass(frozen=True)
class AutoencoderMetadata(AuxiliaryMetadata[PoseAutoencoder]):
    """The content of `autoencoder/autoencoder.json`.

    Attributes:
        source: digest of the teacher's weights.
        scenes: names of the scenes, in the order of their numbers.
        config: settings of the encoder.
        latents: sizes of the teacher's position and orientation latents.
        recipe: name of the recipe that it was trained by.
        teacher: errors of the teacher, or None if no frames were held out.
        student: errors of the teacher's heads on the encodings of the true poses, or None.
        student_of_predictions: the same on the encodings of the teacher's predicted poses, or None.
        refined: position errors with each refinement method, by name; "none" is the teacher's.
        settings: for each method, by name, the settings that were best on held-out frames; empty if there
            were none.
        format: version of this layout.
    """

    NAME: ClassVar[str] = "autoencoder"

    source: str
    scenes: tuple[str, ...]
    config: PoseAutoencoderConfig
    latents: tuple[int, int]
    recipe: str = ""
    teacher: HeldOutErrors | None = None
    student: HeldOutErrors | None = None
    student_of_predictions: HeldOutErrors | None = None
    refined: dict[str, PositionErrors] = field(default_factory=dict)
    settings: dict[str, PositionRefinement] = field(default_factory=dict)
    format: int = FORMAT

    def build(self) -> PoseAutoencoder:
        """An encoder with fresh weights."""
        return PoseAutoencoder(self.config, latents=self.latents, scenes=len(self.scenes))

    def tensors(self, network: PoseAutoencoder) -> dict[str, Tensor]:
        """The weights in their stored precision."""
        return network.stored()


@dataclass(frozen=True)
class DistillationConfig:
    """How an encoder imitates its teacher.

    Attributes:
        latent_distance: "euclidean": the length of the difference of latents, Eq. 1 of the paper; "squared":
            the mean square, as in its code.
        reads: which poses are encoded: the "truth", as in the paper, or those that the "teacher" predicts,
            as in its code.
        pose_loss: initial uncertainty weights of the pose loss.
    """

    latent_distance: Literal["euclidean", "squared"] = "euclidean"
    reads: Literal["truth", "teacher"] = "truth"
    pose_loss: PoseLossConfig = PoseLossConfig(0.0, -3.0)


class DecodedPoseLoss(nn.Module):
    """Uncertainty-weighted loss of decoded poses, whatever the regressor's output (Eq. 2 to 4 of the paper).

        L_p = L_x exp(-s_x) + s_x + L_q exp(-s_q) + s_q

    L_q is `|R - S| / (2 sqrt(2)) = sin(angle / 2)` of rotation matrices, which for small angles is the
    paper's distance of unit quaternions and does not depend on their sign.
    """

    def __init__(self, config: PoseLossConfig) -> None:
        super().__init__()
        self.position = nn.Parameter(torch.tensor(config.position))
        self.orientation = nn.Parameter(torch.tensor(config.orientation))

    def forward(self, predicted: Pose, truth: Pose) -> dict[str, Tensor]:
        """The two terms of (b,) poses."""
        meters = torch.linalg.vector_norm(predicted.translation - truth.translation, dim=-1).mean()
        sine = torch.linalg.matrix_norm(predicted.rotation - truth.rotation).mean() / 8.0**0.5
        return {
            "position": meters.float() * torch.exp(-self.position) + self.position,
            "orientation": sine.float() * torch.exp(-self.orientation) + self.orientation,
        }


class Student(nn.Module):
    """A pose auto-encoder with its loss, whose weights are trained with it."""

    def __init__(self, encoder: PoseAutoencoder, config: DistillationConfig) -> None:
        super().__init__()
        self.encoder = encoder
        self.pose_loss = DecodedPoseLoss(config.pose_loss)


class Distillation(AuxiliaryTask):
    """The task of predicting a teacher's latents from poses.

    The gradient of the pose loss passes through the frozen heads into the encoder, which it does not in the
    paper's code.

    Source: "Camera Pose Auto-Encoders" (ECCV 2022), section 3.1.
    """

    network: Student

    def __init__(
        self,
        encoder: PoseAutoencoder,
        teacher: Regressor[Any],
        train: TeacherOutputs,
        held: TeacherOutputs | None,
        config: DistillationConfig,
    ) -> None:
        """Prepare the task.

        Args:
            encoder: to be trained; `observe` has been called.
            teacher: frozen, on the device of `train`.
            train, held: the teacher's outputs for the training frames and for the held-out frames, on one
                device.
            config: how the teacher is imitated.
        """
        self.network = Student(encoder, config).to(train.scene.device)
        self.teacher, self.train, self.held, self.config = teacher, train, held, config

    def __len__(self) -> int:
        return len(self.train)

    def losses(
        self, network: Student, rows: Int[Tensor, "b"], generator: torch.Generator
    ) -> dict[str, Tensor]:
        """The four terms of Eq. 1 and 2."""
        del generator
        rows = rows.to(self.train.scene.device)
        poses = self.train.predicted if self.config.reads == "teacher" else self.train.world_from_cam
        latents = network.encoder(poses[rows], self.train.scene[rows])
        targets = Latents(*(half[rows] for half in self.train.latents))
        terms = {
            f"{half}_latent": self._distance(ours - theirs)
            for half, ours, theirs in zip(Latents._fields, latents, targets, strict=True)
        }
        predicted = self.teacher.pose_in(latents, self.train.scene[rows])
        pose_terms: dict[str, Tensor] = network.pose_loss(predicted, self.train.world_from_cam[rows])
        return terms | pose_terms

    def measures(self, network: Student) -> dict[str, float]:
        """Median pose errors of the encodings of held-out poses, and the distance of their latents.

        `latents` is relative to the constant prediction of the mean latents. `score` adds it to both errors,
        each relative to the constant prediction of the mean pose.
        """
        if self.held is None:
            return {}
        truth = self.held.world_from_cam
        latents = network.encoder(truth, self.held.scene)
        error = pose_error(self.teacher.pose_in(latents, self.held.scene), truth)
        baseline = pose_error(self._mean_poses(self.held.scene), truth)
        meters, degrees = (float(each.median()) for each in error)
        baseline_meters, baseline_degrees = (max(float(each.median()), 1e-9) for each in baseline)
        distance = sum(
            _relative_distance(ours, theirs) / 2
            for ours, theirs in zip(latents, self.held.latents, strict=True)
        )
        score = meters / baseline_meters + degrees / baseline_degrees + distance
        return {"score": score, "meters": meters, "degrees": degrees, "latents": distance}

    def _mean_poses(self, scene: Int[Tensor, "n"]) -> Pose:
        """The mean training poses of scenes."""
        poses, of = self.train.world_from_cam, self.train.scene
        means = [mean_pose(poses[of == number]) for number in range(int(of.max()) + 1)]
        return Pose.stack(means)[scene]

    def _distance(self, difference: Float[Tensor, "b d"]) -> Tensor:
        if self.config.latent_distance == "squared":
            return difference.square().mean()
        length: Tensor = torch.linalg.vector_norm(difference, dim=-1)
        return length.mean()


def _relative_distance(ours: Float[Tensor, "n d"], theirs: Float[Tensor, "n d"]) -> float:
    """Mean distance of latents, divided by the mean distance of `theirs` to their mean."""
    distance = torch.linalg.vector_norm(ours - theirs, dim=-1).mean()
    baseline = torch.linalg.vector_norm(theirs - theirs.mean(0), dim=-1).mean()
    return float(distance / baseline.clamp_min(1e-9))
