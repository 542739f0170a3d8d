"""What a result rests on: any change of it is seen and named, and nothing else is a change."""

from __future__ import annotations

import json
import math
from datetime import date

import numpy as np
import pytest
import SimpleITK as sitk

from MRDeltaNetLib.case import ScanFacts, Timepoint
from MRDeltaNetLib.errors import Notice
from MRDeltaNetLib.workflow import PARTS, alignment_is_stale, changed, fingerprint, header_facts, image_digest, key_of, transform_digest


def image(value: float = 1.0, *, origin=(0.0, 0.0, 0.0), kind=np.float32) -> sitk.Image:
    made = sitk.GetImageFromArray(np.full((4, 6, 8), value, dtype=kind))
    made.SetOrigin(origin)
    return made


def euler(shift_mm=(5.0625, -2.0, 0.5), turn=0.1) -> sitk.Transform:
    transform = sitk.Euler3DTransform()
    transform.SetRotation(turn, 0.0, math.pi / 7)
    transform.SetTranslation(shift_mm)
    return transform


def given(**other) -> dict:
    return {"pre": image(1), "post": image(2), "transform": euler(), "pre_mask": image(1, kind=np.uint8), "post_mask": image(0, kind=np.uint8),
            "residual_mask": None, "headers": {"interval_days": 84}, "complete_response": False, "model_sha256": "m", "options": {"bias": "off", "device": "cpu"}} | other


def print_of(**other) -> dict[str, str]:
    found = given(**other)
    return fingerprint(found.pop("pre"), found.pop("post"), **found)


@pytest.mark.parametrize("part, other", [
    ("pre", {"pre": image(3)}), ("post", {"post": image(2, origin=(0.0, 0.0, 1.0))}), ("alignment", {"transform": euler(turn=0.1001)}),
    ("alignment", {"transform": None}), ("alignment", {"transform": euler(shift_mm=(5.0725, -2.0, 0.5))}), ("pre_mask", {"pre_mask": image(0, kind=np.uint8)}),
    ("post_mask", {"post_mask": None}), ("residual_mask", {"residual_mask": image(1, kind=np.uint8)}), ("complete_response", {"complete_response": True}),
    ("headers", {"headers": {"interval_days": 85}}), ("model", {"model_sha256": "n"}), ("options", {"options": {"bias": "fast", "device": "cpu"}})])
def test_a_change_is_seen_and_named_alone(part, other):
    before, now = print_of(), print_of(**other)
    assert changed(before, now) == (part,) and key_of(before) != key_of(now)


def test_the_same_again_is_no_change():
    assert changed(print_of(), print_of(options={"device": "cpu", "bias": "off"})) == () and key_of(print_of()) == key_of(print_of())


def test_what_nobody_knows_and_what_another_version_wrote_is_all_changed():
    assert changed(None, print_of()) == tuple(PARTS) == changed({}, print_of()) and tuple(print_of()) == tuple(PARTS)


@pytest.mark.parametrize("start", [sitk.Transform(3, sitk.sitkIdentity), euler(), euler((0.0005, 0.0625, 10.1875), 0.0)], ids=["identity", "euler", "round numbers"])
def test_one_transform_in_other_words_is_one_transform(start):
    """As an Euler transform, as its matrix, there and back through floats as a scene keeps them, and wrapped in a composite."""
    matrix = np.array([start.TransformVector(axis, (0.0, 0.0, 0.0)) for axis in np.eye(3).tolist()]).T
    affine = sitk.AffineTransform(3)
    affine.SetMatrix((matrix * (1 + 1e-13)).ravel().tolist())
    affine.SetTranslation([shift * (1 - 1e-13) for shift in start.TransformPoint((0.0, 0.0, 0.0))])
    composite = sitk.CompositeTransform([start])
    prints = [print_of(transform=transform) for transform in (start, affine, composite, start.GetInverse().GetInverse())]
    assert all(found == prints[0] for found in prints)


def test_digests_that_a_door_kept_stand_for_images_and_transform():
    kept = {name: image_digest(given()[name]) for name in ("post", "pre_mask", "post_mask")}
    assert print_of(**kept) == print_of()
    whole = kept | {"pre": image_digest(image(1)), "transform": transform_digest(euler(), image(1))}
    assert print_of(**whole) == print_of()


def seen(day=None, *, identity=(), codes=(), **facts) -> Timepoint:
    return Timepoint(image(1), acquired=day, facts=ScanFacts("nrrd", identity=dict(identity), **facts), notices=tuple(Notice(code, "x") for code in codes))


BOTH = {"identity": {"patient_id": "a", "sop": "b"}, "modality": "MR", "sequence": "T2", "echo_time_ms": 100.0}
BEFORE, AFTER = date(2023, 1, 1), date(2023, 3, 26)


@pytest.mark.parametrize("other", [{"day": date(2023, 3, 27)}, {"identity": {"patient_id": "c"}}, {"identity": {}}, {"sequence": "T1"}, {"echo_time_ms": 90.0},
                                   {"codes": ("MRD-W203",)}])
