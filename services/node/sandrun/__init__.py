"""sandrun: runs untrusted programs, each in a sandbox of its own, behind a small HTTP API."""

from __future__ import annotations

__all__ = ["__version__"]

__version__ = "0.1.0"
