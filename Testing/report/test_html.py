"""The page: what it says, that it loads nothing, that hostile text stays text, that missing pieces are said to be missing."""

from __future__ import annotations

import base64
import dataclasses
import io
import re
import shutil
import string

import numpy as np
import pytest

from MRDeltaNetLib.case import Result
from MRDeltaNetLib.errors import Notice
from MRDeltaNetLib.report.gallery import crossing_points, with_further_maps
from MRDeltaNetLib.report.html import page, write_report
from MRDeltaNetLib.report.planes import map_maximum
from Testing.made_up_result import CENTRE_MM, SPREAD, ball, complete_result
from Testing.report.strict_page import Page

pytest.importorskip("PIL", reason="Pillow is not installed")

HOSTILE = '<img src=x onerror=alert(1)><script>alert(2)</script>"\'& </style></title>--> ${body} \x1b[31m \u202egnp.exe \ud800 =cmd|x'


@pytest.fixture(scope="module")
def whole() -> str:
    return page(complete_result())


def without_pictures(**changes) -> Result:
    """For tests of words alone: drawing takes most of the time."""
    return dataclasses.replace(complete_result(), images={}, **changes)


def test_the_page_is_well_formed_and_says_its_language(whole):
    read = Page(whole)
    assert read.problems == []
    assert read.all("html") == [{"lang": "en"}]
    assert whole.startswith("<!DOCTYPE html>")


def test_the_page_loads_nothing_and_runs_nothing(whole):
    read = Page(whole)
    assert not {tag for tag, _ in read.elements} & {"script", "link", "iframe", "object", "embed", "form", "base", "video", "audio", "svg"}
    for tag, attributes in read.elements:
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href", "srcset", "data", "action", "poster", "background"):
            assert attributes.get(name, "data:image/png;base64,").startswith("data:image/png;base64,")
    assert not re.search(r"https?:|//[a-z]|@import|url\(", re.sub(r"base64,[A-Za-z0-9+/=]*", "", whole))
    (policy,) = [meta["content"] for meta in read.all("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    assert "default-src 'none'" in policy and "img-src data:" in policy and "script" not in policy


def test_the_headline_says_number_direction_class_and_where_the_threshold_is_from(whole):
    words = Page(whole).text
    for expected in ("Probability of pathological complete response, P(pCR)", "0.73", "1 means that complete response is certain",
                     "pCR: complete response predicted", "threshold of 0.41", "Youden's index", "Research use only"):
        assert expected in words


def test_below_the_threshold_the_page_says_so():
    words = Page(page(without_pictures(p_pcr=0.2, predicted_class="non-pCR"))).text
    assert "non-pCR: no complete response predicted" in words and "P(pCR) is below the threshold" in words


def test_a_demonstration_model_is_announced_before_everything_else_and_on_every_printed_page(whole):
    words = Page(whole).text
    assert words.index("DEMONSTRATION MODEL") < words.index("P(pCR)")
    assert "mean nothing for any patient" in words and "no evidence for patients" in words
    assert re.search(r'@bottom-left \{ content: "[^"]*DEMONSTRATION MODEL', whole)


def test_the_scale_is_filled_up_to_the_probability_and_marked_at_the_threshold(whole):
    assert re.search(r'class="fill" style="width:73\.1%"', whole) and re.search(r'class="mark" style="left:41\.0%"', whole)


def test_the_planes_of_both_scans_pass_through_one_place_of_the_patient():
    """The highest attention after treatment, and where the transform (pre -> post) says that it was before."""
    result = complete_result()
    points, reason = crossing_points(result)
    np.testing.assert_allclose(points["post"], map_maximum(result.images["attention_post"]), atol=1e-9)
    np.testing.assert_allclose(result.transform.TransformPoint(points["pre"].tolist()), points["post"], atol=1e-6)
    assert "highest attention in the scan after treatment" in reason and "same place" in reason


def test_each_scan_keeps_its_own_window_in_the_checkerboard():
    """A post scan in another unit of intensity gives the same picture."""
    result = complete_result()
    brighter = {name: result.images[name] * 10.0 for name in ("post", "post_common")}
    pictures = [checkerboards(page(one)) for one in (result, dataclasses.replace(result, images={**result.images, **brighter}))]
    assert len(pictures[0]) == 3
    for plain, other in zip(*pictures):
        assert np.abs(plain - other).max() <= 4                     # one step of the grey scale


def checkerboards(html: str) -> list[np.ndarray]:
    """The pixels of the page's checkerboards."""
    from PIL import Image
    sources = [image["src"] for image in Page(html).all("img") if "checkerboard" in image["alt"]]
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(source.split(",")[1])))).astype(int) for source in sources]


