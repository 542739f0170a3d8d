"""A prediction says P(pCR), comes out the same every time, and stops with a remedy where it cannot be trusted."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import SimpleITK as sitk
import torch

from MRDeltaNetLib.case import Prepared
from MRDeltaNetLib.errors import EnvironmentProblem, InputError, OutOfMemory, UsageError
from MRDeltaNetLib.models.registry import build
from MRDeltaNetLib.response import prediction

OWN = {"recalibration": {"slope": 1.0, "intercept": 0.0}, "threshold": 0.5}


def prepared(seed=0, voxels=(8, 32, 48)) -> Prepared:
    tensor = torch.randn(2, 2, *voxels, generator=torch.Generator().manual_seed(seed))
    tensor[:, 1] = 0
    tensor[:, 1, 2:6, 8:24, 16:32] = 1
    return Prepared(tensor=tensor, grid=sitk.Image([48, 32, 8], sitk.sitkUInt8))


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return build("deltanet", preset="tiny", crop_mm=(36.0, 24.0, 24.0))


class Fixed(torch.nn.Module):
    """A stand-in for a network with a chosen logit, or a chosen failure."""

    sees_image_content, token_size_mm = True, (6.0, 6.0, 6.0)

    def __init__(self, logit=0.0, fail=None):
        super().__init__()
        self.value, self.fail, self.geometry = logit, fail, SimpleNamespace(voxels=(8, 32, 48))

    def forward(self, x):
        from MRDeltaNetLib.models.output import NetworkOutput

        if self.fail is not None:
            raise self.fail
        grid = torch.ones(1, 4, 4, 6)
        return NetworkOutput(torch.tensor([self.value]), grid, grid, grid, torch.zeros(1, 3))


def test_probability_class_and_threshold_follow_the_recalibrated_logit():
    own = {"recalibration": {"slope": 2.0, "intercept": -1.0}, "threshold": 0.6}
    found = prediction.predict(prepared(), Fixed(0.8), own, device="cpu")
    assert found.logit == pytest.approx(0.8) and found.p_pcr == pytest.approx(1 / (1 + math.exp(-0.6)))
    assert found.predicted_class == "pCR" and found.threshold == 0.6
    assert prediction.predict(prepared(), Fixed(0.6), own, device="cpu").predicted_class == "non-pCR"


def test_a_probability_equal_to_the_threshold_counts_as_pcr():
    assert prediction.predict(prepared(), Fixed(0.0), OWN, device="cpu").predicted_class == "pCR"


@pytest.mark.parametrize("logit, expected", [(1e4, 1.0), (-1e4, 0.0)])
def test_extreme_logits_do_not_overflow(logit, expected):
    assert prediction.recalibrate(logit, OWN["recalibration"]) == expected


def test_a_larger_logit_never_means_a_smaller_probability():
    values = [prediction.recalibrate(step / 10, {"slope": 0.7, "intercept": 0.4}) for step in range(-50, 51)]
    assert values == sorted(values)


def test_the_same_case_gives_the_same_bits_even_from_a_network_left_in_training_mode(network):
    first = prediction.predict(prepared(), network.train(), OWN, device="cpu", seed=1)
    again = prediction.predict(prepared(), network.train(), OWN, device="cpu", seed=2)
    assert first.logit == again.logit and torch.equal(first.output.attention_post, again.output.attention_post)
    assert not first.output.logit.requires_grad


def test_prediction_leaves_the_callers_random_state_and_settings_alone(network):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    prediction.predict(prepared(), network, OWN, device="cpu", seed=9)
    assert torch.equal(torch.rand(3), expected) and not torch.are_deterministic_algorithms_enabled()


def test_automatic_choice_of_a_device_says_why():
    device, why = prediction.choose_device("auto")
    assert device.type in ("cpu", "cuda") and "automatically" in why and "CUDA" in why


@pytest.mark.parametrize("name, module", [("cuda", torch.cuda), ("mps", torch.backends.mps)])
def test_a_named_device_that_is_not_there_is_refused_not_replaced(monkeypatch, name, module):
    monkeypatch.setattr(module, "is_available", lambda: False)
    with pytest.raises(EnvironmentProblem, match=name) as caught:
        prediction.choose_device(name)
    assert caught.value.code == "MRD-E702" and "cpu" in caught.value.fix


def test_an_unknown_device_is_a_usage_error():
    with pytest.raises(UsageError) as caught:
        prediction.choose_device("tpu")
    assert caught.value.code == "MRD-E701" and "auto" in caught.value.fix


def test_a_crop_of_the_wrong_size_is_refused(network):
    with pytest.raises(InputError) as caught:
        prediction.predict(prepared(voxels=(8, 32, 32)), network, OWN, device="cpu")
    assert caught.value.code == "MRD-E703" and "preprocessing" in caught.value.fix


def test_input_that_is_not_finite_is_refused(network):
    case = prepared()
    case.tensor[0, 0, 0, 0, 0] = float("nan")
    with pytest.raises(InputError) as caught:
        prediction.predict(case, network, OWN, device="cpu")
    assert caught.value.code == "MRD-E704" and "check" in caught.value.fix


def test_output_that_is_not_finite_is_never_a_probability():
    with pytest.raises(InputError) as caught:
        prediction.predict(prepared(), Fixed(float("nan")), OWN, device="cpu")
    assert caught.value.code == "MRD-E705" and "verify" in caught.value.fix and "logit" in caught.value.found


@pytest.mark.parametrize("failure", [torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), MemoryError(),
                                     RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")])
def test_running_out_of_memory_is_said_plainly(failure):
    with pytest.raises(OutOfMemory) as caught:
        prediction.predict(prepared(), Fixed(fail=failure), OWN, device="cpu")
    assert caught.value.code == "MRD-E706" and "close other programs" in caught.value.fix and caught.value.exit_status == 5


def test_other_failures_are_not_taken_for_lack_of_memory():
    with pytest.raises(RuntimeError, match="shapes"):
        prediction.predict(prepared(), Fixed(fail=RuntimeError("shapes differ")), OWN, device="cpu")


def test_map_facts_say_what_the_alignment_sees(network):
    facts = prediction.predict(prepared(), network, OWN, device="cpu").map_facts
    assert facts["token_size_mm"] == (6.0, 6.0, 6.0) and facts["sees_image_content"] and facts["alignment_sees_image_content"]
