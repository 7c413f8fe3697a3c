"""The README's Python examples, so that tests run what users read."""

import re
from pathlib import Path

README = Path(__file__).resolve().parents[2] / "README.md"


def examples(heading: str) -> list[str]:
    """The fenced Python blocks under a `## heading`, in order."""
    _, found, rest = README.read_text().partition(f"\n## {heading}\n")
    assert found, f"README.md has no section {heading}"
    section = rest.partition("\n## ")[0]
    blocks = re.findall(r"```python\n(.*?)```", section, re.S)
    assert blocks, f"section {heading} of README.md has no Python example"
    return blocks
