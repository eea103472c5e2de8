"""An agent's own clone and the bundles that come out of it, made by git or forged by hand."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from coppice.components import homecoming
from coppice.components.homecoming import Home
from coppice.groves.errors import RefusedError
from tests.conftest import run_git

BRANCH, SNAPSHOT = "agents/oak", "refs/coppice/snapshots/hello/oak"


def state(folder: Path) -> dict[str, object]:
    """Return what a user would see changed: refs, HEAD, index, configuration, work tree; not new objects."""
    files = {
        name: path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not (name := str(path.relative_to(folder))).startswith(".git/objects/")
    }
    # `git status` writes the index when it refreshes it: look at the files first.
    return {
        "files": files,
        "refs": run_git(folder, "for-each-ref"),
        "status": run_git(folder, "status", "--porcelain"),
    }


@dataclass
class Agent:
    """An agent's own clone; `base` is the commit it started from."""

    path: Path
    base: str

    @classmethod
    def clone(cls, repository: Path, path: Path) -> "Agent":
        run_git(path.parent, "clone", "-q", "--single-branch", "--no-local", str(repository), str(path))
        run_git(path, "checkout", "-q", "-b", BRANCH)
        return cls(path, run_git(path, "rev-parse", "HEAD"))

    def git(self, *arguments: str, stdin: bytes = b"") -> str:
        return run_git(self.path, *arguments, stdin=stdin)

    def commit(self, subject: str = "Work", **files: str) -> str:
        for name, text in (files or {"work": subject}).items():
            (self.path / name).write_text(text)
        self.git("add", "--all")
        self.git("commit", "-q", "--allow-empty", "-m", subject)
        return self.git("rev-parse", "HEAD")

    def commit_tree(self, tree: str, *parents: str) -> str:
        options = [part for parent in parents or (self.base,) for part in ("-p", parent)]
        return self.git("commit-tree", *options, "-m", "x", tree)

    def blob(self, content: bytes) -> str:
        return self.git("hash-object", "-w", "--stdin", stdin=content)

    def tree(self, raw: bytes) -> str:
        """Write a tree that git may think wrong."""
        return self.git("hash-object", "-t", "tree", "-w", "--literally", "--stdin", stdin=raw)

    def snapshot(self) -> str:
        tree = self.git("rev-parse", "HEAD^{tree}")
        made = self.git("commit-tree", "-p", "HEAD", "-m", "left behind", tree)
        self.git("update-ref", homecoming.BUNDLED_SNAPSHOT, made)
        return made

    def bundle(self, *refs: str, options: tuple[str, ...] = (), version: int = 3) -> Path:
        target = self.path.parent / "agent.bundle"
        wanted = refs or (f"refs/heads/{BRANCH}",)
        self.git(
            "bundle", "create", "-q", f"--version={version}", str(target), *options, *wanted, f"^{self.base}"
        )
        return target

    def pack(self, *objects: str) -> bytes:
        done = subprocess.run(
            ["git", "pack-objects", "-q", "--stdout"],
            cwd=self.path,
            input="".join(f"{name}\n" for name in objects).encode(),
            capture_output=True,
            check=True,
        )
        return done.stdout

    def forge(self, target: str, *objects: str, extra: tuple[str, ...] = ()) -> Path:
        """Write a bundle by hand, with `target` under the branch and a pack of `objects`."""
        return self.forge_pack(target, self.pack(*(objects or (target,))), extra=extra)

    def forge_pack(self, target: str, pack: bytes, *, extra: tuple[str, ...] = ()) -> Path:
        lines = ["# v2 git bundle", f"-{self.base} base", f"{target} refs/heads/{BRANCH}", *extra, "", ""]
        path = self.path.parent / "forged.bundle"
        path.write_bytes("\n".join(lines).encode() + pack)
        return path


def told(bundle: Path) -> tuple[str, str]:
    """Return what a truthful supervisor would say of a bundle: its branch's commit and its snapshot."""
    try:
        header = homecoming.check_header(bundle.read_bytes()[: homecoming.HEADER_LIMIT], BRANCH)
    except RefusedError:
        return "1" * 40, ""
    return header.commit, header.snapshot


def bring(repository: Path, agent: Agent, bundle: Path, say: tuple[str, str] | None = None) -> Home | None:
    commit, snapshot = say or told(bundle)
    return homecoming.bring_home(
        repository,
        bundle,
        branch=BRANCH,
        base=agent.base,
        snapshot_ref=SNAPSHOT,
        commit=commit,
        snapshot=snapshot,
    )


def brought(repository: Path, agent: Agent, bundle: Path) -> Home:
    found = bring(repository, agent, bundle)
    assert found is not None
    return found


def refused(
    repository: Path, agent: Agent, bundle: Path, said: str = ".", say: tuple[str, str] | None = None
) -> RefusedError:
    """Bring a bundle home, which must be refused in words that match `said` and change nothing."""
    before = state(repository)
    with pytest.raises(RefusedError, match=said) as caught:
        bring(repository, agent, bundle, say)
    assert state(repository) == before
    assert BRANCH in str(caught.value)
    return caught.value
