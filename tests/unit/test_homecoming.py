"""Agents' branches in the operator's repository: only their refs move, only forward, and only what was told comes."""

from pathlib import Path

import pytest

from coppice.components import capped, homecoming
from coppice.components.homecoming import Header, Home
from coppice.components.runtimes.docker.records import clean
from coppice.groves.errors import CoppiceError, RefusedError
from tests.bundled import BRANCH, SNAPSHOT, Agent, bring, brought, refused, state, told
from tests.conftest import Git


@pytest.fixture
def agent(repository: Path, tmp_path: Path) -> Agent:
    return Agent.clone(repository, tmp_path / "clone")


# -- the header

A, B, C = "a" * 40, "b" * 40, "c" * 40


@pytest.mark.parametrize(
    ("text", "header"),
    [
        (f"# v2 git bundle\n{A} refs/heads/{BRANCH}\n", Header(A, "", (), 0)),
        (f"# v2 git bundle\n-{C}\n{A} refs/coppice/snapshot\n", Header("", A, (C,), 0)),
        (
            f"# v2 git bundle\n-{C} A \x0csubject\n-{B} \n{A} refs/coppice/snapshot\n{B} refs/heads/{BRANCH}\n",
            Header(B, A, (C, B), 0),
        ),
        (f"# v3 git bundle\n{A} refs/heads/{BRANCH}\n", Header(A, "", (), 0)),
        (f"# v3 git bundle\n@object-format=sha1\n{A} refs/heads/{BRANCH}\n", Header(A, "", (), 0)),
    ],
)
def test_headers(text: str, header: Header) -> None:
    found = homecoming.check_header(text.encode() + b"\nPACK\0\0\n\n", BRANCH)
    assert found == Header(header.commit, header.snapshot, header.prerequisites, len(text) + 1)


REF = f"{A} refs/heads/{BRANCH}\n"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "# v2 git bundle\n\n",
        f"# v2 git bundle\n-{C} only\n\n",
        f"# v2 git bundle\n{REF}",
        f"# v1 git bundle\n{REF}\n",
        f" # v2 git bundle\n{REF}\n",
        f"# v2 git bundle\r\n{REF}\n",
        f"# v2 git bundle\x0c{REF}\n",
        f"# v2 git bundle\n@object-format=sha1\n{REF}\n",
        f"# v3 git bundle\n@object-format=sha256\n{REF}\n",
        f"# v3 git bundle\n@object-format=sha1\n@object-format=sha1\n{REF}\n",
        f"# v3 git bundle\n@object-format=sha1\n@filter=blob:none\n{REF}\n",
        f"# v3 git bundle\n@filter=blob:none\n{REF}\n",
        f"# v2 git bundle\n{REF}{REF}\n",
        f"# v2 git bundle\n{REF}{B} refs/heads/{BRANCH}\n\n",
        f"# v2 git bundle\n{REF}{A} refs/heads/main\n\n",
        f"# v2 git bundle\n{REF}{A} HEAD\n\n",
        f"# v2 git bundle\n{REF}{A} refs/replace/{A}\n\n",
        f"# v2 git bundle\n{A} refs/heads/{BRANCH} \n\n",
        f"# v2 git bundle\n{A} refs/heads/{BRANCH}\r\n\n",
        f"# v2 git bundle\n{A}  refs/heads/{BRANCH}\n\n",
        f"# v2 git bundle\n{A}\trefs/heads/{BRANCH}\n\n",
        f"# v2 git bundle\n{A.upper()} refs/heads/{BRANCH}\n\n",
        f"# v2 git bundle\n{A[1:]} refs/heads/{BRANCH}\n\n",
        f"# v2 git bundle\n{A}{A[:24]} refs/heads/{BRANCH}\n\n",
        f"# v2 git bundle\n-{C}{C[:24]} x\n{REF}\n",
        f"# v2 git bundle\n{REF}-{C} late\n\n",
        f"# v2 git bundle\n-{C}x\n{REF}\n",
        f"# v2 git bundle\n\x1b[2J\n{REF}\n",
        f"# v2 git bundle\n-{C} {'x' * 70_000}\n{REF}\n",
    ],
)
def test_headers_that_are_refused(text: str) -> None:
    with pytest.raises(RefusedError, match=BRANCH) as caught:
        homecoming.check_header(text.encode(), BRANCH)
    assert str(caught.value).isprintable()


