"""How long a test waits for another process: longer on a machine that has more to do."""

from __future__ import annotations

import os
import time

_MOST = 30.0


def patient(seconds: float) -> float:
    """Seconds to wait for what takes so many at the most where a core is free."""
    load = os.getloadavg()[0] / (os.cpu_count() or 1)
    return seconds * min(_MOST, max(1.0, 2 * load))


class Deadline:
    """So many seconds of a machine with a free core; those of a busy one count less."""

    def __init__(self, seconds: float) -> None:
        self._left_s = seconds
        self._seen = time.monotonic()

    @property
    def has_passed(self) -> bool:
        """Whether they are over; to be asked now and then meanwhile."""
        now = time.monotonic()
        self._left_s -= (now - self._seen) / patient(1.0)
        self._seen = now
        return self._left_s < 0
