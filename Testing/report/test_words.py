"""Numbers and texts as the page prints them."""

from __future__ import annotations

import pytest

from MRDeltaNetLib.report.words import millimetres, number, sentence, short_number, text


@pytest.mark.parametrize("value, shown", [(-9.14, "\N{MINUS SIGN}9.1"), (-0.04, "0.0"), (None, "not available"), (float("inf"), "not available"),
                                          (True, "not available"), (12, "12.0")])
def test_numbers_have_a_true_minus_sign_and_no_minus_zero(value, shown):
    assert number(value, 1) == shown


def test_a_rise_is_marked_with_a_plus_and_no_change_with_nothing():
    assert number(3.25, 1, signed=True) == "+3.2" and number(0.0, 1, signed=True) == "0.0"


@pytest.mark.parametrize("value, shown", [(0, "0"), (0.00417, "0.00417"), (1.0, "1"), (2.1e-7, "2.1e\N{MINUS SIGN}7"), (123456.0, "1.2e5")])
def test_map_values_are_short(value, shown):
    assert short_number(value) == shown


def test_lengths_are_joined_by_times_signs():
    assert millimetres((6.0, 6.0, 12.5)).replace("\N{NO-BREAK SPACE}", " ") == "6 \N{MULTIPLICATION SIGN} 6 \N{MULTIPLICATION SIGN} 12.5 mm"


def test_text_is_escaped_and_loses_what_cannot_be_seen():
    assert text("<b a=\"1\">&'") == "&lt;b a=&quot;1&quot;&gt;&amp;&#x27;"
    assert text("a\x1b[31m\u202eb\ud800c") == "a\N{REPLACEMENT CHARACTER}[31m\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}c"
    assert len(text("x" * 100000)) < 9000


def test_a_sentence_ends_once():
    assert sentence("Draw it") == "Draw it." and sentence("Draw it.") == "Draw it." and sentence("") == ""
