"""What the self-test found, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Layer", "Report"]


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of the sandbox: whether it holds, how that was proven, and what mends it."""

    name: str
    holds: bool
    proof: str  #: what was tried and what came of it
    mend: str = ""  #: what the operator should do, when it does not hold
    required: bool = True


@dataclass(frozen=True, slots=True)
class Report:
    """All layers, in the order in which a sandbox is built."""

    layers: Sequence[Layer]

    @property
    def passed(self) -> bool:
        """Whether every required layer holds. Without that no job is run."""
        return all(layer.holds for layer in self.layers if layer.required)

    @property
    def refusal(self) -> str | None:
        """Why no job is run, in one sentence with what mends it, or None."""
        missing = [layer for layer in self.layers if layer.required and not layer.holds]
        if not missing:
            return None
        first = missing[0]
        others = f" (and {len(missing) - 1} more: sandrun doctor lists them)" if len(missing) > 1 else ""
        return f"this node runs no jobs: the layer '{first.name}' does not hold{others}: {first.proof}. {first.mend}"

    def shown(self) -> dict[str, Any]:
        """For `GET /`."""
        return {
            "passed": self.passed,
            "layers": [
                {"name": layer.name, "holds": layer.holds, "required": layer.required, "proof": layer.proof}
                | ({"mend": layer.mend} if not layer.holds else {})
                for layer in self.layers
            ],
        }

    def table(self) -> str:
        """For people: one line for each layer, what to do below those that do not hold."""
        width = max(len(layer.name) for layer in self.layers)
        lines = []
        for layer in self.layers:
            mark = "ok      " if layer.holds else "MISSING " if layer.required else "weaker  "
            lines.append(f"{mark}{layer.name.ljust(width)}  {layer.proof}")
            if not layer.holds:
                lines.append(f"{' ' * (8 + width)}  -> {layer.mend}")
        return "\n".join(lines)
