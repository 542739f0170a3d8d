"""The page as the browser gets it: templates of this package, put together once at the start. Values come from the state, never from a template."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Iterable

from MRDeltaNetLib.colours import OUTLINES
from MRDeltaNetLib.errors import require
from MRDeltaNetLib.web.views import FEATURE, INSTALL
from MRDeltaNetLib.workflow import telling
from MRDeltaNetLib.mrml.sitting.asking import NO_POINT

STATIC, TEMPLATES = Path(__file__).with_name("static"), Path(__file__).with_name("templates")
MODULE = {"serve": {"mrdeltanet": str(STATIC)}, "scripts": ["mrdeltanet/page.js"], "styles": ["mrdeltanet/page.css"]}
"""What trame serves beside the page, all of it from this machine."""

TEXTS = {"demo": telling.DEMO_MODEL, "demo_number": telling.DEMO_NUMBER, "out_of_date": telling.OUT_OF_DATE, "refused": telling.REFUSED, "mind": telling.MIND,
         "scans": telling.SCANS, "outlines": telling.OUTLINES, "complete_response": telling.COMPLETE_RESPONSE, "residual_is_drawn": telling.RESIDUAL_IS_DRAWN,
         "mrtrg": telling.MRTRG, "no_point": NO_POINT,
         "outline_colours": {role: "rgb({}, {}, {})".format(*OUTLINES[f"{role}_mask"].rgb) for role in telling.OUTLINES}}
"""Texts that every door shares, by the names that templates use."""

FAVICON = ("data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Ccircle cx='6' cy='8' r='5' fill='%236aa5dd'/%3E"
           "%3Ccircle cx='10' cy='8' r='5' fill='%23EE7733' fill-opacity='.8'/%3E%3C/svg%3E")
WELCOME = '<div class="welcome" v-if="!has_pre && !has_post"><p>The scan before treatment is shown in the upper row, the one after it in the lower row.</p></div>'
READER = ('<section class="reader" v-if="report_open" aria-label="The report"><header><strong>Report</strong>'
          '<button type="button" @click="report_open = false">Close</button></header>'
          '<iframe title="Report" sandbox="" :src="\'report.html?n=\' + report_number"></iframe></section>')
_REMARKS = re.compile(r"\[\[remarks (\w+) (\w+)\]\]")


def build(server: Any, steps: Iterable[Any]) -> tuple[Any, Any]:
    """Lay the page out.

    server   of trame
    steps    steps.step.Base, in their order
    returns  trame's layout, and the virtual node where the views go
    """
    html, layouts = require("trame.widgets.html", FEATURE, INSTALL), require("trame.ui.html", FEATURE, INSTALL)
    node = require("trame_client.widgets.core", FEATURE, INSTALL).VirtualNode(server)
    panel = template("panel") + "".join(_section(step) for step in steps)
    with layouts.DivLayout(server, classes="page") as layout:
        html.Div(panel, classes="panel")
        with html.Main(classes="stage"):
            html.Div(template("strip"), style="display: contents")
            with html.Div(classes="views"):
                node(layout)
            html.Div(WELCOME + READER, style="display: contents")
    return layout, node


def template(name: str) -> str:
    """A template of this package with its lists of remarks filled in."""
    text = (TEMPLATES / f"{name}.html").read_text(encoding="utf-8")
    return _REMARKS.sub(lambda found: (TEMPLATES / "remarks.html").read_text(encoding="utf-8").replace("NAME", found[1]).replace("TITLE", found[2]), text)


def _section(step: Any) -> str:
    return (f'<section v-show="step === \'{step.key}\'" class="body" aria-label="{step.title}"><h2>{step.title}</h2>'
            f'<p class="line">{{{{ views.{step.key}.line }}}}</p>'
            f'{template(step.key)}</section>')
