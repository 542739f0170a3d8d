"""The plot in letters: every mark on its place."""

from __future__ import annotations

from MRDeltaNetLib.cohort.verifying import judging, letters, telling
from Testing.cohort.test_verifying_measures import cases_of


def test_value_interval_and_limit_stand_on_their_places():
    title, scale, inside, beyond, missing = letters.panel("T", 0.0, 1.0, 0.5, [("a", 0.25, (0.2, 0.3)), ("b" * 40, 2.0, None), ("c", None, None)]).splitlines()
    plot = inside[letters.NAME:]
    assert title == "T" and scale.split() == ["0", "1"] and len(scale) == len(inside) == letters.NAME + letters.COLUMNS
    assert plot == "........" + "--o--" + "......." + "|" + "." * 20
    assert beyond[letters.NAME:] == "." * 20 + "|" + "." * 19 + "o" and beyond[:letters.NAME] == "b" * (letters.NAME - 1) + " "
    assert missing.split() == ["c", "not", "done"]


def test_a_verdict_is_drawn_with_one_line_a_method_and_test():
    verdict = judging.judged(cases_of(), 0)
    found = letters.plot(verdict.methods)
    assert found.count("\nOcclusion ") == found.count("\nNull map ") == 4 and found.count("\n\n") == 3
    lines = {name: next(line for line in part.splitlines() if line.startswith("Occlusion"))[letters.NAME:]
             for name, part in zip(("cascade", "deletion", "pointing", "stability"), found.split("\n\n"))}
    assert lines["cascade"].index("o") < lines["cascade"].index("|") == round(1.3 / 2 * (letters.COLUMNS - 1))
    assert lines["deletion"].index("|") == (letters.COLUMNS - 1) // 2 < lines["deletion"].index("o")
    assert lines["stability"].index("o") == round(1.8 / 2 * (letters.COLUMNS - 1))
    assert telling.NOT_DONE in found


def test_a_card_keeps_its_other_sections_around_the_plot():
    record = {"counts": {name: 8 for name in ("cases", "right", "with_residual_tumour", "with_residual_tumour_and_right", "without_residual_tumour")}, "rule": "R.",
              "methods": judging.judged(cases_of(), 0).methods, "default": "occlusion", "failed": []}
    card = "# Card\n\n## Use\n\nResearch.\n\n## Limits\n\nMany.\n"
    once = telling.into_card(card, record)
    assert once.count("```") == 2 and "o" in once.split("```")[1] and once.endswith("## Limits\n\nMany.\n") and telling.into_card(once, record) == once
