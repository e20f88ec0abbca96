"""The pages for people: ``/`` and ``/docs``, complete without any other server.

FastAPI's own page loads its scripts from a CDN, which an engine on loopback or behind a
firewall cannot reach; the same files come from the ``fastapi-offline`` package (0.8 MB).
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles

from engine.errors import StartError

ASSETS = "/docs/assets"

_LANDING = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>signal engine</title>
<style>body{font:16px/1.6 system-ui,sans-serif;max-width:40rem;margin:4rem auto;padding:0 1rem}
code{background:#eee;padding:.1em .3em}@media(prefers-color-scheme:dark)
{body{background:#111;color:#ddd}a{color:#8bf}code{background:#222}}</style>
<h1>signal engine</h1>
<p>Ranked, explained crypto market signals.</p>
<ul><li><a href="v1/signals?limit=10"><code>/v1/signals</code></a>: the latest ranking
<li><a href="v1/status"><code>/v1/status</code></a>: what the engine is doing
<li><a href="docs"><code>/docs</code></a>: every endpoint, to read and to try
<li><a href="openapi.json"><code>/openapi.json</code></a>: the same for programs</ul>
</html>
"""


def install(app: FastAPI) -> None:
    """Add ``/`` and ``/docs`` to `app`.

    Raises
    ------
    StartError
        Where the page's files are not installed.
    """
    spec = importlib.util.find_spec("fastapi_offline")
    if spec is None or spec.origin is None:
        raise StartError("the package fastapi-offline is missing: pip install fastapi-offline")
    app.mount(ASSETS, StaticFiles(directory=Path(spec.origin).parent / "static"), name="assets")
    app.add_api_route("/docs", _docs, include_in_schema=False, response_class=HTMLResponse)
    app.add_api_route("/", _landing, include_in_schema=False, response_class=HTMLResponse)


async def _docs(request: Request) -> HTMLResponse:
    root = str(request.scope.get("root_path", "")).rstrip("/")
    return get_swagger_ui_html(
        openapi_url=f"{root}/openapi.json",
        title="signal engine",
        swagger_js_url=f"{root}{ASSETS}/swagger-ui-bundle.js",
        swagger_css_url=f"{root}{ASSETS}/swagger-ui.css",
        swagger_favicon_url=f"{root}{ASSETS}/favicon.png",
    )


async def _landing() -> HTMLResponse:
    return HTMLResponse(_LANDING)
