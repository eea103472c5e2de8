"""Bundles made to deceive, to publish what is not the agent's, or to eat the operator's machine."""

import hashlib
import os
import shutil
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from coppice.components import capped, homecoming
from tests.bundled import BRANCH, Agent, bring, brought, refused, state
from tests.conftest import Git, run_git


@pytest.fixture
def agent(repository: Path, tmp_path: Path) -> Agent:
    return Agent.clone(repository, tmp_path / "clone")


@pytest.fixture
def bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every git below is capped by the test, wider than the project caps it."""
    real = shutil.which("git")
    folder = tmp_path / "bounded"
    folder.mkdir()
    program = folder / "git"
    program.write_text(
        f'#!/bin/sh\nfor cap in "-v 4194304" "-t 90" "-f 12582912"; do ulimit $cap 2>/dev/null; done; exec {real} "$@"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


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
    refused(repository, agent, agent.bundle("refs/heads/other"), "refs/heads/other")


@pytest.mark.parametrize("kind", ["blob", "tree", "tag"])
def test_a_branch_that_is_no_commit(repository: Path, agent: Agent, git: Git, kind: str) -> None:
    last = agent.commit()
    git(agent.path, "tag", "-a", "-m", "x", "v1")
    tree, blob = (git(agent.path, "rev-parse", name) for name in ("HEAD^{tree}", "HEAD:work"))
    tag = git(agent.path, "rev-parse", "v1")
    target = {"blob": blob, "tree": tree, "tag": tag}[kind]
    refused(repository, agent, agent.forge(target, last, tree, blob, tag), BRANCH)
    assert git(repository, "tag") == ""


@pytest.mark.parametrize(
    "ref", ["refs/heads/main", "refs/tags/v1", "HEAD", "refs/replace/{base}", "refs/remotes/origin/main"]
)
def test_a_bundle_with_other_refs(repository: Path, agent: Agent, ref: str) -> None:
    last = agent.commit()
    tree, blob = (agent.git("rev-parse", name) for name in ("HEAD^{tree}", "HEAD:work"))
    extra = (f"{last} {ref.format(base=agent.base)}",)
    path = agent.forge(last, last, tree, blob, extra=extra)
    refused(repository, agent, path, "holds more than the branch", (last, ""))


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


# -- what eats the machine


@pytest.fixture
def bomb(agent: Agent) -> str:
    """A commit of ten levels of ten names, which is ten billion paths."""
    name, mode = agent.blob(b"x\n"), b"100644"
    for _ in range(10):
        rows = b"".join(b"%s %d\0%s" % (mode, number, bytes.fromhex(name)) for number in range(10))
        name, mode = agent.tree(rows), b"40000"
    return agent.commit_tree(name)


@pytest.mark.usefixtures("bounded")
@pytest.mark.timeout(120)
def test_trees_in_trees(repository: Path, agent: Agent, bomb: str) -> None:
    agent.git("update-ref", f"refs/heads/{BRANCH}", bomb)
    path = agent.bundle()
    assert path.stat().st_size < 5000
    since = time.monotonic()
    refused(repository, agent, path, "changes more (than 200000 paths|paths than can be counted)")
    assert time.monotonic() - since < 20


@pytest.mark.usefixtures("bounded")
@pytest.mark.timeout(120)
def test_trees_in_trees_of_a_snapshot(repository: Path, agent: Agent, bomb: str) -> None:
    agent.git("update-ref", homecoming.BUNDLED_SNAPSHOT, bomb)
    agent.commit()
    path = agent.bundle(f"refs/heads/{BRANCH}", homecoming.BUNDLED_SNAPSHOT)
    refused(repository, agent, path, "changes more (than 200000 paths|paths than can be counted)")


@pytest.mark.usefixtures("bounded")
@pytest.mark.timeout(120)
def test_a_large_file_of_newlines(repository: Path, agent: Agent) -> None:
    last = agent.commit("Lines", lines="\n" * 20_000_000)
    path = agent.bundle()
    since = time.monotonic()
    found = brought(repository, agent, path)
    assert time.monotonic() - since < 20
    assert (found.commit, found.moved, found.files, found.added) == (last, True, 1, 0)


@pytest.mark.usefixtures("bounded")
@pytest.mark.timeout(120)
def test_a_chain_of_many_trees(repository: Path, agent: Agent) -> None:
    name, mode, objects = agent.blob(b"x\n"), b"100644", []
    for _ in range(20_000):
        raw = mode + b" d\0" + bytes.fromhex(name)
        objects.append((2, raw))
        name, mode = _name("tree", raw), b"40000"
    commit = agent.commit_tree(agent.git("mktree", "--missing", stdin=f"040000 tree {name}\td\n".encode()))
    top = agent.git("rev-parse", f"{commit}^{{tree}}")
    objects += [(kind, agent_raw(agent, name)) for kind, name in ((1, commit), (2, top))]
    objects.append((3, b"x\n"))
    path = agent.forge_pack(commit, _pack(*objects))
    before = state(repository)
    since = time.monotonic()
    try:
        found = bring(repository, agent, path)
    except homecoming.RefusedError:
        assert state(repository) == before
    else:
        assert found is not None
        assert found.commit == commit
    assert time.monotonic() - since < 60


@pytest.mark.usefixtures("bounded")
def test_more_bytes_than_are_taken(repository: Path, agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(homecoming, "_BYTES", 1_000_000)
    agent.commit("Zeros", zeros="\0" * 600_000, more="\0" * 600_001)
    path = agent.bundle()
    assert path.stat().st_size < 10_000
    refused(repository, agent, path, "unpacks to more than")


def test_more_objects_than_are_taken(repository: Path, agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    agent.commit("Three", a="1")
    path = agent.bundle()
    monkeypatch.setattr(homecoming, "_OBJECTS", 2)
    refused(repository, agent, path, "holds 3 objects")


@pytest.mark.parametrize("which", ["branch", "snapshot"])
def test_more_paths_than_are_taken(
    repository: Path, agent: Agent, monkeypatch: pytest.MonkeyPatch, which: str
) -> None:
    agent.commit("Paths", **{f"file{number}": "same\n" for number in range(6)})
    if which == "snapshot":
        agent.snapshot()
        agent.git("reset", "-q", "--hard", agent.base)
    path = agent.bundle(f"refs/heads/{BRANCH}" if which == "branch" else homecoming.BUNDLED_SNAPSHOT)
    monkeypatch.setattr(homecoming, "_PATHS", 5)
    refused(repository, agent, path, "changes more than 5 paths")
    monkeypatch.setattr(homecoming, "_PATHS", 6)
    bring(repository, agent, path)


def test_a_pack_that_lies_about_its_count(repository: Path, agent: Agent) -> None:
    agent.commit()
    path = agent.bundle()
    whole = path.read_bytes()
    at = whole.index(b"PACK") + 8
    for count in (0, 1, 2**32 - 1):
        path.write_bytes(whole[:at] + count.to_bytes(4, "big") + whole[at + 4 :])
        refused(repository, agent, path)
    path.write_bytes(whole + b"more")
    refused(repository, agent, path, "garbage|junk")


PYTHON = (sys.executable, "-I", "-c")


@pytest.mark.parametrize(
    ("script", "caps"),
    [
        ("x = bytearray(400 << 20)", capped.Caps(memory=200 << 20)),
        ("while True: pass", capped.Caps(cpu=1)),
        ("import time; time.sleep(60)", capped.Caps(wall=0.5)),
        ("import os; os.close(1); os.close(2); import time; time.sleep(60)", capped.Caps(wall=0.5)),
        ("open('big', 'wb').write(bytes(5 << 20))", capped.Caps(file=1 << 20)),
        ("import os; os.fork() or __import__('time').sleep(60)", capped.Caps(wall=0.5)),
        ("while True: print('x' * 1000)", capped.Caps(wall=30)),
    ],
    ids=["memory", "processor", "time", "silence", "file", "child", "output"],
)
@pytest.mark.timeout(60)
def test_caps(tmp_path: Path, script: str, caps: capped.Caps) -> None:
    since = time.monotonic()
    with pytest.raises(capped.CommandError) as caught:
        capped.output([*PYTHON, script], cwd=tmp_path, env={}, caps=caps)
    assert time.monotonic() - since < 15
    assert caught.value.reason
    assert not (tmp_path / "big").exists() or (tmp_path / "big").stat().st_size <= 1 << 20


def test_nothing_runs_on_after_a_cap(tmp_path: Path) -> None:
    script = "import os, time; os.fork(); time.sleep(2); open('late', 'w')"
    with pytest.raises(capped.CommandError, match="took too long"):
        capped.output([*PYTHON, script], cwd=tmp_path, env={}, caps=capped.Caps(wall=0.5))
    time.sleep(3)
    assert not (tmp_path / "late").exists()


def test_a_slow_reader_is_not_the_program_s_fault(tmp_path: Path) -> None:
    script = "print('x' * 200_000)"
    with capped.running([*PYTHON, script], cwd=tmp_path, env={}, caps=capped.Caps(wall=1)) as chunks:
        first = next(chunks)
        time.sleep(1.5)
        assert len(first) + sum(map(len, chunks)) == 200_001


def test_what_a_program_says_is_one_printable_line(tmp_path: Path) -> None:
    script = "import sys; sys.stderr.write('\\x1b[2J\\nbad\\x07' * 100_000); sys.exit(3)"
    with pytest.raises(capped.CommandError) as caught:
        capped.output([*PYTHON, script], cwd=tmp_path, env={})
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 700


def test_records_are_bounded() -> None:
    chunks = [b"a\nb", b"b\n", b"c" * 50, b"c" * 50 + b"\n\n", b"rest"]
    assert list(capped.records(iter(chunks), b"\n", 10)) == [b"a", b"bb", b"c" * 11, b"", b"rest"]


# -- what is not the agent's


def _name(kind: str, raw: bytes) -> str:
    return hashlib.sha1(b"%s %d\0" % (kind.encode(), len(raw)) + raw, usedforsecurity=False).hexdigest()


def agent_raw(agent: Agent, name: str) -> bytes:
    """Return an object of the agent's as it is hashed; commits and trees end in no space that could be lost."""
    kind = agent.git("cat-file", "-t", name)
    text = agent.git("cat-file", kind, name).encode("utf-8", "surrogateescape")
    for raw in (text, text + b"\n"):
        if _name(kind, raw) == name:
            return raw
    raise AssertionError(name)