def test_another_model_is_not_called_a_demonstration():
    assert "DEMONSTRATION" not in page(complete_result(is_demo=False))


def test_sizes_carry_units_and_true_minus_signs(whole):
    words = Page(whole).text
    for expected in ("33.5 mL", "24.4 mL", "\N{MINUS SIGN}9.1 mL", "\N{MINUS SIGN}27 %", "40.0 mm", "2.1 mL"):
        assert expected in words


def test_a_measure_that_the_table_does_not_know_is_still_shown():
    result = complete_result()
    words = Page(page(without_pictures(measures={**result.measures, "pre_sphericity": 0.5, "wall_depth_mm": 3.0}))).text
    assert "Pre sphericity 0.500" in words and "Wall depth 3.0 mm" in words


def test_the_size_of_a_carried_bed_is_no_finding():
    result = complete_result()
    kept = {key: None if key.startswith("post_") or "change" in key and not key.startswith("residual") else value
            for key, value in result.measures.items()}
    words = Page(page(without_pictures(measures=kept))).text
    assert "its size is no finding" in words and "33.5 mL not available not available not available" in words


def test_a_carried_bed_is_called_a_suggestion_beside_its_outline(whole):
    result = complete_result()
    assert "nobody drew it" in Page(whole).text
    drawn = dataclasses.replace(result, mask_sources={"pre": "drawn", "post": "drawn", "residual": "drawn"})
    assert "nobody drew it" not in Page(page(drawn)).text


def test_an_outline_that_no_plane_cuts_is_told(whole):
    """Residual tumour far from the highest attention must not look like none."""
    result = complete_result()
    far = dict(result.images, residual_mask=ball(result.images["post"], CENTRE_MM + (-45, -25, 30), 6))
    assert "None of these planes cuts the residual viable tumour." in Page(page(dataclasses.replace(result, images=far))).text
    assert "None of these planes" not in Page(whole).text
    assert "None of these planes" not in Page(page(complete_result(empty_residual=True))).text


def test_a_deformable_picture_is_not_taken_for_what_the_network_used(whole):
    result = complete_result()
    bent = dataclasses.replace(result, registration={**result.registration, "method": "deformable"})
    assert "masks and network use the rigid one" in Page(page(bent)).text
    assert "masks and network use the rigid one" not in Page(whole).text


def test_the_alignment_is_given_in_words_without_digests(whole):
    words = Page(whole).text
    assert "Refined on the body without the tumour yes" in words and "Rotation 5.6 °" in words and "Mutual information after 0.640 nats" in words and "abab" not in words


def test_the_auc_says_on_which_data(whole):
    assert "0.87 (95 % interval 0.81 to 0.92) on 200 simulated pairs. All of it is made-up data" in Page(whole).text


def test_every_map_says_formula_resolution_and_whether_it_sees_the_images(whole):
    words = Page(whole).text
    assert "6 \N{MULTIPLICATION SIGN} 6 \N{MULTIPLICATION SIGN} 6 mm" in words and "w_i = r_i softmax_i(s_i)" in words


def test_a_map_s_own_caution_stands_beside_its_picture():
    result = complete_result()
    facts = {**result.map_facts, "attention_pre": {**result.map_facts["attention_pre"], "caution": "carried by position alone"}}
    assert "Caution: carried by position alone." in Page(page(dataclasses.replace(result, map_facts=facts))).text


