"""Parts of the page that need no browser: windows, templates, archives of results, and a guard around every handler."""

from __future__ import annotations

import io
import re
import zipfile
from types import SimpleNamespace

import pytest

pytest.importorskip("trame_slicer", reason="needs the packages of the page: pip install 'mrdeltanet[web]'")

from MRDeltaNetLib import workflow  # noqa: E402
from MRDeltaNetLib.errors import InputError  # noqa: E402
from MRDeltaNetLib.web import layout, routes  # noqa: E402
from MRDeltaNetLib.web.editing import CUTS, TOOLS  # noqa: E402
from MRDeltaNetLib.web.page import MODULES, Page  # noqa: E402
from MRDeltaNetLib.web.strip import MIDDLE, window  # noqa: E402


def test_in_the_middle_the_window_is_the_scans_own_and_the_ends_go_both_ways():
    assert window(100, 300, MIDDLE, MIDDLE) == (100, 300)
    brighter, darker = window(100, 300, 0.7, MIDDLE), window(100, 300, 0.3, MIDDLE)
    assert sum(brighter) < 400 < sum(darker) and brighter[1] - brighter[0] == pytest.approx(200)
    stronger, weaker = window(100, 300, MIDDLE, 1.0), window(100, 300, MIDDLE, 0.0)
    assert stronger[1] - stronger[0] == pytest.approx(50) and weaker[1] - weaker[0] == pytest.approx(800) and sum(stronger) == pytest.approx(400)


def test_every_step_of_the_workflow_has_a_file_and_a_template():
    assert [module.KEY for module in MODULES] == [step.key for step in workflow.STEPS]
    for module in MODULES:
        assert layout.template(module.KEY)


def test_templates_name_every_label_and_hold_no_address_of_another_server():
    whole = "".join(path.read_text(encoding="utf-8") for path in layout.TEMPLATES.glob("*.html")) + "".join(
        path.read_text(encoding="utf-8") for path in layout.STATIC.iterdir())
    assert not re.findall(r"(?:https?:)?//[a-z0-9]+\.[a-z]", whole)
    assert 'sandbox=""' in layout.READER
    assert "v-html" not in whole and "innerHTML" not in whole, "values are text and never markup"
    assert not set(re.findall(r"texts\.(\w+)", whole)) - set(layout.TEXTS) - {"TITLE"}
    assert not re.findall(r"\[\[", "".join(layout.template(module.KEY) for module in MODULES))


def test_every_button_of_a_template_is_known_to_the_page():
    """Names in trigger('...') and those that the page listens to are the same."""
    from pathlib import Path
    wanted = {name for path in layout.TEMPLATES.glob("*.html") for name in re.findall(r"trigger\('(\w+)'\)", path.read_text(encoding="utf-8"))}
    sources = "".join(path.read_text(encoding="utf-8") for path in Path(layout.__file__).parent.rglob("*.py"))
    known = set(re.findall(r'on_button\("(\w+)"', sources)) | {"apply", "clear", "undo", "redo", "carry"}
    assert wanted == known


def test_tools_and_cuts_are_trame_slicers():
    import trame_slicer.segmentation as effects
    from MRDeltaNetLib.web.effects import BY_TOOL
    from trame_slicer.segmentation.scissors_effect_parameters import ScissorsEffectFillMode
    assert set(BY_TOOL) == set(TOOLS) and all(issubclass(effect, effects.SegmentationEffect) for effect in BY_TOOL.values())
    assert all(mode in ScissorsEffectFillMode.__members__ for _, mode in CUTS.values())


def test_the_archive_of_a_result_is_the_same_for_the_same_files(tmp_path):
    (tmp_path / "report").mkdir()
    for name in ("result.json", "report/page.html"):
        (tmp_path / name).write_text(name)
    streams = [io.BytesIO(), io.BytesIO()]
    for stream in streams:
        routes._zip(tmp_path, stream)
    assert streams[0].getvalue() == streams[1].getvalue()
    with zipfile.ZipFile(streams[0]) as archive:
        assert archive.namelist() == ["report/page.html", "result.json"] and archive.read("result.json") == b"result.json" and archive.testzip() is None


class State(dict):
    """A stand-in for trame's state."""

    __getattr__, __setattr__ = dict.__getitem__, dict.__setitem__

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return False


@pytest.mark.parametrize("problem, code, word", [(InputError("a scan is refused", code="MRD-E999", fix="choose another"), "MRD-E999", "A scan is refused."),
                                                 (ValueError("MUSTERMANN^ERIKA"), "MRD-E923", "ValueError"), (OSError("/home/erika/scan"), "MRD-E923", "OSError")])
def test_what_a_handler_raises_is_told_without_what_it_may_hold_and_the_page_goes_on(problem, code, word):
    page = SimpleNamespace(state=State(error=None))
    page.tell = lambda found: Page.tell(page, found)

    def fails():
        raise problem

    assert Page.guarded(page, fails) is None
    told = page.state.error
    assert told["code"] == code and word in told["text"] + told["found"] and told["fix"]
    assert "ERIKA" not in str(told).upper()
    assert Page.guarded(page, lambda: 7) == 7
