"""Waiting for a child process as for a function: its progress is told, its result returned, its error raised, and a stop ends it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Mapping, Sequence

from MRDeltaNetLib.errors import (Cancelled, EnvironmentProblem, InputError, MissingPackage, MRDeltaNetError, OutOfMemory, PartialFailure,
                                  UsageError)
from MRDeltaNetLib.processes.conversation import PATIENCE_S, Conversation, Failed, Finished, Progressed, Stopped
from MRDeltaNetLib.progress import Progress

PULSE_S = 0.2
"""How often progress is told while the child says nothing new, so that a stop is heard."""

_KINDS = {kind.exit_status: kind for kind in (UsageError, InputError, EnvironmentProblem, OutOfMemory, PartialFailure)}


def attend(command: Sequence[str], folder: Path | str, environment: Mapping[str, str], progress: Progress, *,
           patience_s: float = PATIENCE_S) -> Mapping[str, Any]:
    """Run a program that talks as doorway does (see processes.lines), and wait for its end.

    folder      where it works
    environment all its variables
    progress    told what it tells, and at least every PULSE_S; what progress raises ends the child and all that it started, at once or,
                if it was asked to stop and puts things in order, within patience_s
    returns     what it said after "finished"
    raises      the error that it told, as the kind that its exit status means; EnvironmentProblem MRD-E870 (not started), MRD-E871 (ended
                without a word); Cancelled if somebody else stopped it
    """
    conversation = Conversation(folder, patience_s=patience_s)
    conversation.begin(command, environment, lifeline=True)
    try:
        return _ended(conversation, progress)
    except BaseException:
        conversation.cancel()
        conversation.wait(patience_s)
        raise
    finally:
        conversation.close()


def _ended(conversation: Conversation, progress: Progress) -> Mapping[str, Any]:
    last, told_at = Progressed(0.0, "Starting"), 0.0
    while True:
        for event in conversation.poll():
            if isinstance(event, Finished):
                return event.summary
            if isinstance(event, Failed):
                raise as_error(event)
            if isinstance(event, Stopped):
                raise Cancelled
            last, told_at = event, time.monotonic()
            progress(last.done, last.message)
        if time.monotonic() - told_at > PULSE_S:
            progress(last.done, last.message)
            told_at = time.monotonic()
        time.sleep(0.01)


def as_error(failed: Failed) -> MRDeltaNetError:
    """What a child told as an error of ours."""
    if failed.code in ("MRD-E870", "MRD-E871"):              # its exit status is not one of ours
        kind = EnvironmentProblem
    else:
        kind = MissingPackage if failed.code == "MRD-E801" else _KINDS.get(failed.exit_status, MRDeltaNetError)
    return kind(failed.what, code=failed.code, found=failed.found, fix=failed.fix)
