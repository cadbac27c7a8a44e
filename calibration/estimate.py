"""A number that was measured, and how well it is known."""

import dataclasses
import math

Z95 = 1.959964  # half the width of the interval that holds a normal number in 95 % of cases, in standard deviations


@dataclasses.dataclass(frozen=True)
class Estimate:
    """Args: `value`, and `std`, its standard error."""

    value: float
    std: float

    @property
    def interval(self) -> tuple[float, float]:
        """Where the true value lies in 95 % of cases, if errors are normal."""
        return self.value - Z95 * self.std, self.value + Z95 * self.std

    def __mul__(self, other: "Estimate | float") -> "Estimate":
        """The product of two independent ones, or of one and an exact number; errors to first order."""
        other = other if isinstance(other, Estimate) else Estimate(other, 0.0)
        return Estimate(self.value * other.value, math.hypot(self.std * other.value, self.value * other.std))

    def __str__(self) -> str:
        """Both with as many digits as the error has two of: 7.498 +- 0.021."""
        if not (self.std > 0 and math.isfinite(self.std)):
            return f"{self.value:.4g}"
        digits = max(0, 1 - math.floor(math.log10(self.std)))
        return f"{self.value:.{digits}f} +- {self.std:.{digits}f}"
