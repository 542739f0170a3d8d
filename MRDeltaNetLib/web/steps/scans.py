"""Step 1: which scans, and whether they can be compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from MRDeltaNetLib.case import Timepoint
from MRDeltaNetLib.errors import Notice
from MRDeltaNetLib.io.uploads import Incoming, UploadLimits
from MRDeltaNetLib.mrml import hierarchy
from MRDeltaNetLib.mrml.nodes import image_to_node
from MRDeltaNetLib.mrml.sitting import belonging, sample
from MRDeltaNetLib.mrml.sitting.choices import SCANS
from MRDeltaNetLib.web.scans import NAMES, receive
from MRDeltaNetLib.web.steps.step import Base, remarks

KEY = "scans"


class Step(Base):
    """Upload or simulate, swap; the findings stand below at once."""

    key = KEY

    def __init__(self, page: Any) -> None:
        super().__init__(page)
        self._notices: dict[str, tuple[Notice, ...]] = {}
        self.state.update({"findings": [], "scan_errors": [], "scan_notices": [], "has_pre": False, "has_post": False, "uploading": "",
                           "upload_limit": UploadLimits().max_sent_bytes // 1024**2})
        page.on_button("sample", self.sample)
        page.on_button("swap", self.swap)

    def refresh(self, situation: Any, seen: Any) -> None:
        found = seen.findings
        own = tuple(notice for role in SCANS for notice in self._notices.get(role, ()))
        self.state.update({"findings": list(found.lines), "scan_errors": remarks(found.errors), "scan_notices": remarks(own + found.notices),
                           "has_pre": situation.pre_chosen, "has_post": situation.post_chosen})

    def sample(self) -> None:
        """Simulate the sample pair in a child process and load it."""
        self.page.follow(sample.STEP, lambda: sample.start(self.sitting, lambda images: [self.choose(role, Timepoint(image)) for role, image in images.items()]))

    async def load(self, role: str, incoming: Incoming) -> None:
        """Take over an uploaded scan. raises what web.scans.receive raises; UsageError MRD-E843 if a run has begun meanwhile"""
        scan, header = await receive(incoming, self.sitting.fresh_folder(f"upload-{role}"), role)
        self.sitting.refuse_second_run()
        self.choose(role, scan, header)
        self.page.settled()

    def choose(self, role: str, scan: Timepoint, header: Path | None = None) -> None:
        """A scan in the place of another one, which leaves with all that was made of it."""
        self.page.let_go()
        if (former := getattr(self.choices, SCANS[role])) is not None:
            header_then = self.page.headers.forget(former)
            self.sitting.remove_scan(role)
            if header_then is not None and header_then.parent == self.sitting.session.folder:      # a case folder's own files are its own business
                self.page.discard(header_then)
        node = image_to_node(scan.image, self.page.scene, self.page.scene.GenerateUniqueName(NAMES[role]))
        setattr(self.choices, SCANS[role], node)
        self._notices[role] = scan.notices
        if header is not None:
            self.page.headers.note(node, header)
        self.page.strip.reset(role)
        scans = {each: volume for each, name in SCANS.items() if (volume := getattr(self.choices, name)) is not None}
        hierarchy.file_scans(self.page.scene, scans)

    def swap(self) -> None:
        """Exchange the scans. raises UsageError MRD-E843 while something runs"""
        self.sitting.refuse_second_run()
        self.page.let_go()
        belonging.swap(self.choices)
        self._notices = {"pre": self._notices.get("post", ()), "post": self._notices.get("pre", ())}
        for role in SCANS:
            self.page.strip.reset(role)
        self.page.settled()

