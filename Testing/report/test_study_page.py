"""The page of a study: what it says, in which order, that it loads nothing, that hostile text stays text, that what is missing is said to be missing."""

from __future__ import annotations

import base64
import dataclasses
import json
import re
import xml.etree.ElementTree as ElementTree

import pytest

pytest.importorskip("matplotlib", reason="matplotlib is not installed")

from MRDeltaNetLib.errors import EnvironmentProblem  # noqa: E402
from MRDeltaNetLib.evaluation import SECTIONS, Evaluation, Figure, Omission, Part, Table  # noqa: E402
from MRDeltaNetLib.report.study import write_study  # noqa: E402
from MRDeltaNetLib.report.study.aids import BLANK  # noqa: E402
from MRDeltaNetLib.report.study.numbers import bounds, interval, p_value, plain  # noqa: E402
from MRDeltaNetLib.report.study.page import HEADINGS  # noqa: E402
from MRDeltaNetLib.report.study.summary import summary  # noqa: E402
from MRDeltaNetLib.report.study.tables import html_table, shown_columns  # noqa: E402
from Testing import made_up_evaluation as made_up  # noqa: E402
from Testing.report.strict_page import Page


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    return folder, write_study(made_up.evaluation(), folder)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    write_study(made_up.evaluation(hostile=True), folder)
    return folder


def report(folder) -> str:
    return (folder / "report.html").read_text(encoding="utf-8")


def test_the_files_are_those_that_are_named(written):
    folder, names = written
    assert names[0] == "report.html" and len(names) == len(set(names))
    assert sorted(names) == sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    assert {"figures/external_discrimination_roc.png", "figures/external_discrimination_roc.svg", "figures/train_overview_heatmap.svg"} <= set(names)


def test_the_same_evaluation_gives_the_same_bytes(written, tmp_path):
    folder, names = written
    assert write_study(made_up.evaluation(), tmp_path) == names
    for name in names:
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes(), name