def test_a_header_ends_in_the_first_64_kib() -> None:
    comment = "x" * (homecoming.HEADER_LIMIT - len(f"# v2 git bundle\n-{C} \n{REF}\n"))
    text = f"# v2 git bundle\n-{C} {comment}\n{REF}\n".encode()
    assert homecoming.check_header(text, BRANCH).size == homecoming.HEADER_LIMIT
    with pytest.raises(RefusedError):
        homecoming.check_header(text.replace(b"xx", b"xxx", 1), BRANCH)


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("other", ["", A])
def test_a_bundle_that_its_supervisor_did_not_make(
    repository: Path, agent: Agent, which: int, other: str
) -> None:
    agent.commit()
    agent.snapshot()
    path = agent.bundle(f"refs/heads/{BRANCH}", homecoming.BUNDLED_SNAPSHOT)
    say = [*told(path)]
    say[which] = other
    refused(repository, agent, path, "not the one its supervisor made", (say[0], say[1]))


def test_a_bundle_with_less_than_its_supervisor_told(repository: Path, agent: Agent) -> None:
    last = agent.commit()
    refused(repository, agent, agent.bundle(), "not the one its supervisor made", (last, A))


# -- home: refs


def test_the_first_time(repository: Path, agent: Agent, git: Git) -> None:
    agent.commit("One", a="1\n2\n")
    last = agent.commit("Two", a="1\n", b="3\n")
    before = state(repository)
    found = brought(repository, agent, agent.bundle())
    assert found == Home(f"refs/heads/{BRANCH}", last, True, "Two", 2, 2, 2, 0, "")
    assert git(repository, "rev-parse", BRANCH) == last
    after = state(repository)
    assert after["status"] == before["status"]
    assert {*str(after["refs"]).splitlines()} - {*str(before["refs"]).splitlines()} == {
        f"{last} commit\trefs/heads/{BRANCH}"
    }
    assert not (repository / ".git" / "FETCH_HEAD").exists()
    assert git(repository, "fsck", "--strict") == ""


def test_forward_and_again(repository: Path, agent: Agent, git: Git) -> None:
    agent.commit("One")
    first = brought(repository, agent, agent.bundle())
    second = agent.commit("Two")
    found = brought(repository, agent, agent.bundle())
    assert (found.ref, found.commit, found.moved, found.commits) == (first.ref, second, True, 2)
    again = brought(repository, agent, agent.bundle())
    assert (again.ref, again.commit, again.moved) == (first.ref, second, False)
    # What the user put on top stays.
    tree = git(repository, "rev-parse", f"{BRANCH}^{{tree}}")
    top = git(repository, "commit-tree", "-p", BRANCH, "-m", "Mine", tree)
    git(repository, "update-ref", f"refs/heads/{BRANCH}", top)
    held = brought(repository, agent, agent.bundle())
    assert (held.moved, held.commit, git(repository, "rev-parse", BRANCH)) == (False, second, top)


def test_what_diverged_gets_a_number(repository: Path, agent: Agent, git: Git) -> None:
    one = agent.commit("One")
    brought(repository, agent, agent.bundle())
    for number in (2, 3):
        git(agent.path, "reset", "-q", "--hard", agent.base)
        other = agent.commit(f"Other {number}")
        found = brought(repository, agent, agent.bundle())
        assert (found.ref, found.moved) == (f"refs/heads/{BRANCH}.{number}", True)
        assert git(repository, "rev-parse", f"{BRANCH}.{number}") == other
        assert not brought(repository, agent, agent.bundle()).moved
    assert git(repository, "rev-parse", BRANCH) == one


def test_a_branch_that_is_checked_out_is_never_moved(repository: Path, agent: Agent, git: Git) -> None:
    one = agent.commit("One")
    brought(repository, agent, agent.bundle())
    git(repository, "checkout", "-q", BRANCH)
    agent.commit("Two")
    found = brought(repository, agent, agent.bundle())
    assert (found.ref, found.moved) == (f"refs/heads/{BRANCH}.2", True)
    assert git(repository, "rev-parse", "HEAD") == one
    assert git(repository, "status", "--porcelain") == ""


def test_a_branch_of_another_work_tree_is_never_moved(repository: Path, agent: Agent, git: Git) -> None:
    one = agent.commit("One")
    brought(repository, agent, agent.bundle())
    git(repository, "worktree", "add", "-q", "../other", BRANCH)
    agent.commit("Two")
    assert brought(repository, agent, agent.bundle()).ref == f"refs/heads/{BRANCH}.2"
    assert git(repository.parent / "other", "rev-parse", "HEAD") == one
    # From that work tree, the main one's branch is not moved either.
    git(repository, "checkout", "-q", f"{BRANCH}.2")
    agent.commit("Three")
    assert brought(repository.parent / "other", agent, agent.bundle()).ref == f"refs/heads/{BRANCH}.3"


