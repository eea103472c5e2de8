"""The supervisor on a well-behaved harness."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.supervised import BRANCH, Box, git

COMMIT = "echo new > new; git add new; git commit -qm 'add new'"


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path)


def test_a_commit_comes_home(box: Box) -> None:
    run = box.run(f"echo hello; echo oops >&2; {COMMIT}", expect="commit")
    assert run.code == 0
    assert run.phases == ["provisioning", "starting", "working", "done"]
    assert run.output("stdout") == ["hello"]
    assert run.output("stderr") == ["oops"]
    tip = git(box.workspace, "rev-parse", BRANCH)
    assert {
        key: run.result[key] for key in ("branch", "base", "commit", "commits", "snapshot", "bundle")
    } == {
        "branch": BRANCH,
        "base": box.base,
        "commit": tip,
        "commits": 1,
        "snapshot": None,
        "bundle": str(box.bundle),
    }
    clone = box.fetch()
    assert git(clone, "for-each-ref", "--format=%(refname) %(objectname)", "refs/home") == (
        f"refs/home/heads/{BRANCH} {tip}"
    )
    assert git(clone, "show", "-s", "--format=%an %ae", tip) == "oak oak@wood.coppice.invalid"
    assert run.warnings == []


def test_events_have_the_agreed_keys(box: Box) -> None:
    run = box.run("echo x")
    keys = {event["type"]: set(event) - {"time", "type", "run", "seq"} for event in run.events}
    assert keys == {
        "phase": {"phase", "reason", "exitCode"},
        "output": {"stream", "text"},
        "result": {"branch", "base", "commit", "commits", "snapshot", "bundle"},
    }
    assert {event["run"] for event in run.events} == {"run-1"}
    assert all(event["time"].endswith("Z") and len(event["time"]) == 24 for event in run.events)


def test_what_was_left_uncommitted_comes_home_and_stays_as_it_is(box: Box) -> None:
    script = """
        mkdir -p ignored deep; echo no > ignored/file; echo extra >> .git/info/exclude; echo no > extra
        echo changed > kept; rm doomed; echo tool > deep/tool; chmod +x deep/tool; ln -s kept link
        echo staged > staged; git add staged; echo more >> staged
        git status --porcelain; git rev-parse HEAD
    """
    run = box.run(script)
    assert run.code == 0
    assert run.result["commit"] == box.base
    assert run.result["commits"] == 0
    snapshot = run.result["snapshot"]
    # The agent's branch, index and work tree are what they were.
    after = [
        *git(box.workspace, "status", "--porcelain").splitlines(),
        git(box.workspace, "rev-parse", "HEAD"),
    ]
    assert [line.strip() for line in after] == [line.strip() for line in run.output()]
    clone = box.fetch()
    assert git(clone, "rev-parse", "refs/home/coppice/snapshot") == snapshot
    assert git(clone, "rev-parse", f"{snapshot}^") == box.base
    assert git(clone, "ls-tree", "-r", "--format=%(objectmode) %(path)", snapshot).splitlines() == [
        "100644 .gitignore",
        "100755 deep/tool",
        "100644 kept",
        "120000 link",
        "100644 staged",
    ]
    assert git(clone, "show", f"{snapshot}:kept") == "changed"
    assert git(clone, "show", f"{snapshot}:staged") == "staged\nmore"
    assert not (box.workspace / ".git/coppice/scratch").exists()


def test_commit_and_snapshot_together(box: Box) -> None:
    run = box.run(f"{COMMIT}; echo later > later")
    clone = box.fetch()
    assert git(clone, "rev-parse", f"{run.result['snapshot']}^") == run.result["commit"]
    assert git(clone, "show", f"{run.result['snapshot']}:later") == "later"


def test_a_change_of_the_same_size_in_the_same_tick_is_seen(box: Box) -> None:
    run = box.run("echo one > kept; git add kept; git commit -qm one; echo two > kept")
    clone = box.fetch()
    assert git(clone, "show", f"{run.result['snapshot']}:kept") == "two"


def test_nothing_new_is_no_bundle_and_an_old_one_is_gone(box: Box) -> None:
    assert box.run("echo x > untracked").result["bundle"]
    assert box.bundle.exists()
    run = box.run("rm untracked")
    assert run.code == 0
    assert (run.result["commit"], run.result["snapshot"], run.result["bundle"]) == (box.base, None, None)
    assert not box.bundle.exists()


@pytest.mark.parametrize(
    ("script", "code", "reason"),
    [
        ("exit 3", 3, "exit 3"),
        ("exit 125", 125, "exit 125"),
        ("exit 127", 1, "exit 127"),
        ("kill -9 $$", 1, "killed by SIGKILL"),
    ],
)
def test_a_failing_harness_fails_the_run_and_its_work_comes_home(
    box: Box, script: str, code: int, reason: str
) -> None:
    run = box.run(f"{COMMIT}; {script}", expect="commit")
    assert (run.code, run.end["phase"], run.end["reason"]) == (code, "failed", reason)
    assert git(box.fetch(), "rev-parse", f"refs/home/heads/{BRANCH}") == run.result["commit"] != box.base


def test_exit_zero_without_the_expected_commit_is_failed(box: Box) -> None:
    run = box.run("echo x > untracked", expect="commit")
    assert (run.code, run.end["phase"]) == (1, "failed")
    assert run.end["reason"] == "exit 0, but expect: commit and no commit on agents/oak"
    assert run.result["snapshot"]


def test_a_program_that_is_not_there(box: Box) -> None:
    run = box.run("", argv=["no-such-program"])
    assert (run.code, run.end["phase"]) == (1, "failed")
    assert run.end["reason"] == "cannot start no-such-program: No such file or directory"
    assert "working" not in run.phases


def test_the_harness_s_surroundings(box: Box) -> None:
    names = "HOME TMPDIR LANG COPPICE_AGENT COPPICE_GROVE GIT_TERMINAL_PROMPT MINE"
    script = (
        f"for n in {names}; do echo $n=${{!n}}; done; pwd; cat; ls /proc/self/fd; ps -o sid= -p $$; echo $$"
    )
    run = box.run(script, env={"MINE": "x=y", "HOME": "/elsewhere"})
    output = run.output()
    assert output[:8] == [
        f"HOME={box.home}",
        "TMPDIR=/tmp",
        "LANG=C.UTF-8",
        "COPPICE_AGENT=oak",
        "COPPICE_GROVE=wood",
        "GIT_TERMINAL_PROMPT=0",
        "MINE=x=y",
        str(box.workspace),
    ]
    assert output[8:-2] == ["0", "1", "2", "3"], "3 is the listing's own"
    assert output[-2].strip() == output[-1], "a session of its own"


def test_the_same_box_again(box: Box) -> None:
    box.run(COMMIT)
    shutil.rmtree(box.home)  # a tmpfs is empty after a restart
    run = box.run("git log -1 --format=%s; echo 2 > second; git add .; git commit -qm second", run="run-2")
    assert run.output() == ["add new"]
    assert run.code == 0
    assert run.result["commits"] == 2
    assert {event["run"] for event in run.events} == {"run-2"}
    assert git(box.fetch(), "rev-list", "--count", f"{box.base}..refs/home/heads/{BRANCH}") == "2"


def test_the_time_limit_asks_first(box: Box) -> None:
    run = box.run(f"trap 'echo asked; exit 0' TERM; {COMMIT}; sleep 60 & wait", duration=1, timeout=20)
    assert (run.code, run.end["phase"]) == (124, "failed")
    assert run.end["reason"] == "ran longer than limits.duration (1s)"
    assert run.output() == ["asked"]
    assert run.result["commits"] == 1


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"version": 2}, "version: must be 1"),
        ({"agent": "../x"}, "agent: '../x' does not match"),
        ({"branch": "main"}, "branch: 'main' does not match"),
        ({"base": "HEAD"}, "base: 'HEAD' does not match"),
        ({"argv": []}, "argv: must be a list"),
        ({"argv": ["a", 1]}, "argv[1]: must be text"),
        ({"env": {"A=B": "c"}}, "env: 'A=B' is no name"),
        ({"duration": 0}, "duration: must be a positive"),
        ({"duration": True}, "duration: must be a positive"),
        ({"expect": "result"}, "expect: 'result' is not one of commit, none"),
        ({"workdir": "relative"}, "workdir: 'relative' does not match"),
        ({"workdir": "/no/such/folder"}, "workdir: /no/such/folder is not a directory"),
        ({"surprise": 1}, "surprise: unknown"),
    ],
)
def test_a_bad_launch_document_is_the_supervisor_s_failure(box: Box, change: dict, reason: str) -> None:
    run = box.run("echo never", **change)
    assert (run.code, run.end["phase"]) == (70, "failed")
    assert reason in run.end["reason"]
    assert run.output() == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [("{", "not JSON"), ("[]", "must be an object"), ("{}", "version"), (None, "No such file")],
)
def test_no_launch_document(box: Box, text: str | None, reason: str) -> None:
    if text is not None:
        (box.run_dir / "launch.json").write_text(text)
    run = box.finish(box.start_as_is())
    assert run.code == 70
    assert reason in run.end["reason"]
    assert len(run.events) == 1


def test_a_missing_field_is_named(box: Box) -> None:
    document = box.document("true")
    del document["expect"]
    (box.run_dir / "launch.json").write_text(json.dumps(document))
    run = box.finish(box.start_as_is())
    assert run.end["reason"].endswith("expect: missing")


def test_a_home_that_cannot_be_written_is_the_supervisor_s_failure(box: Box) -> None:
    box.home.rmdir()
    box.home.write_text("a file")
    run = box.run("echo never")
    assert run.code == 70
    assert "FileExistsError" in run.end["reason"]


@pytest.mark.skipif(not Path("/usr/bin/python3").exists(), reason="no system Python")
def test_the_system_s_python_alone_is_enough(box: Box) -> None:
    version = subprocess.run(
        ["/usr/bin/python3", "-c", "import sys; print(sys.version_info >= (3, 11))"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    if version.stdout.strip() != "True":
        pytest.skip("the system's Python is too old")
    box.python = "/usr/bin/python3"
    assert box.run(COMMIT, expect="commit").code == 0
