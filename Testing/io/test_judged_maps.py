"""What a bundle may say of its maps, and what follows for what is offered."""

from __future__ import annotations

import pytest

from MRDeltaNetLib.config import EXPLAIN_METHODS
from MRDeltaNetLib.errors import InputError
from MRDeltaNetLib.io import judged_maps
from MRDeltaNetLib.io.bundle import check_metadata
from Testing.io.test_bundle import metadata

SAID = {"default": "occlusion", "passed": ["occlusion"], "failed": ["attention", "gradcam"]}


def test_what_failed_is_not_offered_and_the_default_comes_first():
    assert judged_maps.offered({"maps": SAID}, ("attention", "change", "occlusion")) == ("occlusion", "change")
    assert judged_maps.offered({}, EXPLAIN_METHODS) == EXPLAIN_METHODS == judged_maps.offered({"maps": None}, EXPLAIN_METHODS)


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
