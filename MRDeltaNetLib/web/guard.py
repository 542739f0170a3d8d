"""Who may speak to the server: the browser that was given the address with its token, on this machine, and nobody else."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from typing import Any, Awaitable, Callable, Iterable

TOKEN = "token"
COOKIE = "mrdeltanet"
TOKEN_BYTES = 24
HOST = re.compile(r"(?:127\.0\.0\.1|localhost|\[::1\])(?::\d{1,5})?")
"""Names of this machine with a port, as a browser writes them."""

POLICY = ("default-src 'self'; script-src 'self' 'unsafe-eval'{scripts}; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
          "connect-src 'self' ws://{host}; frame-src 'self'; worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'self'; "
          "frame-ancestors 'self'")
"""The page's own scripts need eval (its templates are compiled in the browser); nothing is loaded from another server, nor from another port of this
machine. host: as the browser asked; scripts: hashes of the scripts that stand in the page itself (see inline_scripts), so that no other one runs."""

REFUSED_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
REPORT_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; frame-ancestors 'self'; sandbox"
HEADERS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cross-Origin-Opener-Policy": "same-origin",
           "Cross-Origin-Resource-Policy": "same-origin", "Cache-Control": "no-store"}

REFUSED = ("<!doctype html><html lang='en'><meta charset='utf-8'><title>MRDeltaNet</title><body style='font-family:sans-serif;max-width:40em;margin:4em auto'>"
           "<h1>This address lacks its token</h1><p>Open the whole address that <code>mrdeltanet serve</code> printed, with everything behind the question "
           "mark. A server that was started again prints a new one.</p></body></html>")


def new_token() -> str:
    """A token that nobody guesses, fit for an address."""
    return secrets.token_urlsafe(TOKEN_BYTES)


def inline_scripts(html: str) -> tuple[str, ...]:
    """The hashes by which a policy allows the scripts that stand in a page: 'sha256-...' each."""
    found = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    return tuple(f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in found)


def guard(token: str, scripts: Iterable[str] = ()) -> Callable[[Any, Callable[[Any], Awaitable[Any]]], Awaitable[Any]]:
    """An aiohttp middleware that lets through who has the token.

    The first request brings it in its address and gets a cookie, which the same browser sends from then on; the address without the token follows, so
    that it stays out of the history's copies. Requests for another host name (which a foreign page can make point here) and from another origin are refused.
    Every answer carries the headers, those about what is not there too.

    scripts  of inline_scripts
    """
    from aiohttp import web
    policy = POLICY.replace("{scripts}", "".join(f" {each}" for each in scripts))

    def headers(request: Any) -> dict[str, str]:
        return {**HEADERS, "Content-Security-Policy": policy.replace("{host}", request.host)}

    @web.middleware
    async def check(request: Any, handler: Callable[[Any], Awaitable[Any]]) -> Any:
        if not HOST.fullmatch(request.host) or not _same_origin(request):
            return _refused(web)
        given = request.query.get(TOKEN, "")
        if given and _same(given, token):
            response = web.Response(status=302, headers={**headers(request), "Location": "/index.html"})
            response.set_cookie(f"{COOKIE}-{request.url.port}", token, httponly=True, samesite="Strict", path="/")
            return response
        if not _same(request.cookies.get(f"{COOKIE}-{request.url.port}", ""), token):
            return _refused(web)
        try:
            response = await handler(request)
        except web.HTTPException as problem:
            problem.headers.update(headers(request))
            raise
        if not response.prepared:
            for name, value in headers(request).items():
                response.headers.setdefault(name, value)
        return response

    return check


def _refused(web: Any) -> Any:
    return web.Response(status=403, text=REFUSED, content_type="text/html", headers={**HEADERS, "Content-Security-Policy": REFUSED_POLICY})


def _same(one: str, other: str) -> bool:
    """Compared in a time that tells nothing."""
    return hmac.compare_digest(*(each.encode(errors="surrogateescape") for each in (one, other)))


def _same_origin(request: Any) -> bool:
    origin = request.headers.get("Origin")
    return origin is None or origin == f"{request.scheme}://{request.host}"
