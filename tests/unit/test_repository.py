"""The operator's repository: nothing of it moves but agents' refs, and those only forward, whatever a bundle holds."""

import hashlib
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from coppice.components import repository as home
from coppice.components.runtimes.docker.records import clean
from coppice.groves.errors import CoppiceError, RefusedError
from tests.conftest import Git, run_git

BRANCH, SNAPSHOT = "agents/oak", "refs/coppice/snapshots/hello/oak"


def _everything(folder: Path) -> dict[str, str]:
    """Return a digest of every file below a folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _state(folder: Path) -> dict[str, object]:
    """Return what a user would see changed: refs, HEAD, index, configuration, work tree; not new objects."""
    files = {
        name: digest for name, digest in _everything(folder).items() if not name.startswith(".git/objects/")
    }
    # `git status` writes the index when it refreshes it: look at the files first.
    return {
        "files": files,
        "refs": run_git(folder, "for-each-ref"),
        "status": run_git(folder, "status", "--porcelain"),
    }


@dataclass
class Agent:
    """An agent's own clone, and the bundles that come out of it."""

    path: Path
    base: str

    @classmethod
    def clone(cls, repository: Path, path: Path) -> "Agent":
        run_git(path.parent, "clone", "-q", str(repository), str(path))
        run_git(path, "checkout", "-q", "-b", BRANCH)
        return cls(path, run_git(path, "rev-parse", "HEAD"))

    def commit(self, subject: str = "Work", **files: str) -> str:
        for name, text in (files or {"work": subject}).items():
            (self.path / name).write_text(text)
        run_git(self.path, "add", "--all")
        run_git(self.path, "commit", "-q", "--allow-empty", "-m", subject)
        return run_git(self.path, "rev-parse", "HEAD")

    def snapshot(self) -> str:
        tree = run_git(self.path, "rev-parse", "HEAD^{tree}")
        made = run_git(self.path, "commit-tree", "-p", "HEAD", "-m", "left behind", tree)
        run_git(self.path, "update-ref", home.BUNDLED_SNAPSHOT, made)
        return made

    def bundle(self, *refs: str, options: tuple[str, ...] = ()) -> Path:
        target = self.path.parent / "agent.bundle"
        wanted = refs or (f"refs/heads/{BRANCH}",)
        run_git(
            self.path,
            "bundle",
            "create",
            "-q",
            "--version=3",
            str(target),
            *options,
            *wanted,
            f"^{self.base}",
        )
        return target

    def forge(self, target: str, *objects: str, extra: tuple[str, ...] = ()) -> Path:
        """Write a bundle by hand, with `target` under the branch and a pack of `objects`."""
        pack = subprocess.run(
            ["git", "pack-objects", "-q", "--stdout"],
            cwd=self.path,
            input="".join(f"{name}\n" for name in objects or (target,)).encode(),
            capture_output=True,
            check=True,
        ).stdout
        lines = ["# v2 git bundle", f"-{self.base} base", f"{target} refs/heads/{BRANCH}", *extra, "", ""]
        path = self.path.parent / "forged.bundle"
        path.write_bytes("\n".join(lines).encode() + pack)
        return path


@pytest.fixture
def agent(repository: Path, tmp_path: Path) -> Agent:
    return Agent.clone(repository, tmp_path / "clone")


def bring(repository: Path, agent: Agent, bundle: Path) -> home.Home | None:
    return home.bring_home(repository, bundle, branch=BRANCH, base=agent.base, snapshot_ref=SNAPSHOT)


def brought(repository: Path, agent: Agent, bundle: Path) -> home.Home:
    found = bring(repository, agent, bundle)
    assert found is not None
    return found


def refused(repository: Path, agent: Agent, bundle: Path, said: str = "") -> RefusedError:
    before = _state(repository)
    with pytest.raises(RefusedError, match=said) as caught:
        bring(repository, agent, bundle)
    assert _state(repository) == before
    return caught.value


# -- what a ref means


def test_resolve(repository: Path, git: Git) -> None:
    head = git(repository, "rev-parse", "HEAD")
    git(repository, "tag", "-a", "-m", "x", "v1")
    below = repository / "folder"
    below.mkdir()
    for ref in ("HEAD", "main", "v1", head, head[:10], "refs/heads/main"):
        assert home.resolve(repository, ref) == head
    assert home.resolve(below, "HEAD") == head


def _fails(path: Path, ref: str, said: str) -> str:
    with pytest.raises(CoppiceError, match=said) as caught:
        home.resolve(path, ref)
    assert caught.value.exit_code == 2
    assert caught.value.hint
    return str(caught.value)


