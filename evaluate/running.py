"""Means and spreads of numbers that come one after another, in memory that does not grow."""

import math
from dataclasses import dataclass


@dataclass
class Running:
    """Count, mean and sum of squared deviations of what was added.

    Two of them merge into what one would be that was given all values, to rounding (Chan, Golub and LeVeque 1979).
    """

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0

    def add(self, value: float) -> None:
        """Count a value; infinity makes the mean infinite and the spread unknown."""
        self.merge(Running(1, value))

    def merge(self, other: "Running") -> None:
        """Count what another one has counted."""
        total = self.count + other.count
        if not other.count:
            return
        if math.isinf(self.mean) or math.isinf(other.mean):
            self.count, self.mean, self.squares = total, self.mean * bool(self.count) + other.mean, math.nan
            return
        step = other.mean - self.mean
        self.squares += other.squares + step * step * self.count * other.count / total
        self.mean += step * other.count / total
        self.count = total

    @property
    def average(self) -> float:
        """Mean; NaN of nothing."""
        return self.mean if self.count else math.nan

    @property
    def deviation(self) -> float:
        """Sample standard deviation (n - 1); NaN of fewer than two values."""
        return math.sqrt(self.squares / (self.count - 1)) if self.count > 1 else math.nan

    @property
    def variance(self) -> float:
        """Population variance (n); NaN of nothing."""
        return self.squares / self.count if self.count else math.nan
