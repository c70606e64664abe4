"""The two pages of the admin listener: whole in themselves, nothing is fetched from anywhere else.

Their Content-Security-Policy allows exactly the styles and scripts that stand in them, by hash.
"""

import re
from base64 import b64encode
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Final

from aiohttp import web

from router.web.pages.reference import reference

_INLINE: Final = re.compile(r"<(style|script)>(.*?)</\1>", re.DOTALL)


@cache
def dashboard() -> str:
    """The dashboard's HTML."""
    return files(__name__).joinpath("dashboard.html").read_text("utf-8")


@cache
def docs(openapi: bytes) -> str:
    """The OpenAPI document as HTML."""
    return reference(openapi, files(__name__).joinpath("docs.css").read_text("utf-8"))


@cache
def policy(html: str) -> str:
    """The Content-Security-Policy of a page: what stands in it, its own server's JSON, nothing else."""
    allowed: dict[str, list[str]] = {"style": [], "script": []}
    for kind, text in _INLINE.findall(html):
        allowed[kind].append(f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'")
    return (
        f"default-src 'none'; style-src {' '.join(allowed['style']) or chr(39) + 'none' + chr(39)}; "
        f"script-src {' '.join(allowed['script']) or chr(39) + 'none' + chr(39)}; "
        "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def page(html: str) -> web.Response:
    """An answer that shows `html`."""
    return web.Response(
        body=html.encode(),
        headers={
            "Content-Type": "text/html; charset=utf-8",
            "Content-Security-Policy": policy(html),
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cache-Control": "no-store",
        },
    )
