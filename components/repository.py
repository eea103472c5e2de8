"""Git on the operator's own repository: bundle a base for the mirror, bring agents' branches home.

Never runs git inside an agent's workspace. What comes from an agent is a bundle file: it is verified and
unpacked in a quarantine repository first, and refs here only ever move forward.
"""

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import git
from git.exc import GitCommandError, InvalidGitRepositoryError, NoSuchPathError

from coppice.groves.errors import CoppiceError, RefusedError

_COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_HEAD, _SNAPSHOT = "refs/incoming/head", "refs/incoming/snapshot"
BUNDLED_SNAPSHOT = "refs/coppice/snapshot"
_TRIES = 1000  # numbered refs looked at before giving up


def _isolated() -> dict[str, str]:
    """Return the environment for repositories of ours: none of the caller's configuration, no prompt."""
    return {
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_NO_REPLACE_OBJECTS": "1",
    }


def _reason(error: GitCommandError) -> str:
    text = str(error.stderr or error).strip().removeprefix("stderr: ").strip("'\n ")
    return " ".join(text.split())


def find(path: Path) -> git.Repo:
    """Open the repository whose work tree holds `path`.

    Raises:
        CoppiceError: there is none.
    """
    try:
        return git.Repo(path, search_parent_directories=True)
    except (InvalidGitRepositoryError, NoSuchPathError) as error:
        raise CoppiceError(
            f"{path} is not in a git repository",
            hint="run `git init` there and commit something, or set `repository.path` in the grove file",
            exit_code=2,
        ) from error


def resolve(path: Path, ref: str) -> str:
    """Return the commit (hex) that `ref` means in the repository at `path`.

    Raises:
        CoppiceError: no repository, a shallow one, no commit yet, or no such ref.
    """
    repo = find(path)
    if repo.git.rev_parse("--is-shallow-repository") == "true":
        raise CoppiceError(
            f"the repository at {path} is a shallow clone, and agents get the whole history",
            hint="run `git fetch --unshallow` there",
            exit_code=2,
        )
    try:
        return str(repo.git.rev_parse("--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}"))
    except GitCommandError as error:
        if not repo.git.for_each_ref("--count=1") and ref == "HEAD":
            raise CoppiceError(
                f"the repository at {path} has no commit yet",
                hint="commit something first: agents start from a commit",
                exit_code=2,
            ) from error
        raise CoppiceError(
            f"the repository at {path} has no commit {ref!r}",
            hint="set `repository.ref` in the grove file to a branch, tag or commit that `git log` shows",
            exit_code=2,
        ) from error


def _objects(repo: git.Repo) -> Path:
    return Path(repo.git.rev_parse("--path-format=absolute", "--git-path", "objects"))


@contextmanager
def _borrowing(repo: git.Repo) -> Iterator[git.Git]:
    """Make a bare repository of ours that sees the objects of `repo` and writes nothing into it."""
    with tempfile.TemporaryDirectory(prefix="coppice-git-") as folder:
        bare = git.Git(folder)
        bare.update_environment(**_isolated())
        object_format = repo.git.rev_parse("--show-object-format")
        bare.init("-q", "--bare", f"--object-format={object_format}", "--initial-branch=none", ".")
        alternates = Path(folder) / "objects" / "info" / "alternates"
        alternates.write_text(f"{_objects(repo)}\n")
        yield bare


def bundle_base(path: Path, commit: str, target: Path) -> None:
    """Write a bundle of `commit` and its history as refs/coppice/bases/<commit>; touches no ref of the repository.

    Raises:
        CoppiceError: the commit is not there, or git failed.
    """
    with _borrowing(find(path)) as bare:
        ref = f"refs/coppice/bases/{commit}"
        try:
            bare.update_ref(ref, commit)
            bare.bundle("create", "-q", str(target), ref)
        except GitCommandError as error:
            raise CoppiceError(f"cannot bundle {commit} of {path}: {_reason(error)}") from error


@dataclass(frozen=True)
class Home:
    """What came home of one agent: the ref that holds it, and what is in it against its base.

    `moved` is False when the ref held it already. `snapshot` is the ref of what was left uncommitted, or "".
    """

    ref: str
    commit: str
    moved: bool
    subject: str
    commits: int
    files: int
    added: int
    deleted: int
    snapshot: str


def _is_ancestor(repo: git.Git, old: str, new: str) -> bool:
    try:
        repo.merge_base("--is-ancestor", old, new)
    except GitCommandError as error:
        if error.status == 1:
            return False
        raise
    return True


def _checked_out(repo: git.Repo) -> set[str]:
    lines = repo.git.worktree("list", "--porcelain").splitlines()
    return {line.removeprefix("branch ") for line in lines if line.startswith("branch ")}


def _read_ref(repo: git.Repo, ref: str) -> str:
    return str(repo.git.for_each_ref("--format=%(objectname)", ref))


def _advance(repo: git.Repo, ref: str, commit: str) -> tuple[str, bool]:
    """Point `ref` at `commit` if that is a fast-forward, else the first numbered ref where it is.

    Returns the ref used and whether it moved. A branch that is checked out is never moved.
    """
    busy = _checked_out(repo)
    for number in range(1, _TRIES):
        candidate = ref if number == 1 else f"{ref}-{number}"
        old = _read_ref(repo, candidate)
        if old and _is_ancestor(repo.git, commit, old):
            return candidate, False
        if candidate in busy or (old and not _is_ancestor(repo.git, old, commit)):
            continue
        # The old value makes this a compare-and-swap: somebody else's move is never lost.
        repo.git.update_ref("-m", "coppice: brought home", candidate, commit, old or "0" * len(commit))
        return candidate, True
    raise RefusedError(f"{_TRIES} refs like {ref} are taken", hint="delete the branches you no longer need")


