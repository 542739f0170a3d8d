"""What the controls say, by rule, in one sentence.

A claim that the model needs something is made only where taking it away costs AUC with p < LEVEL. "Needs both scans" is claimed only
if every one of its tests says so; such a claim needs no correction for several tests (intersection-union test, Berger 1982).
Without a significant loss the sentence says "no better, as far as these cases can show" only if a loss of RELEVANT can be ruled out,
and that the cases are too few to tell if it cannot. With fewer than LEAST_OF_A_CLASS cases of a class nothing is claimed at all.
"""

from __future__ import annotations

from typing import Any, Mapping, Sequence

LEVEL = 0.05

RELEVANT = 0.10
"""A loss of AUC that would matter. Where the interval of an unproved loss reaches it, the cases are too few, and nothing is said about the model."""

LEAST_OF_A_CLASS = 5
"""With fewer held-out cases of a class nothing is said about the model: DeLong's variance of so few is no variance, and an AUC of 1 is soon got by luck."""

CONTROLS = ("volume_only", "pre_only", "post_only", "wrong_patient_baseline", "swapped_times", "shuffled_labels", "random_roi", "scanner_only")
"""In the order in which they are reported."""

TITLES = {"model": "the model", "volume_only": "volumes only", "pre_only": "pre-treatment scan only", "post_only": "post-treatment scan only",
          "wrong_patient_baseline": "another patient's baseline", "swapped_times": "visits swapped", "shuffled_labels": "trained on shuffled labels",
          "random_roi": "random ROI", "scanner_only": "scan headers only"}

BOTH_SCANS = ("post_only", "pre_only", "wrong_patient_baseline")
"""The claim that both scans are needed rests on these."""

FAILURES = {"shuffled_labels": "cannot be told from a network that was trained on shuffled labels",
            "scanner_only": "does no better than the scan headers alone, so it may follow the scanner",
            "volume_only": "does no better than volume alone",
            "post_only": "does no better than the post-treatment scan alone",
            "pre_only": "does no better than the pre-treatment scan alone",
            "wrong_patient_baseline": "does no worse with another patient's baseline, so it does not use the pair",
            "swapped_times": "does no worse with the visits swapped, so it does not tell before from after",
            "random_roi": "does no worse with a ROI at a random place, so it does not need the outlines"}   # the only one that leaves "needs both scans" standing
"""What it means when the model is not significantly better than a control, the gravest first."""

LOSSES = {"post_only": "post only loses", "pre_only": "pre only", "wrong_patient_baseline": "another patient's baseline", "volume_only": "volume alone"}


def sentence(results: Mapping[str, Mapping[str, Any]], cases: int, events: int, handicaps: Sequence[str] = ()) -> str:
    """One sentence.

    handicaps  what the one-scan rivals had less of than the model, such as "1 network against 15"; a sentence that says what the model needs tells it

    results  "model" and some of CONTROLS -> {"auc", "ci": [lower, upper]} and for controls "difference" (control minus model) and "delong_p"
    """
    model = results["model"]
    start = (f"On {cases} held-out cases ({events} with pCR) the model (AUC {model['auc']:.2f}, {model['ci'][0]:.2f} to {model['ci'][1]:.2f})")
    if (rarer := min(events, cases - events)) < LEAST_OF_A_CLASS:
        return f"{start}: {rarer} cases of the rarer outcome are too few to say anything about it, or about what it needs; {LEAST_OF_A_CLASS} are the least."
    warnings = _warnings(results) + (f"; mind that the one-scan rivals had less: {_listed(list(handicaps))}" if handicaps else "")
    if model["ci"][0] <= 0.5:
        return f"{start} cannot be told from chance, so nothing can be said about what it needs{warnings}."
    unbeaten = [name for name in FAILURES if name in results and not is_worse(results[name])]
    failed = [name for name in unbeaten if not is_open(results[name])]
    still_open = [f"{TITLES[name]} ({_loss(results[name])})" for name in unbeaten if name not in failed]
    if still_open:
        warnings = f"; these cases are too few to tell whether it is better than {_listed(still_open)}{warnings}"
        if not failed:
            return f"{start} is better than chance{warnings}."
    if failed and failed != ["random_roi"]:
        reasons = _listed([f"{FAILURES[name]} ({_loss(results[name])})" for name in failed])
        return f"{start}, as far as these cases can show, {reasons}{warnings}."
    if all(name in results for name in BOTH_SCANS):
        needs = "needs both scans"
        told = [f"{words} {_loss(results[name])}" for name, words in LOSSES.items() if name in results]
    else:
        needs = "is better than other controls" if failed else "is better than every control that was asked for"
        told = [f"{TITLES[name]} loses {_loss(results[name])}" for name in CONTROLS if name in results and name not in failed]
    outlines = f"; as far as these cases can show, it {FAILURES['random_roi']} ({_loss(results['random_roi'])})" if failed else ""
    if failed and not told:
        return f"{start}{outlines.replace('; as', ', as').replace('it does', 'does')}{warnings}."
    return f"{start} {needs}: {_listed(told)}{outlines}{warnings}."


def is_worse(control: Mapping[str, Any]) -> bool:
    """Whether a control's AUC is below the model's, with p < LEVEL."""
    return control["difference"] < 0 and control["delong_p"] < LEVEL


def is_open(control: Mapping[str, Any]) -> bool:
    """Whether a control that is not significantly worse might still be much worse: its interval reaches a loss of RELEVANT."""
    return not is_worse(control) and control.get("difference_ci", (0.0, 0.0))[0] < -RELEVANT


def p_text(p: float) -> str:
    """"p < 0.001" or "p = 0.032"."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"


def _warnings(results) -> str:
    """What is wrong however well the model does: rivals that should know nothing and do."""
    found = []
    if "shuffled_labels" in results and results["shuffled_labels"]["ci"][0] > 0.5:
        found.append(f"shuffled labels score above chance (AUC {results['shuffled_labels']['auc']:.2f}), so check for a leak")
    if "scanner_only" in results and results["scanner_only"]["ci"][0] > 0.5:
        found.append(f"the scan headers alone tell outcomes apart (AUC {results['scanner_only']['auc']:.2f}), so check how centres and outcomes are mixed")
    return f"; moreover, {_listed(found)}" if found else ""


def _loss(control: Mapping[str, Any]) -> str:
    return f"{-control['difference']:.2f} ({p_text(control['delong_p'])})" if is_worse(control) else \
        f"difference {control['difference']:+.2f}, {p_text(control['delong_p'])}"


def _listed(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}" if parts else ""
