"""Every method in one form: pure, repeatable, told in full, refused in words."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from MRDeltaNetLib.config import EXPLAIN_METHODS, NATIVE_METHODS
from MRDeltaNetLib.errors import Cancelled, InputError, MissingPackage, UsageError
from MRDeltaNetLib.response.attribution import METHODS, Readout, attribute
from MRDeltaNetLib.response.attribution import registry
from Testing.response.attribution.test_methods import SMALL, network, pair
from Testing.response.attribution.toys import case, linear

QUICK = {"occlusion": {"size_mm": 12.0, "step_mm": 12.0}, "integrated_gradients": {"steps": 4}, "expected_gradients": {"samples": 4}}


def needs(key: str) -> None:
    if METHODS[key].package:
        pytest.importorskip(METHODS[key].package)


def test_the_names_are_those_that_jobs_know():
    assert tuple(METHODS) == EXPLAIN_METHODS and set(NATIVE_METHODS) <= set(METHODS) and all(key == method.key for key, method in METHODS.items())


@pytest.mark.parametrize("key", METHODS)
def test_every_method_tells_what_it_shows_and_changes_nothing(key):
    needs(key)
    net, x = network(members=2).train(), pair()
    given, state = x.clone(), {name: value.clone() for name, value in net.state_dict().items()}
    first = attribute(key, net, x, **QUICK.get(key, {}))
    assert net.training and torch.equal(x, given) and not x.requires_grad
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items()) and all(weights.grad is None for weights in net.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks or module._backward_hooks for module in net.modules())
    assert tuple(first.maps) == METHODS[key].visits
    for values in first.maps.values():
        assert values.shape == SMALL and values.dtype == np.float32 and np.isfinite(values).all() and values.flags["C_CONTIGUOUS"]
        assert METHODS[key].signed or values.min() >= 0
    facts = first.facts
    assert facts["label"] and facts["formula"] and facts["unit"] and len(facts["resolution_mm"]) == 3 and facts["method"] == key
    assert facts["scale_top"] == pytest.approx(max(np.abs(values).max() for values in first.maps.values()))
    assert facts["sees_image_content"] is (key != "null")
    second = attribute(key, net, x, **QUICK.get(key, {}))
    assert all(values.tobytes() == second.maps[visit].tobytes() for visit, values in first.maps.items()) and first.numbers == second.numbers


@pytest.mark.parametrize("key", ["occlusion", "integrated_gradients", "expected_gradients", "roi_shells", "gradcam"])
def test_progress_runs_from_0_to_1_and_a_stop_is_heard(key):
    needs(key)
    told = []
    attribute(key, network(members=2), pair(), progress=lambda done, message: told.append((done, message)), **QUICK.get(key, {}))
    assert told[-1][0] == 1.0 and [done for done, _ in told] == sorted(done for done, _ in told) and all(message for _, message in told)

    def stop(done: float, message: str) -> None:
        raise Cancelled()

    net = network(members=2)
    with pytest.raises(Cancelled):
        attribute(key, net, pair(), progress=stop, **QUICK.get(key, {}))
    assert not any(module._forward_hooks for module in net.modules())


def test_an_unknown_method_is_refused_with_the_list():
    with pytest.raises(UsageError) as caught:
        attribute("saliency", network(), pair())
    assert caught.value.code == "MRD-E723" and "gradcam" in caught.value.fix


def test_a_class_can_be_named_for_every_method_and_counts_for_those_that_have_a_direction():
    net, x = network(), pair()
    for key in METHODS:
        if METHODS[key].package:
            continue
        first, second = (attribute(key, net, x, toward=toward, **QUICK.get(key, {})) for toward in ("pCR", "non-pCR"))
        same = all(np.array_equal(values, second.maps[visit]) for visit, values in first.maps.items())
        assert same is not METHODS[key].directed, key
        assert ("toward" in first.facts) is METHODS[key].directed
    with pytest.raises(UsageError) as caught:
        attribute("gradcam", net, x, toward="residual")
    assert caught.value.code == "MRD-E723"


@pytest.mark.parametrize("key", ["roi_shells", "occlusion", "counterfactual", "expected_gradients"])
def test_an_empty_outline_is_refused_where_one_is_needed(key):
    x = case()
    x[1, 1] = 0
    with pytest.raises(InputError) as caught:
        attribute(key, linear(torch.ones(2, *x.shape[2:])), x)
    assert caught.value.code == "MRD-E722" and "tumour bed" in caught.value.what


@pytest.mark.parametrize("x, code", [(torch.zeros(2, 2, 4, 4, 4), "MRD-E703"), (torch.full((2, 2, *SMALL), float("nan")), "MRD-E704")])
def test_an_input_of_another_size_or_without_numbers_is_refused(x, code):
    with pytest.raises(InputError) as caught:
        attribute("gradcam", network(), x)
    assert caught.value.code == code


def test_a_map_that_is_no_number_is_refused():
    with pytest.raises(InputError) as caught:
        attribute("roi_shells", linear(torch.full((2, *case().shape[2:]), float("nan"))), case())
    assert caught.value.code == "MRD-E725"


def test_a_missing_package_is_named_before_and_in_the_error(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "captum.attr", None)
    with pytest.raises(MissingPackage, match="captum"):
        attribute("integrated_gradients", network(), pair())
    monkeypatch.setattr(registry.importlib.util, "find_spec", lambda name: None)
    assert registry.missing_package("integrated_gradients") == "captum" and registry.missing_package("gradcam") is None


def test_the_readout_is_the_bundle_s_line_and_threshold():
    own = {"recalibration": {"slope": 2.0, "intercept": -1.0}, "threshold": 0.4}
    readout = Readout.of(own)
    assert readout.p_pcr(0.5) == pytest.approx(0.5) and readout.toward(0.5) == "pCR" and readout.toward(0.2) == "non-pCR"
    assert readout.sign("pCR") == 1 and readout.sign("non-pCR") == -1 and Readout(slope=-1.0).sign("pCR") == -1
