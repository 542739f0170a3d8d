"""Each bad volume file (cases A 1-49 of the gate's list) ends in an error with its code and a remedy, for scans and for masks."""

from __future__ import annotations

import gzip
import os
import struct
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from MRDeltaNetLib.config import GateLimits
from MRDeltaNetLib.errors import InputError
from MRDeltaNetLib.io.gate import check_header
from MRDeltaNetLib.io.images import read_image, read_mask
from Testing.io.volume_files import ORIGIN_LPS_MM, SIZES, SPACING_MM, image, metaimage, nifti, nrrd, nrrd_header, put, ras, voxels

RAW = voxels().tobytes()


def gz(content: bytes) -> bytes:
    return gzip.compress(content, 1)


def sheared() -> np.ndarray:
    matrix = ras()
    matrix[0, 1] += 0.5
    return matrix


def moved() -> np.ndarray:
    matrix = ras()
    matrix[0, 3] += 60
    return matrix


def nan_form() -> dict:
    return {"srow_x": [np.nan] * 4, "srow_y": [np.nan] * 4, "srow_z": [np.nan] * 4}


def wrong_isize() -> bytes:
    packed = gz(nifti())
    return packed[:-4] + struct.pack("<I", len(nifti()) + 1)


# case, file name, content, code, a word of the remedy, keyword arguments of read_image
BROKEN_FILES = [
    *((f"A01-empty-{name}", name, b"", "MRD-E101", "again") for name in ("a.nii", "a.nii.gz", "a.nrrd", "a.nhdr", "a.mha", "a.mhd")),
    ("A02-gz-named-nii", "a.nii", gz(nifti()), "MRD-E102", "right ending"),
    ("A02-nii-named-gz", "a.nii.gz", nifti(), "MRD-E102", "right ending"),
    ("A02-png-named-nrrd", "a.nrrd", b"\x89PNG\r\n\x1a\n" + bytes(100), "MRD-E102", "right file"),
    ("A02-nrrd-named-mha", "a.mha", nrrd(), "MRD-E102", "right file"),
    ("A02-text-named-nii", "a.nii", b"hello", "MRD-E102", "right file"),
    ("A02-gz-of-text", "a.nii.gz", gz(b"hello"), "MRD-E102", "right file"),
    ("A02-gzipped-nrrd", "a.nrrd.gz", gz(nrrd()), "MRD-E102", "export"),
    ("A02-png", "a.png", b"\x89PNG\r\n\x1a\n" + bytes(100), "MRD-E102", "NRRD"),
    ("A02-mgz", "a.mgz", gz(b"\0\0\0\1\0\0" + bytes(280)), "MRD-E102", "NIfTI"),
    ("A02-minc", "a.mnc", b"\x89HDF\r\n\x1a\n" + bytes(100), "MRD-E102", "NIfTI"),
    ("A02-analyze", "a.hdr", struct.pack("<i", 348) + bytes(344), "MRD-E102", "NIfTI"),
    ("A02-nifti-pair", "a.hdr", nifti(change={"magic": b"ni1"})[:352], "MRD-E102", "NIfTI"),
    ("A02-par", "a.PAR", b"# === DATA DESCRIPTION FILE ===", "MRD-E102", "NIfTI"),
    ("A02-zip", "a.mrb", b"PK\x03\x04" + bytes(50), "MRD-E102", "NIfTI"),
    ("A03-truncated-nrrd-raw", "a.nrrd", nrrd(cut=900), "MRD-E103", "copy or export"),
    ("A03-truncated-nrrd-gz", "a.nrrd", nrrd(encoding="gzip", cut=900), "MRD-E103", "copy or export"),
    ("A03-truncated-nrrd-bz2", "a.nrrd", nrrd(encoding="bzip2", cut=900), "MRD-E103", "copy or export"),
    ("A03-truncated-nrrd-ascii", "a.nrrd", nrrd(encoding="ascii", cut=900), "MRD-E103", "copy or export"),
    ("A03-words-in-nrrd-ascii", "a.nrrd", nrrd(encoding="ascii", after=b" __import__('os')"), "MRD-E103", "copy or export"),
    ("A03-nrrd-gz-of-too-little", "a.nrrd", nrrd_header(encoding="gzip") + gz(RAW[:-2]), "MRD-E103", "copy or export"),
    ("A03-nrrd-gz-flipped-byte", "a.nrrd", nrrd(encoding="gzip")[:-3] + b"xyz", "MRD-E103", "copy or export"),
    ("A04-truncated-nifti", "a.nii", nifti()[:900], "MRD-E103", "copy or export"),
    ("A04-truncated-nifti-header", "a.nii.gz", gz(nifti()[:200]), "MRD-E102", "right file"),
    ("A04-truncated-nifti-gz", "a.nii.gz", gz(nifti())[:3000], "MRD-E103", "copy or export"),
    ("A04-nifti-gz-of-too-little", "a.nii.gz", gz(nifti()[:-1]), "MRD-E103", "copy or export"),
    ("A05-truncated-mha", "a.mha", metaimage(cut=900), "MRD-E103", "copy or export"),
    ("A05-truncated-packed-mha", "a.mha", metaimage(packed=True, cut=900), "MRD-E103", "copy or export"),
    ("A05-wrong-packed-size", "a.mha", metaimage(packed=True, change={"CompressedDataSize": "77"}), "MRD-E105", "export"),
    ("A06-much-more-data", "a.nii", nifti(after=bytes(2 << 20)), "MRD-E106", "export"),
    ("A07-huge-claim-nifti", "a.nii", nifti(change={"dim": [3, 30000, 30000, 30000, 1, 1, 1, 1]}), "MRD-E107", "crop"),
    ("A07-huge-claim-nrrd", "a.nrrd", nrrd(change={"sizes": "100000 100000 100000"}), "MRD-E107", "crop"),
    ("A07-huge-claim-mha", "a.mha", metaimage(change={"DimSize": "100000 100000 100000"}), "MRD-E107", "crop"),
    ("A08-64-bit-overflow", "a.nrrd", nrrd(change={"sizes": "4294967296 4294967296 4294967297"}), "MRD-E107", "crop"),
    ("A08-32-bit-overflow", "a.nrrd", nrrd(change={"sizes": "2048 2048 1024"}), "MRD-E107", "crop"),
    ("A08-nifti2-overflow", "a.nii", nifti(version=2, change={"dim": [3, 2**62, 2**62, 4, 1, 1, 1, 1]}), "MRD-E107", "crop"),
    ("A09-zero-axis", "a.nii", nifti(change={"dim": [3, 24, 0, 12, 1, 1, 1, 1]}), "MRD-E109", "export"),
    ("A09-negative-axis", "a.nii", nifti(change={"dim": [3, 24, -20, 12, 1, 1, 1, 1]}), "MRD-E109", "export"),
    ("A09-no-axes", "a.nii", nifti(change={"dim": [0, 24, 20, 12, 1, 1, 1, 1]}), "MRD-E109", "export"),
    ("A09-nine-axes", "a.nii", nifti(change={"dim": [9, 24, 20, 12, 1, 1, 1, 1]}), "MRD-E109", "export"),
    ("A09-sixty-axes", "a.mha", metaimage(change={"NDims": "60"}), "MRD-E109", "export"),
    ("A09-nrrd-negative", "a.nrrd", nrrd(change={"sizes": "24 -20 12"}), "MRD-E109", "export"),
    ("A09-nrrd-words", "a.nrrd", nrrd(change={"sizes": "24 twenty 12"}), "MRD-E114", "export"),
    ("A09-nrrd-two-sizes", "a.nrrd", nrrd(change={"sizes": "24 20"}), "MRD-E109", "export"),
    ("A09-mha-underscore", "a.mha", metaimage(change={"DimSize": "2_4 20 12"}), "MRD-E114", "export"),
    ("A10-bomb-nifti", "a.nii.gz", gz(nifti() + bytes(32 << 20)), "MRD-E110", "source"),
    ("A10-bomb-nrrd", "a.nrrd", nrrd_header(encoding="gzip") + gz(bytes(32 << 20)), "MRD-E110", "source"),
    ("A10-bomb-members", "a.nrrd", nrrd_header(encoding="gzip") + gz(bytes(1 << 20)) * 32, "MRD-E110", "source"),
    ("A10-bomb-mha", "a.mha", metaimage(packed=True, data=bytes(32 << 20)), "MRD-E110", "source"),
    ("A12-list", "a.nhdr", nrrd_header({"data file": "LIST"}), "MRD-E112", "one file"),
    ("A12-list-2d", "a.nhdr", nrrd_header({"data file": "LIST 2"}), "MRD-E112", "one file"),
    ("A12-pattern", "a.nhdr", nrrd_header({"data file": "slice%07d.raw 1 1000000 1"}), "MRD-E112", "one file"),
    ("A12-mhd-list", "a.mhd", metaimage(change={"ElementDataFile": "LIST"}, cut=0), "MRD-E112", "one file"),
    ("A12-mhd-pattern", "a.mhd", metaimage(change={"ElementDataFile": "s%d.raw 1 1000000 1"}, cut=0), "MRD-E112", "one file"),
    *((f"A13-nifti-type-{code}", "a.nii", nifti(change={"datatype": code}), "MRD-E113", "grey values")
      for code in (0, 1, 32, 128, 1536, 1792, 2048, 2304, 9999)),
    ("A13-bits-contradict", "a.nii", nifti(change={"bitpix": 32}), "MRD-E113", "export"),
    ("A13-nrrd-type", "a.nrrd", nrrd(change={"type": "quaternion"}), "MRD-E113", "grey values"),
    ("A13-nrrd-block", "a.nrrd", nrrd(change={"type": "block"}), "MRD-E113", "grey values"),
    ("A13-nrrd-encoding", "a.nrrd", nrrd(change={"encoding": "lzma"}), "MRD-E113", "gzip"),
    ("A13-nrrd-endian", "a.nrrd", nrrd(change={"endian": "middle"}), "MRD-E113", "export"),
    ("A13-nrrd-no-endian", "a.nrrd", nrrd(drop=("endian",)), "MRD-E113", "export"),
    ("A13-mha-type", "a.mha", metaimage(change={"ElementType": "MET_STRING"}), "MRD-E113", "grey values"),
    ("A13-mha-array-type", "a.mha", metaimage(change={"ElementType": "MET_FLOAT_ARRAY"}), "MRD-E113", "grey values"),
    ("A14-zero-byte", "a.nrrd", nrrd(change={"content": "a\0b"}), "MRD-E114", "export"),
    ("A14-control-character", "a.mha", metaimage(change={"Comment": "a\x1db"}), "MRD-E114", "export"),
    ("A14-long-line", "a.nrrd", nrrd(change={"content": "x" * (2 << 20)}), "MRD-E114", "export"),
    ("A14-endless-mha-header", "a.mha", b"ObjectType = Image\nComment = " + b"x" * (2 << 20), "MRD-E114", "export"),
    ("A14-duplicate-field", "a.nrrd", nrrd(change={"SIZES": "24 20 12"}), "MRD-E114", "export"),
    ("A14-duplicate-field-mha", "a.mha", b"NDims = 3\n" + metaimage(), "MRD-E114", "export"),
    ("A14-carriage-returns", "a.nrrd", nrrd_header().replace(b"\n", b"\r") + RAW, "MRD-E114", "export"),
    ("A14-unknown-field", "a.nrrd", nrrd(change={"colour": "red"}), "MRD-E114", "export"),
    ("A14-no-colon", "a.nrrd", nrrd_header().replace(b"type: ", b"type ") + RAW, "MRD-E114", "export"),
    ("A14-sizeof-hdr", "a.nii", nifti(change={"sizeof_hdr": 777}), "MRD-E114", "export"),
    ("A14-no-datafile", "a.mha", metaimage(drop=("ElementDataFile",)), "MRD-E114", "export"),
    *((f"A15-vox-offset-{value}", "a.nii", nifti(change={"vox_offset": value}), "MRD-E115", "export")
      for value in (np.nan, np.inf, -352, 0, 352.5, 1e30, 1e6)),
    ("A15-vox-offset-gz", "a.nii.gz", gz(nifti(change={"vox_offset": 1e6})), "MRD-E115", "export"),
    ("A15-nrrd-line-skip", "a.nrrd", nrrd(change={"line skip": "3"}), "MRD-E115", "export"),
    ("A15-nrrd-byte-skip", "a.nrrd", nrrd(change={"byte skip": "-7"}), "MRD-E115", "export"),
    ("A15-nrrd-byte-skip-beyond", "a.nrrd", nrrd(change={"byte skip": "99999999"}), "MRD-E115", "export"),
    *((f"A16-slope-{slope}-{inter}", "a.nii", nifti(change={"scl_slope": slope, "scl_inter": inter}), "MRD-E116", "export")
      for slope, inter in ((np.nan, 0), (np.inf, 0), (1, np.nan), (1, -np.inf), (3e38, 0), (1, 3.2e38), (1e-30, 0), (0, 5))),
    ("A16-mha-scaling", "a.mha", metaimage(change={"ElementToIntensityFunctionSlope": "2"}), "MRD-E116", "scaled"),
    ("A27-two-axes", "a.nii", nifti(change={"dim": [2, 24, 20, 1, 1, 1, 1, 1]}), "MRD-E127", "whole series"),
    ("A27-nrrd-two-axes", "a.nrrd", nrrd(change={"dimension": "2", "sizes": "24 240"}), "MRD-E127", "whole series"),
    ("A27-mha-two-axes", "a.mha", metaimage(change={"NDims": "2"}), "MRD-E127", "whole series"),
    ("A31-colour-nrrd", "a.nrrd", nrrd(change={"kinds": "RGB-color domain domain"}), "MRD-E127", "colour"),
    ("A31-vector-nrrd", "a.nrrd", nrrd(change={"dimension": "4", "sizes": "3 24 20 4", "kinds": "vector domain domain domain",
                                               "space directions": "none (2,0,0) (0,2,0) (0,0,3)"}), "MRD-E131", "grey-value"),
    ("A31-channels-mha", "a.mha", metaimage(change={"ElementNumberOfChannels": "3"}), "MRD-E131", "grey-value"),
    ("A32-five-axes", "a.nii", nifti(change={"dim": [5, 24, 20, 4, 1, 3, 1, 1]}), "MRD-E131", "grey-value"),
    ("A32-five-axes-mha", "a.mha", metaimage(change={"NDims": "5", "DimSize": "24 20 4 1 3"}), "MRD-E131", "grey-value"),
    ("A34-zero-spacing", "a.nii", nifti(change={"pixdim": [1, 2, 0, 3, 0, 0, 0, 0]}), "MRD-E134", "wrong volumes"),
    ("A34-zero-spacing-mha", "a.mha", metaimage(change={"ElementSpacing": "2 0 3"}), "MRD-E134", "wrong volumes"),
    ("A34-no-spacing-mha", "a.mha", metaimage(drop=("ElementSpacing",)), "MRD-E134", "wrong volumes"),
    ("A35-negative-spacing", "a.nii", nifti(change={"pixdim": [1, 2, -2, 3, 0, 0, 0, 0]}), "MRD-E134", "wrong volumes"),
    ("A35-negative-spacing-mha", "a.mha", metaimage(change={"ElementSpacing": "2 -2 3"}), "MRD-E134", "wrong volumes"),
    ("A36-nan-spacing", "a.nii", nifti(change={"pixdim": [1, 2, np.nan, 3, 0, 0, 0, 0]}), "MRD-E134", "wrong volumes"),
    ("A36-infinite-spacing-mha", "a.mha", metaimage(change={"ElementSpacing": "2 inf 3"}), "MRD-E134", "wrong volumes"),
    ("A37-metres", "a.mha", metaimage(change={"ElementSpacing": "0.0005 0.0005 0.003"}), "MRD-E137", "millimetres"),
    ("A37-micrometres", "a.nii", nifti(change={"pixdim": [1, 500, 500, 3000, 0, 0, 0, 0]}), "MRD-E137", "millimetres"),
    ("A37-metres-said", "a.nii", nifti(change={"xyzt_units": 1}), "MRD-E137", "millimetres"),
    ("A37-micrometres-said", "a.nii", nifti(change={"xyzt_units": 3}), "MRD-E137", "millimetres"),
    ("A37-nrrd-units", "a.nrrd", nrrd(change={"space units": '"m" "m" "m"'}), "MRD-E137", "millimetres"),
    ("A38-singular-nrrd", "a.nrrd", nrrd(change={"space directions": "(2,0,0) (2,0,0) (0,0,3)"}), "MRD-E138", "export"),
    ("A38-zero-nrrd", "a.nrrd", nrrd(change={"space directions": "(2,0,0) (0,0,0) (0,0,3)"}), "MRD-E138", "export"),
    ("A38-zero-sform", "a.nii", nifti(change={"srow_x": [0] * 4}), "MRD-E138", "export"),
    ("A38-singular-mha", "a.mha", metaimage(change={"TransformMatrix": "1 0 0 1 0 0 0 0 1"}), "MRD-E138", "export"),
    ("A39-sheared-nrrd", "a.nrrd", nrrd(change={"space directions": "(2,0,0) (0.5,2,0) (0,0,3)"}), "MRD-E139", "resample"),
    ("A39-sheared-sform", "a.nii", nifti(sform=sheared(), codes=(0, 1)), "MRD-E139", "resample"),
    ("A39-sheared-mha", "a.mha", metaimage(change={"TransformMatrix": "1 0 0 0.3 0.954 0 0 0 1"}), "MRD-E139", "resample"),
    ("A39-stretched-mha", "a.mha", metaimage(change={"TransformMatrix": "2 0 0 0 1 0 0 0 1"}), "MRD-E139", "export"),
    ("A39-no-rotation", "a.nii", nifti(change={"quatern_b": 0.9, "quatern_c": 0.9}, codes=(1, 0)), "MRD-E139", "export"),
    ("A40-nan-sform", "a.nii", nifti(change=nan_form()), "MRD-E140", "left and right"),
    ("A40-nan-qform", "a.nii", nifti(change={"quatern_b": np.nan}), "MRD-E140", "left and right"),
    ("A40-nan-origin-nrrd", "a.nrrd", nrrd(change={"space origin": "(nan,0,0)"}), "MRD-E140", "left and right"),
    ("A40-nan-matrix-mha", "a.mha", metaimage(change={"TransformMatrix": "nan 0 0 0 1 0 0 0 1"}), "MRD-E140", "left and right"),
    ("A41-forms-conflict", "a.nii", nifti(sform=moved()), "MRD-E141", "both forms"),
    ("A41-forms-flipped", "a.nii", nifti(sform=ras() @ np.diag([-1.0, 1, 1, 1])), "MRD-E141", "both forms"),
    ("A41-sform-spacing-conflict", "a.nii", nifti(sform=ras() @ np.diag([2.0, 2, 2, 1]), codes=(0, 1)), "MRD-E141", "both forms"),
    ("A42-neither-form", "a.nii", nifti(codes=(0, 0)), "MRD-E142", "assume_ras"),
    ("A42-nrrd-no-space", "a.nrrd", nrrd(drop=("space",)), "MRD-E142", "assume_ras"),
    ("A42-nrrd-odd-space", "a.nrrd", nrrd(change={"space": "scanner-xyz"}), "MRD-E142", "assume_ras"),
    ("A47-2048-cubed", "a.nii", nifti(change={"dim": [3, 2048, 2048, 2048, 1, 1, 1, 1]}), "MRD-E107", "crop"),
    ("A49-length-wraps", "a.nii.gz", wrong_isize(), "MRD-E103", "copy or export"),
]


