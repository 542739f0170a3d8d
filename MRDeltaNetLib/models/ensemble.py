"""Several networks of one kind as one: the members' mean, and what each of them says."""

from __future__ import annotations

from typing import Sequence

import torch
from torch import nn

from MRDeltaNetLib.models.comparison import mean_shares
from MRDeltaNetLib.models.output import NetworkOutput


class Ensemble(nn.Module):
    """Networks of the same class and settings, trained on other folds or from other seeds.

    Output: the mean of the members' logits, maps and shares; embeddings (and anatomy, at unit length) side by side; member_logits (B, M)
    in the members' order. In training auxiliary losses are means over the members; members are normally trained one by one.
    A state dictionary holds member m under "members.m.".
    """

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        if not members:
            raise ValueError("an ensemble needs at least one member")
        self.members = nn.ModuleList(members)
        first = members[0]
        self.geometry, self.token_stride, self.token_size_mm = first.geometry, first.token_stride, first.token_size_mm
        self.sees_image_content = first.sees_image_content
        self.alignment_sees_image_content = getattr(first, "alignment_sees_image_content", first.sees_image_content)
        self.map_formulas, self.map_note = first.map_formulas, first.map_note
        self.comparison_kind = first.comparison_kind

    @property
    def stages(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """The members' stages, the same stage of all members together."""
        return tuple((stage, tuple(f"members.{m}.{prefix}" for m in range(len(self.members)) for prefix in prefixes))
                     for stage, prefixes in self.members[0].stages)

    def forward(self, x: torch.Tensor) -> NetworkOutput:
        found = [member(x) for member in self.members]
        logits = torch.stack([output.logit for output in found], 1)

        def mean(name: str) -> torch.Tensor:
            return torch.stack([getattr(output, name) for output in found]).mean(0)

        anatomy = None
        if all(output.anatomy is not None for output in found):
            anatomy = torch.cat([output.anatomy for output in found], 2) / len(found) ** 0.5
        auxiliary = {name: torch.stack([output.auxiliary[name] for output in found]).mean() for name in found[0].auxiliary}
        return NetworkOutput(logits.mean(1), mean("attention_post"), mean("attention_pre"), mean("change_post"),
                             torch.cat([output.embedding for output in found], 1), auxiliary, anatomy=anatomy, member_logits=logits,
                             shares=mean_shares([output.shares for output in found]))
