"""Who gets in, what may come in, and what stays when the page is stopped."""

from __future__ import annotations

import getpass
import io
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
import zipfile
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from Testing.children import alive
from Testing.web.conftest import REPOSITORY, STEPS, Server, press, section, step, until


def status(address: str, **headers: str) -> int:
    try:
        return urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=20).status
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.parametrize("path", ["", "index.html", "?token=", "?token=wrong", "?token=%C3%A4", "ws", "report.html", "diagnostics.txt", "download/result.zip", "upload/pre", "paraview/",
                                  "mrdeltanet/page.js", "../../etc/passwd"])
def test_nobody_gets_in_without_the_token(server, path):
    assert status(server.root + path) == 403


def test_a_foreign_host_name_or_origin_is_refused_even_with_the_token(server):
    assert status(server.address, Host="evil.example") == 403
    assert status(server.address, Origin="http://evil.example") == 403


def test_a_wrong_token_shows_what_to_do(server, chromium):
    tab = chromium.new_context().new_page()
    assert tab.goto(server.root + "?token=wrong").status == 403
    assert "Open the whole address" in tab.locator("body").inner_text()
    tab.context.close()


def test_the_token_leaves_the_address_for_a_cookie_that_scripts_and_other_sites_do_not_see(server, open_page):
    tab = open_page(server.address)
    assert "token" not in tab.url
    cookie, = tab.context.cookies()
    assert cookie["httpOnly"] and cookie["sameSite"] == "Strict"


def test_only_this_machine_is_listened_to(server):
    port = server.root.rstrip("/").rsplit(":", 1)[1]
    listening = [line.split() for name in ("tcp", "tcp6") if os.path.exists(f"/proc/net/{name}") for line in open(f"/proc/net/{name}").readlines()[1:]]
    if not listening:
        pytest.skip("needs /proc/net")
    addresses = {line[1].split(":")[0] for line in listening if line[3] == "0A" and int(line[1].split(":")[1], 16) == int(port)}
    assert addresses == {"0100007F"}


# What may come in

def upload(tab, role: str, *files) -> None:
    step(tab, "Scans")
    tab.wait_for_selector(f"#upload-{role}:enabled")
    tab.set_input_files(f"#upload-{role}", list(files))


def refused(tab) -> str:
    """The refusal that is shown; it is closed then."""
    tab.wait_for_selector(".error")
    text = tab.locator(".error").inner_text()
    press(tab, "Close")
    tab.wait_for_selector(".error", state="detached")
    return text


def as_file(name: str, content: bytes) -> dict:
    return {"name": name, "mimeType": "application/octet-stream", "buffer": content}


def zipped(*members) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in members:
            archive.writestr(name, content)
    return stream.getvalue()


def by_series(folder: Path) -> dict[str, list[Path]]:
    """Series UID -> its DICOM files."""
    import pydicom
    found = defaultdict(list)
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            try:
                found[str(pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["SeriesInstanceUID"]).SeriesInstanceUID)].append(path)
            except (pydicom.errors.InvalidDicomError, AttributeError):
                continue
    return found


def test_a_series_of_a_real_pelvis_comes_in_as_dicom_and_its_words_stay_outside(server, open_page, real_data):
    import pydicom
    series = max(by_series(real_data("prostatex_dicom")).values(), key=len)
    header = pydicom.dcmread(series[0], stop_before_pixels=True)
    tab = open_page(server.address)
    upload(tab, "pre", *map(str, series))
    line = section(tab, "Scans").locator("li", has_text="Before:")
    line.wait_for()
    assert f"{header.Rows}" in line.inner_text() and "MR" in line.inner_text()
    seen = tab.content() + "".join(server.lines) + "".join(path.name for path in server.base.rglob("*"))
    for word in (str(header.PatientID), str(header.get("StudyDate", "")), str(header.SeriesInstanceUID), series[0].name if len(series[0].name) > 8 else ""):
        assert not word or word not in seen
    assert len([path for path in server.session.rglob("*.dcm")]) == 1, "of the series one file is kept, for its header"


def test_of_two_series_in_one_upload_one_is_chosen_and_only_its_header_stays(server, open_page, tmp_path):
    """Beside them a file that sorts before all others and is no image."""
    import pydicom
    from Testing.io.dicom_files import other_object, write_series
    files = []
    for number, slices in ((1, 20), (2, 24)):
        write_series(tmp_path / str(number), np.random.default_rng(number).integers(300, 900, (slices, 150, 200)).astype(np.int16),
                     edit=lambda dataset, *_: setattr(dataset, "SeriesInstanceUID", f"1.2.3.{number}"))
        files += sorted(path for path in (tmp_path / str(number)).rglob("*") if path.is_file())
    other_object(tmp_path / "report", "1.2.840.10008.5.1.4.1.1.88.22")
    files.insert(0, tmp_path / "report")
    tab = open_page(server.address)
    upload(tab, "pre", *({"name": f"{place}.dcm", "mimeType": "application/dicom", "buffer": path.read_bytes()} for place, path in enumerate(files)))
    tab.get_by_text("2 series came in. Which is the scan before treatment?").wait_for()
    assert [line.split(",")[0].strip() for line in section(tab, "Scans").locator(".question label").all_inner_texts()] == ["24 slices", "20 slices"]
    assert "1.2.3" not in tab.content()
    tab.get_by_label("20 slices").check()
    press(tab, "Take this series")
    section(tab, "Scans").locator("li", has_text="200 x 150 x 20 voxels").wait_for()
    assert not tab.locator(".question").count()
    kept = list(server.session.rglob("*.dcm"))
    assert [str(pydicom.dcmread(path).SeriesInstanceUID) for path in kept] == ["1.2.3.1"]


