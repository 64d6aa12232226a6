"""Camera pose auto-encoder: what a regressor would see from a pose, without an image.

    x -> Fourier features -> MLP -> position latent        q -> Fourier features -> MLP -> orientation latent

It learns from a regressor, its teacher, whose heads turn the latents back into the pose. Poses of training
images then stand for what the images looked like, at seven numbers each.

Source: Shavit and Keller, "Camera Pose Auto-Encoders for Improving Pose Regression", ECCV 2022, section 3.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from camloc.errors import RecipeError
from camloc.geometry.pose import Pose, pose_error
from camloc.geometry.pose_search import mean_pose
from camloc.geometry.rotation import quaternion_wxyz_from_rotation
from camloc.models.base import Latents, Regressor
from camloc.models.layers.fourier import FourierFeatures
from camloc.models.losses import PoseLossConfig
from camloc.refinement.train import TeacherOutputs
from camloc.training.tasks import AuxiliaryTask

Branches = Literal["separate", "joint", "shared"]
Numbers = Literal["raw", "standardised"]
SceneCode = Literal["one_hot", "embedding", "fourier"]
Precision = Literal["single", "half"]

# Numbers of a learned code of a scene, as many as its Fourier features have as published.
_EMBEDDED = 13


@dataclass(frozen=True)
class PoseAutoencoderConfig:
    """Settings of `PoseAutoencoder`; with the defaults its layers are the published ones.

    Attributes:
        frequencies: of the Fourier features (the paper's L); 0 for none.
        with_pi: whether angles are multiplied by pi, as in the paper, or not, as in its code.
        hidden: sizes of the layers before the last, whose size is that of the teacher's latents.
        branches: "separate": each half of the latents from its half of the pose, as published. "joint": each
            from the whole pose. "shared": one network from the whole pose gives both halves, for teachers
            whose halves are one.
        numbers: "raw": metres of the world and its quaternions, as in the paper's code. "standardised":
            offsets from the mean training pose in units of the training positions' spread, and latents
            relative to their mean.
        scene_code: how the number of a scene enters, where there are several: "one_hot", a learned
            "embedding", or as Fourier features of the number, as published.
        rank: of the last layer, which is then a product of two, where that is smaller: latents of thousands
            of numbers vary in few directions. 0 for a whole layer, as published.
        kept: precision of the weights in files: "single", as published, or "half". Computed is in single.
    """

    frequencies: int = 6
    with_pi: bool = True
    hidden: tuple[int, ...] = (64, 128, 256)
    branches: Branches = "separate"
    numbers: Numbers = "standardised"
    scene_code: SceneCode = "one_hot"
    rank: int = 0
    kept: Precision = "single"


class PoseAutoencoder(nn.Module):
    """A small network from poses to the latents of a regressor."""

    def __init__(self, config: PoseAutoencoderConfig, *, latents: tuple[int, int], scenes: int = 1) -> None:
        """A network with fresh weights.

        Args:
            config: its settings.
            latents: sizes of the teacher's position and orientation latents.
            scenes: how many scenes the teacher knows.

        Raises:
            RecipeError: halves of different sizes should be one.
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
        self._register_frame()

    def _register_frame(self) -> None:
        """Constants of the training poses and of the teacher's latents."""
        count = self.scenes
        self.register_buffer("center", torch.zeros(count, 3, dtype=torch.float64))
        self.register_buffer("spread", torch.ones(count, dtype=torch.float64))
        self.register_buffer("middle", torch.eye(3, dtype=torch.float64).repeat(count, 1, 1))
        for half, size in zip(Latents._fields, self.latents, strict=True):
            self.register_buffer(f"{half}_mean", torch.zeros(size))
            self.register_buffer(f"{half}_scale", torch.ones(()))

    def observe(self, world_from_cam: Sequence[Pose], latents: Latents) -> None:
        """Note the training poses of each scene and the teacher's latents of them, if standardised."""
        if self.config.numbers == "raw":
            return
        for scene, poses in enumerate(world_from_cam):
            centers = poses.translation.double()
            spread = (centers - centers.mean(0)).square().sum(-1).mean().sqrt()
            self.get_buffer("center")[scene] = centers.mean(0)
            self.get_buffer("spread")[scene] = spread.clamp_min(1e-6)
            self.get_buffer("middle")[scene] = mean_pose(poses).rotation.double()
        for half, values in zip(Latents._fields, latents, strict=True):
            self.get_buffer(f"{half}_mean").copy_(values.mean(0))
            self.get_buffer(f"{half}_scale").copy_(values.std(0).square().mean().sqrt().clamp_min(1e-6))

    def forward(self, world_from_cam: Pose, scene: Int[Tensor, "b"] | None = None) -> Latents:
        """The latents of (b,) poses.

        Args:
            world_from_cam: poses in any precision; quaternions are taken with w >= 0.
            scene: (b,) numbers of the scenes, or None where there is one.
        """
        if scene is None:
            scene = torch.zeros(len(world_from_cam), dtype=torch.int64, device=self._device)
        return self.encode(self.numbers(world_from_cam, scene), scene)

    def numbers(self, world_from_cam: Pose, scene: Int[Tensor, "b"]) -> Float[Tensor, "b 7"]:
        """The seven numbers of (b,) poses that the networks read: a position and a quaternion."""
        poses = world_from_cam.to(self._device).to(torch.float64)
        moved = (poses.translation - self.get_buffer("center")[scene]) / self.get_buffer("spread")[
            scene
        ].unsqueeze(-1)
        turned = self.get_buffer("middle")[scene].mT @ poses.rotation
        return torch.cat((moved, quaternion_wxyz_from_rotation(turned)), dim=-1).float()

    def encode(self, numbers: Float[Tensor, "b 7"], scene: Int[Tensor, "b"]) -> Latents:
        """The latents of what `numbers` says of poses."""
        # The features of all seven at once, wave after wave, and then those of three and of four.
        waves: Tensor = self.features(numbers).unflatten(-1, (-1, 7))
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

    def kept(self) -> dict[str, Tensor]:
        """What files hold: the weights in the precision that they are kept in, and the constants."""
        precision = torch.float16 if self.config.kept == "half" else torch.float32
        learned = {name for name, _ in self.named_parameters()}
        return {
            name: value.to(precision) if name in learned else value
            for name, value in self.state_dict().items()
        }

    def round_off(self) -> None:
        """Round the weights to what files hold of them, so that what is measured is what is read again."""
        self.load_state_dict(self.kept())

    @property
    def megabytes(self) -> float:
        """Size of what files hold."""
        size: int = sum(value.numel() * value.element_size() for value in self.kept().values())
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
    """Linear layers with ReLU between them, Xavier weights and no biases at the start, as released.

    With a `rank` the last one is a product of two, of which the first gives so many numbers, if that is
    smaller.
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
class DistillationConfig:
    """How a teacher is imitated.

    Attributes:
        latent_distance: "euclidean": the length of the difference of latents, Eq. 1 of the paper; "squared":
            the mean square, as in its code.
        reads: poses that are encoded: the "truth", as in the paper, or the "teacher"'s own answers, as in its
            code.
        balance: where the learned weights of the pose loss start.
    """

    latent_distance: Literal["euclidean", "squared"] = "euclidean"
    reads: Literal["truth", "teacher"] = "truth"
    balance: PoseLossConfig = PoseLossConfig(0.0, -3.0)


class PoseBalance(nn.Module):
    """Loss of poses with learned weights, of any regressor's answers (Eq. 2 to 4 of the paper).

        L_p = L_x exp(-s_x) + s_x + L_q exp(-s_q) + s_q

    L_q is `|R - S| / (2 sqrt(2)) = sin(angle / 2)` of rotation matrices, which for small angles is the
    paper's distance of unit quaternions, and knows no wrong sign.
    """

    def __init__(self, config: PoseLossConfig) -> None:
        super().__init__()
        self.position = nn.Parameter(torch.tensor(config.position))
        self.orientation = nn.Parameter(torch.tensor(config.orientation))

    def forward(self, answer: Pose, truth: Pose) -> dict[str, Tensor]:
        """The two terms of (b,) answers."""
        moved = torch.linalg.vector_norm(answer.translation - truth.translation, dim=-1).mean()
        turned = torch.linalg.matrix_norm(answer.rotation - truth.rotation).mean() / 8.0**0.5
        return {
            "position": moved.float() * torch.exp(-self.position) + self.position,
            "orientation": turned.float() * torch.exp(-self.orientation) + self.orientation,
        }


class Student(nn.Module):
    """A pose auto-encoder with the weights of its loss."""

    def __init__(self, encoder: PoseAutoencoder, config: DistillationConfig) -> None:
        super().__init__()
        self.encoder = encoder
        self.balance = PoseBalance(config.balance)


class Distillation(AuxiliaryTask):
    """Learning a teacher's latents from poses.

    The gradient of the pose loss passes through the frozen heads into the encoder, which in the code of the
    paper it did not.

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
        """Prepare.

        Args:
            encoder: that learns; `observe` has been called.
            teacher: frozen, on the device of `train`.
            train, held: what it sees in the frames to learn from, and in those held out; on one device.
            config: how it is imitated.
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
        poses = self.train.answers if self.config.reads == "teacher" else self.train.world_from_cam
        latents = network.encoder(poses[rows], self.train.scene[rows])
        wanted = Latents(*(half[rows] for half in self.train.latents))
        terms = {
            f"{half}_latent": self._distance(ours - theirs)
            for half, ours, theirs in zip(Latents._fields, latents, wanted, strict=True)
        }
        answer = self.teacher.pose_in(latents, self.train.scene[rows])
        balanced: dict[str, Tensor] = network.balance(answer, self.train.world_from_cam[rows])
        return terms | balanced

    def measures(self, network: Student) -> dict[str, float]:
        """The student's median errors on held-out poses, and how far its latents are from the teacher's.

        `latents` is relative to always giving the mean; `score` adds it to both errors, each relative to
        always answering the mean pose.
        """
        if self.held is None:
            return {}
        truth = self.held.world_from_cam
        latents = network.encoder(truth, self.held.scene)
        error = pose_error(self.teacher.pose_in(latents, self.held.scene), truth)
        scale = pose_error(self._middles(self.held.scene), truth)
        meters, degrees = (float(each.median()) for each in error)
        far, turned = (max(float(each.median()), 1e-9) for each in scale)
        away = sum(
            _relative(ours, theirs) / 2 for ours, theirs in zip(latents, self.held.latents, strict=True)
        )
        score = meters / far + degrees / turned + away
        return {"score": score, "meters": meters, "degrees": degrees, "latents": away}

    def _middles(self, scene: Int[Tensor, "n"]) -> Pose:
        """The mean training poses of scenes."""
        poses, of = self.train.world_from_cam, self.train.scene
        middles = [mean_pose(poses[of == number]) for number in range(int(of.max()) + 1)]
        return Pose.stack(middles)[scene]

    def _distance(self, difference: Float[Tensor, "b d"]) -> Tensor:
        if self.config.latent_distance == "squared":
            return difference.square().mean()
        length: Tensor = torch.linalg.vector_norm(difference, dim=-1)
        return length.mean()


def _relative(ours: Float[Tensor, "n d"], theirs: Float[Tensor, "n d"]) -> float:
    """Mean distance of latents, over that of their mean to them."""
    away = torch.linalg.vector_norm(ours - theirs, dim=-1).mean()
    spread = torch.linalg.vector_norm(theirs - theirs.mean(0), dim=-1).mean()
    return float(away / spread.clamp_min(1e-9))
