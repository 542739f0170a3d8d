"""Every text of the panel is one that Slicer collects for translators, and is looked up where it was collected."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Iterator

import pytest

from Testing.panel.conftest import MODULE, REPOSITORY

PANEL = MODULE.parent
LIBRARY = REPOSITORY / "MRDeltaNetLib"
SITTING = LIBRARY / "mrml" / "sitting"
MARKS = ("_", "translate")

WORDS = re.compile(r"[A-Za-z]{2,}[ ,;:.?!]+[A-Za-z(]|^[A-Z][a-z]{2,}")
"""Two words, or one with a capital letter: a text for people, unless it is one of those below."""

NAME = re.compile(r"[\w*/-]*[./*_][\w.*/-]*")
"""A file, a dotted name, an attribute: no blank, and something in it that words do not have."""

FOR_HELPERS = {"MRDeltaNetPanel/selftest.py": "what a developer's console shows", "diagnostics.py": "what is sent to a person who helps"}
"""Files whose texts are in English on purpose, and why."""

NO_TEXTS = {"MRDeltaNet.py": {"Segmentations", "Volumes", "Markups", "SubjectHierarchy", "The MRDeltaNet developers", "Button"},
            "MRDeltaNetPanel/editor.py": {"Paint", "Draw", "Erase", "Threshold", "Scissors", "Islands", "Smoothing", "Fill between slices"},
            "MRDeltaNetPanel/logic.py": {"Slicer "},
            "MRDeltaNetPanel/parameters.py": {"Map"},
            "MRDeltaNetPanel/packages.py": {"SimpleITK", "Pillow", "Resources"},
            "MRDeltaNetPanel/sample.py": {"MRDeltaNet simulated pair"},
            "MRDeltaNetPanel/views.py": {"Before-treatment", "After-treatment"}}
"""Names by which Slicer's own modules, effects, packages and views are called, and by which a node or a sample is found again."""

KEPT = {"inputs.py": {"mask digest"}, "results.py": {"alignment result"}, "standing.py": {"outlines left out"}}
"""Names by which the library's sitting finds a node, or what is kept of one, again."""


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.py") if "Testing" not in path.relative_to(folder).parts)


def nodes(source: str) -> Iterator[tuple[ast.AST, list[ast.AST]]]:
    """Every node with those that hold it, the nearest first."""
    def below(node, above):
        yield node, above
        for child in ast.iter_child_nodes(node):
            yield from below(child, [node, *above])
    yield from below(ast.parse(source), [])


