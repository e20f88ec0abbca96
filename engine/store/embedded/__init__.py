"""The embedded home: chDB in this process, behind ClickHouse's HTTP protocol."""

from engine.store.embedded.home import EmbeddedStore
from engine.store.embedded.lock import Owner, read_owner

__all__ = ["EmbeddedStore", "Owner", "read_owner"]