def test_resolve_without_a_repository(tmp_path: Path) -> None:
    _fails(tmp_path, "HEAD", "is not in a git repository")
    _fails(tmp_path / "missing", "HEAD", "is not in a git repository")


def test_resolve_in_a_shallow_clone(repository: Path, tmp_path: Path, git: Git) -> None:
    git(repository, "commit", "-q", "--allow-empty", "-m", "Second")
    git(tmp_path, "clone", "-q", "--depth=1", repository.as_uri(), "shallow")
    _fails(tmp_path / "shallow", "HEAD", "is a shallow clone")
    git(tmp_path / "shallow", "fetch", "-q", "--unshallow")
    assert home.resolve(tmp_path / "shallow", "HEAD") == git(repository, "rev-parse", "HEAD")


def test_resolve_without_a_commit(tmp_path: Path, git: Git) -> None:
    git(tmp_path, "init", "-q")
    _fails(tmp_path, "HEAD", "has no commit yet")


@pytest.mark.parametrize(
    "ref", ["no-such", "HEAD^{tree}", "main:README.md", "--all", "-h", "--output=x", "", "a b"]
)
def test_resolve_what_is_no_commit(repository: Path, ref: str) -> None:
    before = _state(repository)
    assert repr(ref) in _fails(repository, ref, "has no commit")
    assert _state(repository) == before


def test_resolve_a_branch_that_looks_like_an_option(repository: Path, git: Git) -> None:
    git(repository, "update-ref", "refs/heads/--all", "HEAD")
    assert home.resolve(repository, "refs/heads/--all") == git(repository, "rev-parse", "HEAD")


# -- out: the base


def test_a_base_is_bundled_and_the_repository_is_untouched(
    repository: Path, tmp_path: Path, git: Git
) -> None:
    (repository / "dirty").write_text("not committed")
    commit = git(repository, "rev-parse", "HEAD")
    before = _everything(repository)
    target = tmp_path / "base.bundle"
    home.bundle_base(repository, commit, target)
    assert _everything(repository) == before
    assert git(tmp_path, "bundle", "list-heads", str(target)) == f"{commit} refs/coppice/bases/{commit}"
    bare = tmp_path / "bare"
    git(tmp_path, "init", "-q", "--bare", str(bare))
    git(bare, "fetch", "-q", str(target), "refs/coppice/bases/*:refs/coppice/bases/*")
    assert git(bare, "log", "--format=%s", commit) == "First"


def test_a_base_that_is_not_there(repository: Path, tmp_path: Path) -> None:
    with pytest.raises(CoppiceError, match="cannot bundle"):
        home.bundle_base(repository, "1" * 40, tmp_path / "base.bundle")


# -- home: refs


def test_the_first_time(repository: Path, agent: Agent, git: Git) -> None:
    agent.commit("One", a="1\n2\n")
    last = agent.commit("Two", a="1\n", b="3\n")
    before = _state(repository)
    found = brought(repository, agent, agent.bundle())
    assert found == home.Home(f"refs/heads/{BRANCH}", last, True, "Two", 2, 2, 2, 0, "")
    assert git(repository, "rev-parse", BRANCH) == last
    after = _state(repository)
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
        assert (found.ref, found.moved) == (f"refs/heads/{BRANCH}-{number}", True)
        assert git(repository, "rev-parse", f"{BRANCH}-{number}") == other
        assert not brought(repository, agent, agent.bundle()).moved
    assert git(repository, "rev-parse", BRANCH) == one


def test_a_branch_that_is_checked_out_is_never_moved(repository: Path, agent: Agent, git: Git) -> None:
    one = agent.commit("One")
    brought(repository, agent, agent.bundle())
    git(repository, "checkout", "-q", BRANCH)
    agent.commit("Two")
    found = brought(repository, agent, agent.bundle())
    assert (found.ref, found.moved) == (f"refs/heads/{BRANCH}-2", True)
    assert git(repository, "rev-parse", "HEAD") == one
    assert git(repository, "status", "--porcelain") == ""


def test_a_branch_of_another_work_tree_is_never_moved(repository: Path, agent: Agent, git: Git) -> None:
    one = agent.commit("One")
    brought(repository, agent, agent.bundle())
    git(repository, "worktree", "add", "-q", "../other", BRANCH)
    agent.commit("Two")
    assert brought(repository, agent, agent.bundle()).ref == f"refs/heads/{BRANCH}-2"
    assert git(repository.parent / "other", "rev-parse", "HEAD") == one
    # From that work tree, the main one's branch is not moved either.
    git(repository, "checkout", "-q", f"{BRANCH}-2")
    agent.commit("Three")
    assert brought(repository.parent / "other", agent, agent.bundle()).ref == f"refs/heads/{BRANCH}-3"


