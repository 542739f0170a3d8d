"""Step 1: which scans, and whether they can be compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from MRDeltaNetLib.case import Timepoint
from MRDeltaNetLib.errors import MRDeltaNetError, Notice
from MRDeltaNetLib.io.uploads import Incoming, UploadLimits
from MRDeltaNetLib.mrml import hierarchy
from MRDeltaNetLib.mrml.nodes import image_to_node
from MRDeltaNetLib.mrml.sitting import belonging, sample
from MRDeltaNetLib.mrml.sitting.choices import SCANS
from MRDeltaNetLib.web.controls import number
from MRDeltaNetLib.web.scans import NAMES, Stored, receive, take
from MRDeltaNetLib.web.steps.step import Base, remarks

KEY = "scans"
READING = "Checking and reading."
MAX_SERIES = 40
"""Of an upload as many, the largest ones, can be chosen from."""


class Step(Base):
    """Upload or simulate, swap; the findings stand below at once."""

    key = KEY

    def __init__(self, page: Any) -> None:
        super().__init__(page)
        self._notices: dict[str, tuple[Notice, ...]] = {}
        self._waiting: tuple[str, Stored] | None = None  # role and files of an upload of which one series has to be chosen
        self.controls.add("series_number", 0, number(0, MAX_SERIES - 1))
        self.state.update({"findings": [], "scan_errors": [], "scan_notices": [], "has_pre": False, "has_post": False, "sure": False, "uploading": "", "series": [], "series_of": "",
                           "upload_limit": UploadLimits().max_sent_bytes // 1024**2})
        page.on_button("sample", self.sample)
        page.on_button("swap", self.swap)
        page.on_change(lambda: None, "series_number")    # so that what may not be is put back
        page.on_button("take_series", self.take_series)
        page.on_button("leave_series", self.leave_series)

    def refresh(self, situation: Any, seen: Any) -> None:
        found = seen.findings
        own = tuple(notice for role in SCANS for notice in self._notices.get(role, ()))
        self.state.update({"findings": list(found.lines), "scan_errors": remarks(found.errors), "scan_notices": remarks(own + found.notices),
                           "has_pre": situation.pre_chosen, "has_post": situation.post_chosen})

    def sample(self) -> None:
        """Simulate the sample pair in a child process and load it."""
        self.page.follow(sample.STEP, lambda: sample.start(self.sitting, lambda images: [self.choose(role, Timepoint(image)) for role, image in images.items()]))

    async def load(self, role: str, incoming: Incoming) -> None:
        """Take over an uploaded scan; of several series a person has to choose one. raises as web.scans.receive and take; UsageError MRD-E843 if a run has begun meanwhile"""
        self.leave_series()
        stored = await receive(incoming, self.sitting.fresh_folder(f"upload-{role}"))
        if len(stored.series) > 1:
            self._ask(role, stored)
        else:
            await self._take(role, stored)

    def take_series(self) -> None:
        """Take over the series that was chosen. raises UsageError MRD-E843 while something runs; nothing happens if none is waited for"""
        self.sitting.refuse_second_run()
        if self._waiting is not None:
            (role, stored), self._waiting = self._waiting, None
            self.page.spawn(self._take_chosen(role, stored, int(self.controls["series_number"])))

    def leave_series(self) -> None:
        """None of the series that came in is wanted."""
        if self._waiting is not None:
            self._waiting[1].remove()
            self._waiting = None
        self._show_series()

    def _ask(self, role: str, stored: Stored) -> None:
        self._waiting = role, stored
        self.controls.set("series_number", 0)
        self._show_series()

    def _show_series(self) -> None:
        role, series = ("", ()) if self._waiting is None else (self._waiting[0], self._waiting[1].series[:MAX_SERIES])
        with self.state as state:
            state.update({"series_of": role, "series": [each.kind() + (f", {each.columns} x {each.rows}" if each.rows and each.columns else "") for each in series]})

    async def _take_chosen(self, role: str, stored: Stored, number: int) -> None:
        with self.state as state:
            state.update({"series": [], "uploading": READING})
        try:
            await self._take(role, stored, min(number, len(stored.series) - 1))
        except MRDeltaNetError:
            if stored.folder.exists():                   # another series may do
                self._ask(role, stored)
            raise
        finally:
            with self.state as state:
                state.uploading = ""

    async def _take(self, role: str, stored: Stored, number: int | None = None) -> None:
        scan, header = await take(stored, role, number)
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