@pytest.mark.parametrize("name, content, code, word", [pytest.param(*case[1:], id=case[0]) for case in BROKEN_FILES])
def test_a_broken_file_is_refused_with_its_code_and_a_remedy(tmp_path, name, content, code, word):
    path = put(tmp_path, name, content)
    with pytest.raises(InputError) as scan:
        read_image(path, role="post")
    with pytest.raises(InputError) as mask:
        read_mask(path, image(), role="pre")
    for caught, role in ((scan.value, "post-treatment scan"), (mask.value, "pre-treatment tumour mask")):
        assert caught.code == code, caught
        assert word in caught.fix
        assert role in caught.what
        assert str(tmp_path) not in str(caught)


def test_messages_name_what_was_found(tmp_path):
    claims = {"a.nii": (nifti(sform=moved()), "60.0 mm apart"), "b.nii": (nifti(change={"pixdim": [1, 500, 500, 3000, 0, 0, 0, 0]}), "micrometres"),
              "c.mha": (metaimage(change={"ElementSpacing": "0.0005 0.0005 0.003"}), "metres"),
              "d.nii": (nifti(change={"dim": [3, 2048, 2048, 2048, 1, 1, 1, 1]}), "16.0 GiB"), "e.nii": (gz(nifti()), "gzip-packed NIfTI, named .nii"),
              "f.nii": (nifti(change={"datatype": 128}), "RGB"), "g.nii": (nifti(data=np.zeros((7, *SIZES[::-1]), "<i2")), "7 volumes along the fourth axis"),
              "h.nrrd": (nrrd(cut=900), "900 of 11520 bytes")}
    for name, (content, text) in claims.items():
        with pytest.raises(InputError) as caught:
            read_image(put(tmp_path, name, content))
        assert text in caught.value.found, name