def test_a_map_that_shows_position_only_says_so_beside_its_picture():
    result = complete_result()
    facts = {name: {**values, "sees_image_content": False} for name, values in result.map_facts.items()}
    words = Page(page(dataclasses.replace(result, map_facts=facts))).text
    assert words.count("position only") >= 3


def test_every_picture_has_an_alternative_text_and_every_table_headers(whole):
    read = Page(whole)
    assert len(read.all("img")) >= 18
    assert all(len(image["alt"]) > 10 for image in read.all("img"))
    assert all(header.get("scope") in ("col", "row", "rowgroup") for header in read.all("th"))
    for plane in ("Axial", "Coronal", "Sagittal"):
        assert any(image["alt"].startswith(plane) for image in read.all("img"))


def test_warnings_come_with_what_to_do_and_their_code(whole):
    words = Page(whole).text
    assert "What to do: check it on the scan after treatment" in words and "MRD-W305" in words


def test_the_page_holds_no_date_and_no_path(whole):
    words = Page(whole).text
    assert not re.search(r"\b(19|20)\d\d\b", words) and not re.search(r"(^|\s)/[a-z]+/", words)
    assert "Interval between the scans: 82 days" in words


def hostile_result() -> Result:
    result = complete_result()
    return dataclasses.replace(
        result, predicted_class=HOSTILE, warnings=(Notice(HOSTILE, HOSTILE, HOSTILE),),
        model={key: HOSTILE if isinstance(value, str) else value for key, value in result.model.items()} | {"is_demo": True},
        registration={**result.registration, "method": HOSTILE, HOSTILE: 1.0, "note": [HOSTILE]},
        measures={**result.measures, HOSTILE: 1.0}, history=({"step": HOSTILE, "parameters": {HOSTILE: HOSTILE}},),
        map_facts={name: {"formula": HOSTILE, "unit": HOSTILE, "caution": HOSTILE, "resolution_mm": HOSTILE, "sees_image_content": False}
                   for name in (*result.map_facts, HOSTILE)},
        mask_sources={"pre": HOSTILE, "post": HOSTILE})


def test_hostile_text_stays_text_in_every_field(tmp_path, whole):
    path = write_report(hostile_result(), tmp_path / "report.html", title=HOSTILE)
    written = path.read_text(encoding="utf-8")
    read, clean = Page(written), Page(whole)
    assert read.problems == []
    assert {tag for tag, _ in read.elements} <= {tag for tag, _ in clean.elements}
    assert not [name for _, attributes in read.elements for name in attributes if name.startswith("on")]
    assert all(image["src"].startswith("data:image/png") for image in read.all("img"))
    assert "alert(2)" in read.text                                     # shown, as text
    assert not re.search("[\x00-\x08\x0b-\x1f\u202a-\u202e]", written)


@pytest.mark.parametrize("without", [
    ("pre", "post", "pre_common", "post_common", "pre_mask", "post_mask", "residual_mask", "attention_pre", "attention_post", "change_post"),
    ("attention_pre", "attention_post", "change_post"), ("pre_mask", "post_mask", "residual_mask"), ("pre_common", "post_common"),
    ("pre",), ("post",), ("attention_post",)], ids=lambda names: "-".join(names)[:40])
def test_missing_pictures_leave_a_page_that_says_so(without):
    result = complete_result()
    read = Page(page(dataclasses.replace(result, images={key: image for key, image in result.images.items() if key not in without})))
    assert read.problems == [] and "0.73" in read.text
    if "attention_pre" in without and "pre" not in without:
        assert "no attention maps" in read.text
    if "pre_mask" in without and "pre" not in without:
        assert "no masks" in read.text