def test_what_a_run_takes_from_headers_is_seen_to_change(other):
    facts = header_facts(seen(BEFORE, **BOTH), seen(AFTER, **BOTH))
    assert facts["interval_days"] == 84 and facts["patient"] == {"patient_id": True}
    again = header_facts(seen(BEFORE, **BOTH), seen(**{"day": AFTER} | BOTH | other))
    assert changed(print_of(headers=facts), print_of(headers=again)) == ("headers",)


def test_headers_of_the_same_contents_in_another_process_are_no_change_and_name_nobody():
    """Digests of a patient's entries are salted anew in every process; only whether they agree may count. Nor does the date itself."""
    facts = header_facts(seen(BEFORE, **BOTH), seen(AFTER, **BOTH))
    salted = BOTH | {"identity": {"patient_id": "other salt", "sop": "d"}}
    assert header_facts(seen(date(2024, 1, 1), **salted), seen(date(2024, 3, 25), **salted)) == facts
    assert not {"a", "b"} & set(json.dumps(facts).replace('"', " ").split()) and "2023" not in json.dumps(facts)


def test_headers_that_say_nothing_are_none_and_headers_that_are_not_at_hand_are_no_change():
    assert header_facts(seen(), seen()) == {} and print_of(headers={})["headers"] == print_of(headers=None)["headers"] == ""
    assert changed(print_of(), print_of(headers=None)) == () and changed(print_of(headers=None), print_of()) == ("headers",)
    older = {name: value for name, value in print_of(headers=None).items() if name != "headers"}
    assert changed(older, print_of(headers=None)) == ("headers",)


def test_a_transform_needs_the_points_of_the_scan():
    with pytest.raises(ValueError, match="pre scan"):
        fingerprint("digest", None, transform=euler())
    assert fingerprint("digest", None)["alignment"] == ""


def test_an_image_is_its_voxels_their_type_and_their_place():
    digests = {image_digest(image(value, origin=origin, kind=kind)) for value in (0, 1) for origin in ((0.0, 0.0, 0.0), (1.0, 0.0, 0.0)) for kind in (np.uint8, np.int8, np.float32)}
    assert len(digests) == 12 and image_digest(image(1)) == image_digest(image(1))


@pytest.mark.parametrize("moved_mm, same", [(1e-9, True), (0.01, False)])
def test_an_oblique_scan_read_back_with_other_last_digits_is_the_same_scan(moved_mm, same):
    scan = image(1, origin=(-112.3456789, 87.654321, 41.0))
    scan.SetDirection(sitk.Euler3DTransform((0.0, 0.0, 0.0), 0.21, -0.12, 0.3).GetMatrix())
    again = sitk.Image(scan)
    again.SetOrigin([value + moved_mm for value in scan.GetOrigin()])
    again.SetSpacing([value * (1 + 1e-12) for value in scan.GetSpacing()])
    assert (image_digest(again) == image_digest(scan)) is same


def test_a_fingerprint_goes_through_json():
    assert json.loads(json.dumps(print_of())) == print_of()


def visits(pre=None, post=None, source="drawn") -> tuple[Timepoint, Timepoint]:
    return Timepoint(image(1), mask=pre, mask_source=None if pre is None else "drawn"), Timepoint(image(2), mask=post, mask_source=None if post is None else source)


def left_out(pre: Timepoint, post: Timepoint, method="rigid") -> dict:
    from MRDeltaNetLib.case import Case
    from MRDeltaNetLib.pipeline import masks_digest
    return {"method": method, "masks_left_out_sha256": masks_digest(Case((pre, post)))}


def test_an_alignment_is_stale_once_outlines_are_drawn_or_changed():
    tumour, bed, other = image(1, kind=np.uint8), image(0, kind=np.uint8), image(2, kind=np.uint8)
    bare, drawn = left_out(*visits()), left_out(*visits(tumour, bed))
    assert not alignment_is_stale(bare, *visits()) and not alignment_is_stale(drawn, *visits(tumour, bed))
    assert alignment_is_stale(bare, *visits(tumour)) and alignment_is_stale(drawn, *visits(tumour, other)) and alignment_is_stale(drawn, *visits(tumour))


def test_a_bed_that_was_only_carried_over_makes_no_alignment_stale():
    tumour, bed = image(1, kind=np.uint8), image(0, kind=np.uint8)
    known = left_out(*visits(tumour))
    assert not alignment_is_stale(known, *visits(tumour, bed, "carried")) and alignment_is_stale(known, *visits(tumour, bed))


def test_no_alignment_and_one_that_looked_at_nothing_are_never_stale():
    tumour = image(1, kind=np.uint8)
    assert not alignment_is_stale(None, *visits(tumour)) and not alignment_is_stale(left_out(*visits(), method="none"), *visits(tumour))
