"""What an iterative solver returns."""

import dataclasses
from typing import Self

from torch import Tensor

from lensless.optics import ForwardModel
from lensless.recon.total_variation import total_variation


@dataclasses.dataclass(frozen=True, eq=False)
class Solution:
    """Where an iteration has ended.

    Args:
        x: scenes, (B, C, H, W), within the box.
        objective: 1/2 |A x - y|^2 + weight TV(x) of each scene, (B,).
        misfit: root mean square of A x - y over the pixels of each measurement, (B,), in units of y.
        change: relative change of x in the last iteration, or the larger of the relative residuals (ADMM): what the
            tolerance is compared with.
        iterations: how many there were.
        converged: whether the tolerance was reached before they were spent.
    """

    x: Tensor
    objective: Tensor
    misfit: Tensor
    change: float
    iterations: int
    converged: bool

    @classmethod
    def of(
        cls, A: ForwardModel, y: Tensor, weight: float, x: Tensor, change: float, iterations: int, tolerance: float
    ) -> Self:
        """Scenes that an iteration has come to, with what is to be known of them."""
        squares = (A.A(x) - y).square().flatten(1)
        objective = squares.sum(1) / 2 + weight * total_variation(x)
        return cls(x, objective, squares.mean(1).sqrt(), change, iterations, change < tolerance)

    def __str__(self) -> str:
        end = "converged" if self.converged else "stopped"
        return (
            f"{end} after {self.iterations} iterations: objective {self.objective.mean():.6g}, misfit "
            f"{self.misfit.mean():.4g} (root mean square), last change {self.change:.1e}"
        )