# case, file name, content, code, what is said to be found
NAMED_FAULTS = [
    ("plain-text", "a.nii", b"hello", "MRD-E102", "plain text, named .nii"),
    ("A04-nifti2-cut-early", "a.nii", nifti(version=2)[:100], "MRD-E103", "ends inside its header"),
    ("A04-nifti2-cut-late", "a.nii", nifti(version=2)[:500], "MRD-E114", "ends inside its header"),
    ("A14-nifti2-text-mode", "a.nii", nifti(version=2).replace(b"\r\n\x1a\n", b"\n\n\x1a\n", 1), "MRD-E114", "signature"),
    ("A09-mha-two-sizes", "a.mha", metaimage(change={"DimSize": "24 20"}), "MRD-E109", "3 axes, 2 sizes"),
    ("A06-many-packed-bytes", "a.nrrd", nrrd_header(encoding="gzip") + gz(RAW) + gz(b"") * 60_000, "MRD-E106", "packed bytes"),
    ("A06-many-words", "a.nrrd", nrrd(encoding="ascii", after=b" 7" * ((1 << 20) + 9)), "MRD-E110", "more than"),
    ("A03-endless-word", "a.nrrd", nrrd(encoding="ascii", after=b" " + b"1" * (3 << 20)), "MRD-E103", "text among"),
    ("A03-number-beyond-its-type", "a.nrrd", nrrd(encoding="ascii").replace(b"\n\n", b"\n\n99999 ", 1), "MRD-E103", "voxel type"),
    ("A03-nan-in-whole-numbers", "a.nrrd", nrrd(encoding="ascii").replace(b"\n\n", b"\n\nnan ", 1), "MRD-E103", "voxel type"),
    ("A14-mha-no-object", "a.mha", metaimage(change={"ObjectType": "Mesh"}), "MRD-E102", "other than Image"),
    ("A14-mha-no-axes", "a.mha", metaimage(drop=("NDims",)), "MRD-E114", "'NDims' is missing"),
    ("A14-mha-no-channels", "a.mha", metaimage(change={"ElementNumberOfChannels": "0"}), "MRD-E114", "ElementNumberOfChannels"),
    ("A14-mha-odd-flag", "a.mha", metaimage(change={"BinaryData": "perhaps"}), "MRD-E114", "neither True nor False"),
    ("A14-mha-packed-text", "a.mha", metaimage(change={"BinaryData": "False", "CompressedData": "True"}), "MRD-E114", "compressed text"),
    ("A14-mha-short-offset", "a.mha", metaimage(change={"Offset": "0 0"}), "MRD-E114", "'Offset' does not fit"),
    ("A14-mha-carriage-return", "a.mha", metaimage(change={"Comment": "a\rb"}), "MRD-E114", "carriage returns"),
    ("A15-mha-header-size", "a.mha", metaimage(change={"HeaderSize": "5"}), "MRD-E115", "HeaderSize 5"),
    ("A37-mha-units", "a.mha", metaimage(change={"DistanceUnits": "cm"}), "MRD-E137", "DistanceUnits"),
    ("A14-nrrd-version", "a.nrrd", nrrd().replace(b"NRRD000", b"NRRD001", 1), "MRD-E114", "unknown NRRD version"),
    ("A14-nrrd-no-type", "a.nrrd", nrrd(drop=("type",)), "MRD-E114", "'type' is missing"),
    ("A14-nrrd-kinds", "a.nrrd", nrrd(change={"kinds": "domain domain"}), "MRD-E114", "'kinds'"),
    ("A14-nrrd-no-vectors", "a.nrrd", nrrd(change={"space directions": "(2,0,0) x (0,2,0) (0,0,3)"}), "MRD-E114", "not vectors"),
    ("A14-nrrd-flat-vector", "a.nrrd", nrrd(change={"space origin": "(1,2)"}), "MRD-E114", "three components"),
    ("A14-nrrd-no-number", "a.nrrd", nrrd(change={"space origin": "(x,0,0)"}), "MRD-E114", "'space origin' is not a number"),
    ("A42-nrrd-4d-no-directions", "a.nrrd", nrrd(change={"dimension": "4", "sizes": "2 24 20 6", "kinds": "list domain domain domain"}, drop=("space directions",)),
     "MRD-E142", "no 'space directions'"),
]


