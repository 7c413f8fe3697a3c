"""Ids of jobs: UUIDs of version 7, which cannot be guessed, and come in order."""

import os
import time
from io import BytesIO
from uuid import UUID

__all__ = ["new_job_id"]

RANDOM_BYTES = 10
"""For an id, of which 74 bits are used."""
IDS_AT_ONCE = 200
"""For which the system is asked for random numbers: a call takes several times as long as making the id."""


class _RandomBits:
    """Lives on the event loop."""

    def __init__(self) -> None:
        self._random = BytesIO()

    def take(self) -> int:
        """RANDOM_BYTES of them as a number."""
        piece = self._random.read(RANDOM_BYTES)
        if not piece:
            self._random = BytesIO(os.urandom(RANDOM_BYTES * IDS_AT_ONCE))
            piece = self._random.read(RANDOM_BYTES)
        return int.from_bytes(piece, "big")


_bits = _RandomBits()


def new_job_id() -> str:
    """A new one. 74 random bits stand behind the time in milliseconds: the database's index grows at its end."""
    value = (time.time_ns() // 1_000_000 << 80) | _bits.take()
    value &= ~(0xF << 76) & ~(0x3 << 62)
    return str(UUID(int=value | (0x7 << 76) | (0x2 << 62)))