def test_a_branch_in_the_way(repository: Path, agent: Agent, git: Git) -> None:
    git(repository, "branch", "agents")
    agent.commit()
    agent.snapshot()
    error = refused(
        repository,
        agent,
        agent.bundle(f"refs/heads/{BRANCH}", home.BUNDLED_SNAPSHOT),
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
    read = home._read_ref

    def read_then_moved(repo: object, ref: str) -> str:
        found = read(repo, ref)  # type: ignore[arg-type]
        git(repository, "update-ref", f"refs/heads/{BRANCH}", theirs)
        return found

    monkeypatch.setattr(home, "_read_ref", read_then_moved)
    agent.commit("Two")
    with pytest.raises(RefusedError, match="cannot lock ref"):
        bring(repository, agent, agent.bundle())
    assert git(repository, "rev-parse", BRANCH) == theirs


# -- home: snapshots


def test_a_snapshot_alone(repository: Path, agent: Agent, git: Git) -> None:
    made = agent.snapshot()
    assert bring(repository, agent, agent.bundle(home.BUNDLED_SNAPSHOT)) is None
    assert git(repository, "rev-parse", SNAPSHOT) == made
    assert git(repository, "branch", "--list", BRANCH) == ""


def test_a_branch_and_a_snapshot(repository: Path, agent: Agent, git: Git) -> None:
    last = agent.commit()
    made = agent.snapshot()
    found = brought(repository, agent, agent.bundle(f"refs/heads/{BRANCH}", home.BUNDLED_SNAPSHOT))
    assert (found.commit, found.snapshot) == (last, SNAPSHOT)
    assert git(repository, "rev-parse", SNAPSHOT) == made
    agent.commit("Two")
    newer = agent.snapshot()
    brought(repository, agent, agent.bundle(f"refs/heads/{BRANCH}", home.BUNDLED_SNAPSHOT))
    assert git(repository, "rev-parse", SNAPSHOT) == newer


# -- home: hostile bundles


def test_a_bundle_that_is_none(repository: Path, agent: Agent, tmp_path: Path) -> None:
    path = tmp_path / "x.bundle"
    for content in (b"", b"hello", b"# v2 git bundle\n", b"# v9 git bundle\n\n", os.urandom(5000)):
        path.write_bytes(content)
        refused(repository, agent, path, BRANCH)


def test_a_bundle_that_was_cut_or_changed(repository: Path, agent: Agent) -> None:
    agent.commit("One", a="\n".join(map(str, range(500))))
    path = agent.bundle()
    whole = path.read_bytes()
    for size in (len(whole) - 1, len(whole) // 2, 120):
        path.write_bytes(whole[:size])
        refused(repository, agent, path, BRANCH)
    middle = len(whole) - 60
    path.write_bytes(whole[:middle] + bytes([whole[middle] ^ 0xFF]) + whole[middle + 1 :])
    refused(repository, agent, path, BRANCH)


def test_a_bundle_that_needs_what_is_not_here(repository: Path, agent: Agent) -> None:
    unseen = agent.commit("Unseen")
    agent.commit("Two")
    agent.base = unseen
    refused(repository, agent, agent.bundle(), unseen)


def test_a_bundle_that_lacks_objects(repository: Path, agent: Agent) -> None:
    last = agent.commit()
    refused(repository, agent, agent.forge(last), BRANCH)


def test_a_bundle_that_was_filtered(repository: Path, agent: Agent) -> None:
    agent.commit("One", a="not in it")
    refused(repository, agent, agent.bundle(options=("--filter=blob:none",)), BRANCH)


def test_a_bundle_without_the_branch(repository: Path, agent: Agent, git: Git) -> None:
    agent.commit()
    git(agent.path, "branch", "other")
    refused(repository, agent, agent.bundle("refs/heads/other"), "neither the branch nor a snapshot")


@pytest.mark.parametrize("kind", ["blob", "tree", "tag"])
def test_a_branch_that_is_no_commit(repository: Path, agent: Agent, git: Git, kind: str) -> None:
    last = agent.commit()
    git(agent.path, "tag", "-a", "-m", "x", "v1")
    tree, blob = (git(agent.path, "rev-parse", name) for name in ("HEAD^{tree}", "HEAD:work"))
    tag = git(agent.path, "rev-parse", "v1")
    target = {"blob": blob, "tree": tree, "tag": tag}[kind]
    refused(repository, agent, agent.forge(target, last, tree, blob, tag), BRANCH)
    assert git(repository, "tag") == ""


def test_other_refs_of_a_bundle_stay_out(repository: Path, agent: Agent, git: Git) -> None:
    last = agent.commit()
    tree, blob = (git(agent.path, "rev-parse", name) for name in ("HEAD^{tree}", "HEAD:work"))
    names = (
        "refs/heads/main",
        "refs/tags/v1",
        "HEAD",
        "refs/replace/" + agent.base,
        "refs/remotes/origin/main",
    )
    extra = tuple(f"{last} {name}" for name in names)
    before = git(repository, "for-each-ref").splitlines()
    found = brought(repository, agent, agent.forge(last, last, tree, blob, extra=extra))
    assert found.commit == last
    assert git(repository, "for-each-ref").splitlines() == sorted(
        [*before, f"{last} commit\trefs/heads/{BRANCH}"], key=lambda line: line.split("\t")[1]
    )
    assert git(repository, "rev-parse", "main") == agent.base


Tree = Callable[[bytes], bytes]


@pytest.mark.parametrize(
    "tree",
    [
        lambda blob: b"100644 .git\0" + blob,
        lambda blob: b"100644 .GIT\0" + blob,
        lambda blob: b"100644 git~1\0" + blob,
        lambda blob: b"100644 ..\0" + blob,
        lambda blob: b"100644 a/b\0" + blob,
        lambda blob: b"100644 a\0" + blob + b"100644 a\0" + blob,
        lambda blob: b"120000 .gitmodules\0" + blob,
    ],
    ids=[".git", ".GIT", "git~1", "dot dot", "slash", "twice", ".gitmodules link"],
)
def test_a_tree_that_git_would_not_make(repository: Path, agent: Agent, git: Git, tree: Tree) -> None:
    blob = git(agent.path, "hash-object", "-w", "--stdin", stdin=b"[core]\n")
    raw = tree(bytes.fromhex(blob))
    bad = git(agent.path, "hash-object", "-t", "tree", "-w", "--literally", "--stdin", stdin=raw)
    commit = git(agent.path, "commit-tree", "-p", agent.base, "-m", "x", bad)
    refused(repository, agent, agent.forge(commit, commit, bad, blob), BRANCH)


def test_a_tree_below_a_commit_that_looks_well(repository: Path, agent: Agent, git: Git) -> None:
    blob = git(agent.path, "hash-object", "-w", "--stdin", stdin=b"x")
    raw = b"100644 .git\0" + bytes.fromhex(blob)
    bad = git(agent.path, "hash-object", "-t", "tree", "-w", "--literally", "--stdin", stdin=raw)
    above = git(agent.path, "mktree", "--missing", stdin=f"040000 tree {bad}\tfolder\n".encode())
    first = git(agent.path, "commit-tree", "-p", agent.base, "-m", "bad", above)
    clean_tree = git(agent.path, "rev-parse", f"{agent.base}^{{tree}}")
    last = git(agent.path, "commit-tree", "-p", first, "-m", "Looks well", clean_tree)
    refused(repository, agent, agent.forge(last, last, first, above, bad, blob), BRANCH)


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


def test_a_diff_runs_no_program_of_the_repository(
    repository: Path, agent: Agent, git: Git, tmp_path: Path
) -> None:
    ran = tmp_path / "ran"
    git(repository, "config", "diff.external", f"touch {ran} #")
    git(repository, "config", "diff.x.textconv", f"touch {ran}; cat")
    agent.commit("Text", **{".gitattributes": "* diff=x\n", "text": "new\n"})
    found = brought(repository, agent, agent.bundle())
    shown = home.diff(repository, agent.base, found.ref, color=False, stat=False)
    assert "+new" in shown
    assert "text           | 1 +" in home.diff(repository, agent.base, found.ref, color=False, stat=True)
    assert not ran.exists()
    with pytest.raises(CoppiceError, match="cannot compare"):
        home.diff(repository, agent.base, "refs/heads/no-such", color=False, stat=False)


def test_a_repository_of_sha256(tmp_path: Path, git: Git) -> None:
    path = tmp_path / "sha256"
    path.mkdir()
    git(path, "init", "-q", "--object-format=sha256", "--initial-branch=main")
    (path / "a").write_text("1\n")
    git(path, "add", "a")
    git(path, "commit", "-q", "-m", "First")
    commit = home.resolve(path, "HEAD")
    assert len(commit) == 64
    bundle = tmp_path / "base.bundle"
    home.bundle_base(path, commit, bundle)
    assert git(path, "bundle", "list-heads", str(bundle)) == f"{commit} refs/coppice/bases/{commit}"
    agent = Agent.clone(path, tmp_path / "clone")
    last = agent.commit("Two", b="2\n")
    found = brought(path, agent, agent.bundle())
    assert (found.commit, found.files, found.moved) == (last, 1, True)


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