@pytest.mark.parametrize("name, content, code, found", [pytest.param(*case[1:], id=case[0]) for case in NAMED_FAULTS])
def test_each_fault_of_a_file_is_named(tmp_path, name, content, code, found):
    with pytest.raises(InputError) as caught:
        read_image(put(tmp_path, name, content))
    assert (caught.value.code, found in caught.value.found) == (code, True), caught.value
    assert caught.value.fix


@pytest.mark.parametrize("whole, short", [(nrrd(encoding="gzip"), nrrd_header(encoding="gzip") + gz(RAW[:-2])), (nrrd(encoding="ascii"), nrrd(encoding="ascii")[:-900])],
                         ids=["packed", "text"])
def test_a_file_that_shrinks_between_check_and_reading_is_refused(tmp_path, monkeypatch, whole, short):
    from MRDeltaNetLib.io import images
    path = put(tmp_path, "a.nrrd", whole)
    facts = check_header(path)
    path.write_bytes(short)
    monkeypatch.setattr(images, "check_header", lambda *given, **options: facts)
    with pytest.raises(InputError, match="changed while it was read") as caught:
        read_image(path)
    assert caught.value.code == "MRD-E103"


def test_a_share_that_drops_while_a_file_is_read_is_an_error_of_ours(tmp_path, monkeypatch):
    import errno
    from MRDeltaNetLib.io import images

    def dropped(*given, **options):
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(tmp_path))

    monkeypatch.setattr(images, "_load", dropped)
    path = put(tmp_path, "a.nrrd", nrrd())
    for read in (lambda: read_image(path, role="post"), lambda: read_mask(path, image(), role="pre")):
        with pytest.raises(InputError, match="half-way") as caught:
            read()
        assert caught.value.code == "MRD-E100" and "connected" in caught.value.fix and str(tmp_path) not in str(caught.value)