def _statistics(repo: git.Git, base: str, commit: str) -> tuple[int, int, int]:
    """Return files changed, lines added, lines deleted; binary files count as files only."""
    rows = repo.diff("--numstat", "-z", "--no-renames", "--no-ext-diff", "--no-textconv", base, commit, "--")
    cells = [row.split("\t", 2) for row in rows.split("\0") if row]
    added = sum(int(cell[0]) for cell in cells if cell[0].isdigit())
    deleted = sum(int(cell[1]) for cell in cells if cell[1].isdigit())
    return len(cells), added, deleted


def bring_home(path: Path, bundle: Path, *, branch: str, base: str, snapshot_ref: str) -> Home | None:
    """Verify an agent's bundle and fetch it into `refs/heads/<branch>`, or a numbered ref; never forced.

    Args:
        path: a folder in the operator's repository.
        bundle: the agent's bundle (hostile).
        branch: the branch's name, "agents/<name>".
        base: the commit the agent started from.
        snapshot_ref: full ref for what was left uncommitted; it is overwritten by a newer snapshot.

    Returns:
        what came home, or None when the bundle holds no new commit (a snapshot may have come all the same).

    Raises:
        RefusedError: the bundle is broken, needs commits that are not here, or a ref cannot be made.
    """
    repo = find(path)
    with _borrowing(repo) as quarantine:
        try:
            heads = dict(
                reversed(line.split(" ", 1))
                for line in quarantine.bundle("list-heads", str(bundle)).splitlines()
            )
            wanted = {f"refs/heads/{branch}": _HEAD, BUNDLED_SNAPSHOT: _SNAPSHOT}
            specs = [f"{source}:{target}" for source, target in wanted.items() if source in heads]
            if not specs:
                raise RefusedError(f"the bundle of {branch} holds neither the branch nor a snapshot")
            quarantine.bundle("verify", str(bundle))  # -q would keep to itself what is missing
            quarantine.execute(["git", "fetch", "-q", "--no-tags", str(bundle), *specs])
            refs = dict(
                line.split(" ", 1)[::-1]
                for line in quarantine.for_each_ref("--format=%(objectname) %(refname)").splitlines()
            )
            commit, snapshot = refs.get(_HEAD, ""), refs.get(_SNAPSHOT, "")
            for found in filter(None, (commit, snapshot)):
                if not _COMMIT.fullmatch(found) or quarantine.cat_file("-t", found) != "commit":
                    raise RefusedError(f"the bundle of {branch} holds something that is no commit")
            # Objects only: refs are moved below, one by one, by what they were before. They are checked here, because
            # git before 2.46 checks nothing that it fetches from a bundle.
            repo.git.execute(
                ["git", "-c", "maintenance.auto=false", "-c", "fetch.fsckObjects=true",
                 "-c", "protocol.file.allow=always", "fetch", "-q", "--no-tags",
                 "--no-write-fetch-head", "--no-recurse-submodules", str(quarantine.working_dir), *refs.keys()]
            )  # fmt: skip
            moved_to = _advance(repo, f"refs/heads/{branch}", commit) if commit and commit != base else None
            # After the branch, which is what can be refused.
            if snapshot:
                repo.git.update_ref("-m", "coppice: snapshot", snapshot_ref, snapshot)
        except GitCommandError as error:
            raise RefusedError(
                f"the bundle of {branch} was refused: {_reason(error)}",
                hint="nothing was changed; the work is still in the box: look at it with `coppice shell`",
            ) from error
    if moved_to is None:
        return None
    ref, moved = moved_to
    return _describe(repo, ref, commit, base, moved=moved, snapshot=snapshot_ref if snapshot else "")


def _describe(repo: git.Repo, ref: str, commit: str, base: str, *, moved: bool, snapshot: str) -> Home:
    files, added, deleted = _statistics(repo.git, base, commit)
    return Home(
        ref=ref,
        commit=commit,
        moved=moved,
        subject=str(repo.git.log("-1", "--no-show-signature", "--format=%s", commit, "--")),
        commits=int(repo.git.rev_list("--count", f"{base}..{commit}", "--")),
        files=files,
        added=added,
        deleted=deleted,
        snapshot=snapshot,
    )


def diff(path: Path, base: str, ref: str, *, color: bool, stat: bool) -> str:
    """Return the diff of an agent's branch against its base; no external diff program is run.

    Raises:
        CoppiceError: the commits are not here.
    """
    flags = ["--no-ext-diff", "--no-textconv", f"--color={'always' if color else 'never'}"]
    try:
        return str(find(path).git.diff(*flags, *(["--stat"] if stat else []), base, ref, "--"))
    except GitCommandError as error:
        raise CoppiceError(f"cannot compare {ref} with its base: {_reason(error)}") from error


def is_tracked(path: Path) -> bool:
    """Return whether git tracks the file at `path`; False outside a repository."""
    try:
        repo = find(path.parent)
    except CoppiceError:
        return False
    return bool(repo.git.ls_files("--", str(path)))
