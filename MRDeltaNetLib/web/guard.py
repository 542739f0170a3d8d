"""Who may speak to the server: the browser that was given the address with its token, on this machine, and nobody else."""

from __future__ import annotations

import hmac
import secrets
from typing import Any, Awaitable, Callable

TOKEN = "token"
COOKIE = "mrdeltanet"
TOKEN_BYTES = 24
HOSTS = ("127.0.0.1", "localhost", "[::1]")

POLICY = ("default-src 'self'; script-src 'self' 'unsafe-eval' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
          "connect-src 'self' ws://127.0.0.1:* ws://localhost:*; frame-src 'self'; worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'self'; "
          "frame-ancestors 'self'")
"""The page's own scripts need eval (its templates are compiled in the browser); nothing is loaded from another server."""

REPORT_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; frame-ancestors 'self'; sandbox"
HEADERS = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cross-Origin-Opener-Policy": "same-origin",
           "Cross-Origin-Resource-Policy": "same-origin", "Cache-Control": "no-store"}

REFUSED = ("<!doctype html><html lang='en'><meta charset='utf-8'><title>MRDeltaNet</title><body style='font-family:sans-serif;max-width:40em;margin:4em auto'>"
           "<h1>This address lacks its token</h1><p>Open the whole address that <code>mrdeltanet serve</code> printed, with everything behind the question "
           "mark. A server that was started again prints a new one.</p></body></html>")


def new_token() -> str:
    """A token that nobody guesses, fit for an address."""
    return secrets.token_urlsafe(TOKEN_BYTES)


def guard(token: str) -> Callable[[Any, Callable[[Any], Awaitable[Any]]], Awaitable[Any]]:
    """An aiohttp middleware that lets through who has the token.

    The first request brings it in its address and gets a cookie, which the same browser sends from then on; the address without the token follows, so
    that it stays out of the history's copies. Requests for another host name (which a foreign page can make point here) and from another origin are refused.
    """
    from aiohttp import web

    @web.middleware
    async def check(request: Any, handler: Callable[[Any], Awaitable[Any]]) -> Any:
        if _host(request.host) not in HOSTS or not _same_origin(request):
            return _refused(web)
        given = request.query.get(TOKEN, "")
        if given and _same(given, token):
            response = web.Response(status=302, headers={**HEADERS, "Location": "/index.html"})
            response.set_cookie(f"{COOKIE}-{request.url.port}", token, httponly=True, samesite="Strict", path="/")
            return response
        if not _same(request.cookies.get(f"{COOKIE}-{request.url.port}", ""), token):
            return _refused(web)
        response = await handler(request)
        if not response.prepared:
            for name, value in HEADERS.items():
                response.headers.setdefault(name, value)
        return response

    return check


def _refused(web: Any) -> Any:
    return web.Response(status=403, text=REFUSED, content_type="text/html", headers=HEADERS)


def _same(one: str, other: str) -> bool:
    """Compared in a time that tells nothing."""
    return hmac.compare_digest(one.encode(), other.encode())


def _host(host: str) -> str:
    return host.rsplit(":", 1)[0] if not host.endswith("]") else host


def _same_origin(request: Any) -> bool:
    origin = request.headers.get("Origin")
    return origin is None or origin == f"{request.scheme}://{request.host}"
