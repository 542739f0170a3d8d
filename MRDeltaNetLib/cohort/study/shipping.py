"""From trained members to one bundle, written beside the old one and put in its place whole."""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path
from typing import Any, Mapping, Sequence

import numpy as np

from MRDeltaNetLib.cohort.study.card import card, metadata
from MRDeltaNetLib.cohort.study.folder import BUNDLE, MEMBERS
from MRDeltaNetLib.cohort.study.members import WEIGHTS, Member, load_weights, network_settings
from MRDeltaNetLib.config import StudyConfig
from MRDeltaNetLib.errors import InputError, Notice, require
from MRDeltaNetLib.io.atomic import TEMPORARY_PREFIX, folder_to_disk
from MRDeltaNetLib.io.bundle import LICENCE, write_bundle
from MRDeltaNetLib.resources import DEMO_BUNDLE, resource
from MRDeltaNetLib.response import familiarity

GOLDEN_SEED = 20_260_101
BLOCK_VOXELS = 4


def ship(out: Path, config: StudyConfig, members: Sequence[Member], prepared: Any, train: np.ndarray, record: Mapping[str, Any]) -> tuple[str, str]:
    """Write OUT/bundle from the members' weights.

    members  of the folds, in their order, which is the order of the ensemble
    train    indices of the training cases
    record   training.json's content, for card and metadata
    returns  SHA-256 of the bundle's manifest, and why there is no reference of the training cases ("" if there is one)
    """
    network = ensemble(out, config, members)
    settings = {**network_settings(config), "auxiliary": False, "members": len(members)}
    keys = {"keys": [prepared.keys[k] for k in train], "crops_sha256": [prepared.facts[k]["crop"]["sha256"] for k in train]}
    reference, why = reference_of(members, prepared, train)
    folder = out / f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}"
    try:
        said = metadata(record, {"name": config.model.name, "settings": settings}, keys)
        said["mrdeltanet"] |= scans_of([prepared.facts[k] for k in train])
        digest = write_bundle(folder, network=network, metadata=said,
                              card=card(record), golden_input=made_up_input(network.geometry.voxels), licence=licence(), reference=reference)
        swap_in(folder, out / BUNDLE)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return digest, why


def scans_of(facts: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """{"training_scans_sha256": digests of both scans of every training case, sorted}, by which a case is known again whatever its masks.

    facts  of the training cases; {} if one of them has no digests, because an older version prepared it
    """
    if not all("scans_sha256" in one for one in facts):
        return {}
    return {"training_scans_sha256": sorted({digest for one in facts for digest in one["scans_sha256"].values()})}


def ensemble(out: Path, config: StudyConfig, members: Sequence[Member]) -> Any:
    """All members as one network, with their weights, in evaluation mode."""
    from MRDeltaNetLib.models import registry

    settings = {**network_settings(config), "auxiliary": False}
    network = registry.build(config.model.name, members=len(members), **settings)
    for part, member in zip([network] if len(members) == 1 else network.members, members):
        load_weights(part, out / MEMBERS / member.name / WEIGHTS)
    return network.eval()


def made_up_input(voxels: tuple[int, int, int]) -> Any:
    """An input (2, 2, D, H, W) that no patient gave, because a bundle may leave the house: blocks of noise, and an ellipsoid as ROI."""
    torch = require("torch", "Writing a model")
    random = np.random.default_rng(GOLDEN_SEED)
    coarse = random.normal(size=(2, *(-(-size // BLOCK_VOXELS) for size in voxels)))
    image = coarse
    for axis in (1, 2, 3):
        image = np.repeat(image, BLOCK_VOXELS, axis)
    image = image[:, :voxels[0], :voxels[1], :voxels[2]] + 0.2 * random.normal(size=(2, *voxels))
    place = np.meshgrid(*(np.linspace(-1, 1, size) for size in voxels), indexing="ij")
    roi = [1 / (1 + np.exp(-12 * (radius - np.sqrt(sum(axis**2 for axis in place))))) for radius in (0.5, 0.4)]
    return torch.from_numpy(np.stack([image, np.stack(roi)], axis=1).astype(np.float32))


def reference_of(members: Sequence[Member], prepared: Any, train: np.ndarray) -> tuple[Any, str]:
    """The yardstick of the out-of-distribution light from the training cases; or None, and why there is none."""
    embeddings = np.concatenate([member.embeddings[train] for member in members], axis=1)
    percentiles = np.array([[prepared.facts[k]["intensity_percentiles"][visit] for visit in ("pre", "post")] for k in train])
    try:
        return familiarity.fit_reference(embeddings, percentiles, [prepared.facts[k] for k in train]), ""
    except InputError as problem:
        return None, problem.found or problem.what


def no_reference(why: str) -> Notice:
    """The bundle cannot say how like its training cases a case is."""
    return Notice("MRD-W782", f"The bundle cannot say how like its training cases a case is: {why}", "train on more cases, or with fewer members")


def licence() -> str:
    """The licence text that a bundle carries: that of the software, as in the bundle that ships with it."""
    return (resource(DEMO_BUNDLE) / LICENCE).read_text(encoding="utf-8")


def swap_in(made: Path, place: Path) -> None:
    """Give a whole bundle its name; a kill in between leaves the old one, the new one, or none, and the next run writes it again."""
    old = made.with_name(f"{made.name}-old")
    if place.exists():
        os.replace(place, old)
    os.replace(made, place)
    folder_to_disk(place.parent)
    shutil.rmtree(old, ignore_errors=True)
