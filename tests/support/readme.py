"""The Python examples of README and docs, so that tests run what users read."""

import re
from pathlib import Path

README = Path(__file__).resolve().parents[2] / "README.md"
WHOLE_JOBS = README.parent / "docs" / "whole-jobs.md"


def examples(heading: str, document: Path = README) -> list[str]:
    """The fenced Python blocks under a `## heading`, in order."""
    _, found, rest = document.read_text().partition(f"\n## {heading}\n")
    assert found, f"{document.name} has no section {heading}"
    section = rest.partition("\n## ")[0]
    blocks = re.findall(r"```python\n(.*?)```", section, re.S)
    assert blocks, f"section {heading} of {document.name} has no Python example"
    return blocks