def _size(kind: int, size: int) -> bytes:
    """Return the head of an object in a pack."""
    found = [kind << 4 | size & 15]
    size >>= 4
    while size:
        found[-1] |= 128
        found.append(size & 127)
        size >>= 7
    return bytes(found)


def _varint(size: int) -> bytes:
    found = [size & 127]
    while size := size >> 7:
        found[-1] |= 128
        found.append(size & 127)
    return bytes(found)


def _pack(*objects: tuple[int, bytes], built: tuple[tuple[str, bytes], ...] = ()) -> bytes:
    """Return a pack of objects (1 commit, 2 tree, 3 blob) and of deltas (name of what they build on, delta)."""
    parts = [b"PACK" + (2).to_bytes(4, "big") + (len(objects) + len(built)).to_bytes(4, "big")]
    parts += [_size(kind, len(raw)) + zlib.compress(raw) for kind, raw in objects]
    parts += [_size(7, len(delta)) + bytes.fromhex(on) + zlib.compress(delta) for on, delta in built]
    whole = b"".join(parts)
    return whole + hashlib.sha1(whole, usedforsecurity=False).digest()


SECRET = b"the operator's own, on no branch that the agent was given\n"


@pytest.fixture
def secret(repository: Path, agent: Agent) -> str:
    """The name of a blob that the operator has on another branch, which the agent learned somehow."""
    name = run_git(repository, "hash-object", "-w", "--stdin", stdin=SECRET)
    tree = run_git(repository, "mktree", stdin=f"100644 blob {name}\tsecret\n".encode())
    commit = run_git(repository, "commit-tree", "-m", "Private", tree)
    run_git(repository, "update-ref", "refs/heads/private", commit)
    return name


