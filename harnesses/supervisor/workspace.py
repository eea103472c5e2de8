"""Bring the work home: the branch, a snapshot of what was left uncommitted, and a bundle of both.

The workspace's ``.git`` belongs to the agent, so git never runs with it. Git runs in a scratch repository
with a configuration of our own, which borrows the workspace's objects and looks at its files. Configuration,
hooks, filters, replacements, grafts and shallow marks of the agent's have no effect then, and a broken
``.git/config`` costs no work. What is read from ``.git`` directly (one ref, the index, the excludes) is
checked to be an ordinary file first.
"""

import os
import re
import shutil
import stat
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .launch import Launch
from .process import Children, Deadline, Finished

SNAPSHOT_REF = "refs/coppice/snapshot"
OWN_DIR = "coppice"  # below .git
BUNDLE = "branch.bundle"
OBJECT_ID = re.compile(r"[0-9a-f]{40}")
REF_LIMIT = 64 * 1024 * 1024  # bytes of packed-refs
INDEX_LIMIT = 512 * 1024 * 1024  # bytes
EXCLUDE_LIMIT = 1024 * 1024  # bytes
OUTPUT_LIMIT = 64 * 1024  # bytes of git's output that are looked at

# Bounded memory in a small box; nothing read from caches that the agent may have forged.
CONFIG = """\
[core]
\trepositoryFormatVersion = 0
\tbare = false
\thooksPath = /dev/null
\tfsmonitor = false
\tcommitGraph = false
\tmultiPackIndex = false
\tpager = cat
\tsafecrlf = false
\tbigFileThreshold = 16m
\tcompression = 1
\texcludesFile = {excludes}
[pack]
\tthreads = 1
\twindowMemory = 64m
\tuseBitmaps = false
[advice]
\taddEmbeddedRepo = false
[gc]
\tauto = 0
[protocol]
\tallow = never
"""


class GitError(Exception):
    """Git failed, or what it was to work on is no ordinary repository."""


@dataclass
class Collected:
    """What came home. `lost` says why work may be lost, None if none is; all ids are of commits."""

    branch: str
    base: str
    commit: str | None = None
    commits: int = 0
    snapshot: str | None = None
    bundle: str | None = None
    lost: str | None = None
    warnings: list[str] = field(default_factory=list)

    def result(self) -> dict[str, str | int | None]:
        """The fields of the result event."""
        names = ("branch", "base", "commit", "commits", "snapshot", "bundle")
        return {name: getattr(self, name) for name in names}


