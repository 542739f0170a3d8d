"""Folds: every training case held out once a repeat, nobody twice, external cases never, both classes everywhere."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="folds need the 'cohort' extra")

from MRDeltaNetLib.cohort import splitting  # noqa: E402
from MRDeltaNetLib.config import ValidationConfig  # noqa: E402
from MRDeltaNetLib.errors import InputError  # noqa: E402


def cohort(cases: int = 120, centres: str = "ABC", share: float = 0.3, seed: int = 1):
    random = np.random.default_rng(seed)
    outcome = [int(value) for value in random.random(cases) < share]
    centre = [str(value) for value in random.choice(list(centres), cases)]
    sets = [str(value) for value in random.choice(["train", "train", "train", "internal", "external"], cases)]
    return outcome, centre, sets, [None] * cases


def test_every_training_case_is_held_out_once_a_repeat_and_no_other_case_ever_enters():
    outcome, centre, sets, own = cohort()
    made = splitting.plan(outcome, centre, sets, own, ValidationConfig(folds=4, repeats=3))
    train = {k for k, name in enumerate(sets) if name == "train"}
    for repeat in range(3):
        held = [k for split in made.folds if split.repeat == repeat for k in split.held_out]
        assert sorted(held) == sorted(train)
    for split in (*made.folds, *made.centres):
        parts = [set(split.training.tolist()), set(split.stopping.tolist()), set(split.held_out.tolist())]
        assert sum(map(len, parts)) == len(set.union(*parts)) == len(train) and set.union(*parts) == train
        for part in parts:
            assert {outcome[k] for k in part} == {0, 1}


def test_folds_keep_the_share_of_outcome_and_centre():
    outcome, centre, sets, own = cohort(400)
    made = splitting.plan(outcome, centre, sets, own, ValidationConfig(folds=4))
    train = [k for k, name in enumerate(sets) if name == "train"]
    for label in (0, 1):
        for name in "ABC":
            alike = {k for k in train if outcome[k] == label and centre[k] == name}
            assert all(abs(len(alike & set(split.held_out.tolist())) - len(alike) / 4) < 2 for split in made.folds)


def test_the_same_seed_gives_the_same_splits_and_another_seed_others():
    given = cohort()
    config = ValidationConfig(folds=4, repeats=2)
    first, again, other = (splitting.plan(*given, config, seed) for seed in (5, 5, 6))
    pairs = list(zip(first.folds, again.folds))
    assert all(np.array_equal(getattr(a, name), getattr(b, name)) for a, b in pairs for name in ("training", "stopping", "held_out"))
    assert not all(np.array_equal(a.held_out, b.held_out) for a, b in zip(first.folds, other.folds))
    assert not np.array_equal(first.folds[0].held_out, first.folds[4].held_out)          # repeats differ


def test_the_stopping_cases_are_about_the_fraction_asked_for_in_each_class():
    outcome, centre, sets, own = cohort(400)
    split = splitting.plan(outcome, centre, sets, own, ValidationConfig(inner_fraction=0.2)).folds[0]
    for label in (0, 1):
        stopping, training = (sum(outcome[k] == label for k in part) for part in (split.stopping, split.training))
        assert stopping / (stopping + training) == pytest.approx(0.2, abs=0.02)


def test_centres_are_held_out_together_where_there_are_enough_of_them():
    outcome, centre, sets, own = cohort(300, centres="ABCDEFGH")
    made = splitting.plan(outcome, centre, sets, own, ValidationConfig(folds=4))
    assert "whole centres" in made.rule
    for split in made.folds:
        assert not {centre[k] for k in split.held_out} & {centre[k] for k in (*split.training, *split.stopping)}


def test_leaving_a_centre_out_holds_out_all_of_it_and_nothing_else():
    outcome, centre, sets, own = cohort()
    made = splitting.plan(outcome, centre, sets, own, ValidationConfig(folds=5))
    assert [split.name for split in made.centres] == ["without-centre-0", "without-centre-1", "without-centre-2"]
    for split, name in zip(made.centres, "ABC"):
        assert split.held_out.tolist() == [k for k in range(120) if sets[k] == "train" and centre[k] == name]


def test_own_folds_are_used_as_they_are():
    outcome, centre, sets, _ = cohort()
    own = [k % 3 + 1 if name == "train" else None for k, name in enumerate(sets)]
    made = splitting.plan(outcome, centre, sets, own, ValidationConfig(folds=5, repeats=2))
    assert [split.held_out.tolist() for split in made.folds] == [[k for k, fold in enumerate(own) if fold == number] for number in (1, 2, 3)]
    assert [notice.code for notice in made.notices] == ["MRD-W779"]


def test_repeats_of_the_same_whole_centres_are_told():
    outcome, centre, sets, own = cohort()
    made = splitting.plan(outcome, centre, sets, own, ValidationConfig(folds=3, repeats=2, group="centre"))
    assert [notice.code for notice in made.notices] == ["MRD-W779"]


def refusal(*given, **settings) -> str:
    with pytest.raises(InputError) as caught:
        splitting.plan(*given, ValidationConfig(**settings))
    return caught.value.code


def test_what_cannot_be_split_is_refused():
    outcome, centre, sets, own = cohort()
    assert refusal([0] * 120, centre, sets, own) == "MRD-E773"
    assert refusal([None] + outcome[1:], centre, ["train"] + sets[1:], own) == "MRD-E773"
    few = [1 if k < 9 else 0 for k in range(120)]
    assert refusal(few, centre, ["train"] * 120, own) == "MRD-E774"
    assert refusal(few, centre, ["train"] * 120, own, min_events=2, folds=5) == "MRD-E775"
    assert refusal(few, centre, ["train"] * 120, [k // 30 for k in range(120)], min_events=2) == "MRD-E775"        # all events in fold 0
    assert refusal(outcome, centre, sets, own, group="centre", folds=5) == "MRD-E775"
    assert refusal(outcome, centre, ["train"] * 120, [0] * 120) == "MRD-E779"
    assert refusal(outcome, centre, ["train"] * 120, [None] + [1, 2, 1] * 39 + [2, 1]) == "MRD-E779"


def test_a_centre_in_one_fold_only_is_told():
    outcome, _, sets, _ = cohort()
    centre = ["B" if k in (3, 4) else "A" for k in range(120)]
    own = [k % 3 for k in range(120)]
    own[3] = own[4] = 0
    made = splitting.plan(outcome, centre, ["train"] * 120, own, ValidationConfig())
    assert "MRD-W775" in [notice.code for notice in made.notices]


def test_centres_of_one_class_are_not_grouped_by_themselves_and_it_is_told():
    outcome = [k % 2 for k in range(60)]
    centre = ["ABCDEF"[(k % 2) * 3 + k % 3] for k in range(60)]                           # A to C hold no responder, D to F hold nobody else
    made = splitting.plan(outcome, centre, ["train"] * 60, [None] * 60, ValidationConfig(folds=5))
    assert "stratified by outcome and centre" in made.rule and "MRD-W776" in [notice.code for notice in made.notices]


def test_without_named_centres_no_centre_is_left_out_and_it_is_told():
    outcome, _, sets, own = cohort()
    made = splitting.plan(outcome, [None] * 120, sets, own, ValidationConfig())
    assert made.centres == () and [notice.code for notice in made.notices] == ["MRD-W777"]


def test_a_centre_that_holds_nearly_all_responders_is_not_left_out_and_it_is_told():
    outcome = [1 if k % 2 and k < 40 else 0 for k in range(80)]
    centre = ["A" if k < 40 else "B" for k in range(80)]
    made = splitting.plan(outcome, centre, ["train"] * 80, [None] * 80, ValidationConfig(folds=2))
    assert [split.fold for split in made.centres] == [1] and "MRD-W778" in [notice.code for notice in made.notices]
