"""Segment codes against pydicom's copy of DICOM's code dictionaries and Slicer's own reader of terminology entries."""

from __future__ import annotations

import pytest

from MRDeltaNetLib.mrml import terminology
from MRDeltaNetLib.mrml.terminology import SEGMENTS


@pytest.mark.parametrize("code, group", [
    (terminology.LESION, "cid7159"), (terminology.ALTERED_STRUCTURE, "cid7150"), (terminology.RECTUM, "cid4031")],
    ids=lambda value: getattr(value, "meaning", value))
def test_codes_are_those_of_dicoms_context_groups(code, group):
    codes = pytest.importorskip("pydicom.sr.codedict", reason="pydicom is the oracle for codes").codes
    members = getattr(codes, group)
    found = [member for member in (getattr(members, name) for name in members.dir()) if member.value == code.value]
    assert found, f"{code.meaning} is not in {group}"
    assert found[0].scheme_designator == code.scheme
    assert found[0].meaning.lower() == code.meaning.lower().replace("altered", "abnormal")   # reworded since Slicer's list was made


def test_the_tumours_code_means_a_primary_malignant_neoplasm():
    codes = pytest.importorskip("pydicom.sr.codedict", reason="pydicom is the oracle for codes").codes
    oracle = codes.SCT.MalignantNeoplasmPrimary
    assert (oracle.value, oracle.scheme_designator) == (terminology.PRIMARY_NEOPLASM.value, terminology.PRIMARY_NEOPLASM.scheme)


@pytest.mark.parametrize("name", sorted(SEGMENTS))
def test_slicer_reads_category_type_and_region_from_the_entry(name):
    slicer = pytest.importorskip("slicer", reason="slicer-core is the oracle for terminology entries")
    segment = slicer.vtkSegment()
    segment.SetTerminology(SEGMENTS[name].terminology)
    parts = segment.GetTerminology().split("~")
    assert len(parts) == 7
    assert parts[1] == "SCT^49755003^Morphologically Altered Structure"
    assert parts[2] == str(SEGMENTS[name].type)
    assert parts[5] == "SCT^34402009^Rectum"


def test_the_tumour_bed_is_coded_neither_as_tumour_nor_as_fibrosis():
    assert SEGMENTS["post_mask"].type.value not in (terminology.PRIMARY_NEOPLASM.value, "112674009")
