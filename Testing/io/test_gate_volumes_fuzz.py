"""Random and mutated files: the header parsers answer with facts or with InputError, never with another exception."""

from __future__ import annotations

import gzip
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from MRDeltaNetLib.config import GateLimits
from MRDeltaNetLib.errors import InputError
from MRDeltaNetLib.io.gate import check_header, metaimage, nifti, nrrd
from Testing.io.volume_files import metaimage as metaimage_file
from Testing.io.volume_files import nifti as nifti_file
from Testing.io.volume_files import nrrd as nrrd_file
from Testing.io.volume_files import put

NAMES = ["a.nii", "a.nii.gz", "a.nrrd", "a.nhdr", "a.mha", "a.mhd", "a.hdr", "a"]
STARTS = [b"", b"NRRD0004\n", b"NRRD0005\ntype: short\n", b"ObjectType = Image\n", b"NDims = 3\nElementDataFile = LOCAL\n", b"\x1f\x8b\x08\0",
          (348).to_bytes(4, "little"), (540).to_bytes(4, "big") + b"n+2\0\r\n\x1a\n"]
WORDS = [b"0", b"-1", b"1e999", b"nan", b"inf", b"none", b"(", b")", b"(1,2)", b":=", b": ", b" = ", b"\n", b"\n\n", b"\r", b"\0", b"%d", b"LIST", b"LOCAL",
         b"data file: x\n", b"kinds: list domain domain domain\n", b"dimension: 4\n", b"sizes: 1 2 3 4\n", b"HeaderSize = -1\n", "é".encode("latin-1"),
         b"9" * 30, b"Segment0_LabelValue:=1\n", b"CompressedData = True\n", b"ElementNumberOfChannels = 3\n", b'space units: "m\n']
VALID = {"a.nii": [nifti_file(), nifti_file(version=2), nifti_file(order=">", axes="oblique")], "a.nrrd": [nrrd_file(), nrrd_file(encoding="ascii")],
         "a.mha": [metaimage_file(), metaimage_file(packed=True)]}
FEW = settings(max_examples=200, deadline=None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


def judge(path: Path) -> None:
    with suppress(InputError):
        check_header(path)


@FEW
@given(name=st.sampled_from(NAMES), start=st.sampled_from(STARTS), rest=st.binary(max_size=700))
def test_random_bytes_are_judged(folder, name, start, rest):
    judge(put(folder, name, start + rest))
    judge(put(folder, "packed.nii.gz", gzip.compress(start + rest, 1)))


@st.composite
def mutated(draw):
    name = draw(st.sampled_from(sorted(VALID)))
    content = bytearray(draw(st.sampled_from(VALID[name])))
    end = 352 if name == "a.nii" else 420
    for place, byte in draw(st.lists(st.tuples(st.integers(0, end), st.integers(0, 255)), max_size=4)):
        content[place] = byte
    for place, word in draw(st.lists(st.tuples(st.integers(0, end), st.sampled_from(WORDS)), max_size=0 if name == "a.nii" else 3)):
        content[place:place] = word
    return name, bytes(content[:draw(st.sampled_from([None, None, None, 10, 200, 400, 2000]))])


@FEW
@given(made=mutated())
def test_mutated_files_are_judged(folder, made):
    judge(put(folder, *made))


@FEW
@given(text=st.lists(st.sampled_from([*WORDS, b"type: short\n", b"dimension: 3\n", b"sizes: 4 4 4\n", b"encoding: raw\n", b"endian: little\n", b"space: LPS\n",
                                      b"space directions: (1,0,0) (0,1,0) (0,0,1)\n", b"NDims = 3\n", b"DimSize = 4 4 4\n", b"ElementType = MET_SHORT\n",
                                      b"ElementSpacing = 1 1 1\n", b"ElementDataFile = LOCAL\n", b"BinaryData = True\n"]), max_size=14).map(b"".join))
def test_parsers_survive_shuffled_fields(folder, text):
    path = put(folder, "b.nrrd", b"NRRD0004\n" + text)
    with suppress(InputError):
        nrrd.parse(path.read_bytes(), path, GateLimits())
    with suppress(InputError):
        metaimage.parse(text, path, GateLimits())


@FEW
@given(head=st.binary(min_size=0, max_size=560), version=st.sampled_from([0, 1, 2]))
def test_the_nifti_parser_survives_random_headers(folder, head, version):
    marks = {0: head, 1: (348).to_bytes(4, "little") + head, 2: (540).to_bytes(4, "little") + b"n+2\0\r\n\x1a\n" + head}
    with suppress(InputError):
        nifti.parse(marks[version], folder / "a.nii", GateLimits(), packed=False)
