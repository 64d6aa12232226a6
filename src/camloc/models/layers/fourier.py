"""Fourier features: sines and cosines of numbers, which let a network represent fine detail."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn


class FourierFeatures(nn.Module):
    """The numbers, then their sines and cosines at increasing frequencies.

        p, sin(2^0 w p), cos(2^0 w p), ..., sin(2^(L-1) w p), cos(2^(L-1) w p)

    with w = pi as in the papers, or 1 as in the code of "Camera Pose Auto-Encoders" (the last exponent in its
    Eq. 5 should be L - 1).

    Source: "Camera Pose Auto-Encoders" (ECCV 2022), Eq. 5, after Mildenhall et al. 2020 (NeRF).
    """

    def __init__(self, frequencies: int, *, base: float = math.pi) -> None:
        super().__init__()
        self.frequencies = frequencies
        self.register_buffer("rates", base * 2.0 ** torch.arange(frequencies), persistent=False)

    def size(self, inputs: int) -> int:
        """Number of features of `inputs` numbers."""
        return inputs * (1 + 2 * self.frequencies)

    def forward(self, values: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch features"]:
        """Compute the features; the numbers should be of the order of 1."""
        angles = values.unsqueeze(-2) * self.get_buffer("rates").unsqueeze(-1)
        waves = torch.stack((angles.sin(), angles.cos()), dim=-2)
        return torch.cat((values, waves.flatten(-3)), dim=-1)
