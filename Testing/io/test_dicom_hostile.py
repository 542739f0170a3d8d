"""DICOM files made to break a reader: each ends in one of our errors, fast, without allocating what it claims, and without telling
who the patient is."""

from __future__ import annotations

import resource
import struct
import time
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit, JPEGLosslessSV1, JPEGLSLossless, RLELossless

from MRDeltaNetLib.config import GateLimits
from MRDeltaNetLib.errors import InputError, MissingPackage, MRDeltaNetError
from MRDeltaNetLib.io.dicom import decoding, list_series, read_series
from Testing.io.dicom_files import SECRETS, enhanced, ramp, save, slice_dataset, write_series

PIXEL_TAG = b"\xe0\x7f\x10\x00OW\x00\x00"


def voxels_of(timepoint) -> np.ndarray:
    return sitk.GetArrayFromImage(timepoint.image)


def patch(folder: Path, old: bytes, new: bytes, name: str = "IM0002.dcm") -> Path:
    """Replace the only occurrence of some bytes in one slice."""
    content = (folder / name).read_bytes()
    assert content.count(old) == 1
    (folder / name).write_bytes(content.replace(old, new))
    return folder


def add_before_pixels(folder: Path, extra: bytes) -> Path:
    return patch(folder, PIXEL_TAG, extra + PIXEL_TAG)


def element(group: int, number: int, vr: bytes, value: bytes, length: int | None = None) -> bytes:
    """An explicit little-endian element of a long value representation, claiming `length` bytes."""
    return struct.pack("<HH", group, number) + vr + b"\0\0" + struct.pack("<L", len(value) if length is None else length) + value


ITEM, ITEM_END, SEQUENCE_END = b"\xfe\xff\x00\xe0", b"\xfe\xff\x0d\xe0\0\0\0\0", b"\xfe\xff\xdd\xe0\0\0\0\0"
OPEN = struct.pack("<L", 0xFFFFFFFF)


def nested(depth: int, closed: bool = True) -> bytes:
    """Sequences of undefined length inside each other."""
    start = struct.pack("<HH", 0x7FD1, 0x0010) + b"SQ\0\0" + OPEN + ITEM + OPEN
    return start * depth + (ITEM_END + SEQUENCE_END) * (depth if closed else 0)


STRUCTURES = {
    "B65-nested-20": nested(20),
    "B65-nested-100000": nested(100_000),
    "B65-nested-unclosed": nested(3, closed=False),
    "B65-undefined-length-never-closed": element(0x7FD1, 0x0010, b"SQ", b"", 0xFFFFFFFF),
    "B65-unknown-vr-never-closed": element(0x7FD1, 0x0010, b"UN", b"", 0xFFFFFFFF),
    "B65-text-without-end": element(0x7FD1, 0x0010, b"UT", b"abcd", 0xFFFFFFFF),
    "B65-4-GB-element": element(0x7FD1, 0x0010, b"OB", b"abcd", 0xFFFFFFFE),
    "B65-2-GB-element": element(0x7FD1, 0x0010, b"UN", b"abcd", 0x7FFFFFFE),
    "B65-vr-not-letters": struct.pack("<HH", 0x7FD1, 0x0010) + b"\x01\x02\x04\x00abcd",
    "B65-item-outside-sequence-end": element(0x0008, 0x1140, b"SQ", ITEM_END),
    "B65-garbage-in-sequence": element(0x0008, 0x1140, b"SQ", b"\x10\x00\x20\x00LO\x02\x00ab"),
    "B65-pixel-data-twice": element(0x7FE0, 0x0010, b"OW", b"\0" * 160),
}


@pytest.mark.parametrize("case", STRUCTURES)
def test_a_structure_that_cannot_be_right_is_refused_fast(case, tmp_path):
    folder = add_before_pixels(write_series(tmp_path), STRUCTURES[case])
    start, peak = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError, match="MRD-E204") as caught:
        read_series(folder)
    assert "export the series again" in caught.value.fix
    assert time.process_time() - start < 5 and resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 300_000


def test_b65_ordinary_nesting_is_read(tmp_path):
    np.testing.assert_array_equal(voxels_of(read_series(add_before_pixels(write_series(tmp_path), nested(6)))), ramp())


