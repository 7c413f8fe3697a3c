"""The table that an operator shows: each attack, what it wanted, what came of it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

#: One row: group, attack, why, verdict, seconds, what was wrong.
Row = tuple[str, str, str, str, str, str]


class Table:
    """Collects rows as attacks end and prints the summary."""

    def __init__(self, *, quiet: bool) -> None:
        self.rows: list[Row] = []
        self.failures: list[str] = []
        self._quiet = quiet
        self._started = time.monotonic()

    def add(self, group: str, name: str, why: str, verdict: str, seconds: float, problems: Sequence[str]) -> None:
        """One attack has ended."""
        text = "; ".join(problems)
        self.rows.append((group, name, why, verdict, f"{seconds:.2f}", text))
        if problems:
            self.failures.append(f"{group}/{name}: {text}")
        if not self._quiet or problems:
            print(
                f"{'FAILED' if problems else 'held  '}  {group}/{name:<50} {verdict:<10} {seconds:6.2f} s  {text}",
                flush=True,
            )

    def summary(self, facts: Iterable[tuple[str, Any]], final: Sequence[str]) -> str:
        """The closing table: by group, then facts of the run, then what was left at the end."""
        held, all_of = Counter(row[0] for row in self.rows if not row[5]), Counter(row[0] for row in self.rows)
        lines = ["", f"{'class of attack':<16} {'attacks':>8} {'held':>6} {'failed':>7}", "-" * 40]
        lines += [
            f"{group:<16} {count:>8} {held[group]:>6} {count - held[group]:>7}" for group, count in all_of.items()
        ]
        total = sum(all_of.values())
        lines += ["-" * 40, f"{'all':<16} {total:>8} {sum(held.values()):>6} {total - sum(held.values()):>7}", ""]
        lines += [f"{name}: {value}" for name, value in facts]
        lines += [f"duration: {time.monotonic() - self._started:.0f} s"]
        lines += [f"AT THE END: {problem}" for problem in final]
        lines += [f"FAILED {failure}" for failure in self.failures]
        lines += [
            "",
            "every attack held" if not self.failures and not final else f"{len(self.failures) + len(final)} problems",
        ]
        return "\n".join(lines)

    def markdown(self) -> str:
        """All rows, for a file beside the deployment's other papers."""
        lines = ["| class | attack | what it wants | verdict | s | result |", "|---|---|---|---|---|---|"]
        for group, name, why, verdict, seconds, problems in self.rows:
            lines.append(
                f"| {group} | {name} | {why} | {verdict} | {seconds} | {problems.replace('|', '/') or 'held'} |"
            )
        return "\n".join(lines) + "\n"