class Collector:
    """Collects from one workspace. `step` seconds bound each git command, `deadline` all of them."""

    def __init__(
        self, launch: Launch, children: Children, env: Mapping[str, str], *, step: float, deadline: Deadline
    ) -> None:
        self._launch = launch
        self._children = children
        self._tree = launch.workdir
        self._git_dir = launch.workdir / ".git"
        self._own = self._git_dir / OWN_DIR
        self._scratch = self._own / "scratch"
        self._step = step
        self._deadline = deadline
        self._env = self._environment(env)

    def collect(self) -> Collected:
        """Look at the branch, take the snapshot, write the bundle. Failures are in what is returned."""
        collected = Collected(branch=self._launch.branch, base=self._launch.base)
        try:
            self._prepare()
        except (OSError, GitError) as error:
            collected.lost = f"the work cannot be brought home: {_text(error)}"
            collected.warnings.append(collected.lost)
            return collected
        try:
            self._collect(collected)
        finally:
            shutil.rmtree(self._scratch, ignore_errors=True)
        return collected

    def _collect(self, collected: Collected) -> None:
        base = self._verify(self._launch.base)
        if base is None:
            collected.warnings.append(f"the base commit {self._launch.base} is not in the workspace any more")
        try:
            self._look_at_branch(collected, base)
        except (OSError, GitError) as error:
            collected.lost = f"the branch {self._launch.branch} cannot be read: {_text(error)}"
            collected.warnings.append(collected.lost)
        try:
            collected.snapshot = self._take_snapshot(collected, collected.commit or base)
        except (OSError, GitError) as error:
            lost = f"what was left uncommitted cannot be saved: {_text(error)}"
            collected.lost = collected.lost or lost
            collected.warnings.append(lost)
        try:
            collected.bundle = self._write_bundle(collected, base)
        except (OSError, GitError) as error:
            collected.lost = f"no bundle of the work can be made: {_text(error)}"
            collected.warnings.append(collected.lost)

    def _prepare(self) -> None:
        """Make the scratch repository in a directory that is surely ours."""
        try:
            mode = self._git_dir.lstat().st_mode
        except FileNotFoundError:
            self._git_dir.mkdir()
            mode = self._git_dir.lstat().st_mode
        if not stat.S_ISDIR(mode):
            raise GitError(f"{self._git_dir} is not a directory")
        self._git_dir.chmod(stat.S_IMODE(mode) | stat.S_IRWXU)
        _remove(self._own)
        self._own.mkdir(mode=0o700)
        for path in ("objects/info", "refs/heads", "info"):
            (self._scratch / path).mkdir(parents=True)
        (self._scratch / "HEAD").write_text("ref: refs/heads/none\n", encoding="ascii")
        excludes = _quoted(self._scratch / "info/exclude")
        (self._scratch / "config").write_text(CONFIG.format(excludes=excludes), encoding="utf-8")
        objects = self._git_dir / "objects"
        if objects.is_dir():
            (self._scratch / "objects/info/alternates").write_text(f"{objects}\n", encoding="utf-8")

    def _copy_excludes(self, collected: Collected) -> None:
        try:
            data = _read_ordinary(self._git_dir / "info/exclude", EXCLUDE_LIMIT)
        except (OSError, GitError) as error:
            collected.warnings.append(f"the workspace's own excludes are not honoured: {_text(error)}")
        else:
            (self._scratch / "info/exclude").write_bytes(data or b"")

    def _look_at_branch(self, collected: Collected, base: str | None) -> None:
        tip = self._read_branch()
        if tip is None:
            collected.warnings.append(f"the branch {self._launch.branch} is gone")
            return
        if self._verify(tip) is None:
            raise GitError(f"its commit {tip} is not in the workspace")
        collected.commit = tip
        if tip == self._launch.base:
            return
        if base is None:
            count = self._git("rev-list", "--count", tip)
        else:
            count = self._git("rev-list", "--count", tip, f"^{base}")
            if self._run("merge-base", "--is-ancestor", base, tip).code != 0:
                collected.warnings.append(
                    f"the branch {self._launch.branch} does not contain its base: history was rewritten"
                )
        collected.commits = int(count)

    def _read_branch(self) -> str | None:
        """The commit that the branch's ref names, None if there is no such ref."""
        ref = f"refs/heads/{self._launch.branch}"
        data = _read_ordinary(self._git_dir / ref, 4096)
        if data is None:
            packed = _read_ordinary(self._git_dir / "packed-refs", REF_LIMIT) or b""
            wanted = ref.encode()
            for line in packed.splitlines():
                name, _, rest = line.partition(b" ")
                if rest == wanted:
                    data = name
        if data is None:
            return None
        text = data.decode("ascii", "replace").strip()
        if not OBJECT_ID.fullmatch(text):
            raise GitError("its ref is not the id of a commit")
        return text

    def _take_snapshot(self, collected: Collected, parent: str | None) -> str | None:
        """Commit the work tree as it is, beside every branch; None if it equals its parent."""
        self._copy_excludes(collected)
        tree = self._write_tree(collected, parent)
        before = self._git("rev-parse", "--verify", f"{parent}^{{tree}}") if parent else None
        empty = parent is None and not self._git("ls-tree", tree)
        if tree == before or empty:
            return None
        self._warn_about_nested(collected, tree, before)
        message = f"Uncommitted work of {self._launch.agent}"
        parents = ("-p", parent) if parent else ()
        return self._git("commit-tree", tree, *parents, "-m", message)

    def _write_tree(self, collected: Collected, parent: str | None) -> str:
        """The work tree as a tree object, by way of a temporary index."""
        if self._borrow_index():
            try:
                return self._add_all(collected)
            except GitError:
                # The agent's index is of no use: without it every file is read anew.
                (self._scratch / "index").unlink(missing_ok=True)
                (self._scratch / "index.lock").unlink(missing_ok=True)
        if parent:
            self._git("read-tree", parent)
        return self._add_all(collected)

    def _add_all(self, collected: Collected) -> str:
        added = self._run("add", "--all", "--ignore-errors", "--", ".")
        if added.code is None:
            raise GitError("git add ran out of time")
        if added.code not in (0, 1):
            raise GitError(f"git add: {_first_line(added)}")
        tree = self._git("write-tree")
        if added.stderr.strip():
            collected.warnings.append(f"the snapshot is not complete: {_first_line(added)}")
        return tree

    def _borrow_index(self) -> bool:
        """Copy the agent's index: unchanged files need not be read again then.

        The copy keeps its time of change, by which git tells files that changed within the same tick.
        """
        source = self._git_dir / "index"
        try:
            fd = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            return False
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or status.st_size > INDEX_LIMIT:
            os.close(fd)
            return False
        with os.fdopen(fd, "rb") as file, (self._scratch / "index").open("wb") as copy:
            shutil.copyfileobj(file, copy)
        os.utime(self._scratch / "index", ns=(status.st_atime_ns, status.st_mtime_ns))
        return True

    def _warn_about_nested(self, collected: Collected, tree: str, before: str | None) -> None:
        """Say which nested repositories are in the snapshot by name only."""
        if before:
            changes = self._git("diff-tree", "-r", "--no-renames", before, tree)
            nested = [line for line in changes.splitlines() if line.split()[1:2] == ["160000"]]
        else:
            nested = [line for line in self._git("ls-tree", "-r", tree).splitlines() if line[:6] == "160000"]
        if nested:
            first = nested[0].partition("\t")[2]
            collected.warnings.append(
                f"{len(nested)} nested git repositories are not in the snapshot, the first is {first}"
            )

    def _write_bundle(self, collected: Collected, base: str | None) -> str | None:
        refs = {}
        if collected.commit and collected.commits:
            refs[f"refs/heads/{self._launch.branch}"] = collected.commit
        if collected.snapshot:
            refs[SNAPSHOT_REF] = collected.snapshot
        if not refs:
            return None
        for ref, commit in refs.items():
            self._git("update-ref", ref, commit)
        draft, bundle = self._own / f"{BUNDLE}.draft", self._own / BUNDLE
        without = (f"^{base}",) if base else ()
        self._git("bundle", "create", "--quiet", "--version=2", str(draft), *without, *refs)
        with draft.open("rb") as file:
            os.fsync(file.fileno())
        draft.replace(bundle)
        return str(bundle)

    def _verify(self, commit: str) -> str | None:
        """The id, if it is a commit that can be read."""
        finished = self._run("rev-parse", "--quiet", "--verify", f"{commit}^{{commit}}")
        found = finished.stdout.decode("ascii", "replace").strip()
        return commit if finished.code == 0 and found == commit else None

    def _git(self, *arguments: str) -> str:
        """Run git and return its output, stripped; raise GitError unless it exits 0."""
        finished = self._run(*arguments)
        if finished.code is None:
            raise GitError(f"git {arguments[0]} ran out of time")
        if finished.code != 0:
            raise GitError(f"git {arguments[0]}: {_first_line(finished)}")
        return finished.stdout.decode("utf-8", "replace").strip()

    def _run(self, *arguments: str) -> Finished:
        end = time.monotonic() + self._step
        return self._children.run(
            ("git", *arguments),
            self._env,
            self._tree,
            deadline=lambda: min(end, self._deadline()),
            limit=OUTPUT_LIMIT,
        )

    def _environment(self, env: Mapping[str, str]) -> dict[str, str]:
        who = self._launch.agent
        address = f"{who}@{self._launch.grove}.coppice.invalid"
        return {
            "PATH": env.get("PATH", os.defpath),
            "LC_ALL": "C",
            "HOME": str(self._scratch),
            "GIT_DIR": str(self._scratch),
            "GIT_WORK_TREE": str(self._tree),
            "GIT_INDEX_FILE": str(self._scratch / "index"),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_NO_REPLACE_OBJECTS": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_AUTHOR_NAME": who,
            "GIT_AUTHOR_EMAIL": address,
            "GIT_COMMITTER_NAME": who,
            "GIT_COMMITTER_EMAIL": address,
        }


def _read_ordinary(path: Path, limit: int) -> bytes | None:
    """The content of an ordinary file, None if there is none.

    Raises:
        GitError: it is there, and is something else or too large.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        return None
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise GitError(f"{path} is not an ordinary file")
    with os.fdopen(fd, "rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise GitError(f"{path} is larger than {limit} bytes")
    return data


def _remove(path: Path) -> None:
    """Remove whatever is at `path`; if that fails, move it out of the way."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(mode):
        path.unlink()
        return
    shutil.rmtree(path, ignore_errors=True)
    if path.exists():
        path.rename(path.with_name(f"{path.name}.{os.urandom(8).hex()}"))


def _quoted(path: Path) -> str:
    return '"' + str(path).replace("\\", "\\\\").replace('"', '\\"') + '"'


def _first_line(finished: Finished) -> str:
    lines = finished.stderr.decode("utf-8", "replace").strip().splitlines()
    return lines[0] if lines else f"exit {finished.code}"


def _text(error: Exception) -> str:
    return str(error) or type(error).__name__
