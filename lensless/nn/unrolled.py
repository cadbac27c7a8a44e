"""Networks with a step back to the measurement between them."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Consistency(nn.Module):
    """Pulls a guess x' to the measurement: the most likely scene for the prior N(x', s^2) and the noise of the sensor.

        x = x' + (G + 1/s^2)^-1 [A* N^-1 y - G x'],   G = A* N^-1 A

    The measurement enters as its Wiener estimate w, which holds all of it: A* N^-1 (y - A m) = (G + C^-1) (w - m) for
    scenes of mean m and covariance C. So the step costs two matrices of the scene's size, whatever the sensor's.

    Buffers: from_wiener = (G + 1/s^2)^-1 (G + C^-1) and from_guess = (G + 1/s^2)^-1 G, both (N, N); mean (N,).
    """

    def __init__(self, scene_pixels: int):
        super().__init__()
        self.register_buffer("from_wiener", torch.zeros(scene_pixels, scene_pixels))
        self.register_buffer("from_guess", torch.zeros(scene_pixels, scene_pixels))
        self.register_buffer("mean", torch.zeros(scene_pixels))

    def set(self, G: Tensor, covariance: Tensor, mean: Tensor, guess_std: float) -> None:
        """Compute the buffers from G and C (N, N), m (N,), and s, the standard deviation of the guess's error."""
        identity = torch.eye(len(G), dtype=G.dtype, device=G.device)
        solve = torch.linalg.inv(G + identity / guess_std**2)
        self.from_wiener.copy_(solve @ (G + torch.linalg.inv(covariance)))
        self.from_guess.copy_(solve @ G)
        self.mean.copy_(mean)

    def measured(self, wiener: Tensor) -> Tensor:
        """What the Wiener estimate (B, C, H, W) says of the measurement, the same for every guess, (B, N)."""
        with torch.autocast(wiener.device.type, enabled=False):
            return (wiener.float().flatten(1) - self.mean) @ self.from_wiener.T

    def forward(self, guess: Tensor, measured: Tensor) -> Tensor:
        """Guess (B, C, H, W) and what was `measured` -> (B, C, H, W), in float32 also under autocast."""
        with torch.autocast(guess.device.type, enabled=False):
            guess = guess.float()
            pull = measured - (guess.flatten(1) - self.mean) @ self.from_guess.T
            return guess + pull.view_as(guess)


class Unrolled(nn.Module):
    """Stages that each correct an estimate, with a consistency step before every one but the first.

    Args:
        stages: networks to (B, C, H, W); the first sees the Wiener estimate alone (B, C, H, W), each later one the
            consistent estimate, the one before it, and Wiener's (B, 3 C, H, W).
        consistency: see `Consistency`; None where there is one stage.
    """

    def __init__(self, stages: Sequence[nn.Module], consistency: nn.Module | None):
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.consistency = consistency

    def forward(self, wiener: Tensor) -> Tensor:
        estimate = wiener + self.stages[0](wiener)
        measured = self.consistency.measured(wiener) if len(self.stages) > 1 else None
        for stage in self.stages[1:]:
            consistent = self.consistency(estimate, measured)
            estimate = consistent + stage(torch.cat([consistent, estimate.float(), wiener], 1))
        return estimate.float()


class SharedStages(nn.Module):
    """The same with one network for all stages: a solver with a learned step, which costs one network's numbers.

    Args:
        stage: network from (B, 3 C, H, W) to (B, C, H, W); in the first stage all three estimates are Wiener's.
        count: of stages.
        consistency: see `Consistency`; None where there is one stage.
    """

    def __init__(self, stage: nn.Module, count: int, consistency: nn.Module | None):
        super().__init__()
        self.stage, self.count, self.consistency = stage, count, consistency

    def forward(self, wiener: Tensor) -> Tensor:
        estimate = consistent = wiener
        measured = self.consistency.measured(wiener) if self.count > 1 else None
        for at in range(self.count):
            if at:
                consistent = self.consistency(estimate, measured)
            estimate = consistent + self.stage(torch.cat([consistent, estimate.float(), wiener], 1))
        return estimate.float()