def test_a_run_without_prediction_says_so():
    result = complete_result()
    read = Page(page(dataclasses.replace(result, p_pcr=None, logit=None, threshold=None, predicted_class=None, model=None, measures={},
                                         registration={}, map_facts={}, history=({"step": "align"},), interval_days=None)))
    assert read.problems == []
    for expected in ("No prediction in this run", "No model took part", "no masks to measure", "not aligned in this run", "alignment"):
        assert expected in read.text
    assert "P(pCR)" not in read.text


def test_an_entirely_empty_result_still_gives_a_page():
    assert Page(page(Result())).problems == []


def test_a_complete_response_is_named_and_measured_as_zero():
    words = Page(page(complete_result(empty_residual=True))).text
    assert "no viable tumour is left" in words and "\N{MINUS SIGN}100 %" in words and "(empty: none drawn)" in words


def test_numbers_that_are_no_numbers_are_said_to_be_not_available():
    result = complete_result()
    read = Page(page(without_pictures(measures={**result.measures, "post_volume_ml": float("nan"), "volume_change_percent": None})))
    assert "not available" in read.text and not re.search(r"\bnan\b", read.text.lower())


def test_without_a_transform_each_scan_shows_its_own_place_and_the_page_says_so():
    assert "each scan's own place" in Page(page(dataclasses.replace(complete_result(), transform=None))).text


def test_a_free_form_transform_without_an_inverse_is_no_obstacle():
    import SimpleITK as sitk

    spline = sitk.Transform(sitk.BSplineTransformInitializer(complete_result().images["pre"], [3, 3, 3]))
    assert "each scan's own place" in Page(page(dataclasses.replace(complete_result(), transform=spline))).text


def test_the_same_result_gives_the_same_bytes(tmp_path):
    first, second = (write_report(complete_result(), tmp_path / name).read_bytes() for name in ("one.html", "two.html"))
    assert first == second
    assert len(first) < 3_000_000


