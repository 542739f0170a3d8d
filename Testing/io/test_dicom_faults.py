"""Each guard of the DICOM reader on its own: the fault is named, not only refused (cases B 61-65)."""

from __future__ import annotations

import io
import os
import struct
import zlib

import numpy as np
import pytest

from MRDeltaNetLib.config import GateLimits
from MRDeltaNetLib.errors import EnvironmentProblem, InputError
from MRDeltaNetLib.io.dicom import read_series, structure
from MRDeltaNetLib.io.dicom.structure import DEFLATED, EXPLICIT_LITTLE, NotDicom, Structure, read_structure
from Testing.io.dicom_files import RLELossless, ramp, write_series
from Testing.io.test_dicom_hostile import ITEM, ITEM_END, OPEN, SEQUENCE_END, compressed, element, pixels_changed

SEQUENCE = (0x0008, 0x1140, b"SQ")
PIXELS_OPEN = struct.pack("<HH", 0x7FE0, 0x0010) + b"OB\0\0" + OPEN


def short_element(group: int, number: int, vr: bytes, value: bytes) -> bytes:
    return struct.pack("<HH", group, number) + vr + struct.pack("<H", len(value)) + value


def part10(body: bytes, syntax: str | None = EXPLICIT_LITTLE, meta: bytes = b"") -> bytes:
    """A file of the mark, file meta information and whatever comes behind it."""
    uid = b"" if syntax is None else syntax.encode() + b"\0" * (len(syntax) % 2)
    return b"\0" * 128 + b"DICM" + meta + (short_element(2, 0x10, b"UI", uid) if uid else b"") + body


def deflated(content: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(content) + packer.flush()


def walk(content: bytes) -> Structure:
    return read_structure(io.BytesIO(content), len(content), GateLimits(), Structure())


NAME = short_element(0x0010, 0x0010, b"PN", b"ab")
ONE_ITEM = ITEM + struct.pack("<L", 0)
FAULTS = {
    "no transfer syntax": (part10(NAME, None), "E230", "how its data are written"),
    "meta without end": (part10(NAME, meta=element(2, 0x0102, b"OB", b"", 0xFFFFFFFF)), "E204", "meta information has no end"),
    "ends behind half an element": (part10(NAME + b"\x10\0\x20\0"), "E204", "in the middle"),
    "ends inside a long length": (part10(struct.pack("<HH", 0x7FD1, 0x10) + b"OB\0\0"), "E204", "in the middle"),
    "element cut inside a sequence": (part10(element(*SEQUENCE, ITEM + struct.pack("<L", 4) + b"abcd")), "E204", "in the middle"),
    "text without end": (part10(element(0x0009, 0x0010, b"UT", b"abcd", 0xFFFFFFFF)), "E204", "no sequence has no end"),
    "item ends twice": (part10(element(*SEQUENCE, ITEM + struct.pack("<L", 8) + ITEM_END)), "E204", "ends twice"),
    "fragments without list": (part10(PIXELS_OPEN + NAME), "E204", "list of fragments"),
    "fragment of undefined length": (part10(PIXELS_OPEN + ITEM + OPEN + SEQUENCE_END), "E204", "list of fragments"),
    "deflated damaged": (part10(b"\xff" * 60, DEFLATED), "E204", "cannot be inflated"),
    "deflated cut": (part10(deflated(NAME * 400)[:-3], DEFLATED), "E204", "ends too early"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_each_fault_of_a_structure_is_named(case):
    content, code, said = FAULTS[case]
    with pytest.raises(InputError) as caught:
        walk(content)
    assert caught.value.code == f"MRD-{code}" and said in caught.value.what and "export" in caught.value.fix


def test_a_sound_structure_of_the_same_parts_passes():
    assert walk(part10(NAME + element(*SEQUENCE, ONE_ITEM))).header_end == len(part10(NAME + element(*SEQUENCE, ONE_ITEM)))
    assert walk(part10(deflated(NAME * 400), DEFLATED)).inflated == NAME * 400
    with pytest.raises(NotDicom):
        walk(b"\0" * 200)


def test_b65_a_million_empty_elements_are_refused(monkeypatch):
    monkeypatch.setattr(structure, "MAX_ELEMENTS", 1000)
    with pytest.raises(InputError, match="more elements than the limit"):
        walk(part10(NAME * 1001))
    walk(part10(NAME * 990))


def test_a_deflated_bomb_is_named_and_its_packed_bytes_are_capped_too(monkeypatch):
    monkeypatch.setattr(structure, "MAX_INFLATED_BYTES", 10_000)
    with pytest.raises(InputError, match="grows beyond the limit"):
        walk(part10(deflated(b"\0" * 5_000_000), DEFLATED))
    asked = []

    class Watched(io.BytesIO):
        def read(self, size=-1):
            asked.append(size)
            return super().read(size)

    content = part10(deflated(np.random.default_rng(0).bytes(50_000)), DEFLATED)
    with pytest.raises(InputError):
        read_structure(Watched(content), len(content), GateLimits(), Structure())
    assert min(asked) >= 0 and max(asked) <= 10_000


def test_places_that_are_no_series_are_named(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe")
    for place, said in ((tmp_path / "absent", "no such folder or file"), (tmp_path / "pipe", "neither a folder nor a file")):
        with pytest.raises(InputError, match=said) as caught:
            read_series(place)
        assert caught.value.code == "MRD-E202" and caught.value.fix and str(tmp_path) not in str(caught.value)

    def forbidden(place, onerror):
        onerror(PermissionError(13, "Permission denied", str(place)))
        return iter(())

    monkeypatch.setattr("MRDeltaNetLib.io.dicom.listing.os.walk", forbidden)
    with pytest.raises(InputError, match="folder cannot be read") as caught:
        read_series(tmp_path)
    assert caught.value.code == "MRD-E202" and "may read" in caught.value.fix


def test_a_header_that_the_parser_stumbles_over_is_damaged(tmp_path, monkeypatch):
    def stumble(*given):
        raise AttributeError(f"secret {tmp_path}")

    folder = write_series(tmp_path)
    monkeypatch.setattr("MRDeltaNetLib.io.dicom.header._values", stumble)
    with pytest.raises(InputError, match="header cannot be read") as caught:
        read_series(folder)
    assert caught.value.code == "MRD-E204" and "secret" not in str(caught.value)


def test_b64_fewer_fragments_than_frames_are_refused_before_decoding(tmp_path, monkeypatch):
    monkeypatch.setattr("MRDeltaNetLib.io.dicom.decoding._run", lambda *given: pytest.fail("decoded"))
    with pytest.raises(InputError, match="incomplete") as caught:
        read_series(compressed(tmp_path, RLELossless, pixels_changed(lambda data: ITEM + b"\0\0\0\0" + SEQUENCE_END)))
    assert caught.value.code == "MRD-E232" and "0 fragments for 1 frames" in caught.value.found


def test_b64_a_decoder_that_cannot_start_is_the_machines_fault(tmp_path, monkeypatch):
    def nothing(*given, **options):
        raise FileNotFoundError(2, "No such file", "/home/doe/python")

    folder = compressed(tmp_path, RLELossless, voxels=ramp(4, 32, 32))
    monkeypatch.setattr("MRDeltaNetLib.io.dicom.decoding.subprocess.run", nothing)
    with pytest.raises(EnvironmentProblem) as caught:
        read_series(folder)
    assert caught.value.code == "MRD-E235" and "uncompressed" in caught.value.fix and "doe" not in str(caught.value)
