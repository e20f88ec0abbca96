"""Jobs as commands see them, and one that ends only when it is told to."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from command import Command


class _Trickle(BaseHTTPRequestHandler):
    """An answer that goes on and on."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        with contextlib.suppress(OSError):
            while True:
                self.wfile.write(b" ")
                time.sleep(0.5)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def endless_venue() -> Iterator[str]:
    """A venue whose answers never end: a job that asks it runs until stopped."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Trickle) as venue:
        venue.daemon_threads = True
        threading.Thread(target=venue.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{venue.server_port}"
        venue.shutdown()


def listed(engine: Command, *options: str) -> dict[str, dict[str, Any]]:
    done = engine.run("jobs", "--json", *options)
    assert done.returncode == 0, done.stderr
    return {each["id"]: each for each in json.loads(done.stdout)}


def submit_endless(engine: Command, venue: str) -> str:
    done = engine.run(
        "submit", "backfill", "--json", "--set", "exchange=kraken", "--set",
        "instruments=[BTC-USD]", "--set", "begin=2026-01-01", "--set", f"rest_url={venue}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return str(json.loads(done.stdout)["id"])


def state(engine: Command, name: str) -> str | None:
    return listed(engine).get(name, {}).get("state")
