"""How long to wait before connecting again."""

from __future__ import annotations

from random import Random

from engine.config import ReconnectConfig


class Backoff:
    """Capped exponential delays with full jitter.

    The first retry is immediate. Retry n after it waits uniformly between 0 and
    ``min(cap, base x 2^n)``, n from 0, so that many clients of a venue that fell over do not
    return at once (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).
    Only data that came for ``stable_ms`` without a break starts the delays over: a venue that
    accepts connections and drops them must not be hammered.

    Parameters
    ----------
    config
        Base, cap and stable time.
    random
        Where the jitter comes from.
    """

    def __init__(self, config: ReconnectConfig, random: Random) -> None:
        self._config = config
        self._random = random
        self._failures = 0

    def delay_s(self) -> float:
        """Return the seconds to wait now, and count one more failure."""
        failures = self._failures
        self._failures += 1
        if failures == 0:
            return 0.0
        # 2**60 is past every cap; a larger exponent would not fit a float for ever.
        bound_ms = min(self._config.cap_ms, self._config.base_ms * 2 ** min(failures - 1, 60))
        return self._random.uniform(0.0, bound_ms / 1000)

    def data_held(self, seconds: float) -> None:
        """Take note that a connection delivered data for so long; start over if that is stable."""
        if seconds * 1000 >= self._config.stable_ms:
            self._failures = 0
