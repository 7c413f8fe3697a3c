"""`python -m sandrun` is the `sandrun` command."""

from __future__ import annotations

import sys

from sandrun.cli import main

if __name__ == "__main__":
    sys.exit(main())
