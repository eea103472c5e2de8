"""A harness that will not end, hides its processes, or reaches for its supervisor."""

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.supervised import BRANCH, Box, assert_gone, git, wait_for

COMMIT = "echo new > new; git add new; git commit -qm 'add new'"
NOBODY = 65534
# A process in a session of its own, whose parent is gone, which ignores TERM and says who it is.
ESCAPEE = "(setsid bash -c 'trap \"\" TERM; echo $$ >> {pids}; while :; do sleep 1; done' {to} &)"


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path)


def escapee(box: Box, to: str = ">/dev/null 2>&1") -> str:
    pids = box.folder / "pids"
    return ESCAPEE.format(pids=pids, to=to) + f"; until [ -s {pids} ]; do sleep 0.01; done"


def pids(box: Box) -> list[int]:
    return [int(line) for line in (box.folder / "pids").read_text().split()]


def test_stop_ends_a_harness_that_ignores_it_and_its_escapees_and_keeps_the_work(box: Box) -> None:
    script = f"trap '' TERM; echo $$ > {box.folder}/pids0; {COMMIT}; echo left > left; {escapee(box)}; echo ready; while :; do sleep 1; done"
    process = box.start(script, expect="commit")
    wait_for(lambda: (box.folder / "pids").exists() and pids(box))
    begin = time.monotonic()
    process.send_signal(signal.SIGTERM)
    run = box.finish(process, timeout=30)
    assert 7 < time.monotonic() - begin < 12
    assert (run.code, run.end["phase"], run.end["reason"]) == (143, "suspended", "stopped by SIGTERM")
    assert_gone([*pids(box), int((box.folder / "pids0").read_text())])
    assert run.result["commits"] == 1
    assert git(box.fetch(), "show", f"{run.result['snapshot']}:left") == "left"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_stop_is_quick_when_the_harness_is_willing(box: Box, number: signal.Signals) -> None:
    process = box.start(f"{COMMIT}; touch {box.folder}/ready; sleep 60")
    wait_for((box.folder / "ready").exists)
    process.send_signal(number)
    run = box.finish(process, timeout=20)
    assert run.seconds < 4
    assert (run.code, run.end["phase"]) == (143, "suspended")
    assert run.end["reason"] == f"stopped by {number.name}"
    assert run.result["commits"] == 1


def test_a_stopped_harness_hears_the_stop(box: Box) -> None:
    process = box.start(f"touch {box.folder}/ready; kill -STOP $$")
    wait_for((box.folder / "ready").exists)
    process.send_signal(signal.SIGTERM)
    run = box.finish(process, timeout=20)
    assert (run.code, run.seconds < 4) == (143, True)


def test_exit_zero_upon_stop_is_not_done(box: Box) -> None:
    process = box.start(f"trap 'exit 0' TERM; touch {box.folder}/ready; while :; do sleep 0.1; done")
    wait_for((box.folder / "ready").exists)
    process.send_signal(signal.SIGTERM)
    assert box.finish(process, timeout=20).end["phase"] == "suspended"


def test_the_time_limit_ends_what_ignores_it(box: Box) -> None:
    script = f"trap '' TERM; {COMMIT}; {escapee(box)}; while :; do sleep 1; done"
    run = box.run(script, duration=2, timeout=30, expect="commit")
    assert (run.code, run.end["phase"]) == (124, "failed")
    assert 6 < run.seconds < 11
    assert_gone(pids(box))
    assert git(box.fetch(), "rev-parse", f"refs/home/heads/{BRANCH}") == run.result["commit"]


def test_an_escapee_that_holds_the_output_does_not_hold_the_supervisor(box: Box) -> None:
    run = box.run(f"{escapee(box, to='')}; echo last", timeout=20)
    assert run.code == 0
    assert run.seconds < 6
    assert run.output() == ["last"]
    assert_gone(pids(box))


