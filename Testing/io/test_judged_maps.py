"""What a bundle may say of its maps, and what follows for what is offered."""

from __future__ import annotations

import pytest

from MRDeltaNetLib.config import EXPLAIN_METHODS
from MRDeltaNetLib.errors import InputError
from MRDeltaNetLib.io import judged_maps
from MRDeltaNetLib.io.bundle import check_metadata
from Testing.io.test_bundle import metadata

SAID = {"default": "occlusion", "passed": ["occlusion"], "failed": ["attention", "gradcam"]}


def test_where_maps_passed_they_alone_are_offered_the_default_first():
    assert judged_maps.offered({"maps": SAID}, ("attention", "change", "occlusion")) == ("occlusion",)
    several = {"maps": {"default": "relevance", "passed": ["occlusion", "gradcam", "relevance"], "failed": []}}
    assert judged_maps.passed(several) == ("relevance", "occlusion", "gradcam")
    assert judged_maps.offered(several, EXPLAIN_METHODS) == ("relevance", "occlusion", "gradcam") and judged_maps.offered(several, ("gradcam", "null")) == ("gradcam",)
    assert judged_maps.offered(several, ("attention",)) == ()


def test_where_none_passed_all_that_did_not_fail_are_offered():
    assert judged_maps.offered({"maps": {"default": None, "passed": [], "failed": ["gradcam"]}}, ("attention", "gradcam", "null")) == ("attention", "null")
    assert judged_maps.offered({}, EXPLAIN_METHODS) == EXPLAIN_METHODS == judged_maps.offered({"maps": None}, EXPLAIN_METHODS)
    assert judged_maps.passed({}) == () == judged_maps.passed({"maps": None})


def test_a_method_in_neither_list_has_no_verdict():
    assert [judged_maps.verdict({"maps": SAID}, key) for key in ("occlusion", "gradcam", "null")] == [True, False, None]
    assert judged_maps.verdict({}, "gradcam") is judged_maps.verdict({"maps": None}, "gradcam") is None
    assert judged_maps.why_not_offered({"maps": SAID}, "gradcam") == judged_maps.CAUTION and "not judged" in judged_maps.why_not_offered({"maps": SAID}, "null")


def test_a_method_that_failed_carries_a_caution_and_no_other():
    assert judged_maps.caution({"maps": SAID}, "gradcam") == judged_maps.CAUTION
    assert judged_maps.caution({"maps": SAID}, "occlusion") == judged_maps.caution({"maps": SAID}, "null") == judged_maps.caution({}, "gradcam") == ""


@pytest.mark.parametrize("wrong", ["text", {}, {"default": None, "passed": []}, SAID | {"more": 1}, SAID | {"default": "attention"}, SAID | {"default": "change"},
                                   SAID | {"failed": ["occlusion"]}, SAID | {"passed": "occlusion"}, SAID | {"failed": [1]}, SAID | {"failed": ["../x"]}])
def test_anything_else_is_refused(wrong):
    with pytest.raises(InputError) as refusal:
        check_metadata(metadata(maps=wrong))
    assert refusal.value.code == "MRD-E504" and "mrdeltanet.maps" in refusal.value.what


def test_what_is_right_is_read():
    check_metadata(metadata(maps=SAID))
    check_metadata(metadata(maps={"default": None, "passed": [], "failed": []}))
