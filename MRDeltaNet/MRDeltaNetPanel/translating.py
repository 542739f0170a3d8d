"""Texts of the library in the user's language.

Slicer collects the literals inside `_()` under the name of the file that holds them, their context, and `slicer.i18n.tr` looks a text up
under the file that asks. The library marks its texts and knows no language; so they are asked for here, under their own files.
"""

from __future__ import annotations

from string import Formatter
from typing import Any

from slicer.i18n import translate

from MRDeltaNetLib.errors import MRDeltaNetError

CONTEXTS = ("workflow.steps", "workflow.standing", "workflow.blocks", "workflow.changes", "workflow.scans", "workflow.maps", "workflow.telling", "sitting.runs",
            "sitting.asking", "sitting.results", "sitting.further", "sitting.drawing", "sitting.folder", "sitting.keeping", "sitting.outlining", "MRDeltaNetLib.coding")
"""Files of MRDeltaNetLib that hold texts for people, as Slicer names them: folder.file."""


def libraryText(text: str) -> str:
    """A text that the library marked, in the user's language; as it is where nobody translated it, or lost a placeholder.

    text  English, with its placeholders
    """
    for context in CONTEXTS:
        found = translate(context, text)
        if found != text and _placeholders(found) == _placeholders(text):
            return found
    return text


def errorText(error: Any) -> str:
    """The whole message of an error or a failed run, in the user's language as far as the library marked its texts.

    error  MRDeltaNetError or mrml.worker's Failed
    """
    what, found, fix = (libraryText(text) for text in (error.what, error.found, error.fix))
    return MRDeltaNetError(what, code=error.code, found=found, fix=fix).text()


def _placeholders(text: str) -> set[str]:
    return {name for _literal, name, _form, _conversion in Formatter().parse(text) if name is not None}
