"""Time that moves when a test says so."""


class FakeClock:
    """A Clock that stands still between `advance` calls. Starts in 2026."""

    def __init__(self, start: float = 1_790_000_000.0) -> None:
        self._now = start

    def now(self) -> float:
        return self._now

    def advance(self, seconds: float) -> float:
        """Move on; the answer is the new time."""
        assert seconds >= 0
        self._now += seconds
        return self._now