def test_b65_an_element_larger_than_the_limit_is_refused(tmp_path):
    folder = add_before_pixels(write_series(tmp_path), element(0x7FD1, 0x1010, b"OB", b"\0" * 3000))
    assert read_series(folder).image.GetSize()[2] == 6
    for limits in (GateLimits(max_element_bytes=2000), GateLimits(max_dicom_header_bytes=2000)):
        with pytest.raises(InputError, match="MRD-E204.*limit"):
            read_series(folder, limits=limits)


@pytest.mark.parametrize("cut", [131, 133, 140, 200, 500, 900, 1000])
def test_a_file_cut_anywhere_is_refused(cut, tmp_path):
    folder = write_series(tmp_path)
    path = folder / "IM0005.dcm"
    path.write_bytes(path.read_bytes()[:cut])
    try:
        found = read_series(folder)
    except InputError as refusal:
        assert refusal.code in ("MRD-E204", "MRD-E230", "MRD-E220", "MRD-E210", "MRD-E205") and refusal.fix
    else:
        # without its mark the file is no DICOM file any more: it is counted
        assert cut < 132 and found.facts.skipped == {"named like a slice but not DICOM": 1}


def test_b61_odd_pixel_length_with_and_without_its_pad_byte(tmp_path):
    voxels = ramp(5, 9, 9).astype(np.uint8)
    np.testing.assert_array_equal(voxels_of(read_series(write_series(tmp_path / "padded", voxels))), voxels)
    folder = write_series(tmp_path / "odd", voxels)
    for path in folder.iterdir():
        content = path.read_bytes()
        assert content.count(struct.pack("<L", 82)) == 1
        path.write_bytes(content.replace(struct.pack("<L", 82), struct.pack("<L", 81))[:-1])
    np.testing.assert_array_equal(voxels_of(read_series(folder)), voxels)


def test_b61_a_huge_declared_image_costs_no_memory(tmp_path):
    def edit(ds, index):
        ds.Rows = ds.Columns = 2000
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError, match="MRD-E220"):
        read_series(write_series(tmp_path, ramp(slices=200), edit=edit))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 200_000


def test_bytes_behind_the_last_element_are_told(tmp_path):
    folder = write_series(tmp_path)
    with (folder / "IM0001.dcm").open("ab") as stream:
        stream.write(b"trailing garbage")
    found = read_series(folder)
    assert [n.code for n in found.notices] == ["MRD-W207"]
    np.testing.assert_array_equal(voxels_of(found), ramp())


def test_a_deflated_bomb_is_refused_at_its_cap(tmp_path, monkeypatch):
    from MRDeltaNetLib.io.dicom import structure

    monkeypatch.setattr(structure, "MAX_INFLATED_BYTES", 10_000)
    folder = write_series(tmp_path, syntax="1.2.840.10008.1.2.1.99")
    path = folder / "IM0002.dcm"
    content = path.read_bytes()
    body = content.index(b"1.2.840.10008.1.2.1.99") + 22
    packer = zlib.compressobj(wbits=-15)
    path.write_bytes(content[:body] + packer.compress(b"\0" * 50_000_000) + packer.flush())
    with pytest.raises(InputError, match="MRD-E204"):
        read_series(folder)


# ---- B63, B64: compressed data

def compressed(folder: Path, syntax: str, edit=None, voxels=None) -> Path:
    """A series whose slices are RLE or JPEG 2000 compressed; edit(dataset, index) may damage them."""
    voxels = ramp(4, 32, 32) if voxels is None else voxels
    for index, pixels in enumerate(voxels):
        ds = slice_dataset(pixels, index)
        if syntax == RLELossless:
            ds.compress(RLELossless)
        else:
            ds.PixelData = encapsulate([encoded(pixels, syntax)])
            ds["PixelData"].is_undefined_length = True
            ds.file_meta.TransferSyntaxUID = syntax
        if edit:
            edit(ds, index)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            save(ds, folder / f"{index}.dcm", syntax)
    return folder


def encoded(pixels: np.ndarray, syntax: str) -> bytes:
    import io

    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG" if syntax == JPEGBaseline8Bit else "JPEG2000",
                                 **({"quality": 95} if syntax == JPEGBaseline8Bit else {"irreversible": False, "no_jp2": True}))
    return out.getvalue()


def test_b63_rle_and_jpeg_2000_give_the_voxels_written(tmp_path):
    np.testing.assert_array_equal(voxels_of(read_series(compressed(tmp_path / "rle", RLELossless))), ramp(4, 32, 32))
    values = ramp(4, 32, 32).astype(np.uint16)
    np.testing.assert_array_equal(voxels_of(read_series(compressed(tmp_path / "j2k", JPEG2000Lossless, voxels=values))), values)


