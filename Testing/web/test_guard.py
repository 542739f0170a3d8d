"""Who may speak to the server: asked of the guard itself, around an application that counts who got through."""

from __future__ import annotations

import asyncio
import re
from concurrent.futures import ThreadPoolExecutor

import pytest

aiohttp = pytest.importorskip("aiohttp", reason="needs the packages of the page: pip install 'mrdeltanet[web]'")
from aiohttp import web  # noqa: E402
from aiohttp.test_utils import TestClient, TestServer  # noqa: E402

from MRDeltaNetLib.web.guard import HEADERS, TOKEN, guard, inline_scripts, new_token  # noqa: E402


def answers(*requests, scripts=()):
    """What the guarded server answers to requests one after another, by one browser: [(path, headers)] -> [(status, headers, cookies it has then)]"""

    async def ask():
        async def inside(request):
            if request.path == "/not-there":
                raise web.HTTPNotFound()
            return web.Response(text="inside")

        app = web.Application(middlewares=[guard("the-token", scripts)])
        app.router.add_get("/{any:.*}", inside)
        found = []
        async with TestClient(TestServer(app)) as client:
            for path, headers in requests:
                headers = headers(client.port) if callable(headers) else headers
                async with client.get(path, headers=headers, allow_redirects=False) as response:
                    found.append((response.status, dict(response.headers), await response.text()))
        return found

    with ThreadPoolExecutor(1) as own:                   # a browser's tests in the same process have a loop of their own going
        return own.submit(asyncio.run, ask()).result()


def test_the_token_opens_once_and_the_cookie_goes_on():
    first, second, other = answers((f"/?{TOKEN}=the-token", {}), ("/index.html", {}), ("/report.html", {}))
    assert first[0] == 302 and first[1]["Location"] == "/index.html" and (second[0], second[2]) == (200, "inside") and other[0] == 200


@pytest.mark.parametrize("path", ["/", f"/?{TOKEN}=", f"/?{TOKEN}=the-toke", f"/?{TOKEN}=the-token2", f"/?{TOKEN}=THE-TOKEN", f"/?{TOKEN}=%00", f"/?{TOKEN}=t%C3%A4"])
def test_without_the_very_token_nobody_gets_through(path):
    (status, headers, text), = answers((path, {}))
    assert status == 403 and "inside" not in text and "the-token" not in text
    assert HEADERS.items() <= headers.items() and headers["Content-Security-Policy"].startswith("default-src 'none'")


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "evil.example:80", "", "[::2]:80", "localhost.evil", "127.0.0.1:80; script-src *",
                                  "127.0.0.1:evil", "evil@127.0.0.1"])
def test_a_name_that_a_foreign_page_made_point_here_is_refused(host):
    (status, _, _), = answers((f"/?{TOKEN}=the-token", {"Host": host}))
    assert status in (400, 403)


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1", "http://127.0.0.1:1"])
def test_another_origin_is_refused(origin):
    (status, _, _), = answers((f"/?{TOKEN}=the-token", {"Origin": origin}))
    assert status == 403


def test_a_cookie_with_another_value_is_none():
    found = answers(("/index.html", {"Cookie": "mrdeltanet-80=the-token"}), ("/index.html", {"Cookie": "mrdeltanet=the-token"}))
    assert [status for status, _, _ in found] == [403, 403]


def test_what_gets_through_carries_every_header_and_what_is_not_there_too():
    _, (status, headers, _), (missing, also, _) = answers((f"/?{TOKEN}=the-token", {}), ("/index.html", {}), ("/not-there", {}))
    assert (status, missing) == (200, 404) and HEADERS.items() <= headers.items() and HEADERS.items() <= also.items()
    assert headers["Content-Security-Policy"] == also["Content-Security-Policy"]


def test_the_policy_lets_the_page_speak_to_its_own_port_alone_and_run_its_own_scripts_alone():
    """The hash is openssl's: printf ' go() ' | openssl dgst -sha256 -binary | base64"""
    html = "<script src='a.js'></script><body><script> go() </script><p>script</p></body>"
    scripts = inline_scripts(html)
    assert scripts == ("'sha256-ItyZq2z2sQJf1m3DE2SwClyufv130iYP4FyyWbyq5Rw='",)
    _, (_, headers, _) = answers((f"/?{TOKEN}=the-token", {}), ("/index.html", lambda port: {"Host": f"127.0.0.1:{port}"}), scripts=scripts)
    policy = dict(part.strip().split(" ", 1) for part in headers["Content-Security-Policy"].split(";"))
    assert policy["script-src"] == "'self' 'unsafe-eval' 'sha256-ItyZq2z2sQJf1m3DE2SwClyufv130iYP4FyyWbyq5Rw='"
    assert re.fullmatch(r"'self' ws://127\.0\.0\.1:\d+", policy["connect-src"])


@pytest.mark.parametrize("cookie", ["\udcff", "\xff", "%FF", "t\u00e4"])
def test_a_cookie_of_any_bytes_is_refused_like_any_other(cookie):
    def sent(port):
        return {"Cookie": f"mrdeltanet-{port}={cookie}"}
    (status, _, _), = answers(("/index.html", sent))
    assert status == 403


def test_headers_say_what_a_browser_must_not_do():
    """Word for word, so that none is lost unseen."""
    first, (_, headers, _) = answers((f"/?{TOKEN}=the-token", {}), ("/index.html", {}))
    policy = headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff" and headers["Referrer-Policy"] == "no-referrer" and headers["Cache-Control"] == "no-store"
    assert headers["Cross-Origin-Opener-Policy"] == headers["Cross-Origin-Resource-Policy"] == "same-origin"
    for part in ("default-src 'self'", "object-src 'none'", "base-uri 'self'", "form-action 'self'", "frame-ancestors 'self'", "frame-src 'self'"):
        assert part in policy.split("; ")
    assert "*" not in policy and "http" not in policy and "'unsafe-inline'" not in next(part for part in policy.split("; ") if part.startswith("script-src"))
    cookie = first[1]["Set-Cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie and "Path=/" in cookie and "Domain" not in cookie and "Max-Age" not in cookie


def test_tokens_are_long_and_never_twice_the_same():
    tokens = {new_token() for _ in range(100)}
    assert len(tokens) == 100 and min(map(len, tokens)) >= 32
