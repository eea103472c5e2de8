"""Git on the operator's own repository: find it, resolve a ref, bundle a base for the mirror, show a diff.

Never runs git inside an agent's workspace. What comes from an agent is the business of `homecoming`.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from coppice.components import capped
from coppice.groves.errors import CoppiceError

# Without it, a machine that has no git would fail with a traceback on import.
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")

import git  # after its setting, which it reads
from git.exc import GitCommandError, InvalidGitRepositoryError, NoSuchPathError

_LINE = 64 * 1024  # bytes of one line of a diff

# Set where this runs in a hook of git's, they would send git to another repository.
_ELSEWHERE = {
    f"GIT_{name}"
    for name in (
        "DIR", "WORK_TREE", "COMMON_DIR", "INDEX_FILE", "OBJECT_DIRECTORY", "ALTERNATE_OBJECT_DIRECTORIES",
        "NAMESPACE", "PREFIX", "GRAFT_FILE", "SHALLOW_FILE", "REPLACE_REF_BASE", "IMPLICIT_WORK_TREE",
        "EXTERNAL_DIFF", "DIFF_OPTS", "QUARANTINE_PATH", "TEMPLATE_DIR", "DEFAULT_HASH", "ATTR_SOURCE",
    )
}  # fmt: skip
# Bounds git's own memory, so that a large repository of the operator's fits below the cap too.
_FRUGAL = {
    "core.packedGitWindowSize": "32m",
    "core.packedGitLimit": "512m",
    "core.bigFileThreshold": "16m",
    "pack.threads": "1",
    "pack.windowMemory": "64m",
    "core.hooksPath": os.devnull,
    "core.fsmonitor": "false",
}


def environment() -> dict[str, str]:
    """Return the environment for git on the operator's repository: their configuration, no prompt, no network."""
    kept = {name: value for name, value in os.environ.items() if name not in _ELSEWHERE}
    return kept | {
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_ALLOW_PROTOCOL": "file",
        "LC_ALL": "C",
    }


def isolated() -> dict[str, str]:
    """Return the environment for repositories of ours: none of the caller's configuration."""
    kept = {name: value for name, value in environment().items() if not name.startswith("GIT_CONFIG")}
    return kept | {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull, "GIT_ATTR_NOSYSTEM": "1"}


def command(*arguments: str) -> list[str]:
    """Return the command line of git: no pager, no hooks, little memory."""
    settings = [part for name, value in _FRUGAL.items() for part in ("-c", f"{name}={value}")]
    return ["git", "--no-pager", *settings, *arguments]


def find(path: Path) -> git.Repo:
    """Open the repository whose work tree holds `path`.

    Raises:
        CoppiceError: there is none, or no git to look at it.
    """
    if shutil.which("git") is None:
        raise CoppiceError("git is not on PATH", hint="install git")
    try:
        return git.Repo(path, search_parent_directories=True)
    except (InvalidGitRepositoryError, NoSuchPathError) as error:
        raise CoppiceError(
            f"{path} is not in a git repository",
            hint="run `git init` there and commit something, or set `repository.path` in the grove file",
            exit_code=2,
        ) from error


def resolve(path: Path, ref: str) -> str:
    """Return the commit (40 hex digits) that `ref` means in the repository at `path`.

    Raises:
        CoppiceError: no git, no repository, one of SHA-256, a shallow one, no commit yet, or no such ref.
    """
    repo = find(path)
    object_format = repo.git.rev_parse("--show-object-format")
    if object_format != "sha1":
        raise CoppiceError(
            f"the repository at {path} names its objects by {object_format}, and agents' boxes know SHA-1 only",
            hint="use a repository made with `git init --object-format=sha1`, which is git's default",
            exit_code=2,
        )
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


@contextmanager
def borrowing(repo: git.Repo) -> Iterator[Path]:
    """Make a bare repository of ours that sees the objects of `repo` and writes nothing into it.

    Raises:
        CommandError: git failed.
    """
    # What is left over when it cannot be removed does not undo what was done with it.
    with tempfile.TemporaryDirectory(prefix="coppice-git-", ignore_cleanup_errors=True) as folder:
        bare = Path(folder).resolve()
        shape = ("--object-format=sha1", "--initial-branch=none", "--template=")
        capped.output(command("init", "-q", "--bare", *shape, "."), cwd=bare, env=isolated())
        objects = repo.git.rev_parse("--path-format=absolute", "--git-path", "objects")
        (bare / "objects" / "info" / "alternates").write_bytes(os.fsencode(objects) + b"\n")
        yield bare


def bundle_base(path: Path, commit: str, target: Path) -> None:
    """Write a bundle of `commit` and its history as refs/coppice/bases/<commit>; touches no ref of the repository.

    Raises:
        CoppiceError: no git, the commit is not there, or git failed.
    """
    ref = f"refs/coppice/bases/{commit}"
    with borrowing(find(path)) as bare:
        try:
            # Not capped: it is the operator's own history, however large.
            for arguments in (
                ("update-ref", ref, commit),
                ("bundle", "create", "-q", str(target.resolve()), ref),
            ):
                capped.output(["git", *arguments], cwd=bare, env=isolated(), caps=None)
        except capped.CommandError as error:
            raise CoppiceError(f"cannot bundle {commit} of {path}: {error.reason}") from error


def diff(path: Path, base: str, ref: str, *, stat: bool) -> Iterator[str]:
    r"""Compare an agent's branch with its base; no external diff program is run.

    Args:
        path: a folder in the operator's repository.
        base: the commit the agent started from.
        ref: the agent's commit, or a ref.
        stat: only the changed files.

    Returns:
        the lines as git ends them (`\n` only), which are streamed; one longer than 64 KiB is cut and ends in "…".

    Raises:
        CoppiceError: no repository; while reading: the commits are not here, or comparing them takes too much.
    """
    root = Path(find(path).git.working_dir or path)
    return _lines(root, base, ref, ["--stat"] if stat else [])


def _lines(root: Path, base: str, ref: str, options: list[str]) -> Iterator[str]:
    flags = ["--no-ext-diff", "--no-textconv", "--no-color", "--submodule=short", *options]
    argv = command("diff", *flags, "--end-of-options", base, ref, "--")
    try:
        with capped.running(argv, cwd=root, env=environment()) as chunks:
            for line in capped.records(chunks, b"\n", _LINE):
                cut = len(line) > _LINE
                yield (
                    line[: _LINE - 3].decode("utf-8", "replace") + "…"
                    if cut
                    else line.decode("utf-8", "replace")
                )
    except capped.CommandError as error:
        raise CoppiceError(
            f"cannot compare {ref} with its base: {error.reason}",
            hint=f"look at parts of it: `git diff {base} {ref} -- PATH`",
        ) from error


def is_tracked(path: Path) -> bool:
    """Return whether git tracks the file at `path`; False outside a repository."""
    try:
        repo = find(path.parent)
    except CoppiceError:
        return False
    return bool(repo.git.ls_files("--", str(path)))
