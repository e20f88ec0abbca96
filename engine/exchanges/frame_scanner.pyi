"""The compiled half of `engine.exchanges.layouts`."""

from collections.abc import Sequence
from typing import final

import msgspec

from engine.domain.market import MarketEvent
from engine.exchanges.layouts import Reader, Variant

KINDS: tuple[str, ...]
"""Of steps, by number."""

@final
class Layout:
    """Reads frames of one layout itself, and hands all others on."""

    @property
    def otherwise(self) -> Reader:
        """What reads the others."""

    def __init__(
        self,
        otherwise: Reader,
        event: type[msgspec.Struct],
        instrument_field: int,
        time_field: int,
        constants: tuple[object, ...],
        variants: tuple[Variant, ...],
        /,
    ) -> None: ...
    def __call__(
        self, frame: bytes, instrument: str, receive_time: int, /
    ) -> Sequence[MarketEvent]: ...