def _tree(agent: Agent, **files: str) -> str:
    rows = "".join(f"100644 blob {name}\t{path}\n" for path, name in files.items())
    return agent.git("mktree", "--missing", stdin=rows.encode())


def test_a_tree_that_names_an_object_of_the_operator_s(repository: Path, agent: Agent, secret: str) -> None:
    tree = _tree(agent, mine=secret)
    commit = agent.commit_tree(tree)
    refused(repository, agent, agent.forge(commit, commit, tree), f"neither in it nor in .*{secret}")


def test_a_commit_on_a_commit_of_the_operator_s(repository: Path, agent: Agent, secret: str) -> None:
    private = run_git(repository, "rev-parse", "private")
    tree = agent.git("rev-parse", "HEAD^{tree}")
    raw = agent_raw(agent, agent.commit_tree(tree)).replace(agent.base.encode(), private.encode())
    refused(
        repository,
        agent,
        agent.forge_pack(_name("commit", raw), _pack((1, raw))),
        "neither in it nor in",
    )


def test_a_prerequisite_of_the_operator_s(repository: Path, agent: Agent, secret: str) -> None:
    private = run_git(repository, "rev-parse", "private")
    agent.commit()
    path = agent.bundle(version=2)
    path.write_bytes(path.read_bytes().replace(b"\n-", f"\n-{private} x\n-".encode(), 1))
    refused(repository, agent, path, f"was not given: {private}")