DETACHED = {"absolute": "/etc/passwd", "parent": "../secret.raw", "backslash": "..\\secret.raw", "UNC": "\\\\host\\share\\x.raw", "drive": "C:x.raw",
            "device": "/dev/zero", "CON": "CON", "nul with suffix": "nul.raw", "itself": None, "folder": "folder", "symlink": "link.raw", "pipe": "pipe",
            "missing": "missing.raw", "dots": "..", "long": "x" * 300}


@pytest.mark.parametrize("target", DETACHED.values(), ids=DETACHED.keys())
@pytest.mark.parametrize("kind", ["nhdr", "mhd"])
def test_A11_a_detached_header_reads_only_a_plain_file_beside_it(tmp_path, kind, target):
    (tmp_path / "real.raw").write_bytes(RAW)
    (tmp_path / "folder").mkdir()
    (tmp_path / "link.raw").symlink_to(tmp_path / "real.raw")
    os.mkfifo(tmp_path / "pipe")
    target = target or f"a.{kind}"
    content = nrrd_header({"data file": target}) if kind == "nhdr" else metaimage(change={"ElementDataFile": target}, cut=0)
    with pytest.raises(InputError) as caught:
        read_image(put(tmp_path, f"a.{kind}", content))
    assert caught.value.code == "MRD-E111"
    assert "file" in caught.value.fix
    assert "passwd" not in str(caught.value)