def test_a_branch_in_the_way(repository: Path, agent: Agent, git: Git) -> None:
    git(repository, "branch", "agents")
    agent.commit()
    agent.snapshot()
    error = refused(
        repository,
        agent,
        agent.bundle(f"refs/heads/{BRANCH}", homecoming.BUNDLED_SNAPSHOT),
        "'?refs/heads/agents'?",
    )
    assert "nothing was changed" in str(error.hint)


def test_a_folder_of_branches_in_the_way(repository: Path, agent: Agent, git: Git) -> None:
    git(repository, "branch", f"{BRANCH}/mine")
    agent.commit()
    refused(repository, agent, agent.bundle(), f"refs/heads/{BRANCH}")


@pytest.mark.parametrize("there", [False, True])
def test_a_branch_that_somebody_moves_meanwhile_is_not_overwritten(
    repository: Path, agent: Agent, git: Git, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    if there:
        agent.commit("One")
        brought(repository, agent, agent.bundle())
    tree = git(repository, "rev-parse", "main^{tree}")
    theirs = git(repository, "commit-tree", "-p", "main", "-m", "Theirs", tree)
    read = homecoming._read_ref

    def read_then_moved(repo: object, ref: str) -> str:
        found = read(repo, ref)  # type: ignore[arg-type]
        git(repository, "update-ref", f"refs/heads/{BRANCH}", theirs)
        return found

    monkeypatch.setattr(homecoming, "_read_ref", read_then_moved)
    agent.commit("Two")
    with pytest.raises(RefusedError, match="cannot lock ref"):
        bring(repository, agent, agent.bundle())
    assert git(repository, "rev-parse", BRANCH) == theirs


# -- home: snapshots


def test_a_snapshot_alone(repository: Path, agent: Agent, git: Git) -> None:
    made = agent.snapshot()
    assert bring(repository, agent, agent.bundle(homecoming.BUNDLED_SNAPSHOT)) is None
    assert git(repository, "rev-parse", SNAPSHOT) == made
    assert git(repository, "branch", "--list", BRANCH) == ""


def test_a_branch_and_a_snapshot(repository: Path, agent: Agent, git: Git) -> None:
    last = agent.commit()
    made = agent.snapshot()
    found = brought(repository, agent, agent.bundle(f"refs/heads/{BRANCH}", homecoming.BUNDLED_SNAPSHOT))
    assert (found.commit, found.snapshot) == (last, SNAPSHOT)
    assert git(repository, "rev-parse", SNAPSHOT) == made
    agent.commit("Two")
    newer = agent.snapshot()
    brought(repository, agent, agent.bundle(f"refs/heads/{BRANCH}", homecoming.BUNDLED_SNAPSHOT))
    assert git(repository, "rev-parse", SNAPSHOT) == newer


# -- home: what is told of it


def test_names_with_newlines_and_escapes_are_counted(repository: Path, agent: Agent) -> None:
    agent.commit("Odd", **{"a\nb\t1": "1\n2\n", "\x1b[31mred": "3\n", "-x": "4\n"})
    found = brought(repository, agent, agent.bundle())
    assert (found.files, found.added, found.deleted) == (3, 4, 0)


def test_binary_files_count_as_files(repository: Path, agent: Agent) -> None:
    (agent.path / "picture").write_bytes(b"\0\1\2" * 100)
    agent.commit("Binary", text="1\n")
    found = brought(repository, agent, agent.bundle())
    assert (found.files, found.added) == (2, 1)


def test_a_subject_comes_out_as_it_is_and_clean_takes_the_teeth_out(repository: Path, agent: Agent) -> None:
    agent.commit("\x1b]0;owned\x07Subject")
    found = brought(repository, agent, agent.bundle())
    assert found.subject == "\x1b]0;owned\x07Subject"
    assert clean(found.subject) == "\ufffd]0;owned\ufffdSubject"


def test_a_user_configuration_that_gets_in_the_way(repository: Path, agent: Agent, git: Git) -> None:
    for name, value in {
        "fetch.prune": "true",
        "fetch.writeCommitGraph": "true",
        "core.logAllRefUpdates": "always",
        "log.showSignature": "true",
        "color.ui": "always",
        "diff.noprefix": "true",
        "diff.renames": "copies",
        "core.quotePath": "false",
        "log.follow": "true",
    }.items():
        git(repository, "config", name, value)
    git(repository, "update-ref", "refs/incoming/kept", "HEAD")
    last = agent.commit("Two", a="1\n")
    found = brought(repository, agent, agent.bundle())
    assert (found.commit, found.subject, found.files, found.added) == (last, "Two", 1, 1)
    assert git(repository, "rev-parse", "refs/incoming/kept") == agent.base
    assert not (repository / ".git" / "FETCH_HEAD").exists()


def test_subjects_and_names_with_line_breaks_that_are_not_git_s(repository: Path, agent: Agent) -> None:
    agent.commit("One\x0ctwo\x85three\u2028four", **{"a\x0cb\x85c\u2028d\re": "1\x0c2\n", "f\x1eg": "\n"})
    found = brought(repository, agent, agent.bundle())
    assert found.subject == "One\x0ctwo\x85three\u2028four"
    assert (found.files, found.added, found.deleted) == (2, 2, 0)


def test_statistics_that_take_too_much_cost_no_branch(
    repository: Path, agent: Agent, git: Git, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = agent.commit("Two", a="1\n")
    monkeypatch.setattr(homecoming, "_STATISTICS", capped.Caps(wall=0))
    found = brought(repository, agent, agent.bundle())
    assert found == Home(f"refs/heads/{BRANCH}", last, True, "Two", 1, None, None, None, "")
    assert git(repository, "rev-parse", BRANCH) == last


# -- home: shapes of history that agents make


def test_a_revert_to_an_old_blob(repository: Path, agent: Agent, git: Git) -> None:
    (repository / "README.md").write_text("second\n")
    git(repository, "commit", "-qam", "Second")
    again = Agent.clone(repository, agent.path.parent / "again")
    last = again.commit("Revert", **{"README.md": "hello\n"})
    found = brought(repository, again, again.bundle())
    assert (found.commit, found.files, found.added, found.deleted) == (last, 1, 1, 1)


def test_a_revert_whose_old_objects_the_bundle_leaves_out(repository: Path, agent: Agent, git: Git) -> None:
    # As git with bitmaps packs it: it knows exactly what the base's history holds.
    (repository / "README.md").write_text("second\n")
    git(repository, "commit", "-qam", "Second")
    again = Agent.clone(repository, agent.path.parent / "again")
    last = again.commit("Revert", **{"README.md": "hello\n"})
    assert brought(repository, again, again.forge(last, last)).commit == last


def test_merges_renames_and_empty_commits(repository: Path, agent: Agent, git: Git) -> None:
    agent.commit("One", one="1\n" * 50)
    agent.git("checkout", "-q", "-b", "side", agent.base)
    agent.commit("Side", side="2\n")
    agent.git("checkout", "-q", BRANCH)
    agent.git("merge", "-q", "--no-edit", "side")
    agent.git("mv", "one", "renamed")
    agent.commit("Rename", other="x\n")
    agent.git("commit", "-q", "--allow-empty", "-m", "Empty")
    agent.git("commit", "-q", "--allow-empty", "-m", "Empty again")
    found = brought(repository, agent, agent.bundle())
    assert (found.commits, found.files, found.subject) == (6, 3, "Empty again")
    assert git(repository, "show", f"{BRANCH}:renamed") == ("1\n" * 50).strip()
    assert git(repository, "fsck", "--strict") == ""


def test_an_empty_commit_alone(repository: Path, agent: Agent) -> None:
    agent.git("commit", "-q", "--allow-empty", "-m", "Empty")
    found = brought(repository, agent, agent.bundle())
    assert (found.commits, found.files, found.moved) == (1, 0, True)


@pytest.mark.parametrize("version", [2, 3])
def test_a_thin_pack(repository: Path, agent: Agent, git: Git, version: int) -> None:
    text = "".join(f"{number * 7919}\n" for number in range(20_000))
    (repository / "long").write_text(text)
    git(repository, "add", "long")
    git(repository, "commit", "-qm", "Long")
    again = Agent.clone(repository, agent.path.parent / "again")
    last = again.commit("Longer", long=text + "end\n")
    path = again.bundle(version=version)
    assert path.stat().st_size < 2000  # it is thin
    found = brought(repository, again, path)
    assert (found.commit, found.added, found.deleted) == (last, 1, 0)
    assert git(repository, "fsck", "--strict") == ""


def test_more_objects_than_are_written_one_by_one(repository: Path, agent: Agent, git: Git) -> None:
    last = agent.commit("Many", **{f"file{number}": f"{number}\n" for number in range(300)})
    found = brought(repository, agent, agent.bundle())
    assert (found.commit, found.files, found.added) == (last, 300, 300)
    assert git(repository, "fsck", "--strict") == ""


def test_rewritten_history(repository: Path, agent: Agent, git: Git) -> None:
    git(repository, "commit", "-q", "--allow-empty", "-m", "Second")
    again = Agent.clone(repository, agent.path.parent / "again")
    again.git("reset", "-q", "--hard", "HEAD^")
    last = again.commit("Other", other="x\n")
    found = brought(repository, again, again.bundle())
    assert (found.commit, found.commits, found.files) == (last, 1, 1)


def test_unrelated_history(repository: Path, agent: Agent, git: Git) -> None:
    agent.git("checkout", "-q", "--orphan", "fresh")
    last = agent.commit("Fresh", fresh="x\n")
    agent.git("branch", "-qM", "fresh", BRANCH)
    found = brought(repository, agent, agent.bundle())
    assert (found.commit, found.commits, found.files) == (last, 1, 1)
    assert git(repository, "log", "--format=%s", BRANCH) == "Fresh"


def test_a_submodule_is_only_named(repository: Path, agent: Agent) -> None:
    agent.git("update-index", "--add", "--cacheinfo", f"160000,{A},module")
    agent.git("commit", "-q", "-m", "Submodule")
    found = brought(repository, agent, agent.bundle())
    assert (found.files, found.added) == (1, 1)


# -- refs of the operator's that are not what they seem


def test_a_branch_that_is_another_name_of_main(repository: Path, agent: Agent, git: Git) -> None:
    git(repository, "checkout", "-q", "--detach")
    git(repository, "symbolic-ref", f"refs/heads/{BRANCH}", "refs/heads/main")
    agent.commit("One")
    assert brought(repository, agent, agent.bundle()).ref == f"refs/heads/{BRANCH}.2"
    assert git(repository, "rev-parse", "main") == agent.base


def test_a_branch_below_does_not_hold_it(repository: Path, agent: Agent, git: Git) -> None:
    last = agent.commit("One")
    path = agent.bundle()
    git(repository, "fetch", "-q", str(agent.path), f"{last}:refs/heads/{BRANCH}/mine")
    refused(repository, agent, path, f"refs/heads/{BRANCH}")


def test_no_hook_runs(repository: Path, agent: Agent, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    hook = repository / ".git" / "hooks" / "reference-transaction"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {ran}\n")
    hook.chmod(0o755)
    agent.commit("One")
    brought(repository, agent, agent.bundle())
    assert not ran.exists()


def test_the_branch_and_the_snapshot_move_together(repository: Path, agent: Agent, git: Git) -> None:
    git(repository, "update-ref", SNAPSHOT + "/in-the-way", "HEAD")
    agent.commit()
    agent.snapshot()
    refused(repository, agent, agent.bundle(f"refs/heads/{BRANCH}", homecoming.BUNDLED_SNAPSHOT), SNAPSHOT)


# -- what goes wrong is told of the agent


@pytest.mark.parametrize(
    "error", [ValueError("\x1b[2Jbad"), OSError(28, "No space"), UnicodeError(), KeyError(1)]
)
@pytest.mark.parametrize("step", ["unpack", "check", "subject", "count", "copy"])
def test_unexpected_failures(
    repository: Path, agent: Agent, monkeypatch: pytest.MonkeyPatch, error: Exception, step: str
) -> None:
    def fail(*arguments: object) -> None:
        raise error

    monkeypatch.setattr(homecoming._Quarantine, step, fail)
    agent.commit()
    agent.snapshot()
    caught = refused(repository, agent, agent.bundle(f"refs/heads/{BRANCH}", homecoming.BUNDLED_SNAPSHOT))
    assert str(caught).isprintable()
    assert "nothing was changed" in str(caught.hint)


def test_a_bundle_that_is_no_file(repository: Path, agent: Agent, tmp_path: Path) -> None:
    refused(repository, agent, tmp_path, say=(A, ""))
    refused(repository, agent, tmp_path / "missing", say=(A, ""))


def test_outside_a_repository(agent: Agent, tmp_path: Path) -> None:
    agent.commit()
    (tmp_path / "folder").mkdir()
    with pytest.raises(CoppiceError, match="is not in a git repository"):
        bring(tmp_path / "folder", agent, agent.bundle())
