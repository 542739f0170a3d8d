"""The panel in the stand-in window, and what a person does with it."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable

import pytest

from Testing.standins.conftest import application  # noqa: F401 the fixture

REPOSITORY = Path(__file__).resolve().parents[2]
MODULE = REPOSITORY / "MRDeltaNet" / "MRDeltaNet.py"


@pytest.fixture
def panel(application):
    """The module's widget, entered."""
    return application.open_module(MODULE)


@pytest.fixture
def wait(application) -> Callable[..., None]:
    """wait(condition, seconds=120): let the panel work until a condition holds."""

    def until(condition: Callable[[], Any], seconds: float = 120.0) -> None:
        stop = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < stop, "it did not come about"
            assert not application.errors, application.errors
            application.process_events(0.05)
        application.process_events(0.4)

    return until


@pytest.fixture(scope="session")
def simulated() -> Any:
    """A small simulated pair that the real pipeline aligns in seconds."""
    from Testing.simulated import small_pair
    return small_pair()


@pytest.fixture
def scans(application, panel, simulated) -> tuple[Any, Any]:
    """The simulated pair as volume nodes, chosen in the panel's boxes: (pre, post)."""
    import slicer

    from MRDeltaNetLib.mrml.nodes import image_to_node
    pre, post = (image_to_node(image, slicer.mrmlScene, name) for image, name in ((simulated.pre, "Before"), (simulated.post, "After")))
    panel.pages["scans"].ui.preSelector.setCurrentNode(pre)
    panel.pages["scans"].ui.postSelector.setCurrentNode(post)
    panel.refresh()
    return pre, post


@pytest.fixture(scope="session")
def made_up(tmp_path_factory) -> Any:
    """(made-up result, its folder as a run leaves it), of which every test gets a copy: drawing the report's pictures takes longer than most tests."""
    from MRDeltaNetLib.io.results import write_results
    from MRDeltaNetLib.report.html import write_report
    from Testing.made_up_result import complete_result
    result, folder = complete_result(), tmp_path_factory.mktemp("made-up") / "finished"
    result = replace(result, map_facts={name: {**facts, "unit": "a share of one"} for name, facts in result.map_facts.items()})
    write_results(result, folder, manifest={}, also=lambda unfinished: [write_report(result, unfinished / "report.html").name])
    return result, folder


@pytest.fixture
def finished(made_up, tmp_path) -> Any:
    """(made-up result, its folder as a run leaves it): alignment, maps, numbers, report."""
    result, folder = made_up
    return result, Path(shutil.copytree(folder, tmp_path / "finished"))


@pytest.fixture
def case(application, panel, finished) -> Any:
    """A whole case in the scene as two runs would have brought it, without any run: scans, outlines, alignment, prediction, maps, report.
    The parameter node."""
    return fill(panel, finished)


def fill(panel: Any, finished: Any) -> Any:
    """Bring a whole case into the panel's scene; see `case` and `finished`."""
    import slicer

    from MRDeltaNetLib.mrml.nodes import image_to_node
    from MRDeltaNetLib.mrml.sitting import results
    result, folder = finished
    parameters = panel.parameters
    parameters.preVolume, parameters.postVolume = (image_to_node(result.images[role], slicer.mrmlScene, name)
                                                   for role, name in (("pre", "Before"), ("post", "After")))
    for role in ("pre", "post", "residual"):
        panel.logic.setMask(parameters, role, result.images[f"{role}_mask"])
    results.bring_alignment(panel.logic.sittingWith(parameters).choices, folder, panel.logic.fingerprint("align", panel.logic.inputs(parameters), parameters))
    results.bring_result(panel.logic.sittingWith(parameters).choices, folder, panel.logic.fingerprint("predict", panel.logic.inputs(parameters), parameters))
    panel.logic.sitting.last_result = folder
    panel.placeScans()
    panel.refresh()
    return parameters
