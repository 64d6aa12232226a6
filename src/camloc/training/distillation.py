"""Teaching a pose auto-encoder: its latents like the teacher's, and the teacher's heads right about them."""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from camloc.core.model import Latents, Regressor
from camloc.geometry.neighbours import mean_pose
from camloc.geometry.pose import Pose, pose_error
from camloc.models.parts.balance import BalanceConfig
from camloc.refiners.pose_autoencoder import PoseAutoencoder
from camloc.training.lesson import Lesson
from camloc.training.teacher import Taught


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
    balance: BalanceConfig = BalanceConfig(0.0, -3.0)


class PoseBalance(nn.Module):
    """Loss of poses with learned weights, of any regressor's answers (Eq. 2 to 4 of the paper).

        L_p = L_x exp(-s_x) + s_x + L_q exp(-s_q) + s_q

    L_q is `|R - S| / (2 sqrt(2)) = sin(angle / 2)` of rotation matrices, which for small angles is the
    paper's distance of unit quaternions, and knows no wrong sign.
    """

    def __init__(self, config: BalanceConfig) -> None:
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


class Distillation(Lesson):
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
        train: Taught,
        held: Taught | None,
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
        """The mean training poses of places."""
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