def test_an_escapee_that_floods_the_output_does_not_hold_the_supervisor(box: Box) -> None:
    script = f"(setsid bash -c 'echo $$ >> {box.folder}/pids; exec yes' &); until [ -s {box.folder}/pids ]; do sleep 0.01; done"
    run = box.run(script, "--output-cap", "100000", timeout=20)
    assert run.code == 0
    assert run.seconds < 8
    assert_gone(pids(box))


def test_closed_output_is_not_the_end(box: Box) -> None:
    run = box.run(f"exec >&- 2>&-; sleep 1; {COMMIT}", expect="commit")
    assert run.code == 0
    assert run.seconds > 1


def test_many_short_lived_orphans_are_reaped(box: Box) -> None:
    script = """
        for n in $(seq 100); do (setsid true &) ; done; sleep 0.5
        for stat in /proc/[0-9]*/stat; do
            { read -r text < $stat; } 2>/dev/null || continue
            set -- ${text##*) }
            if [ "$1" = Z ] && [ "$2" = $PPID ]; then echo zombie; fi
        done
    """
    assert box.run(script).output() == []


def test_a_burst_of_forks_is_ended(box: Box) -> None:
    tree = f"f() {{ echo $BASHPID >> {box.folder}/pids; if [ $1 -gt 0 ]; then f $(($1-1)) & f $(($1-1)) & fi; sleep 60; }}"
    run = box.run(f"{tree}; setsid bash -c '{tree}; f 4' & sleep 1; exit 0", timeout=30)
    assert run.code == 0
    assert len(pids(box)) == 31
    assert_gone(pids(box))


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that another user can reach, which the test's own temporary one is not."""
    folder = Path(tempfile.mkdtemp(prefix="coppice-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="drops from root to another user")
@pytest.mark.skipif(not Path("/usr/bin/python3").exists(), reason="needs a Python that any user can run")
def test_the_harness_cannot_open_its_supervisor(open_folder: Path) -> None:
    box = Box(open_folder)
    box.python = "/usr/bin/python3"
    for path in (open_folder, *open_folder.rglob("*")):
        os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    box.popen_options = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    script = """
        forged='{"type":"phase","phase":"done"}'
        (echo $forged > /proc/$PPID/fd/1) || echo no stdout
        (cat /proc/$PPID/environ) || echo no environment
        (: < /proc/$PPID/mem) || echo no memory
        echo $forged > /proc/$$/fd/1
        id -u
    """
    # Process 1 is another program's here, with another log: nothing to warn of.
    run = box.run(script)
    assert run.code == 0
    forged = '{"type":"phase","phase":"done"}'
    assert run.output() == ["no stdout", "no environment", "no memory", forged, str(NOBODY)]
    assert run.warnings == []


def test_a_git_that_never_ends_is_no_success(box: Box) -> None:
    """A git that never ends costs the run its success, not its end."""
    fake = box.folder / "bin"
    fake.mkdir()
    (fake / "git").write_text("#!/bin/sh\nexec sleep 60\n")
    (fake / "git").chmod(0o755)
    box.popen_options = {"env": {**os.environ, "PATH": f"{fake}:{os.environ['PATH']}"}}
    real = shutil.which("git")
    run = box.run(COMMIT.replace("git", real or ""), "--git-timeout", "0.3", timeout=30)
    assert (run.code, run.end["phase"]) == (1, "failed")
    assert run.result["bundle"] is None
    assert "cannot be" in run.end["reason"]


def test_a_stop_while_the_work_comes_home_keeps_the_outcome(box: Box) -> None:
    process = box.start(f"{COMMIT}; mkdir d; mkfifo d/.gitignore; touch d/file", "--git-timeout", "3")
    wait_for((box.workspace / ".git/coppice/scratch/HEAD").exists)
    process.send_signal(signal.SIGTERM)
    run = box.finish(process, timeout=30)
    assert (run.code, run.end["phase"]) == (1, "failed"), "it had ended by itself before"
    assert run.result["commits"] == 1
