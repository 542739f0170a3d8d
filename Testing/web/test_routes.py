"""Uploads and downloads asked of the routes themselves, around a real page without a browser."""

from __future__ import annotations

import asyncio
import io
import tempfile
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
import SimpleITK as sitk

pytest.importorskip("trame_slicer", reason="needs the packages of the page: pip install 'mrdeltanet[web]'")
from aiohttp import FormData, web  # noqa: E402
from aiohttp.test_utils import TestClient, TestServer  # noqa: E402

from MRDeltaNetLib.io import uploads  # noqa: E402
from MRDeltaNetLib.web.routes import add_routes  # noqa: E402
from Testing.made_up_result import CENTRE_MM, body_with_ball, empty_image  # noqa: E402
from Testing.web.inside import PATIENCE_S, Inside  # noqa: E402


@pytest.fixture(scope="module")
def inside(tmp_path_factory):
    made = Inside(tmp_path_factory.mktemp("inside"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def scan(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("scan") / "scan.nrrd"
    sitk.WriteImage(body_with_ball(empty_image("straight"), CENTRE_MM, 16), str(path))
    return path.read_bytes()


@pytest.fixture
def temporary(tmp_path, monkeypatch) -> Path:
    """Where files of an upload wait, looked at by the test: every one of them goes to the disk."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(uploads, "SPOOL_BYTES", 1)
    return tmp_path


def asked(inside, talk):
    """What talk(client) gives, on the page's own event loop."""

    async def ask():
        app = web.Application()
        add_routes(app, inside.page)
        async with asyncio.timeout(PATIENCE_S), TestClient(TestServer(app)) as client:
            return await talk(client)

    return inside.wait_for(ask())


def form(*files) -> FormData:
    data = FormData()
    for name, content in files:
        data.add_field("file", content, filename=name)
    return data


async def sent(client, role: str, *files) -> tuple[int, dict]:
    async with client.post(f"/upload/{role}", data=form(*files)) as response:
        return response.status, await response.json()


def left(inside) -> list[str]:
    """What lies in the sitting's folder of uploads."""
    return inside.do(lambda page: [path.name for path in page.sitting.session.folder.iterdir() if path.name.startswith("upload") and not path.name.endswith(".dcm")])


def test_a_scan_comes_in_and_nothing_of_the_upload_stays(inside, scan, temporary):
    assert asked(inside, lambda client: sent(client, "pre", ("../../MUSTERMANN^ERIKA.nrrd", scan))) == (200, {"done": True})
    assert inside.error() is None and inside.look("has_pre") and inside.look("uploading") == ""
    assert left(inside) == [] and list(temporary.iterdir()) == []
    assert "ERIKA" not in str(inside.do(lambda page: page.state.to_dict())).upper()


@pytest.mark.parametrize("role", ["", "residual", "pre/..", "..%2fpre", "prepost", "PRE"])
def test_there_is_no_other_place_for_a_scan(inside, scan, role):
    async def talk(client):
        async with client.post(f"/upload/{role}", data=form(("a.nrrd", scan))) as response:
            return response.status
    assert asked(inside, talk) == 404


def test_more_than_the_limit_is_refused_while_it_comes_and_not_when_it_is_there(inside, monkeypatch):
    """Sent in chunks, so that nobody says beforehand how much it will be."""
    taken, there = [], inside.look("has_post")

    class Counted(uploads.Incoming):
        def __init__(self, announced_bytes):
            super().__init__(announced_bytes, uploads.UploadLimits(max_sent_bytes=1_000_000))

        def add(self, content):
            taken.append(len(content))
            super().add(content)

    async def ten_times_as_much():
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.nrrd"\r\n\r\n'
        for _ in range(100):
            yield b"x" * 100_000
            await asyncio.sleep(0)
        yield b"\r\n--b--"

    async def talk(client):
        try:
            async with client.post("/upload/post", data=ten_times_as_much(), headers={"Content-Type": "multipart/form-data; boundary=b"}) as response:
                return await response.json()
        except ConnectionError:
            return {"done": False}
    monkeypatch.setattr("MRDeltaNetLib.web.routes.Incoming", Counted)
    assert asked(inside, talk) == {"done": False} and inside.error() == "MRD-E911" and sum(taken) < 1_000_000 + uploads.CHUNK_BYTES
    assert inside.look("has_post") == there and left(inside) == []


def test_an_upload_that_breaks_off_leaves_nothing_and_the_next_one_comes_in(inside, scan, temporary):
    async def talk(client):
        _reader, writer = await asyncio.open_connection(client.host, client.port)
        writer.write(b"POST /upload/post HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: 1000000\r\n\r\n"
                     b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.nrrd"\r\n\r\n')
        while not inside.page.state.uploading:
            writer.write(scan[:5000])
            await asyncio.sleep(0.02)
        refused = await sent(client, "pre", ("a.nrrd", scan))
        told = inside.page.state.error["code"]
        writer.close()
        while inside.page.state.uploading:
            await asyncio.sleep(0.01)
        return refused, told, await sent(client, "post", ("a.nrrd", scan))
    refused, told, done = asked(inside, talk)
    assert refused == (200, {"done": False}) and told == "MRD-E925", "a second upload waits until the first is there"
    assert done == (200, {"done": True}) and inside.error() is None and inside.look("has_post")
    assert left(inside) == [] and list(temporary.iterdir()) == []


def test_nothing_is_received_while_something_runs_and_nothing_exchanged_if_a_run_has_begun_meanwhile(inside, scan, monkeypatch):
    before = inside.do(lambda page: page.sitting.choices.pre_volume)
    with monkeypatch.context() as patch:
        patch.setattr(inside.page.sitting, "run", SimpleNamespace(step="align"))
        patch.setattr("MRDeltaNetLib.web.routes.Incoming", lambda _announced: pytest.fail("it was received"))
        assert asked(inside, lambda client: sent(client, "pre", ("a.nrrd", scan))) == (200, {"done": False}) and inside.error() == "MRD-E843"
    with monkeypatch.context() as patch:
        whole = uploads.Incoming.store

        def begins_meanwhile(incoming, folder):
            inside.page.sitting.run = SimpleNamespace(step="align")
            return whole(incoming, folder)
        patch.setattr(uploads.Incoming, "store", begins_meanwhile)
        assert asked(inside, lambda client: sent(client, "pre", ("a.nrrd", scan))) == (200, {"done": False}) and inside.error() == "MRD-E843"
    inside.page.sitting.run = None
    assert inside.do(lambda page: page.sitting.choices.pre_volume) is before and left(inside) == []


@pytest.mark.parametrize("body, kind", [(b"", "multipart/form-data; boundary=b"), (b"not a form", "multipart/form-data; boundary=b"), (b"{}", "application/json"),
                                        (b"--b\r\n\r\nx", "multipart/form-data; boundary=b"), (b"--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\n\r\nx\r\n--c--\r\n--b--", "multipart/form-data; boundary=b")])
def test_what_is_no_upload_is_refused_and_the_page_goes_on(inside, body, kind):
    async def talk(client):
        async with client.post("/upload/post", data=body, headers={"Content-Type": kind}) as response:
            return response.status, await response.json()
    assert asked(inside, talk) == (200, {"done": False}) and inside.error() is not None and inside.look("uploading") == "" and left(inside) == []


def test_a_full_disk_is_told_as_such_wherever_it_strikes(inside, scan, monkeypatch, temporary):
    """The waiting file cannot be written; the file's last bytes cannot; the scan's own folder cannot be made."""
    def full(*_args, **_named):
        raise OSError(28, "No space left on device", "/home/erika/scan")

    class Full(io.BytesIO):
        write = full

    class FullAtLast(io.BytesIO):
        seek = full

    codes = []
    for where, what, instead in ((uploads.tempfile, "SpooledTemporaryFile", lambda _size: Full()), (uploads.tempfile, "SpooledTemporaryFile", lambda _size: FullAtLast()),
                                 (Path, "mkdir", full)):
        with monkeypatch.context() as patch:
            patch.setattr(where, what, instead)
            assert asked(inside, lambda client: sent(client, "pre", ("a.nrrd", scan))) == (200, {"done": False})
            shown = inside.look("error")
            codes.append(inside.error())
            assert "erika" not in str(shown)
    assert codes == ["MRD-E810"] * 3 and left(inside) == []


def test_a_result_that_is_gone_or_not_there_is_no_failure(inside, monkeypatch, tmp_path):
    async def talk(client):
        return [(await client.get(path)).status for path in ("/download/result.zip", "/download/scene.mrb", "/report.html")]
    assert asked(inside, talk) == [404, 404, 404]

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(inside.page.sitting, "result_folder", lambda: tmp_path)
    monkeypatch.setattr("MRDeltaNetLib.web.routes._zip", full)
    assert asked(inside, talk) == [503, 404, 404] and inside.error() == "MRD-E810"


def test_the_report_runs_no_script_and_loads_nothing(inside, monkeypatch):
    class Text:
        def GetText(self):
            return "<script>alert(1)</script>"

    async def talk(client):
        response = await client.get("/report.html")
        return response.headers["Content-Security-Policy"], response.content_type, await response.text()
    monkeypatch.setattr(inside.page.sitting.choices, "report", Text())
    policy, kind, text = asked(inside, talk)
    assert "default-src 'none'" in policy and "sandbox" in policy.split("; ") and "script" not in policy and (kind, text) == ("text/html", Text().GetText())


def test_both_downloads_are_the_last_results_own_files(inside, monkeypatch, tmp_path):
    (tmp_path / "result.json").write_text("{}")
    (tmp_path / "scene.mrb").write_bytes(b"PK")

    async def talk(client):
        answers = [await client.get(path) for path in ("/download/result.zip", "/download/scene.mrb")]
        return [(each.headers["Content-Disposition"], await each.read()) for each in answers]
    monkeypatch.setattr(inside.page.sitting, "result_folder", lambda: tmp_path)
    (named, archive), (scene_named, scene) = asked(inside, talk)
    assert "attachment" in named and "attachment" in scene_named and scene == b"PK"
    assert zipfile.ZipFile(io.BytesIO(archive)).namelist() == ["result.json", "scene.mrb"]
