"""What is let through as a pair of visits (cases C83 to C93 as far as no registration is needed)."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np
import pytest
import SimpleITK as sitk

from MRDeltaNetLib.case import ScanFacts, Timepoint
from MRDeltaNetLib.config import GateLimits
from MRDeltaNetLib.errors import InputError
from MRDeltaNetLib.io.gate.pair import check_grade, check_masks_given, check_pair, two_visits

OBLIQUE = sitk.Euler3DTransform((0, 0, 0), 0.2, -0.3, 0.4).GetMatrix()
GEOMETRIES = pytest.mark.parametrize("direction", [(1, 0, 0, 0, 1, 0, 0, 0, 1), OBLIQUE, (-1, 0, 0, 0, 1, 0, 0, 0, 1), (0, 0, 1, 1, 0, 0, 0, 1, 0)],
                                     ids=["straight", "oblique", "left-handed", "permuted"])
PATIENT = {"patient_id": "d1", "birth_date": "d2", "sex": "d3"}


def picture(seed, shift_mm=(0.0, 0.0, 0.0), direction=(1, 0, 0, 0, 1, 0, 0, 0, 1)):
    image = sitk.GetImageFromArray(np.random.default_rng(seed).normal(100, 20, (20, 30, 30)).astype(np.float32))
    image.SetSpacing((1.0, 1.2, 3.0))
    image.SetDirection(direction)
    image.SetOrigin(image.TransformContinuousIndexToPhysicalPoint((np.array(shift_mm) / image.GetSpacing()).tolist()))
    return image


def visit(seed, acquired=None, frame="1.2", identity=PATIENT, image=None, **facts):
    return Timepoint(image=image or picture(seed), acquired=acquired, frame_uid=frame,
                     facts=ScanFacts(format="dicom", identity=identity, **facts))


PRE = visit(1, date(2024, 1, 10), modality="MR", sequence="T2", manufacturer="SIEMENS", field_strength_t=1.494, echo_time_ms=100.0)
POST = visit(2, date(2024, 4, 20), modality="MR", sequence="T2", manufacturer="Siemens Healthineers", field_strength_t=1.5, echo_time_ms=96.0)


def refused(pre, post, registration="rigid", **more):
    with pytest.raises(InputError) as caught:
        check_pair(pre, post, registration=registration, limits=GateLimits(), **more)
    assert "2024" not in str(caught.value) and "1.2" not in caught.value.found
    return caught.value


def codes(pre, post, registration="rigid"):
    return [n.code for n in check_pair(pre, post, registration=registration, limits=GateLimits())]


def with_facts(visit, **facts):
    return replace(visit, facts=replace(visit.facts, **facts))


@pytest.mark.parametrize("registration", ["none", "rigid"])
def test_two_ordinary_visits_pass_without_a_word(registration):
    assert codes(PRE, POST, registration) == []


def test_c84_swapped_visits_are_refused():
    problem = refused(POST, PRE)
    assert problem.code == "MRD-E330" and "101 days" in problem.found and "swap" in problem.fix


def test_c85_equal_voxels_are_one_scan():
    problem = refused(PRE, replace(POST, image=picture(1, (5, 0, 0))))
    assert problem.code == "MRD-E331" and "equal voxels" in problem.found and "other visit" in problem.fix


def test_c85_equal_instances_are_one_scan():
    pre, post = (with_facts(v, identity={**PATIENT, "sop": "s"}) for v in (PRE, POST))
    assert refused(pre, post).code == "MRD-E331"
    assert codes(pre, with_facts(POST, identity={**PATIENT, "sop": "t"})) == []


def test_c85_equal_files_are_one_scan():
    problem = refused(with_facts(PRE, file_sha256=("a", "b")), with_facts(POST, file_sha256=("a", "b")))
    assert problem.code == "MRD-E331" and "bytes" in problem.found


def test_c86_equal_dates_are_refused():
    problem = refused(PRE, replace(POST, acquired=PRE.acquired))
    assert problem.code == "MRD-E332" and "two visits" in problem.fix


@pytest.mark.parametrize("unknown, said", [("pre", "the pre-treatment scan is"), ("post", "the post-treatment scan is"), ("both", "scan and the post-treatment scan is")],
                         ids=["C86-no-pre-date", "C86-no-post-date", "C86-no-dates"])
def test_an_unknown_date_is_a_warning(unknown, said):
    pre = replace(PRE, acquired=None) if unknown != "post" else PRE
    post = replace(POST, acquired=None) if unknown != "pre" else POST
    (notice,) = check_pair(pre, post, registration="rigid", limits=GateLimits())
    assert notice.code == "MRD-W330" and said in notice.text and "before" in notice.fix


@pytest.mark.parametrize("key", sorted(PATIENT), ids=lambda k: f"C87-{k}")
def test_two_patients_are_refused(key):
    problem = refused(PRE, with_facts(POST, identity={**PATIENT, key: "other"}))
    assert problem.code == "MRD-E333" and key.replace("_", " ") in problem.found and "one patient" in problem.fix and "other" not in problem.found


@pytest.mark.parametrize("identity", [{}, {"sop": "x"}, {"patient_id": ""}], ids=["C87-removed", "C87-only-scan", "C87-blank"])
def test_an_unknown_patient_is_a_warning(identity):
    (notice,) = check_pair(PRE, with_facts(POST, identity=identity), registration="rigid", limits=GateLimits())
    assert notice.code == "MRD-W331" and "overlay" in notice.fix


@pytest.mark.parametrize("facts, code, said", [
    ({"modality": "CT"}, "MRD-W332", "MR before treatment, CT after"), ({"sequence": "T1"}, "MRD-W333", "T2 before treatment, T1 after"),
    ({"field_strength_t": 3.0}, "MRD-W334", "3 T"), ({"manufacturer": "GE MEDICAL\nSYSTEMS"}, "MRD-W335", "siemens before treatment, ge after"),
    ({"echo_time_ms": 12.0}, "MRD-W340", "100 ms before treatment, 12 ms after")],
    ids=["C88-modality", "C88-sequence", "C88-field", "C88-maker", "C88-echo-time"])
def test_another_way_of_scanning_is_a_warning(facts, code, said):
    (notice,) = check_pair(PRE, with_facts(POST, **facts), registration="rigid", limits=GateLimits())
    assert notice.code == code and said in notice.text and "same way" in notice.fix


def test_c88_what_a_file_does_not_say_is_not_compared():
    bare = with_facts(POST, modality=None, sequence=None, manufacturer=None, field_strength_t=None, echo_time_ms=None)
    assert codes(PRE, bare) == []


def test_c89_two_frames_need_a_registration():
    other = replace(POST, frame_uid="1.3")
    problem = refused(PRE, other, "none")
    assert problem.code == "MRD-E334" and "frame of reference" in problem.what and "rigid registration" in problem.fix
    assert codes(PRE, other, "rigid") == []


def test_c89_an_unknown_frame_without_registration_is_a_warning():
    assert codes(PRE, replace(POST, frame_uid=None), "none") == ["MRD-W336"]
    assert codes(PRE, replace(POST, frame_uid=None), "rigid") == []


@GEOMETRIES
def test_c90_no_common_field_of_view_without_registration_is_refused(direction):
    pre, post = replace(PRE, image=picture(1, direction=direction)), replace(POST, image=picture(2, (31, 0, 0), direction))
    problem = refused(pre, post, "none")
    assert problem.code == "MRD-E335" and "0 percent" in problem.found and "registration" in problem.fix
    assert codes(pre, post, "rigid") == []


def test_c90_too_little_in_common_is_refused_and_a_little_less_than_all_is_a_warning():
    problem = refused(PRE, replace(POST, image=picture(2, (18, 0, 0))), "none")
    assert problem.code == "MRD-E335" and "42 percent" in problem.found
    assert codes(PRE, replace(POST, image=picture(2, (9, 0, 0))), "none") == ["MRD-W337"]
    assert codes(PRE, replace(POST, image=picture(2, (3, 0, 0))), "none") == []


@pytest.mark.parametrize("visits", [(), (PRE,), (PRE, POST, PRE)], ids=["C92-none", "C92-one", "C92-three"])
def test_a_comparison_asks_which_two_visits_are_meant(visits):
    with pytest.raises(InputError) as caught:
        two_visits(visits)
    assert caught.value.code == "MRD-E337" and "name the scan before treatment" in caught.value.fix
    assert two_visits((PRE, POST)) == (PRE, POST)


@pytest.mark.parametrize("after, side", [(date(2024, 1, 11), "shorter"), (date(2029, 1, 10), "longer")], ids=["C93-1-day", "C93-5-years"])
def test_an_unusual_interval_is_a_warning(after, side):
    (notice,) = check_pair(PRE, replace(POST, acquired=after), registration="rigid", limits=GateLimits())
    assert notice.code == "MRD-W338" and side in notice.text and "14 to 365 days" in notice.text and "2024" not in notice.text


def drawn(seed, x):
    image = picture(seed)
    values = np.zeros((20, 30, 30), np.uint8)
    values[5:9, 5:9, x] = 1
    mask = sitk.GetImageFromArray(values)
    mask.CopyInformation(image)
    return mask


def test_c83_masks_are_compared_where_there_are_some():
    bed, viable = drawn(2, slice(5, 15)), drawn(2, slice(10, 20))
    assert codes(PRE, replace(POST, mask=bed, residual=viable)) == ["MRD-W307"]
    assert codes(PRE, replace(POST, mask=bed, residual=drawn(2, slice(6, 8)))) == []
    assert refused(PRE, replace(POST, mask=bed, residual=viable), complete_response=True).code == "MRD-E318"


def test_c83_a_run_starts_from_the_tumour_before_treatment():
    mask = drawn(1, slice(5, 15))
    for post, said in ((POST, "either scan"), (replace(POST, mask=mask), "pre-treatment scan"), (replace(POST, residual=mask), "pre-treatment scan")):
        with pytest.raises(InputError) as caught:
            check_masks_given(PRE, post)
        assert caught.value.code == "MRD-E336" and said in caught.value.what and "Segment Editor" in caught.value.fix
    (notice,) = check_masks_given(replace(PRE, mask=mask), POST)
    assert notice.code == "MRD-W339" and "carried over" in notice.text and "correct" in notice.fix
    assert check_masks_given(replace(PRE, mask=mask), replace(POST, mask=mask)) == ()


@pytest.mark.parametrize("grade, drawn, stated, told", [(None, 1, True, False), (1, 0, True, False), (1, None, False, False), (1, 1, False, True), (2, 1, False, False), (3, 0, True, False),
                                                        (4, 0, False, True), (5, None, True, True), (5, 1, False, False), (5, None, False, False)])
def test_a_readers_grade_is_compared_with_what_the_reader_drew_and_stated(grade, drawn, stated, told):
    residual = None if drawn is None else sitk.Image([8, 8, 8], sitk.sitkUInt8) + drawn
    notices = check_grade(grade, residual, stated)
    assert [n.code for n in notices] == (["MRD-W312"] if told else [])
    assert not told or (f"mrTRG is {grade}" in notices[0].text and "kept as they were given" in notices[0].fix)