def test_a_hostile_zip_is_refused_and_the_page_goes_on(server, open_page):
    tab = open_page(server.address)
    upload(tab, "post", as_file("x.zip", zipped(("../../beside-the-page.dcm", b"x"))))
    text = refused(tab)
    assert "not to be trusted" in text and "MRD-E913" in text
    assert not list(server.base.parent.rglob("beside-the-page*")) and not list(server.session.glob("upload-post*"))
    step(tab, "Align")
    assert tab.complaints == []


def test_nonsense_is_refused_with_what_to_do_and_its_name_is_obeyed_nowhere(server, open_page):
    tab = open_page(server.address)
    upload(tab, "post", as_file("<img src=x onerror=alert(1)>.nrrd", b"NRRD0004\nnonsense"))
    text = refused(tab)
    assert "scan" in text and "onerror" not in tab.content() and "onerror" not in "".join(server.lines)


def test_500_mb_are_refused_at_once_and_the_page_goes_on(server, open_page, tmp_path):
    large = tmp_path / "large.nrrd"
    with large.open("wb") as file:
        file.truncate(500 * 1024**2)
    tab = open_page(server.address)
    upload(tab, "post", str(large))
    assert "too large" in refused(tab) and not list(server.session.glob("upload-post*"))
    step(tab, "Align")


def test_one_nifti_and_one_nrrd_are_a_pair(server, open_page, tmp_path):
    import SimpleITK as sitk
    from Testing.simulated import small_pair
    pair, tab = small_pair(), open_page(server.address)
    for role, ending in (("pre", "nii.gz"), ("post", "nrrd")):
        sitk.WriteImage(getattr(pair, role), str(tmp_path / f"{role}.{ending}"))
        upload(tab, role, str(tmp_path / f"{role}.{ending}"))
        section(tab, "Scans").locator("li", has_text="Before:" if role == "pre" else "After:").wait_for()
        until(tab, lambda: "96 x 96 x 20" in section(tab, "Scans").inner_text())
    tab.wait_for_selector("button:enabled:has-text('Swap before and after')")
    press(tab, "Swap before and after")
    tab.wait_for_timeout(500)
    assert not tab.locator(".error").count() and tab.complaints == []


def test_diagnostics_hold_versions_and_last_messages_and_no_path_or_name(server, open_page):
    tab = open_page(server.address)
    answer = tab.request.get(server.root + "diagnostics.txt")
    text = answer.text()
    assert answer.ok and "attachment" in answer.headers["content-disposition"] and "trame-slicer" in text and "Last messages:" in text
    assert str(server.base) not in text and str(REPOSITORY) not in text and not (getpass.getuser() != "root" and getpass.getuser() in text)


# Beginning and end

def children(process: int) -> list[int]:
    return [int(number) for task in Path(f"/proc/{process}/task").glob("*") for number in (task / "children").read_text().split()]


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs /proc")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_page_that_is_stopped_while_something_runs_leaves_no_file_and_no_child(tmp_path, open_page, number):
    running = Server(tmp_path / "base")
    tab = open_page(running.address)
    press(tab, "Load a sample pair")
    tab.wait_for_selector(".running", state="visible")
    begun = children(running.process.pid)
    assert begun and running.stop(number) == 0
    assert list(running.base.iterdir()) == [] and not any(alive(child) for child in begun)
    assert "Traceback" not in "".join(running.lines)


@pytest.mark.parametrize("options, code", [(("--case", "FILE"), "MRD-E920"), (("--model", "FOLDER"), "MRD-E50"), (("--port", "TAKEN"), "MRD-E924")])
def test_what_cannot_be_served_is_told_before_an_address_is(server, tmp_path, options, code):
    (tmp_path / "file").write_text("")
    stands_for = {"FILE": str(tmp_path / "file"), "FOLDER": str(tmp_path), "TAKEN": server.root.rstrip("/").rsplit(":", 1)[1]}
    done = subprocess.run([sys.executable, "-m", "MRDeltaNetLib", "serve", *(stands_for.get(each, each) for each in options)], cwd=REPOSITORY, capture_output=True,
                          text=True, timeout=120)
    assert done.returncode in (2, 3) and code in done.stderr and "http" not in done.stdout


def test_empty_steps_say_what_to_do(tmp_path, open_page):
    running = Server(tmp_path / "base")
    try:
        tab = open_page(running.address)
        for title in STEPS:
            step(tab, title)
            text = section(tab, title).inner_text()
            assert any(word in text for word in ("Load", "Choose", "First", "first", "Predict")), (title, text)
        assert tab.complaints == []
    finally:
        running.stop()
