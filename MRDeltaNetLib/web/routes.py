"""Uploads and downloads: the only paths of the server beside the page's own. None of them takes a path or a name from the browser.

A refusal is told on the page by its state; the answer to the request says no more than that there was one.
"""

from __future__ import annotations

import asyncio
import tempfile
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

from MRDeltaNetLib.errors import UsageError
from MRDeltaNetLib.io.atomic import output_problem
from MRDeltaNetLib.io.results import SCENE
from MRDeltaNetLib.io.uploads import CHUNK_BYTES, Incoming
from MRDeltaNetLib.mrml.sitting import diagnostics
from MRDeltaNetLib.web.guard import REPORT_POLICY
from MRDeltaNetLib.web.steps.scans import READING

SESSION = {"sessionURL": "ws://USE_HOST/ws"}
"""Answers trame's browser part, which first asks a launcher for its session; it fills in the host."""

PACKAGES = ("slicer-core", "trame", "trame-slicer", "aiohttp")
"""Those that only the page needs, for the diagnostics."""

TELL_EVERY = 0.05
"""The page tells how much of an upload has come in steps of this part."""


def add_routes(app: Any, page: Any) -> None:
    """Add them to an aiohttp application. page: page.Page"""
    from aiohttp import web

    coming: set[str] = set()                             # the role of the scan that comes in, one at a time

    async def upload(request: Any) -> Any:
        if coming:
            page.tell(UsageError("Another scan is coming in", code="MRD-E925", fix="wait until it is there, then choose this one again"))
            return web.json_response({"done": False})
        coming.add(request.match_info["role"])
        with page.state as state:
            state.error, state.message = None, ""
        try:
            page.sitting.refuse_second_run()
            await _uploaded(request, page)
        except (ConnectionError, asyncio.IncompleteReadError):
            return web.json_response({"done": False})    # the browser went away: nobody is there to be told
        except Exception as problem:  # noqa: BLE001 a fault of ours must not end the page either
            page.tell(problem)
            return web.json_response({"done": False})
        finally:
            coming.clear()
            with page.state as state:
                state.uploading = ""
        return web.json_response({"done": True})

    async def report(_request: Any) -> Any:
        node = page.sitting.choices.report
        if node is None:
            return web.Response(status=404, text="There is no report yet")
        return web.Response(text=node.GetText(), content_type="text/html", headers={"Content-Security-Policy": REPORT_POLICY})

    async def result(_request: Any) -> Any:
        folder = page.sitting.result_folder()
        if folder is None:
            return web.Response(status=404, text="There is no result yet")
        with tempfile.TemporaryFile() as archive:
            try:
                await asyncio.to_thread(_zip, folder, archive)
            except OSError as problem:                   # no space for the archive, or the result went meanwhile
                page.tell(output_problem(problem))
                return web.Response(status=503, text="The archive could not be made: the page says why")
            return web.Response(body=await asyncio.to_thread(archive.read), content_type="application/zip", headers=_named("mrdeltanet-result.zip"))

    async def scene(_request: Any) -> Any:
        folder = page.sitting.result_folder()
        if folder is None or not (folder / SCENE).is_file():
            return web.Response(status=404, text="There is no scene yet")
        return web.FileResponse(folder / SCENE, headers=_named("mrdeltanet-scene.mrb"))

    async def helped(_request: Any) -> Any:
        text = await asyncio.to_thread(diagnostics.describe, list(page.sitting.log), "The page of mrdeltanet serve", PACKAGES)
        return web.Response(text=text, content_type="text/plain", headers=_named("mrdeltanet-diagnostics.txt"))

    async def session(_request: Any) -> Any:
        return web.json_response(SESSION)

    app.router.add_post("/upload/{role:pre|post}", upload)
    app.router.add_get("/report.html", report)
    app.router.add_get("/download/result.zip", result)
    app.router.add_get("/download/scene.mrb", scene)
    app.router.add_get("/diagnostics.txt", helped)
    app.router.add_post("/paraview/", session)


async def _uploaded(request: Any, page: Any) -> None:
    """Receive an upload piece by piece, and hand it to the page. raises what Incoming and the step Scans raise"""
    incoming = Incoming(request.content_length)
    try:
        told = 0.0
        reader = await request.multipart()
        while (part := await reader.next()) is not None:
            incoming.begin(part.filename or "")
            while chunk := await part.read_chunk(CHUNK_BYTES):
                await asyncio.to_thread(incoming.add, chunk)
                if (share := incoming.share() or 0.0) >= told:
                    told = share + TELL_EVERY
                    with page.state as state:
                        state.uploading = f"Receiving, {100 * share:.0f} %."
        with page.state as state:
            state.uploading = READING
        await page.steps["scans"].load(request.match_info["role"], incoming)
    finally:
        incoming.close()


def _zip(folder: Path, target: BinaryIO) -> None:
    """All files of a folder as an archive that is the same for the same files; at its beginning then."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(each for each in folder.rglob("*") if each.is_file()):
            entry = zipfile.ZipInfo(path.relative_to(folder).as_posix())
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            with path.open("rb") as source, archive.open(entry, "w", force_zip64=True) as stored:
                while chunk := source.read(CHUNK_BYTES):
                    stored.write(chunk)
    target.seek(0)


def _named(name: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{name}"'}