def marked(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in MARKS


def unmarked(source: str) -> list[str]:
    """Texts for people that no translator will ever see."""
    return [node.value for node, above in nodes(source)
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and WORDS.search(re.sub(r"<[^>]*>", "", node.value))
            and not NAME.fullmatch(node.value) and not isinstance(above[0], ast.Expr) and not marked(above[0])]


def uncollected(source: str) -> list[int]:
    """Lines on which something is marked that Slicer's collector passes over: no literal, or inside of an f-string."""
    return [node.lineno for node, above in nodes(source) if marked(node) and node.func.id == "_"
            and (not isinstance(node.args[0], ast.Constant) or len(node.args) != 1 or any(isinstance(each, ast.JoinedStr) for each in above))]


@pytest.mark.parametrize("path", files(PANEL), ids=lambda path: path.stem)
def test_every_text_of_the_panel_is_marked_for_translation(path):
    name = path.relative_to(PANEL).as_posix()
    if name in FOR_HELPERS:
        return
    assert [text for text in unmarked(path.read_text(encoding="utf-8")) if text not in NO_TEXTS.get(name, ())] == []


@pytest.mark.parametrize("path", [path for path in files(SITTING) if path.stem != "__init__" and path.name not in FOR_HELPERS], ids=lambda path: path.stem)
def test_what_a_sitting_says_is_marked_for_translation(path):
    """What doors with a face show of it; the panel said the same in the user's language when it did this itself."""
    assert set(unmarked(path.read_text(encoding="utf-8"))) == KEPT.get(path.name, set())


def test_no_exception_is_kept_for_a_text_that_is_gone():
    for name, texts in NO_TEXTS.items():
        assert texts <= set(unmarked((PANEL / name).read_text(encoding="utf-8"))), name


@pytest.mark.parametrize("path", [*files(PANEL), *files(LIBRARY / "workflow"), *files(SITTING)], ids=lambda path: path.stem)
def test_what_is_marked_is_collected(path):
    assert uncollected(path.read_text(encoding="utf-8")) == []


def test_texts_of_the_library_are_looked_up_under_the_files_that_hold_them(application, panel):
    from MRDeltaNetPanel import translating
    holding = {f"{path.parent.name}.{path.stem}" for path in files(LIBRARY)
               if any(marked(node) and node.func.id == "_" for node, _above in nodes(path.read_text(encoding="utf-8")))}
    assert set(translating.CONTEXTS) == holding


def test_a_translation_of_a_library_text_that_lost_its_placeholder_is_not_used(tmp_path):
    pytest.importorskip("PySide6.QtWidgets", exc_type=ImportError, reason="needs PySide6_Essentials (pip install 'mrdeltanet[test]')")
    pytest.importorskip("slicer", reason="needs slicer-core (pip install 'mrdeltanet[scene]')")
    from Testing.standins.application import standin_application
    words = {("workflow.blocks", "Install {packages} first; all else works without."): "Erst installieren.", ("workflow.scans", "Same day"): "Am selben Tag"}
    with standin_application(tmp_path, translations=words) as application:
        application.open_module(MODULE)
        from MRDeltaNetPanel.translating import libraryText
        assert libraryText("Install {packages} first; all else works without.") == "Install {packages} first; all else works without."
        assert libraryText("Same day") == "Am selben Tag" and libraryText("nobody knows this") == "nobody knows this"


def test_what_the_library_refuses_is_told_in_the_user_s_language(tmp_path):
    pytest.importorskip("PySide6.QtWidgets", exc_type=ImportError, reason="needs PySide6_Essentials (pip install 'mrdeltanet[test]')")
    pytest.importorskip("slicer", reason="needs slicer-core (pip install 'mrdeltanet[scene]')")
    from Testing.standins.application import standin_application
    words = {("sitting.runs", "Two scans are needed"): "Zwei Aufnahmen sind n\u00f6tig",
             ("sitting.runs", "choose the scan before and the scan after treatment"): "beide Aufnahmen w\u00e4hlen"}
    with standin_application(tmp_path, translations=words) as application:
        panel = application.open_module(MODULE)
        panel.run("align")
        assert application.dialogs[-1].text == "MRD-E842: Zwei Aufnahmen sind n\u00f6tig.\nWhat to do: beide Aufnahmen w\u00e4hlen."


@pytest.mark.parametrize("source, found", [
    ('TITLES = ("Volume (mL)", "{:.1f}")', ["Volume (mL)"]), ('label.text = "Done"', ["Done"]), ('label.text = f"<b>No report yet</b> {x}"', ["<b>No report yet</b> "]),
    ('label.text = _("Done")', []), ('"""What it is for."""', []), ('connect("clicked(bool)")', []), ('path("scan.nrrd", "MRDeltaNet.role")', [])])
def test_the_search_for_unmarked_texts_finds_what_it_must_and_no_more(source, found):
    assert unmarked(source) == found


@pytest.mark.parametrize("source, lines", [('_("a text")', []), ("_(\n'a '\n'text')", []), ("_(step.title)", [1]), ("_(f'{x} texts')", [1]), ("f'{_(\"to\")}'", [1])])
def test_the_search_for_what_is_not_collected_finds_what_it_must_and_no_more(source, lines):
    assert uncollected(source) == lines
