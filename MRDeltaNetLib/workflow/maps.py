"""The maps of a result for a person: which there are, which more can be asked for, in what order, and what has to be said with each.

The order is the verdict's of `mrdeltanet explain verify` on the model (io/judged_maps): what passed comes first and the default before all, what
nobody tested next, what failed last and under a heading that says so. Nothing that failed is shown by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, Callable, Iterable, Mapping

from MRDeltaNetLib.config import NATIVE_METHODS
from MRDeltaNetLib.io import judged_maps
from MRDeltaNetLib.response.attribution import METHODS, missing_package
from MRDeltaNetLib.workflow import blocks
from MRDeltaNetLib.workflow.situation import Situation
from MRDeltaNetLib.workflow.texts import Text, Translate, _, say

OFFERED = "offered"
"""Key of the line that asks for every method that did not fail and has its package; explainer.OFFERED."""

NUMBER = "{:+.2f}"


class Verdict(Enum):
    """What the tests said of a method on this model."""

    PASSED = "passed"
    OPEN = "open"
    FAILED = "failed"


HEADINGS = {Verdict.PASSED: _("Passed the tests on this model"), Verdict.OPEN: _("Not tested on this model"), Verdict.FAILED: _("Failed the tests on this model")}
CAUTION = _("Caution: {caution}.")
WHEN = {"pre": _("{map}, before treatment"), "post": _("{map}, after treatment")}


@dataclass(frozen=True)
class MapLine:
    """One line of a list.

    key      a map's name ("attention_post") or a method's ("attention")
    label    what people read
    why_not  why it cannot be chosen; empty if it can
    caution  what has to be said with it before it is chosen, a sentence; empty if nothing
    """

    key: str
    label: str
    why_not: str = ""
    caution: str = ""


@dataclass(frozen=True)
class MapGroup:
    """Lines of one verdict under their heading; no heading where nobody judged the model's maps."""

    heading: str
    lines: tuple[MapLine, ...]


def verdict(own: Mapping[str, Any], method: str) -> Verdict:
    """What the tests said.

    own  the "mrdeltanet" section of a bundle's metadata, or the model's facts in a result
    """
    maps = own.get("maps") or {"passed": (), "failed": ()}
    return Verdict.PASSED if method in maps["passed"] else Verdict.FAILED if method in maps["failed"] else Verdict.OPEN


def map_label(name: str, translate: Translate = str) -> str:
    """A map's name for people: its method, and the scan that it lies on."""
    return _map_text(name).shown(translate)


def map_groups(names: Iterable[str], own: Mapping[str, Any], translate: Translate = str) -> tuple[MapGroup, ...]:
    """The maps that there are, in the order in which they are offered; after treatment before before it.

    names  as "attention_post", of methods that are known here
    own    see verdict
    """
    lines = [MapLine(name, _with_default(_map_text(name), _method(name), own).shown(translate)) for name in sorted(names, key=_place)]
    return _grouped(lines, own, lambda line: _method(line.key), translate)


def shown_by_itself(names: Iterable[str], own: Mapping[str, Any]) -> str | None:
    """The map that is shown before anybody chose one: of what judged_maps.offered lets be shown the first; None for none."""
    there = set(names)
    offered = judged_maps.offered(own, [key for key in METHODS if {f"{key}_pre", f"{key}_post"} & there])
    return next((name for key in offered[:1] for name in (f"{key}_post", f"{key}_pre") if name in there), None)


def why_none_by_itself(names: Iterable[str], own: Mapping[str, Any], translate: Translate = str) -> str:
    """Why no map is shown although there are some and nobody chose any; empty if one is, or there is none."""
    names = tuple(names)
    if not names or shown_by_itself(names, own) is not None:
        return ""
    default = own["maps"]["default"]
    if default in METHODS:
        return say(_("The map that this model's tests chose is not there yet: ask for {map} below."), map=_label(default)).shown(translate)
    return say(_("No map passed every test on this model, so none is shown by itself.")).shown(translate)


def method_groups(names: Iterable[str], own: Mapping[str, Any], translate: Translate = str) -> tuple[MapGroup, ...]:
    """The methods that can still be asked, in the order in which they are offered; first a line for all of them that did not fail.

    names  maps that are there
    own    see verdict
    """
    there = {_method(name) for name in names}
    lines = [_to_ask(key, own, missing_package(key), translate) for key in METHODS if key not in there and key not in NATIVE_METHODS]
    every = _all_offered([line.key for line in lines if not line.why_not], own)
    head = () if every is None else (MapGroup("", (MapLine(OFFERED, every.shown(translate)),)),)
    return (*head, *_grouped(lines, own, lambda line: line.key, translate))


