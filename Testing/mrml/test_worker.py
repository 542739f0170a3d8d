"""The pipeline as a child process: what it says arrives whole, and when it ends everything that it started has ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import pytest

from MRDeltaNetLib.errors import MRDeltaNetError, UsageError
from MRDeltaNetLib.io.jobs import Job, read_job, write_job
from MRDeltaNetLib.mrml.worker import Failed, Finished, Progressed, Stopped, Worker, child_environment, clean_environment
from MRDeltaNetLib.processes import conversation as module
from MRDeltaNetLib.processes.environments import LEFT_OUT_FOR_ANOTHER_PYTHON
from MRDeltaNetLib.processes.launching import library_folder, module_command
from MRDeltaNetLib.processes.lines import read_line
from MRDeltaNetLib.processes.tree import status_words
from Testing.children import alive, gone
from Testing.simulated import small_pair, write_pair

JOB = Job(pre=Path("pre.nrrd"), post=Path("post.nrrd"), out=Path("out"), steps=("align",))
FINISH = "print('{\"finished\": {\"files\": []}}', flush=True)\n"
posix = pytest.mark.skipif(os.name == "nt", reason="signals and process groups as on POSIX")


@pytest.fixture
def child(tmp_path):
    """child(code, ...) is a worker whose child runs that code; closed at the end."""
    made = []

    def make(code: str, folder: str = "work", **options) -> Worker:
        script = tmp_path / f"child{len(made)}.py"
        script.write_text(textwrap.dedent(code), encoding="utf-8")
        made.append(Worker(tmp_path / folder, command=[sys.executable, str(script)], **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


def ended(worker: Worker, timeout_s: float = 60) -> list:
    """All events of a started worker; the last one ends the job."""
    events = worker.wait(timeout_s)
    assert not worker.running, "the job has not ended"
    return events


def until(worker: Worker, condition, timeout_s: float = 60) -> list:
    events, stop = [], time.monotonic() + timeout_s
    while not condition(events) and time.monotonic() < stop:
        events += worker.poll()
        time.sleep(0.01)
    assert condition(events), events
    return events


def test_progress_comes_in_order_and_the_end_last(child):
    worker = child("import json\nfor k in range(5): print(json.dumps({'done': k / 4, 'message': f'Lékař {k}'}, ensure_ascii=False))\n" + FINISH)
    worker.start(JOB)
    assert worker.running
    assert ended(worker) == [*(Progressed(k / 4, f"Lékař {k}") for k in range(5)), Finished({"files": []})]
    assert worker.poll() == []


def test_twenty_thousand_lines_all_arrive_and_no_poll_takes_long(child):
    worker = child("import json\nfor k in range(20000): print(json.dumps({'done': k / 20000, 'message': str(k)}))\n" + FINISH)
    worker.start(JOB)
    events, longest = [], 0.0
    while worker.running:
        started = time.process_time()
        found = worker.poll()
        longest = max(longest, time.process_time() - started)
        assert len(found) <= module.LINES_A_POLL + 1
        events += found
        time.sleep(0.005)
    assert [event.message for event in events[:-1]] == [str(k) for k in range(20000)] and isinstance(events[-1], Finished)
    assert longest < 0.5


def test_bytes_that_are_no_text_and_foreign_lines_lose_no_neighbour(child):
    worker = child(r"""
        import sys
        out = sys.stdout.buffer
        out.write(b'{"done": 0.1, "message": "first"}\n\xff\xfe\x00broken\n{"done": 0.2, "message": "caf\xe9"}\r\n')
        out.write(b'plain words\n[1, 2]\n{"done": "much", "message": "x"}\n{"done": NaN, "message": "x"}\n{"finished": 3}\n')
        out.write(b'[' * 100000 + b'\n')
        out.write(b'{"done": 0.3, "message": "third"}\n{"finished": {}}')
        """)
    worker.start(JOB)
    assert ended(worker) == [Progressed(0.1, "first"), Progressed(0.2, "caf\ufffd"), Progressed(0.3, "third"), Finished({})]


@pytest.mark.parametrize("line", ["", "null", "3", '{"done": true, "message": "x"}', '{"done": 0.5}', '{"error": {}}', '{"finished": {}, "done": 1}',
                                  '{"error": {"code": 1, "what": "x", "found": "", "fix": "", "exit_status": 3}}', "9" * 5000])
def test_what_is_no_message_of_the_runner_is_none(line):
    assert read_line(line) is None


def test_progress_never_leaves_its_range():
    assert read_line('{"done": 7, "message": "x"}').done == 1.0 and read_line('{"done": -1, "message": "x"}').done == 0.0


def test_the_job_file_is_whole_in_a_folder_with_spaces_and_accents_and_asks_for_json(child):
    worker = child("import os, sys\nprint(__import__('json').dumps({'done': 0.5, 'message': sys.argv[1] + '|' + os.getcwd()}))\n" + FINISH,
                   folder="Jörg Müller's scans 日本")
    worker.start(JOB)
    path, where = ended(worker)[0].message.split("|")
    assert Path(path).parent == Path(where) and Path(path).parent.name == "Jörg Müller's scans 日本"
    assert read_job(path).progress == "json" and read_job(path).steps == ("align",) and read_job(path).pre.is_absolute()


def test_an_error_object_is_told_as_it_is(child):
    error = {"code": "MRD-E330", "what": "The order is wrong", "found": "3 days", "fix": "swap", "exit_status": 3}
    worker = child(f"import json, sys\nprint(json.dumps({{'error': {error!r}}}), flush=True)\nprint('MRD-E330: text', file=sys.stderr)\nsys.exit(3)")
    worker.start(JOB)
    failed = ended(worker)[-1]
    assert failed == Failed("MRD-E330", "The order is wrong", "3 days", "swap", 3, ("MRD-E330: text",))
    assert failed.text() == "MRD-E330: The order is wrong.\nFound: 3 days.\nWhat to do: swap."


def test_a_stop_that_came_from_elsewhere_is_told_as_stopped(child):
    error = {"code": "MRD-E890", "what": "stopped", "found": "", "fix": "", "exit_status": 6}
    for code in (f"import json\nprint(json.dumps({{'error': {error!r}}}))\nraise SystemExit(6)", "raise SystemExit(6)"):
        worker = child(code)
        worker.start(JOB)
        assert ended(worker) == [Stopped()]


def test_a_child_that_ends_without_a_word_leaves_its_last_lines_redacted(child, tmp_path):
    worker = child(f"import sys\nfor k in range(50): print(f'line {{k}}', file=sys.stderr)\n"
                   f"print('cannot read {tmp_path.as_posix()}/Doe John.nrrd', file=sys.stderr)\nsys.exit(5)")
    worker.start(JOB)
    failed = ended(worker)[-1]
    assert (failed.code, failed.exit_status) == ("MRD-E871", 5) and "exit status 5" in failed.found
    assert failed.tail == (*(f"line {k}" for k in range(31, 50)), "cannot read <path>") and worker.tail == failed.tail
    assert "Doe" not in failed.text()


def test_a_line_without_end_is_kept_in_part(child):
    worker = child("import sys\nsys.stderr.write('x/y.' * 2_000_000)\nsys.exit(5)")
    worker.start(JOB)
    assert max(map(len, ended(worker)[-1].tail)) <= module.TAIL_CHARACTERS


def test_status_0_without_a_last_word_is_a_failure(child):
    worker = child("print('hello')")
    worker.start(JOB)
    assert isinstance(ended(worker)[-1], Failed)


@posix
@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL])
def test_a_child_that_the_system_ends_is_a_failure_that_names_the_signal(child, number):
    worker = child(f"import os\nprint('{{\"done\": 0.5, \"message\": \"half\"}}', flush=True)\nos.kill(os.getpid(), {int(number)})")
    worker.start(JOB)
    progressed, failed = ended(worker)
    assert progressed == Progressed(0.5, "half")
    assert (failed.code, failed.exit_status) == ("MRD-E871", -number) and number.name in failed.found and "memory" in failed.fix


def test_a_crash_after_the_last_word_finds_the_result_whole(child):
    worker = child(FINISH + "import os\nos._exit(9)")
    worker.start(JOB)
    assert ended(worker) == [Finished({"files": []})]


def test_a_program_that_is_not_there_is_told_by_poll_and_the_worker_lives_on(tmp_path):
    worker = Worker(tmp_path, command=[str(tmp_path / "no such program")])
    worker.start(JOB)
    assert worker.running
    failed, = worker.poll()
    assert failed.code == "MRD-E870" and failed.exit_status is None and str(tmp_path) not in failed.text() and not worker.running
    worker.cancel()
    worker.start(JOB)
    worker.close()


def test_no_interpreter_at_all_is_told_the_same_way(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", None)
    worker = Worker(tmp_path)
    worker.start(JOB)
    assert worker.poll()[0].code == "MRD-E870"


def test_one_job_at_a_time_then_another_and_none_after_close(child):
    worker = child("import time\ntime.sleep(0.3)\n" + FINISH)
    worker.start(JOB)
    with pytest.raises(UsageError, match="MRD-E872"):
        worker.start(JOB)
    assert ended(worker) == [Finished({"files": []})]
    worker.start(JOB)
    assert ended(worker) == [Finished({"files": []})]
    worker.close()
    with pytest.raises(UsageError, match="closed"):
        worker.start(JOB)


def test_a_bad_job_is_refused_before_a_child_is_started(child):
    worker = child(FINISH)
    with pytest.raises(UsageError, match="MRD-E408"):
        worker.start(Job(pre=Path("a"), post=Path("b"), out=Path("c"), steps=("align", "explain")))
    assert not worker.running and worker.poll() == []


def test_a_folder_that_cannot_be_made_is_an_error_with_a_remedy(tmp_path):
    (tmp_path / "file").write_text("")
    worker = Worker(tmp_path / "file" / "work")
    with pytest.raises(MRDeltaNetError, match="MRD-E81"):
        worker.start(JOB)
    assert not worker.running


STUBBORN = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('up', flush=True)\ntime.sleep(120)\n"

PARENT = """
    import json, subprocess, sys, time
    grandchild = subprocess.Popen([sys.executable, '-c', {code!r}], stdout={out}, stderr={out})
    {wait}
    print(json.dumps({{'done': 0.5, 'message': str(grandchild.pid)}}), flush=True)
    {then}
    """


def parent(code: str, *, out: str = "None", wait: str = "time.sleep(0.5)", then: str = "time.sleep(120)") -> str:
    return PARENT.format(code=code, out=out, wait=wait, then=then)


def grandchild_of(events: list) -> int:
    return next(int(event.message) for event in events if isinstance(event, Progressed))


@posix
def test_cancel_asks_first_and_the_child_may_put_things_in_order(child, tmp_path):
    worker = child(f"""
        import signal, sys, time
        def tidy(number, frame):
            open({str(tmp_path / 'tidy')!r}, 'w').close()
            sys.exit(6)
        signal.signal(signal.SIGTERM, tidy)
        print('{{"done": 0.1, "message": "up"}}', flush=True)
        time.sleep(120)
        """)
    worker.start(JOB)
    until(worker, lambda events: events)
    started = time.monotonic()
    worker.cancel()
    worker.cancel()
    assert time.monotonic() - started < 0.5
    assert ended(worker) == [Stopped()] and (tmp_path / "tidy").exists()


@posix
def test_a_child_that_does_not_listen_is_killed_when_patience_ends(child):
    worker = child("import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('{\"done\": 0.1, \"message\": \"up\"}', flush=True)\ntime.sleep(120)",
                   patience_s=0.4)
    worker.start(JOB)
    until(worker, lambda events: events)
    started = time.monotonic()
    worker.cancel()
    assert ended(worker) == [Stopped()] and 0.4 <= time.monotonic() - started < 10


@posix
@pytest.mark.parametrize("code", ["import time; time.sleep(120)", STUBBORN], ids=["asked", "stubborn"])
def test_cancel_ends_a_grandchild_that_holds_the_pipe(child, code):
    worker = child(parent(code), patience_s=0.5)
    worker.start(JOB)
    pid = grandchild_of(until(worker, lambda events: events))
    assert alive(pid)
    worker.cancel()
    assert ended(worker, 20)[-1] == Stopped() and gone(pid)


@posix
@pytest.mark.parametrize("out", ["None", "subprocess.DEVNULL"], ids=["holds the pipe", "lets it go"])
def test_a_grandchild_ends_even_when_its_parent_is_gone(child, out, monkeypatch):
    monkeypatch.setattr(module, "DRAIN_S", 0.3)
    worker = child(parent(STUBBORN, out=out, then=FINISH.strip()))
    worker.start(JOB)
    events = ended(worker, 20)
    assert isinstance(events[-1], Finished) and gone(grandchild_of(events))


@posix
def test_a_launcher_that_dies_first_leaves_the_real_program_time_to_tidy_up(child, tmp_path):
    """PythonSlicer may be a launcher: it ends at once by the signal, while the Python that it started still puts things in order."""
    tidy = (f"import signal, sys, time\ndef tidy(*_):\n    time.sleep(0.6)\n    open({str(tmp_path / 'tidy')!r}, 'w').close()\n    sys.exit(6)\n"
            "signal.signal(signal.SIGTERM, tidy)\ntime.sleep(120)\n")
    worker = child(parent(tidy))
    worker.start(JOB)
    until(worker, lambda events: events)
    worker.cancel()
    assert ended(worker) == [Stopped()] and (tmp_path / "tidy").exists()


@posix
def test_close_kills_at_once_and_may_be_called_often(child):
    worker = child(parent(STUBBORN))
    worker.close()
    worker = child(parent(STUBBORN))
    worker.start(JOB)
    pid = grandchild_of(until(worker, lambda events: events))
    started = time.monotonic()
    for _ in range(3):
        worker.close()
    assert time.monotonic() - started < 2 and gone(pid) and not worker.running and worker.poll() == []


@posix
def test_what_still_runs_ends_with_python(tmp_path):
    """At the end of the program, and not at the end of a process that was only forked from it."""
    code = f"""
        import os, sys, time
        from pathlib import Path
        from MRDeltaNetLib.io.jobs import Job
        from MRDeltaNetLib.mrml.worker import Worker
        worker = Worker({str(tmp_path)!r}, command=[sys.executable, '-c', {STUBBORN!r}])
        worker.start(Job(pre=Path('a'), post=Path('b'), out=Path('c'), steps=('align',)))
        pid = worker._process.pid
        if os.fork() == 0:
            sys.exit(0)
        os.wait()
        time.sleep(0.2)
        print(pid, worker._process.has_ended(), flush=True)
        """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60)
    pid, had_ended = done.stdout.split()
    assert had_ended == "False", done.stderr
    assert gone(int(pid))


def test_a_worker_without_a_job_takes_every_call(tmp_path):
    worker = Worker(tmp_path)
    worker.cancel()
    assert worker.poll() == [] and worker.wait(0.0) == [] and worker.tail == () and not worker.running
    worker.close()


def test_the_child_s_environment_begins_with_our_library_and_speaks_utf_8(child, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "earlier")
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    worker = child("import json, os, sys\nprint(json.dumps({'done': 0, 'message': '|'.join([os.environ['PYTHONPATH'], os.environ['PYTHONUNBUFFERED'], "
                   "sys.stdout.encoding, repr(sys.stdin.read())])}))\n" + FINISH)
    worker.start(JOB)
    path, unbuffered, encoding, given = ended(worker)[0].message.split("|")
    assert path.split(os.pathsep) == [str(library_folder()), "earlier"] and unbuffered == "1" and encoding == "utf-8" and given == "''"
    assert (library_folder() / "MRDeltaNetLib" / "__init__.py").exists()


def test_a_python_of_its_own_gets_none_of_slicer_s_variables():
    given = {name: "x" for name in LEFT_OUT_FOR_ANOTHER_PYTHON} | {"HOME": "h", "Path": "p"}
    assert clean_environment(given) == {"HOME": "h", "Path": "p"} and len(given) == 2 + len(LEFT_OUT_FOR_ANOTHER_PYTHON)
    assert child_environment(clean_environment(given))["PYTHONPATH"] == str(library_folder())
    assert clean_environment() == {name: value for name, value in os.environ.items() if name not in LEFT_OUT_FOR_ANOTHER_PYTHON}


def test_exit_statuses_in_words():
    assert [status_words(status) for status in (None, 3, -15, -250)] == ["no exit status", "exit status 3", "ended by SIGTERM", "ended by signal 250"]


def test_the_worker_needs_neither_slicer_nor_vtk():
    code = "import sys, MRDeltaNetLib.mrml.worker\nprint(sorted({'slicer', 'vtk', 'vtkmodules', 'qt', 'torch'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    return write_pair(small_pair(), tmp_path_factory.mktemp("scans"))


def job_for(scans: dict, out: Path) -> Job:
    return Job(pre=Path(scans["pre"]), post=Path(scans["post"]), pre_mask=Path(scans["pre_mask"]), out=out, steps=("align", "masks"))


def test_the_real_pipeline_gives_what_the_command_line_gives_byte_for_byte(scans, tmp_path):
    worker = Worker(tmp_path / "wörk 1")
    worker.start(job_for(scans, tmp_path / "by worker"))
    events = ended(worker, 300)
    assert isinstance(events[-1], Finished) and "result.json" in events[-1].summary["files"], events[-1]
    numbers = [event.done for event in events[:-1]]
    assert numbers == sorted(numbers) and numbers[-1] == 1.0
    write_job(replace(job_for(scans, tmp_path / "by hand"), progress="none"), tmp_path / "hand.json")
    done = subprocess.run([sys.executable, "-m", "MRDeltaNetLib", "run", str(tmp_path / "hand.json")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name in ("result.json", "registration.tfm", "post_mask.nrrd"):
        assert (tmp_path / "by worker" / name).read_bytes() == (tmp_path / "by hand" / name).read_bytes(), name


@posix
def test_the_real_pipeline_stops_in_order_and_leaves_no_half_result(scans, tmp_path):
    worker = Worker(tmp_path / "work")
    worker.start(job_for(scans, tmp_path / "out"))
    until(worker, lambda events: any(event.done > 0.05 for event in events if isinstance(event, Progressed)), 120)
    worker.cancel()
    assert ended(worker)[-1] == Stopped() and not (tmp_path / "out" / "manifest.json").exists()


def test_a_refusal_of_the_real_pipeline_has_its_own_code(scans, tmp_path):
    worker = Worker(tmp_path / "work")
    worker.start(Job(pre=Path(scans["pre"]), post=Path(scans["pre"]), out=tmp_path / "out", steps=("align",)))
    failed = ended(worker, 120)[-1]
    assert (failed.code, failed.exit_status) == ("MRD-E331", 3) and failed.fix


def test_another_program_that_talks_as_the_runner_does_is_listened_to(tmp_path):
    worker = Worker(tmp_path / "work")
    worker.start_command([sys.executable, "-c", "print('{\"done\": 0.5, \"message\": \"half\"}')\n" + FINISH])
    assert ended(worker) == [Progressed(0.5, "half"), Finished({"files": []})]


def test_a_command_is_refused_while_a_job_runs(child):
    worker = child("import time; time.sleep(60)")
    worker.start_command([sys.executable, "-c", "import time; time.sleep(60)"])
    with pytest.raises(UsageError) as refused:
        worker.start_command([sys.executable, "-c", FINISH])
    assert refused.value.code == "MRD-E872"


@pytest.mark.skipif(os.name == "nt", reason="the launcher that is imitated here is a shell script")
def test_a_launcher_that_puts_another_library_in_front_of_ours_still_runs_ours(tmp_path):
    """Slicer's PythonSlicer sets PYTHONPATH anew, and an mrdeltanet installed there with pip would be found before the extension's."""
    (tmp_path / "other" / "MRDeltaNetLib").mkdir(parents=True)
    (tmp_path / "other" / "MRDeltaNetLib" / "__init__.py").write_text("raise SystemExit('the wrong library')", encoding="utf-8")
    launcher = tmp_path / "PythonLauncher"
    launcher.write_text(f"#!/bin/sh\nPYTHONPATH='{tmp_path / 'other'}' exec '{sys.executable}' \"$@\"\n", encoding="utf-8")
    launcher.chmod(0o755)
    plain = subprocess.run([launcher, "-P", "-m", "MRDeltaNetLib.sample", "--help"], capture_output=True, text=True, env=child_environment(), timeout=60)
    ours = subprocess.run(module_command("MRDeltaNetLib.sample", "--help", python=str(launcher)), capture_output=True, text=True, env=child_environment(), timeout=60)
    assert "the wrong library" in plain.stderr
    assert ours.returncode == 0 and "--seed" in ours.stdout