def luminance(colour: str) -> float:
    channels = [int(colour[at:at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.03928 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_text_stands_out_from_its_background_as_wcag_aa_asks(whole):
    style = whole[whole.index("<style>"):whole.index("</style>")]
    long = [f"#{''.join(2 * digit for digit in colour)}" if len(colour) == 3 else f"#{colour}"
            for colour in re.findall(r"[ ;{]color: #([0-9a-f]{3,6})", style)]
    assert len(long) >= 4
    for colour in long:
        for background in ("#ffffff", "#ffd60a", "#fdf1f0", "#f4f6f8"):
            lighter, darker = sorted((luminance(colour), luminance(background)), reverse=True)
            assert (lighter + 0.05) / (darker + 0.05) >= 4.5, (colour, background)


def test_the_template_has_no_other_placeholders():
    from MRDeltaNetLib.report.frame import _TEMPLATE

    assert set(string.Template(_TEMPLATE.read_text(encoding="utf-8")).get_identifiers()) == {"title", "style", "body", "print_footer"}


def test_the_number_never_stands_without_its_range(whole):
    """In the headline, on the scale, and for whoever only hears the page; over what the range goes is said."""
    words = Page(whole).text
    assert "0.73 (0.38 to 0.81 over outlines and members)" in words
    assert re.search(r'class="band" style="left:38\.2%;width:42\.9%"', whole)
    assert any("0.38 to 0.81" in element.get("aria-label", "") for element in Page(whole).all("div"))
    single = without_pictures(spread={**complete_result().spread, "members": 1, "member_p_pcr": [], "member_sd": None})
    assert "0.73 (0.38 to 0.81 over outlines)" in Page(page(single)).text and "one network" in Page(page(single)).text


def test_the_first_member_alone_and_another_step_are_said_in_words():
    spread = {**SPREAD, "members": 1, "member_p_pcr": [], "member_sd": None, "outline_p_pcr": {"both_larger_3.5mm": 0.8, "bed_left_3.5mm": 0.7}, "outlines_left_out": {"odd": "why"}}
    given = complete_result()
    words = Page(page(without_pictures(spread=spread, model={**given.model, "members": 3, "members_used": 1}))).text
    assert "The first of the model's 3 members answered alone" in words and "This model is one network" not in words
    assert "Asked in this run the first network alone" in words
    assert "Both outlines 3.5 mm larger 0.80" in words and "Tumour bed 3.5 mm to the patient's left 0.70" in words and "odd left out: why" in words
    unknown = without_pictures(p_pcr_low=None, p_pcr_high=None, spread={}, familiarity=None)
    assert "0.73 (range not known)" in Page(page(unknown)).text


def test_a_threshold_inside_the_range_is_told_beside_the_class_and_one_outside_is_not(whole):
    assert "the class depends on outline or member" in Page(whole).text
    clear = without_pictures(p_pcr_low=0.6)
    assert "the class depends on outline or member" not in Page(page(clear)).text


def test_every_answer_of_the_range_is_listed_with_its_class_and_what_was_left_out(whole):
    words = Page(whole).text
    assert "Tumour bed 2 mm to the back 0.38 non-pCR" in words and "Both outlines 2 mm larger 0.81 pCR" in words
    assert "Outlines as given, member 2 of 3 alone 0.77 pCR" in words and "standard deviation is 0.03" in words
    assert "Both outlines 2 mm smaller left out: the tumour bed would be gone" in words and "not a confidence interval" in words


def test_where_the_run_gives_no_class_no_answer_of_the_range_gets_one():
    withheld = Page(page(without_pictures(predicted_class=None))).text
    assert "Tumour bed 2 mm to the back 0.38 Tumour bed" in withheld and "non-pCR" not in withheld


@pytest.mark.parametrize("light, says", [("green", "Green: like the training cases"), ("amber", "Amber: at the edge"), ("red", "Red: unlike the training cases")])
def test_the_light_is_said_in_words_with_its_reasons(light, says):
    result = complete_result()
    html = page(without_pictures(familiarity={**result.familiarity, "light": light}))
    assert says in Page(html).text and "Field strength after treatment 3 T, in training 1.5 T." in Page(html).text and f'class="lamp {light}"' in html


def test_a_model_that_does_not_know_its_training_cases_is_not_green():
    known = {"light": "not known", "training_cases": 0, "reasons": ["the model bundle holds no reference of its training cases"], "parts": []}
    for one in (known, None):
        html = page(without_pictures(familiarity=one))
        assert "Not known whether the case is like the training cases" in Page(html).text and "Not known is not green." in Page(html).text
        assert 'class="lamp unknown"' in html and 'class="lamp green"' not in html


def test_hostile_text_in_range_and_light_stays_text(whole):
    result = complete_result()
    html = page(without_pictures(spread={**result.spread, "outlines_left_out": {HOSTILE: HOSTILE}, "outline_p_pcr": {HOSTILE: 0.5}},
                                    familiarity={"light": HOSTILE, "training_cases": 1, "reasons": [HOSTILE],
                                                 "parts": [{"name": HOSTILE, "light": HOSTILE, "distance": None, "quantile": None, "reasons": [HOSTILE]}]}))
    read = Page(html)
    assert read.problems == [] and {tag for tag, _ in read.elements} <= {tag for tag, _ in Page(whole).elements}
    assert "alert(2)" in read.text and 'class="lamp unknown"' in html


@pytest.mark.slow
def test_a_browser_shows_it_without_a_request_a_complaint_or_a_sideways_scroll(tmp_path):
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium on this machine")
    path = write_report(hostile_result(), tmp_path / "report.html", title=HOSTILE)
    with playwright.sync_playwright() as engine:
        browser = engine.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"])
        view = browser.new_page(viewport={"width": 1280, "height": 900})
        requests, complaints = [], []
        view.on("request", lambda request: requests.append(request.url))
        view.on("console", lambda message: complaints.append(message.text))
        view.on("dialog", lambda dialog: complaints.append("dialog"))
        view.goto(path.as_uri())
        assert [url for url in requests if not url.startswith(("data:image/png", "file:"))] == [] and complaints == []
        assert sum(url.startswith("file:") for url in requests) == 1
        for width in (1280, 500):
            view.set_viewport_size({"width": width, "height": 900})
            assert view.evaluate("document.documentElement.scrollWidth") <= width
        assert view.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
        browser.close()


def test_classes_of_one_lesion_come_first_and_are_no_patients_category(whole):
    classes = {"lesion_size_bed": "little changed", "lesion_volume_bed": "smaller", "lesion_size_residual": "gone", "lesion_volume_residual": "gone",
               "scope": "one lesion", "nadir": "growth is counted from the size before treatment"}
    words = " ".join(Page(page(without_pictures(response=classes))).words)
    assert "One lesion, residual viable tumour against the tumour before treatment: gone." in words
    assert "little changed in diameter, smaller in volume (by 65.7 % or more)." in words
    assert words.index("residual viable tumour against") < words.index("tumour bed against") < words.index("Longest diameter in plane")
    assert "no response category of the patient" in words and "growth is counted" in words.lower()
    assert "One lesion," not in whole


def test_a_readers_grade_is_shown_as_an_opinion(whole):
    words = " ".join(Page(page(without_pictures(mrtrg=3))).words)
    assert "mrTRG by the reader: 3 of 5" in " ".join(words.split()) and "opinion" in words and "nothing here computes it" in words
    assert "mrTRG" not in whole


def test_form_and_signal_are_there_for_who_opens_them(whole):
    features = {"pre": {"sphericity": 0.81, "mean_z": 1.5}, "post": {"sphericity": 0.62, "mean_z": None}, "post_change": {"sphericity": -0.19, "mean_z": None}}
    read = Page(page(without_pictures(features=features)))
    words = " ".join(read.words)
    assert not read.problems and "Form and signal of what was drawn" in words and "Sphericity (1: ball)" in words and "\N{MINUS SIGN}0.19" in words
    assert "Signal, mean" not in words and "Form and signal" not in whole


# ---- further maps

@pytest.fixture(scope="module")
def explained():
    """A result with a map without and one with a sign, each of both scans."""
    result = complete_result()
    facts = {"formula": "max(0, sum w f)", "resolution_mm": (3.0, 3.0, 3.0), "sees_image_content": True, "scale_top": 1.0, "unit": "share"}
    signed = {visit: (result.images[f"attention_{visit}"] - 0.5) * size for visit, size in (("pre", 4.0), ("post", 1.0))}
    images = {"gradcam_pre": result.images["attention_pre"], "gradcam_post": result.images["attention_post"], "roi_shells_pre": signed["pre"], "roi_shells_post": signed["post"]}
    told = {"gradcam_pre": facts | {"label": "Grad-CAM", "toward": "non-pCR"}, "gradcam_post": facts | {"label": "Grad-CAM", "toward": "non-pCR"}}
    told |= {name: facts | {"label": "Regions taken away", "signed": True, "scale_top": 2.0, "unit": "percentage points of P(pCR)", "numbers": {"tumour": -12.345, "shell": 0.5}}
             for name in ("roi_shells_pre", "roi_shells_post")}
    return dataclasses.replace(result, images=dict(result.images) | images, map_facts=dict(result.map_facts) | told)


def test_further_maps_are_shown_with_label_class_unit_scale_and_numbers(explained):
    shown = page(explained)
    for title in ("Grad-CAM, on the scan before treatment", "Grad-CAM, on the scan after treatment", "Regions taken away, on the scan after treatment"):
        assert f"<h3>{title}</h3>" in shown
    assert "towards the class non-pCR" in shown and "percentage points of P(pCR)" in shown and "Both scans share this scale." in shown
    assert "tumour \u221212.35; shell +0.50" in shown and "Colour scale from \u22122 to 2" in shown and "blue (below 0) to orange (above 0)" in shown
    assert '<th scope="row">Grad-CAM, before treatment</th>' in shown


def test_a_map_of_one_scan_shares_no_scale(explained):
    alone = dataclasses.replace(explained, images={key: image for key, image in explained.images.items() if not key.endswith("_pre") or key == "pre"})
    assert "Both scans share this scale." not in page(alone)


def test_a_label_that_is_hostile_stays_text(explained):
    facts = dict(explained.map_facts) | {"gradcam_post": dict(explained.map_facts["gradcam_post"]) | {"label": "<b>x", "toward": "<i>"}}
    shown = page(dataclasses.replace(explained, map_facts=facts))
    assert "<b>x" not in shown and "<i>" not in shown and "&lt;b&gt;x" in shown


# ---- in the order of the verdict

def in_order(shown: str) -> list[str]:
    return re.findall(r"<!-- map ([a-z_]+) -->", shown)


def judged(result, **maps) -> str:
    return page(dataclasses.replace(result, model={**result.model, "maps": {"default": None, "passed": [], "failed": []} | maps}))


NATIVE = ["attention_pre", "attention_post", "change_post"]


def test_maps_of_a_model_that_was_never_judged_stand_in_their_order_and_it_is_said(explained):
    shown = page(explained)
    assert in_order(shown) == [*NATIVE, "gradcam_pre", "gradcam_post", "roi_shells_pre", "roi_shells_post"]
    assert "was not tested on this model" in shown and "Failed tests" not in shown and "Passed every test" not in shown


def test_what_passed_comes_first_and_what_failed_is_folded_away_last(explained):
    shown = judged(explained, default="gradcam", passed=["change", "gradcam"], failed=["attention"])
    assert in_order(shown) == ["gradcam_pre", "gradcam_post", "change_post", "roi_shells_pre", "roi_shells_post", "attention_pre", "attention_post"]
    heads = [shown.index(text) for text in ("Passed every test of their kind", "<!-- map gradcam_pre", "<strong>Not judged on this model", "<!-- map roi_shells_pre",
                                            "<details><summary>Failed tests of their kind", "<!-- map attention_pre")]
    assert heads == sorted(heads) and "<details open" not in shown
    read = Page(shown)
    assert not read.problems


def test_where_nothing_passed_that_is_said_and_what_failed_is_shown_with_its_heading(explained):
    shown = judged(explained, failed=["attention", "gradcam"])
    assert in_order(shown) == ["change_post", "roi_shells_pre", "roi_shells_post", "attention_pre", "attention_post", "gradcam_pre", "gradcam_post"]
    assert "No map passed every test on this model" in shown and "<summary>Failed tests" not in shown and ">Failed tests of their kind" in shown


def test_what_passed_and_was_not_asked_is_named(explained):
    shown = judged(explained, default="occlusion", passed=["occlusion"], failed=["attention", "change"])
    assert "What passed was not asked: occlusion" in shown and "<details><summary>Failed tests of their kind" in shown


def test_a_map_s_legend_says_its_true_resolution(explained):
    shown = page(explained)
    assert shown.count("True resolution: 3\u00a0\u00d7\u00a03\u00a0\u00d7\u00a03\u00a0mm.") == 4 and shown.count("True resolution: 6\u00a0") == 3


def rows_of(shown: str) -> dict[str, str]:
    return dict(re.findall(r"<!-- map ([a-z_]+) -->(.*?)<!-- end of map -->", shown, re.DOTALL))


def test_a_page_keeps_its_rows_but_for_maps_that_were_made_anew_and_those_that_are_gone(explained):
    before = page(explained)
    other = {**explained.images, "gradcam_pre": explained.images["gradcam_pre"] * 0.5}
    del other["roi_shells_post"]
    after = with_further_maps(before, dataclasses.replace(explained, images=other), {}, {"gradcam_pre"})
    old, new = rows_of(before), rows_of(after)
    assert set(old) - set(new) == {"roi_shells_post"} and {name for name, row in new.items() if row != old[name]} == {"gradcam_pre"}
    assert "Made after the run" in new["gradcam_pre"] and with_further_maps(after, dataclasses.replace(explained, images=other), {}, ()) == after
    assert with_further_maps(before.replace("<!-- maps -->", ""), explained, {}, ()) is None