def map_described(name: str, facts: Mapping[str, Any], own: Mapping[str, Any], translate: Translate = str, *, largest: float = 1.0,
                  clear_below: float = 0.0) -> tuple[str, ...]:
    """What has to be said with a map that is shown, a sentence each: resolution and unit, direction, numbers, verdict, caution.

    facts        of the map in result.json
    own          see verdict
    largest      the map's largest value by size, as a fraction of its scale, which the maps of both scans share
    clear_below  fraction of the scale below which nothing of it is shown
    """
    size = " x ".join(f"{value:g}" for value in facts["resolution_mm"])
    lines = [say(_("True resolution {size} mm; {unit}."), size=size, unit=facts["unit"])]
    if largest < clear_below:
        lines.insert(0, say(_("Nothing of it is seen: its largest value is {largest} % of the scale, and below {clear} % it is clear. Lower that, or see the other scan."),
                            largest=f"{100 * largest:.0f}", clear=f"{100 * clear_below:.0f}"))
    if facts.get("signed"):
        lines.append(say(_("Orange speaks for complete response, blue against it.")))
    if facts.get("toward"):
        lines.append(say(_("It shows what speaks for the class {group}, not what speaks against it."), group=facts["toward"]))
    if numbers := facts.get("numbers"):
        lines.append(say(_("In numbers: {numbers}."), numbers="; ".join(f"{key.replace('_', ' ')} {NUMBER.format(value)}" for key, value in numbers.items())))
    method = _method(name)
    if verdict(own, method) is not Verdict.FAILED:
        lines.append(say(_("{verdict}."), verdict=say(HEADINGS[verdict(own, method)])))
    if caution := _cautions(facts.get("caution"), judged_maps.caution(own, method)):
        lines.append(say(CAUTION, caution=caution))
    return tuple(line.shown(translate) for line in lines)


def why_not_more(situation: Situation, translate: Translate = str) -> str:
    """Why no further map may be asked for now; empty if one may."""
    reason = blocks.further_maps(situation)
    return "" if reason is None else reason.shown(translate)


def _to_ask(key: str, own: Mapping[str, Any], package: str | None, translate: Translate) -> MapLine:
    label = _with_default(_label(key), key, own)
    if package is not None:
        label = say(_("{map} (needs {package})"), map=label, package=package)
    why_not = "" if package is None else say(_("Needs the Python package {package}, which is not installed here."), package=package).shown(translate)
    caution = _cautions(METHODS[key].caution, judged_maps.caution(own, key))
    return MapLine(key, label.shown(translate), why_not, say(CAUTION, caution=caution).shown(translate) if caution else "")


def _all_offered(keys: Iterable[str], own: Mapping[str, Any]) -> Text | None:
    """The label of the line that asks for all of these methods that are offered; None where it would be one method or none."""
    keys = tuple(keys)
    offered = judged_maps.offered(own, keys)
    if len(offered) < 2:
        return None
    if all(verdict(own, key) is Verdict.PASSED for key in offered):
        return say(_("All that passed"))
    return say(_("All of them")) if len(offered) == len(keys) else say(_("All that did not fail"))


def _grouped(lines: Iterable[MapLine], own: Mapping[str, Any], method: Callable[[MapLine], str], translate: Translate) -> tuple[MapGroup, ...]:
    """Lines by verdict, those of the default first; one group without a heading where nobody judged."""
    default = (own.get("maps") or {"default": None})["default"]
    ordered = sorted(lines, key=lambda line: method(line) != default)
    if not own.get("maps"):
        return (MapGroup("", tuple(ordered)),) if ordered else ()
    groups = [MapGroup(translate(HEADINGS[found]), tuple(line for line in ordered if verdict(own, method(line)) is found)) for found in Verdict]
    return tuple(group for group in groups if group.lines)


def _with_default(label: Text, method: str, own: Mapping[str, Any]) -> Text:
    return say(_("{map} (default)"), map=label) if own.get("maps") and own["maps"]["default"] == method else label


def _map_text(name: str) -> Text:
    return say(WHEN[name.rsplit("_", 1)[1]], map=_label(_method(name)))


def _label(method: str) -> Text:
    return say(METHODS[method].label)


def _method(name: str) -> str:
    return name.rsplit("_", 1)[0]


def _place(name: str) -> tuple[int, bool]:
    """Registry's order; after treatment first, because the score is pooled there."""
    return list(METHODS).index(_method(name)), name.endswith("_pre")


def _cautions(*parts: str | None) -> str:
    """Cautions as one text, none of them twice."""
    found: list[str] = []
    for part in parts:
        if part and not any(part in other for other in found):
            found.append(part)
    return "; ".join(found)
