"""Growing, jittered pauses between tries, so that many agents do not come back in step."""

import random

_RANDOM = random.SystemRandom()


class Backoff:
    """Pauses that double from `base` up to `cap` seconds, each drawn between half and whole."""

    def __init__(self, base: float, cap: float) -> None:
        self._base = base
        self._cap = cap
        self._tries = 0

    def next(self) -> float:
        """The next pause in seconds."""
        ceiling = min(self._cap, self._base * 2**self._tries)
        if ceiling < self._cap:
            self._tries += 1
        return jittered(ceiling)

    def reset(self) -> None:
        """Start again at `base`: the other side answered."""
        self._tries = 0


def jittered(seconds: float, share: float = 0.5) -> float:
    """`seconds` shortened by a random part of at most `share` of it."""
    return _RANDOM.uniform(seconds * (1 - share), seconds)