@pytest.mark.parametrize("which", ["written", "hostile"])
def test_the_page_is_well_formed_loads_nothing_and_runs_nothing(which, request):
    found = request.getfixturevalue(which)
    text = report(found[0] if which == "written" else found)
    read = Page(text)
    assert read.problems == [] and read.all("html") == [{"lang": "en"}]
    assert not {tag for tag, _ in read.elements} & {"script", "link", "iframe", "object", "embed", "form", "base", "video", "audio", "svg"}
    for tag, attributes in read.elements:
        assert not [name for name in attributes if name.startswith("on")]
        assert tag == "a" and attributes["href"].startswith("#") or "href" not in attributes
        assert attributes.get("src", "data:image/svg+xml;base64,").startswith("data:image/svg+xml;base64,")
    assert not re.search(r"https?:|@import|url\(", re.sub(r"base64,[A-Za-z0-9+/=]*", "", text))
    (policy,) = [meta["content"] for meta in read.all("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    assert "default-src 'none'" in policy and "script" not in policy


def test_hostile_words_are_shown_as_words(hostile):
    text = report(hostile)
    assert "<script" not in text and "onerror=alert(1)>" not in text.replace("onerror=alert(1)&gt;", "")
    assert "&lt;script&gt;alert(2)&lt;/script&gt;" in text and "\u202e" not in text and "\x1b" not in text
    assert "${body}" in Page(text).text, "a template's sign in a name is not replaced"
    for path in (hostile / "figures").glob("*.svg"):
        ElementTree.parse(path)


def test_sections_stand_in_order_after_flow_answer_and_limits(written):
    ids = [section["id"] for section in Page(report(written[0])).all("section")]
    assert ids == ["flow", "summary", "limits", *(section for section in SECTIONS if section != "flow"), "methods", "aids", "provenance"]
    anchors = [link["href"][1:] for link in Page(report(written[0])).all("a")]
    assert anchors == ids
    assert set(HEADINGS) == set(SECTIONS)


def test_every_picture_is_there_with_words_for_who_cannot_see_it(written):
    folder, names = written
    images = Page(report(folder)).all("img")
    assert len(images) == sum(name.endswith(".svg") for name in names)
    files = {base64.b64encode((folder / name).read_bytes()).decode() for name in names if name.endswith(".svg")}
    assert {image["src"].split(",")[1] for image in images} == files
    assert all(len(image["alt"]) > 40 and "Set: " in image["alt"] for image in images)
    assert any("AUC 0.798 (0.738 to 0.848)" in image["alt"] for image in images)


def test_every_table_heading_says_what_it_heads(written):
    read = Page(report(written[0]))
    heads = read.all("th")
    assert heads and {head.get("scope") for head in heads} == {"col", "row", "rowgroup"} or {head.get("scope") for head in heads} == {"col", "row"}
    assert len(read.all("caption")) + len(re.findall('class="aid"', report(written[0]))) == len(read.all("table"))


def test_the_answer_stands_at_the_top_and_in_one_table(written):
    words = Page(report(written[0])).text
    assert "In the set external (n = 181, 31 with pCR), P(pCR) by the model told pCR from residual tumour with AUC 0.81 (0.73 to 0.88)" in words
    assert "Sensitivity at the threshold 0.410 (locked)" in words and "0.812 (0.735 to 0.878)" in words
    assert words.index("Summary") < words.index("Limits") < words.index("Discrimination AUC" if "Discrimination AUC" in words else "Whether cases with pathological")


def test_the_answer_tells_the_score_s_concordance_apart_from_that_of_the_model_fitted_to_these_cases():
    told = {"cox": [{"term": "age"}], "harrell_c": 0.687, "harrell_c_lo": 0.6, "harrell_c_hi": 0.76, "scores": {"p_pcr": {"harrell": {"c": 0.577, "lo": 0.5, "hi": 0.65}}}}
    shown = lambda values: summary(Evaluation("all", {"all": {"survival": Part({"os": values})}}, {"model": "p_pcr", "scores": {"p_pcr": "P(pCR)"}}, {}), 1)
    rows = re.findall(r"C of (.*?)</th>.*?>([0-9.]+) ", shown(told))
    assert rows == [("P(pCR)", "0.577"), ("the Cox model of all covariates, on the cases it was fitted to", "0.687")]
    assert "Cox model" not in shown(told | {"cox": [], "harrell_c": 0.577})                          # then it is the score's again


def test_limits_say_what_the_facts_say(written):
    words = Page(report(written[0])).text
    for said in ("Research use only: nothing here may decide on a patient", "The data are simulated", "Few cases: 31 with pCR and 150 without", "fair only if each score is of a model that had not seen",
                 "The outcome of some cases is not known: 2 of 183 (train), 2 of 183 (internal), 2 of 183 (external)"):
        assert said in words
    assert "There is no set named external" not in words
    assert "SIMULATED DATA" in words


def test_limits_of_one_set_with_a_threshold_of_its_own(tmp_path):
    evaluation = made_up.evaluation(("all",))
    point = evaluation.sets["all"]["discrimination"].values["p_pcr"]["operating_points"][0]
    point |= {"rule": "Youden", "learned_on": "all", "same_data": True}
    evaluation.sets["all"]["discrimination"].values["p_pcr"]["auc_ci"] = [0.6, 0.9]
    write_study(dataclasses.replace(evaluation, facts={**evaluation.facts, "simulated": False}), tmp_path)
    words = Page(report(tmp_path)).text
    assert "Thresholds were chosen on the very cases that they are judged on" in words and "There is no set named external" in words and "A wide interval" in words
    assert "SIMULATED" not in words and "simulated" not in words


def test_omissions_stand_where_they_belong_with_reason_and_remedy(tmp_path):
    parts = {"calibration": Part({}, omissions=(Omission("calibration", "the curve of A", "too few cases", "add some"), Omission("calibration", "the curve of B", "too few cases", "add some")))}
    write_study(dataclasses.replace(made_up.evaluation(("train",)), sets={"train": parts}, main_set="train"), tmp_path)
    words = Page(report(tmp_path)).text
    assert "The curve of A; the curve of B: too few cases. What to do: add some." in words
    assert words.index("Whether the probabilities come true") < words.index("The curve of A") < words.rindex("Methods")


def test_a_figure_that_cannot_be_drawn_is_told_and_the_rest_is_done(tmp_path):
    parts = {"discrimination": Part({}, figures={"broken": Figure("roc", "Broken curves", {"curves": [{"label": "x"}]}), "whole": Figure("roc", "Whole curves", made_up.roc())})}
    names = write_study(dataclasses.replace(made_up.evaluation(("train",)), sets={"train": parts}, main_set="train"), tmp_path)
    assert names == ["report.html", "figures/train_whole.png", "figures/train_whole.svg"]
    words = Page(report(tmp_path)).text
    assert "The figure 'Broken curves': it could not be drawn (KeyError). What to do: read the tables" in words


def test_a_folder_that_cannot_be_written_is_an_error_of_the_environment(tmp_path):
    (tmp_path / "figures").write_text("a file stands where the folder should be")
    with pytest.raises(EnvironmentProblem) as problem:
        write_study(made_up.evaluation(("train",), sections=("flow",)), tmp_path)
    assert problem.value.code == "MRD-E812" and not (tmp_path / "report.html").exists()


def test_an_evaluation_without_anything_is_a_page_too(tmp_path):
    assert write_study(Evaluation("all", {"all": {}}, {}, {}), tmp_path) == ["report.html"]
    words = Page(report(tmp_path)).text
    assert "No score of response was given" in words and "No section found an answer" in words and "No guideline was filled in" in words


def test_checklists_say_what_is_known_and_leave_the_rest_blank_in_words(written):
    words = Page(report(written[0])).text
    assert "1 of 2 lines are filled in" in words and words.count(BLANK) == 1


def test_methods_name_tests_samples_seed_and_versions_of_what_was_done_only(tmp_path, written):
    evaluation = made_up.evaluation(("train",))
    words = Page(report(written[0])).text
    assert "DeLong" in words and "2000 samples" in words and "starts from seed 0" in words and "MRDeltaNet 0.1" in words
    parts = {"survival": Part({"rfs": {"logrank": {"p": 0.2}}})}
    write_study(dataclasses.replace(evaluation, sets={"train": parts}, main_set="train"), tmp_path)
    methods = report(tmp_path).split('id="methods"')[1].split("</section>")[0]
    assert "Kaplan-Meier" in methods and "DeLong" not in methods and "net benefit" not in methods


@pytest.mark.parametrize("value, shown", [(0.00001, "<\u00a00.001"), (0.0009999, "<\u00a00.001"), (0.001, "0.001"), (0.0423, "0.042"), (0.0996, "0.10"), (0.5, "0.50"), (0.9991, ">\u00a00.99"), (None, "not known"),
                                          (float("nan"), "not known")])
def test_p_values_as_journals_print_them(value, shown):
    assert p_value(value) == shown


@pytest.mark.parametrize("arguments, shown", [((0.8123, 0.7341, 0.8777), "0.812 (0.734 to 0.878)"), ((0.98, 0.95, 1.0), "0.98 (0.95 to 1.00)"), ((2.5, 0.9, 6.75), "2.50 (0.90 to 6.75)"),
                                              ((9.95, 0.09, 1082.87), "9.95 (0.09 to 1083)"), ((40.4, 27.7, None), "40.4 (27.7 to not reached)"), ((-0.35, -0.84, 0.13), "\u22120.350 (\u22120.840 to 0.130)"),
                                              ((0.5, None, None), "0.500"), ((None, 0.1, 0.2), "not known"), ((3, 1, 9), "3 (1 to 9)")])
def test_intervals_have_the_same_decimals_as_their_value(arguments, shown):
    assert interval(*arguments) == shown


def test_numbers_have_sensible_digits():
    assert [plain(value) for value in (0.0, 1e-17, 0.25, 3.14159, 31.4159, 314.159, 31415.9, 12, 12345, -2.5, 1.5e-7, 2.3e9, None, float("inf"))] == [
        "0", "0", "0.250", "3.14", "31.4", "314", "31\u202f416", "12", "12\u202f345", "\u22122.50", "1.5 \u00d7 10\u207b\u2077", "2.3 \u00d7 10\u2079", "not known", "not known"]
    assert bounds(0.09, 1285.4) == "0.09 to 1285"


def test_a_value_and_its_bounds_become_one_column():
    columns = ("score", "cases", "AUC", "lower", "upper", "lower (plain DeLong)", "upper (plain DeLong)", "calibration slope", "slope lower", "slope upper", "OR", "95 % low", "95 % high",
               "hits", "of", "p", "p (Holm)")
    assert [(column.heading, column.kind) for column in shown_columns(columns)] == [
        ("cases", "plain"), ("AUC (95 % CI)", "value"), ("95 % CI, plain DeLong", "interval"), ("calibration slope (95 % CI)", "value"), ("OR (95 % CI)", "value"), ("hits of all", "counts"),
        ("p", "p"), ("p (Holm)", "p")]


def cells(html: str) -> list[list[str]]:
    rows = re.findall(r"<tr>(.*?)</tr>", html, re.S)
    return [[re.sub(r"<[^>]+>", "", cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.S)] for row in rows]


def test_sets_stand_side_by_side_in_columns_where_a_row_has_one_value():
    table = Table("Flow", ("step", "cases"), (("enrolled", 12), ("analysed", 10)))
    other = Table("Flow", ("step", "cases"), (("enrolled", 9), ("left out", 1)))
    assert cells(html_table({"train": table, "external": other}, 1, "x.csv", ("train", "external"))) == [
        ["Step", "train", "external"], ["enrolled", "12", "9"], ["analysed", "10", "\u2013"], ["left out", "\u2013", "1"]]


def test_sets_stand_below_each_other_where_a_row_has_several_values():
    table = Table("AUC", ("score", "cases", "AUC", "lower", "upper"), (("A", 12, 0.8, 0.7, 0.9),))
    assert cells(html_table({"train": table, "external": table}, 1, "x.csv", ("train", "external"))) == [
        ["Score", "Set", "Cases", "AUC (95 % CI)"], ["A", "train", "12", "0.800 (0.700 to 0.900)"], ["external", "12", "0.800 (0.700 to 0.900)"]]


def test_few_measures_become_columns_with_their_counts():
    rows = tuple((rule, 0.4, measure, value, value - 0.1, value + 0.1, 8, 10) for rule in ("Youden", "locked") for measure, value in (("sensitivity", 0.8), ("specificity", 0.7)))
    table = Table("Thresholds", ("rule", "threshold", "measure", "value", "lower", "upper", "cases", "of"), rows)
    found = html_table({"all": table}, 1, "x.csv", ("all",))
    assert cells(found) == [["Rule", "Threshold", "Sensitivity", "Specificity"], ["Youden", "0.400", "0.80 (0.70 to 0.90)8/10", "0.70 (0.60 to 0.80)8/10"],
                            ["locked", "0.400", "0.80 (0.70 to 0.90)8/10", "0.70 (0.60 to 0.80)8/10"]]
    assert "<br>8/10" in found


def test_long_tables_show_evenly_spaced_rows_and_name_the_file_that_has_all():
    table = Table("Net benefit", ("threshold", "net benefit", "treat all"), tuple((place / 100, 0.1, 0.2) for place in range(1, 100)))
    found = html_table({"all": table}, 1, "all_net.csv", ("all",))
    assert [row[0] for row in cells(found)[1:]] == [f"0.{place}00" for place in range(1, 10)]
    assert "9 of 99 rows are shown; tables/all_net.csv has all." in found


def test_nothing_missing_is_silent_in_a_table():
    table = Table("Odd", ("name", "median, months", "cases", "kind", "yes"), (("a", None, None, None, True), ("    below", None, None, "x", False)))
    assert cells(html_table({"all": table}, 1, "x.csv", ("all",)))[1:] == [["a", "not reached", "not known", "\u2013", "yes"], ["    below", "", "", "x", "no"]]


def test_notes_of_some_sets_only_carry_their_names():
    both = [Table("T", ("a", "b"), (("x", 1),), ("the same", note)) for note in ("log-rank p 0.1", "log-rank p 0.2")]
    found = re.sub(r"<[^>]+>", "", html_table(dict(zip(("train", "external"), both)), 1, "x.csv", ("train", "external")))
    assert "The same." not in found and "the same." in found and "train: log-rank p 0.1." in found and "external: log-rank p 0.2." in found


def test_levels_stay_below_the_variable_they_belong_to():
    rows = (("sex", "", 0.5), ("    no", "1", None), ("    yes", "2", None), ("smoker", "", 0.1), ("    no", "3", None), ("    yes", "4", None))
    tables = {"train": Table("T", ("Variable", "all", "p"), rows[:3] + rows[3:5]), "external": Table("T", ("Variable", "all", "p"), rows)}
    found = cells(html_table(tables, 1, "x.csv", ("train", "external")))
    assert [row[0] for row in found[1:] if row[0] not in ("train", "external")] == ["sex", "    no", "    yes", "smoker", "    no", "    yes"]
    assert found[-1] == ["    yes", "external", "4", ""]


def test_no_row_is_lost_where_rows_are_alike():
    table = Table("T", ("name", "value"), (("a", 1), ("a", 1), ("a", 2)))
    assert cells(html_table({"all": table}, 1, "x.csv", ("all",)))[1:] == [["a", "1"], ["a", "1"], ["a", "2"]]


def test_tables_whose_columns_differ_between_sets_stand_apart_with_their_names():
    tables = {"train": Table("Table 1", ("Variable", "pCR (n = 3)", "p"), (("age", "61", 0.2),)), "external": Table("Table 1", ("Variable", "pCR (n = 7)", "p"), (("age", "59", 0.4),))}
    found = html_table(tables, 4, "x.csv", ("train", "external"))
    assert found.count("<table>") == 2 and "(set: train)" in found and "(set: external)" in found and "pCR (n = 7)" in found


def test_figures_hold_only_what_json_can_hold():
    for kind, build in made_up.BUILT.items():
        assert json.loads(json.dumps(build())) == build(), kind


def test_colours_of_text_have_the_contrast_of_wcag_aa():
    style = report_style()
    pairs = [("#16191d", "#ffffff"), ("#33393f", "#ffffff"), ("#16191d", "#eef3f8"), ("#16191d", "#f4f6f8"), ("#5a3a00", "#fff8e6"), ("#0b4a8a", "#ffffff"), ("#000000", "#ffd60a")]
    for ink, paper in pairs:
        for colour in (ink, paper):
            assert colour in style or colour in ("#ffffff", "#000000") and colour[:4] in style
        light, dark = sorted((_luminance(ink), _luminance(paper)), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, (ink, paper)


def report_style() -> str:
    from MRDeltaNetLib.report.frame import framed
    from MRDeltaNetLib.report.study import page
    return framed("", page._STYLE, title="", print_footer="")


def _luminance(colour: str) -> float:
    channels = [int(colour[place:place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