def test_a_detached_header_with_its_data_beside_it_is_read(tmp_path):
    (tmp_path / "voxels.raw").write_bytes(RAW)
    for name, content in (("a.nhdr", nrrd_header({"data file": "voxels.raw"})), ("a.mhd", metaimage(change={"ElementDataFile": "voxels.raw"}, cut=0))):
        scan = read_image(put(tmp_path, name, content))
        assert np.array_equal(sitk.GetArrayFromImage(scan.image), voxels())
        assert len(scan.facts.file_sha256) == 2


@pytest.mark.parametrize("make", [lambda p: p / "absent.nii", lambda p: Path("/dev/zero"), lambda p: os.mkfifo(p / "f.nii") or p / "f.nii"],
                         ids=["absent", "device", "pipe"])
def test_what_is_not_a_file_is_refused_at_once(tmp_path, make):
    with pytest.raises(InputError) as caught:
        read_image(make(tmp_path))
    assert caught.value.code == "MRD-E100" and caught.value.fix


def test_A07_a_huge_claim_is_refused_without_memory(tmp_path):
    path = put(tmp_path, "a.nrrd", nrrd(change={"sizes": "100000 100000 100000"}))
    tracemalloc.start()
    with pytest.raises(InputError, match="PiB"):
        check_header(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 * 1024**2


def test_A10_a_bomb_is_stopped_while_streaming(tmp_path):
    path = put(tmp_path, "a.nii.gz", gz(nifti() + bytes(64 << 20)))
    tracemalloc.start()
    with pytest.raises(InputError, match="E110"):
        check_header(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 * 1024**2


@pytest.mark.parametrize("name, content", [("a.nii.gz", gz(nifti()[:5000]) + gz(nifti()[5000:])),
                                           ("a.nrrd", nrrd_header(encoding="gzip") + gz(RAW[:5000]) + gz(RAW[5000:]))])
def test_A49_members_are_counted_byte_by_byte_and_not_by_the_last_length_field(tmp_path, name, content):
    assert np.array_equal(sitk.GetArrayFromImage(read_image(put(tmp_path, name, content)).image), voxels())


@pytest.mark.parametrize("name, content", [("a.nii", nifti(after=b"more")), ("a.nii.gz", gz(nifti()) + b"more"), ("a.nii.gz", gz(nifti(after=b"more"))),
                                           ("a.nrrd", nrrd(encoding="gzip", after=b"more")), ("a.nrrd", nrrd(encoding="bzip2", after=b"more")),
                                           ("a.nrrd", nrrd(encoding="ascii", after=b" 7")), ("a.mha", metaimage() + b"more")])
def test_A06_a_few_trailing_bytes_are_a_warning(tmp_path, name, content):
    scan = read_image(put(tmp_path, name, content))
    assert [n.code for n in scan.notices] == ["MRD-W106"] and "export" in scan.notices[0].fix
    assert np.array_equal(sitk.GetArrayFromImage(scan.image), voxels())


def test_A14_text_that_is_not_utf8_and_windows_line_ends_are_read_safely(tmp_path):
    header = nrrd_header().replace(b"\n\n", b"\nPatient:=M\xfcller\n\n").replace(b"\n", b"\r\n")
    scan = read_image(put(tmp_path, "a.nrrd", header + RAW))
    assert np.array_equal(sitk.GetArrayFromImage(scan.image), voxels())
    assert scan.image.GetMetaDataKeys() == ()


def test_A16_a_slope_of_zero_means_no_scaling(tmp_path):
    scan = read_image(put(tmp_path, "a.nii", nifti(change={"scl_slope": 0, "scl_inter": 0})))
    assert np.array_equal(sitk.GetArrayFromImage(scan.image), voxels())


def test_A42_the_users_word_places_a_scan_without_forms(tmp_path):
    scan = read_image(put(tmp_path, "a.nii", nifti(codes=(0, 0))), assume_ras=True)
    assert scan.image.GetDirection() == (-1, 0, 0, 0, -1, 0, 0, 0, 1)
    assert scan.image.GetSpacing() == SPACING_MM
    header = nrrd(drop=("space",)).replace(b"dimension: 3\n", b"dimension: 3\nspace dimension: 3\n")
    scan = read_image(put(tmp_path, "a.nrrd", header), assume_ras=True)
    assert scan.image.GetDirection() == (-1, 0, 0, 0, -1, 0, 0, 0, 1)
    assert np.allclose(scan.image.GetOrigin(), np.array(ORIGIN_LPS_MM) * (-1, -1, 1))


def test_the_users_word_changes_nothing_where_the_file_says_it(tmp_path):
    path = put(tmp_path, "a.nii", nifti(axes="oblique"))
    assert read_image(path, assume_ras=True).image.GetDirection() == read_image(path).image.GetDirection()


def test_A42_a_metaimage_without_directions_is_read_by_its_own_rule_with_a_warning(tmp_path):
    scan = read_image(put(tmp_path, "a.mha", metaimage(drop=("TransformMatrix",))))
    assert [n.code for n in scan.notices] == ["MRD-W142"] and "left and right" in scan.notices[0].fix


def test_A47_the_size_limit_counts_unpacked_bytes(tmp_path):
    path = put(tmp_path, "a.nii.gz", gz(nifti()))
    with pytest.raises(InputError, match="E107"):
        check_header(path, replace(GateLimits(), max_voxel_bytes=len(RAW) - 1))
    assert check_header(path, replace(GateLimits(), max_voxel_bytes=len(RAW))).voxel_bytes == len(RAW)


@pytest.mark.parametrize("word", ["__import__('os').system('x')", "1e5", "0x10", "1,0", "٣"])
def test_numbers_in_headers_are_never_evaluated(tmp_path, word):
    with pytest.raises(InputError) as caught:
        read_image(put(tmp_path, "a.nrrd", nrrd(change={"sizes": f"24 20 {word}"})))
    assert caught.value.code in ("MRD-E114", "MRD-E109")
