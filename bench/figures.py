"""A figure: its name, what it must reach, and the values that were measured, as a row of the table."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Figure:
    """One row. `reaches` judges the median; None where nothing was asked."""

    name: str
    unit: str
    target: str = ""
    reaches: Callable[[float], bool] | None = None
    values: list[float] = field(default_factory=list)
    baseline: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """Of the broker's values."""
        return statistics.median(self.values)

    @property
    def verdict(self) -> str:
        """Whether the target is reached."""
        if self.reaches is None:
            return ""
        return "yes" if self.reaches(self.median) else "**no**"

    def cells(self) -> list[str]:
        """The row's texts."""
        return [
            self.name,
            spread(self.values),
            self.unit,
            self.target,
            self.verdict,
            spread(self.baseline),
            self.factor,
        ]

    @property
    def factor(self) -> str:
        """How many times better than the baseline: more of a rate, less of a time."""
        if not self.baseline or not self.median or not statistics.median(self.baseline):
            return ""
        ratio = self.median / statistics.median(self.baseline)
        return f"{1 / ratio:.0f} times less" if self.unit == "ms" else f"{ratio:.1f} times more"


HEADINGS = ["figure", "median (min-max)", "unit", "target", "reached", "Flask baseline", "against it"]


def at_least(limit: float) -> Callable[[float], bool]:
    """For rates."""
    return lambda value: value >= limit


def below(limit: float) -> Callable[[float], bool]:
    """For times and sizes."""
    return lambda value: value < limit


def spread(values: list[float]) -> str:
    """Median, and the extremes where there are several values."""
    if not values:
        return ""
    if len(values) == 1:
        return number(values[0])
    return f"{number(statistics.median(values))} ({number(min(values))}-{number(max(values))})"


def number(value: float) -> str:
    """Three significant digits, thousands with commas."""
    if value >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.3g}"


def markdown(figures: list[Figure]) -> str:
    """The table."""
    rows = [HEADINGS, ["---"] * len(HEADINGS), *(figure.cells() for figure in figures if figure.values)]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def plain(figures: list[Figure]) -> str:
    """The table for a terminal."""
    rows = [HEADINGS, *(figure.cells() for figure in figures if figure.values)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