def test_a_delta_that_copies_an_object_of_the_operator_s(repository: Path, agent: Agent, secret: str) -> None:
    more = SECRET + b"!"
    delta = _varint(len(SECRET)) + _varint(len(more)) + bytes([0x90, len(SECRET), 1]) + b"!"
    tree = _tree(agent, mine=_name("blob", more))
    commit = agent.commit_tree(tree)
    objects = ((1, agent_raw(agent, commit)), (2, _raw_tree("mine", _name("blob", more))))
    pack = _pack(*objects, built=((secret, delta),))
    refused(repository, agent, agent.forge_pack(commit, pack), f"neither in it nor in .*{secret}")


def test_a_delta_that_draws_an_object_of_the_operator_s_in(
    repository: Path, agent: Agent, secret: str
) -> None:
    # Git completes the pack by what the delta builds on: the object is in the quarantine's own store then.
    delta = _varint(len(SECRET)) + _varint(1) + bytes([1]) + b"!"
    tree = _tree(agent, a=_name("blob", b"!"), b=secret)
    commit = agent.commit_tree(tree)
    raw = _raw_tree("a", _name("blob", b"!")) + _raw_tree("b", secret)
    objects = ((1, agent_raw(agent, commit)), (2, raw))
    pack = _pack(*objects, built=((secret, delta),))
    refused(repository, agent, agent.forge_pack(commit, pack), f"neither in it nor in .*{secret}")


def test_a_delta_on_the_base_s_own_history_is_taken(repository: Path, agent: Agent, git: Git) -> None:
    # The same forgery, on an object that the agent was given.
    on, content = git(repository, "rev-parse", "HEAD:README.md"), b"hello\n"
    more = content + b"!"
    delta = _varint(len(content)) + _varint(len(more)) + bytes([0x90, len(content), 1]) + b"!"
    tree = _tree(agent, mine=_name("blob", more))
    commit = agent.commit_tree(tree)
    objects = ((1, agent_raw(agent, commit)), (2, _raw_tree("mine", _name("blob", more))))
    found = brought(repository, agent, agent.forge_pack(commit, _pack(*objects, built=((on, delta),))))
    assert git(repository, "show", f"{found.commit}:mine") == "hello\n!"


def _raw_tree(path: str, name: str) -> bytes:
    return f"100644 {path}\0".encode() + bytes.fromhex(name)