def test_b63_a_compressed_multi_frame_file_is_read(tmp_path):
    ds = enhanced(ramp(5, 32, 32)[None])
    ds.compress(RLELossless)
    np.testing.assert_array_equal(voxels_of(read_series(save(ds, tmp_path / "e.dcm", RLELossless))), ramp(5, 32, 32))


def test_b63_lossy_jpeg_is_read_close_and_told(tmp_path):
    values = np.clip(ramp(4, 32, 32) // 18, 0, 255).astype(np.uint8)
    found = read_series(compressed(tmp_path, JPEGBaseline8Bit, lambda ds, i: setattr(ds, "LossyImageCompression", "01"), values))
    assert [n.code for n in found.notices] == ["MRD-W203"]
    assert np.abs(voxels_of(found) - values).max() < 12


@pytest.mark.parametrize("syntax, package", [(JPEGLSLossless, "pyjpegls"), (JPEGLosslessSV1, "pylibjpeg-libjpeg"),
                                             ("1.2.840.10008.1.2.4.201", "pylibjpeg-openjpeg")])
def test_b63_a_missing_codec_names_the_package_to_install(syntax, package, tmp_path):
    from pydicom.pixels import get_decoder

    if get_decoder(syntax).is_available:
        pytest.skip("this codec is installed here")
    folder = compressed(tmp_path, RLELossless)
    for path in folder.iterdir():
        path.write_bytes(_with_syntax(path.read_bytes(), syntax))
    with pytest.raises(MissingPackage, match="MRD-E231") as caught:
        read_series(folder)
    assert package in caught.value.fix and "uncompressed" in caught.value.fix and caught.value.exit_status == 4


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.4.100", "1.2.840.113619.5.2", "../../etc/passwd"])
def test_b63_a_syntax_that_nobody_decodes_is_refused(syntax, tmp_path):
    folder = compressed(tmp_path, RLELossless)
    for path in folder.iterdir():
        path.write_bytes(_with_syntax(path.read_bytes(), syntax))
    with pytest.raises(InputError, match="MRD-E230") as caught:
        read_series(folder)
    assert "uncompressed" in caught.value.fix


def _with_syntax(content: bytes, syntax: str) -> bytes:
    old, new = RLELossless.encode() + b"\0", syntax.encode() + b"\0" * (len(syntax) % 2)
    assert content.count(b"UI" + struct.pack("<H", len(old)) + old) == 1
    return content.replace(b"UI" + struct.pack("<H", len(old)) + old, b"UI" + struct.pack("<H", len(new)) + new)


def pixels_changed(change):
    def edit(ds, index):
        if index == 2:
            ds.PixelData = change(ds.PixelData)
    return edit


FRAGMENTS = {
    "B64-random-bytes": lambda data: encapsulate([bytes(range(256)) * 4]),
    "B64-cut-stream": lambda data: encapsulate([data[16:60]]),
    "B64-empty-fragment": lambda data: ITEM + b"\0\0\0\0" + ITEM + b"\0\0\0\0" + SEQUENCE_END,
    "B64-zeros": lambda data: encapsulate([b"\0" * 4000]),
    "B64-rle-claims-15-segments": lambda data: encapsulate([struct.pack("<16L", 15, *([64] * 15)) + b"\x81\x05" * 50]),
    "B64-rle-offsets-beyond-the-end": lambda data: encapsulate([struct.pack("<16L", 2, 64, 0xFFFFFFF0, *([0] * 13)) + b"\x81\x05" * 50]),
    "B64-no-frame-only-a-table": lambda data: ITEM + b"\0\0\0\0" + SEQUENCE_END,
    "B64-fragment-longer-than-the-file": lambda data: ITEM + b"\0\0\0\0" + ITEM + b"\xf0\xff\xff\x7f" + data[16:],
    "B64-fragment-of-undefined-length": lambda data: ITEM + b"\0\0\0\0" + ITEM + OPEN + data[16:],
}


@pytest.mark.parametrize("case", FRAGMENTS)
def test_malformed_fragments_are_refused(case, tmp_path):
    with pytest.raises(InputError) as caught:
        read_series(compressed(tmp_path, RLELossless, pixels_changed(FRAGMENTS[case])))
    assert caught.value.code in ("MRD-E204", "MRD-E232") and "export the series again" in caught.value.fix


def test_b64_a_wrong_offset_table_does_not_mislead(tmp_path):
    edit = pixels_changed(lambda data: ITEM + struct.pack("<LL", 4, 0x7FFFFFF0) + data[8 + int.from_bytes(data[4:8], "little"):])
    np.testing.assert_array_equal(voxels_of(read_series(compressed(tmp_path, RLELossless, edit))), ramp(4, 32, 32))


def test_b64_a_jpeg_2000_stream_of_another_size_is_refused(tmp_path):
    other = encoded(np.zeros((64, 64), np.uint16), JPEG2000Lossless)
    folder = compressed(tmp_path, JPEG2000Lossless, pixels_changed(lambda data: encapsulate([other])), ramp(4, 32, 32).astype(np.uint16))
    with pytest.raises(InputError, match="MRD-E232"):
        read_series(folder)


@pytest.mark.parametrize("script, code", [("import os; os.abort()", "MRD-E232"), ("import os; os._exit(0)", "MRD-E232"),
                                          ("import sys; sys.exit(3)", "MRD-E232"), ("import time; time.sleep(60)", "MRD-E233"),
                                          ("x = bytearray(10**15)", "MRD-E232")])
def test_b64_a_decoder_that_dies_or_hangs_is_an_error(script, code, tmp_path, monkeypatch):
    child = tmp_path / "child.py"
    child.write_text(script)
    monkeypatch.setattr(decoding, "CHILD", child)
    monkeypatch.setattr(decoding, "BASE_SECONDS", 1.5)
    with pytest.raises(InputError, match=code) as caught:
        read_series(compressed(tmp_path / "series", RLELossless))
    assert "uncompressed" in caught.value.fix


def test_b64_a_decoder_that_reports_more_than_it_wrote_is_not_believed(tmp_path, monkeypatch):
    child = tmp_path / "child.py"
    child.write_text("import json, sys, os\njob = json.load(sys.stdin)\n"
                     "open(os.path.join(job['folder'], 'status.json'), 'w').write('{\"files\": [\"i2\", \"i2\", \"i2\", \"i2\"]}')\n"
                     "[open(os.path.join(job['folder'], f'{i}.raw'), 'wb').write(b'12') for i in range(4)]\n")
    monkeypatch.setattr(decoding, "CHILD", child)
    with pytest.raises(InputError, match="MRD-E232"):
        read_series(compressed(tmp_path / "series", RLELossless))


def test_the_decoder_runs_isolated_from_the_current_folder(tmp_path, monkeypatch):
    """A hostile module beside the data or on PYTHONPATH is not imported by the child."""
    folder = compressed(tmp_path / "series", RLELossless)
    (tmp_path / "json.py").write_text("raise SystemExit(7)")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    np.testing.assert_array_equal(voxels_of(read_series(folder)), ramp(4, 32, 32))


# ---- B66, F130: nothing that names the patient

SCRIPTS = ("<img src=x onerror=alert(1)>", "=cmd|'/C calc'!A0", "a\nb\rc", "\x1b[31mred\x1b[0m", "Müller^Äpfel", "{0.__class__}", "%s%n")


@pytest.mark.parametrize("field", ["PatientName", "PatientID", "SeriesDescription", "Manufacturer", "Modality", "ImageType",
                                   "PhotometricInterpretation", "StudyDescription"])
@pytest.mark.parametrize("text", SCRIPTS)
def test_b66_hostile_text_comes_out_neutralised(field, text, tmp_path):
    folder = write_series(tmp_path, edit=lambda ds, index: setattr(ds, field, text))
    try:
        found = read_series(folder)
        told = "".join(f"{value}" for value in (found.facts.manufacturer, found.facts.modality, found.facts.sequence, found.frame_uid))
        told += "".join(notice.text + notice.fix for notice in found.notices)
    except MRDeltaNetError as refusal:
        told = str(refusal)
    told += "".join(series.text() for series in list_series(folder))
    assert text not in told and not set("<>|\x1b\r{%ü") & set(told)


def test_b66_private_blobs_do_no_harm(tmp_path):
    blob = bytes(range(256)) * 30
    folder = add_before_pixels(write_series(tmp_path), element(0x7FD1, 0x1010, b"OB", blob)
                               + element(0x7FD1, 0x1020, b"UN", blob))
    np.testing.assert_array_equal(voxels_of(read_series(folder)), ramp())


def _breakages():
    from Testing.io.test_dicom import REFUSED

    return REFUSED


@pytest.mark.parametrize("case", _breakages())
def test_f130_no_error_notice_or_warning_names_the_patient_or_the_path(case, tmp_path, capfd, caplog):
    edit, *_ = _breakages()[case]
    folder = write_series(tmp_path / SECRETS[1] / "series", edit=edit)
    caplog.clear()
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        with pytest.raises(MRDeltaNetError) as caught:
            read_series(folder)
    out, err = capfd.readouterr()
    told = str(caught.value) + out + err + caplog.text + "".join(str(w.message) for w in seen)
    for secret in (*SECRETS, str(tmp_path), "IM000"):
        assert secret not in told


def test_f130_a_good_series_tells_nothing_either(tmp_path, capfd, caplog):
    def edit(ds, index):
        ds.BurnedInAnnotation, ds.LossyImageCompression, ds.SpacingBetweenSlices = "YES", "01", 1.0
        ds.SeriesInstanceUID = "not a uid"
        ds.AcquisitionDate = ds.SeriesDate = ds.StudyDate = "29990101"
    folder = write_series(tmp_path, edit=edit)
    caplog.clear()
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        found = read_series(folder)
    told = repr(found.facts) + repr(found.notices) + repr(list_series(folder)) + caplog.text + "".join(str(w.message) for w in seen)
    told += "".join(capfd.readouterr())
    assert len(found.notices) == 4
    for secret in (*SECRETS, "29990101", "not a uid", str(tmp_path)):
        assert secret not in told


# ---- fuzzing

@pytest.fixture(scope="module")
def originals(tmp_path_factory) -> dict[str, list[bytes]]:
    root = tmp_path_factory.mktemp("originals")
    folders = {"explicit": write_series(root / "explicit", ramp(slices=3)),
               "implicit": write_series(root / "implicit", ramp(slices=3), syntax="1.2.840.10008.1.2"),
               "big": write_series(root / "big", ramp(slices=3), syntax="1.2.840.10008.1.2.2")}
    save(enhanced(np.stack([ramp(slices=3), ramp(slices=3)]), axes={"time": [1, 2]}), root / "enhanced" / "e.dcm")
    folders["enhanced"] = root / "enhanced"
    return {name: [path.read_bytes() for path in sorted(folder.iterdir())] for name, folder in folders.items()}


@pytest.mark.parametrize("kind", ["explicit", "implicit", "big", "enhanced"])
@settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_random_damage_ends_in_success_or_in_one_of_our_errors(kind, data, originals, tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz")
    for index, content in enumerate(originals[kind]):
        content = bytearray(content)
        for _ in range(data.draw(st.integers(0, 4))):
            place = data.draw(st.integers(0, len(content) - 1))
            kind_of_damage = data.draw(st.sampled_from(["flip", "set", "cut", "grow", "length"]))
            if kind_of_damage == "flip":
                content[place] ^= 1 << data.draw(st.integers(0, 7))
            elif kind_of_damage == "set":
                content[place] = data.draw(st.sampled_from([0, 1, 0x7F, 0x80, 0xFF]))
            elif kind_of_damage == "cut":
                del content[place:place + data.draw(st.integers(1, 40))]
            elif kind_of_damage == "grow":
                content[place:place] = data.draw(st.binary(min_size=1, max_size=20))
            else:
                content[place:place + 4] = b"\xff\xff\xff\xff"
            content = content or bytearray(b"\0")
        (folder / f"{index}.dcm").write_bytes(bytes(content))
    try:
        found = read_series(folder, volume_index=data.draw(st.sampled_from([None, 0, 1])))
    except MRDeltaNetError as refusal:
        assert refusal.code.startswith("MRD-E2")
    else:
        assert np.isfinite(voxels_of(found)).all()
    assert isinstance(list_series(folder), list)


@pytest.mark.parametrize("seed", range(6))
def test_random_damage_to_compressed_slices_never_gets_through(seed, tmp_path):
    rng = np.random.default_rng(seed)
    folder = compressed(tmp_path, RLELossless if seed % 2 else JPEG2000Lossless, voxels=ramp(4, 32, 32).astype(np.uint16))
    path = folder / "1.dcm"
    content = bytearray(path.read_bytes())
    start = content.index(b"\xe0\x7f\x10\x00")
    for place in rng.integers(start + 20, len(content), 12):
        content[place] = rng.integers(256)
    path.write_bytes(bytes(content))
    try:
        assert voxels_of(read_series(folder)).shape == (4, 32, 32)
    except MRDeltaNetError as refusal:
        assert refusal.code in ("MRD-E204", "MRD-E232", "MRD-E220")
