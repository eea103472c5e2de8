"""The operator's repository: what is found in it, what leaves it, and what is shown of it. Nothing of it changes."""

import functools
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from coppice.components import capped
from coppice.components import repository as repository_of
from coppice.groves.errors import CoppiceError
from tests.bundled import state
from tests.conftest import Git


def _everything(folder: Path) -> dict[str, str]:
    """Return a digest of every file below a folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


# -- what a ref means


def test_resolve(repository: Path, git: Git) -> None:
    head = git(repository, "rev-parse", "HEAD")
    git(repository, "tag", "-a", "-m", "x", "v1")
    below = repository / "folder"
    below.mkdir()
    for ref in ("HEAD", "main", "v1", head, head[:10], "refs/heads/main"):
        assert repository_of.resolve(repository, ref) == head
    assert repository_of.resolve(below, "HEAD") == head


def _fails(path: Path, ref: str, said: str) -> str:
    with pytest.raises(CoppiceError, match=said) as caught:
        repository_of.resolve(path, ref)
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
    assert repository_of.resolve(tmp_path / "shallow", "HEAD") == git(repository, "rev-parse", "HEAD")


def test_resolve_without_a_commit(tmp_path: Path, git: Git) -> None:
    git(tmp_path, "init", "-q")
    _fails(tmp_path, "HEAD", "has no commit yet")


@pytest.mark.parametrize(
    "ref", ["no-such", "HEAD^{tree}", "main:README.md", "--all", "-h", "--output=x", "", "a b"]
)
def test_resolve_what_is_no_commit(repository: Path, ref: str) -> None:
    before = state(repository)
    assert repr(ref) in _fails(repository, ref, "has no commit")
    assert state(repository) == before


def test_resolve_a_branch_that_looks_like_an_option(repository: Path, git: Git) -> None:
    git(repository, "update-ref", "refs/heads/--all", "HEAD")
    assert repository_of.resolve(repository, "refs/heads/--all") == git(repository, "rev-parse", "HEAD")


# -- out: the base


def test_a_base_is_bundled_and_the_repository_is_untouched(
    repository: Path, tmp_path: Path, git: Git
) -> None:
    (repository / "dirty").write_text("not committed")
    commit = git(repository, "rev-parse", "HEAD")
    before = _everything(repository)
    target = tmp_path / "base.bundle"
    repository_of.bundle_base(repository, commit, target)
    assert _everything(repository) == before
    assert git(tmp_path, "bundle", "list-heads", str(target)) == f"{commit} refs/coppice/bases/{commit}"
    bare = tmp_path / "bare"
    git(tmp_path, "init", "-q", "--bare", str(bare))
    git(bare, "fetch", "-q", str(target), "refs/coppice/bases/*:refs/coppice/bases/*")
    assert git(bare, "log", "--format=%s", commit) == "First"


def test_a_base_that_is_not_there(repository: Path, tmp_path: Path) -> None:
    with pytest.raises(CoppiceError, match="cannot bundle"):
        repository_of.bundle_base(repository, "1" * 40, tmp_path / "base.bundle")


def test_a_base_bundle_of_a_hook_s_environment(
    repository: Path, tmp_path: Path, git: Git, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = git(repository, "rev-parse", "HEAD")
    git(tmp_path, "init", "-q", "--bare", "elsewhere")
    before = _everything(tmp_path / "elsewhere")
    for name, value in {"GIT_DIR": "elsewhere", "GIT_OBJECT_DIRECTORY": "elsewhere/objects"}.items():
        monkeypatch.setenv(name, str(tmp_path / value))
    with pytest.raises(CoppiceError):
        # What finds objects looks elsewhere, as the caller said; what writes does not.
        repository_of.bundle_base(repository, commit, tmp_path / "base.bundle")
    assert _everything(tmp_path / "elsewhere") == before


# -- no git, no SHA-1


def test_without_git(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for ask in (
        lambda: repository_of.find(repository),
        lambda: repository_of.resolve(repository, "HEAD"),
        lambda: repository_of.bundle_base(repository, "1" * 40, tmp_path / "base.bundle"),
    ):
        with pytest.raises(CoppiceError, match="git is not on PATH") as caught:
            ask()
        assert caught.value.hint == "install git"


def test_the_module_can_be_imported_without_git(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    done = subprocess.run(
        [sys.executable, "-c", "import coppice.components.repository, coppice.components.homecoming"],
        env={**environment, "PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_repository_of_sha256(tmp_path: Path, git: Git) -> None:
    path = tmp_path / "sha256"
    path.mkdir()
    git(path, "init", "-q", "--object-format=sha256", "--initial-branch=main")
    git(path, "commit", "-q", "--allow-empty", "-m", "First")
    _fails(path, "HEAD", "names its objects by sha256")


# -- the diff


def _branch(repository: Path, git: Git, **files: str) -> tuple[str, str]:
    base = git(repository, "rev-parse", "HEAD")
    for name, text in files.items():
        (repository / name).write_text(text, newline="")
    git(repository, "add", "--all")
    git(repository, "commit", "-q", "-m", "Work")
    return base, git(repository, "rev-parse", "HEAD")


def test_a_diff_runs_no_program_of_the_repository(repository: Path, git: Git, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    git(repository, "config", "diff.external", f"touch {ran} #")
    git(repository, "config", "diff.x.textconv", f"touch {ran}; cat")
    git(repository, "config", "core.pager", f"touch {ran}; cat")
    git(repository, "config", "core.fsmonitor", f"touch {ran} #")
    base, last = _branch(repository, git, **{".gitattributes": "* diff=x\n", "text": "new\n"})
    ran.unlink(missing_ok=True)
    before = state(repository)
    ran.unlink(missing_ok=True)
    assert "+new" in list(repository_of.diff(repository, base, last, stat=False))
    assert " text           | 1 +" in list(repository_of.diff(repository, base, last, stat=True))
    assert not ran.exists()
    assert state(repository) == before


def test_a_diff_below_the_top(repository: Path, git: Git) -> None:
    base, last = _branch(repository, git, text="new\n")
    (repository / "folder").mkdir()
    assert "+new" in list(repository_of.diff(repository / "folder", base, last, stat=False))


@pytest.mark.parametrize("ref", ["refs/heads/no-such", "--output=stolen", "HEAD^{/x"])
def test_a_diff_with_what_is_not_there(repository: Path, ref: str) -> None:
    before = state(repository)
    with pytest.raises(CoppiceError, match="cannot compare"):
        list(repository_of.diff(repository, "HEAD", ref, stat=False))
    assert state(repository) == before


def test_a_diff_is_split_where_git_ends_lines(repository: Path, git: Git) -> None:
    base, last = _branch(repository, git, text="a\x0cb\x85c\u2028d\re\n")
    assert list(repository_of.diff(repository, base, last, stat=False))[-1] == "+a\x0cb\x85c\u2028d\re"


def test_a_long_line_of_a_diff_is_cut(repository: Path, git: Git) -> None:
    base, last = _branch(repository, git, text="x" * 300_000 + "\nshort\n")
    *_, long, short = repository_of.diff(repository, base, last, stat=False)
    assert (len(long.encode()), long[-1], short) == (64 * 1024, "…", "+short")


def test_a_diff_that_is_not_read_to_its_end_leaves_no_git(repository: Path, git: Git) -> None:
    base, last = _branch(repository, git, text="line\n" * 1_000_000)
    lines = repository_of.diff(repository, base, last, stat=False)
    assert next(lines).startswith("diff --git")
    lines.close()  # type: ignore[attr-defined]
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text()
    assert not [pid for pid in children.split() if "git" in Path(f"/proc/{pid}/comm").read_text()]


@pytest.mark.parametrize("caps", [capped.Caps(wall=0), capped.Caps(memory=1 << 20)])
def test_a_diff_that_takes_too_much(
    repository: Path, git: Git, monkeypatch: pytest.MonkeyPatch, caps: capped.Caps
) -> None:
    base, last = _branch(repository, git, text="new\n")
    monkeypatch.setattr(capped, "running", functools.partial(capped.running, caps=caps))
    with pytest.raises(CoppiceError, match="cannot compare") as caught:
        list(repository_of.diff(repository, base, last, stat=False))
    assert "-- PATH" in str(caught.value.hint)
