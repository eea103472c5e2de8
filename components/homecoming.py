"""Bring agents' branches home into the operator's repository.

What comes from an agent is a bundle file, and everything in it is hostile. Its header is read here, before git
sees any of it. Git unpacks and checks the rest, with its memory and time capped, in a quarantine repository that
borrows the operator's objects. Only what passed is copied, and refs of the operator's only ever move forward.
"""

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import git

from coppice.components import capped, repository
from coppice.groves.errors import RefusedError

HEADER_LIMIT = 64 * 1024  # bytes of a bundle before its pack
BUNDLED_SNAPSHOT = "refs/coppice/snapshot"
_COMMIT = re.compile(r"[0-9a-f]{40}")
_PREREQUISITE = re.compile(rb"-([0-9a-f]{40})(?: .*)?", re.DOTALL)
_REF = re.compile(rb"([0-9a-f]{40}) (.+)", re.DOTALL)
_PACK_HEADER, _PACK_TRAILER = 12, 20  # bytes
_FEW = 100  # objects that are written one by one, as git's own fetch does, so that packs do not pile up
_TRIES = 1000  # numbered refs looked at before giving up

_OBJECTS = 1_000_000  # in one bundle
_BYTES = 4 * capped.GIB  # of all new objects, unpacked
_PATHS = 200_000  # changed against the base

_STATISTICS = capped.Caps(cpu=20, wall=40)
_OWN_HISTORY = capped.Caps(cpu=300, wall=600)  # a walk of all that the base holds: the operator's own
_UNCHANGED = "nothing was changed; the work is still in the box: look at it with `coppice shell`"


@dataclass(frozen=True)
class Header:
    """What a bundle says it holds.

    Attributes:
        commit: 40 hex digits of the branch, "" for none.
        snapshot: 40 hex digits of what was left uncommitted, "" for none.
        prerequisites: the commits it builds on.
        size: bytes before the pack.
    """

    commit: str
    snapshot: str
    prerequisites: tuple[str, ...]
    size: int


@dataclass(frozen=True)
class Home:
    """What came home of one agent: the ref that holds it, and what is in it against its base.

    `moved` is False when the ref held it already. `snapshot` is the ref of what was left uncommitted, or "".
    `files`, `added` and `deleted` (lines) are None where counting them takes too much.
    """

    ref: str
    commit: str
    moved: bool
    subject: str
    commits: int
    files: int | None
    added: int | None
    deleted: int | None
    snapshot: str


def check_header(start: bytes, branch: str) -> Header:
    """Read a bundle's header.

    Args:
        start: the bundle's first 64 KiB, or all of it when it is shorter.
        branch: the branch's name, "agents/<name>"; no other ref but the snapshot's may be in the bundle.

    Raises:
        RefusedError: it is no bundle, it does not end in these bytes, or it holds more than that.
    """
    end = start[:HEADER_LIMIT].find(b"\n\n")
    if end < 0:
        raise RefusedError(f"the bundle of {branch} has no header of a bundle's", hint=_UNCHANGED)
    version, *lines = start[:end].split(b"\n")
    if version == b"# v3 git bundle" and lines[:1] == [b"@object-format=sha1"]:
        del lines[0]
    elif version not in {b"# v2 git bundle", b"# v3 git bundle"}:
        raise RefusedError(f"the bundle of {branch} is of an unknown version", hint=_UNCHANGED)
    prerequisites = []
    while lines and (found := _PREREQUISITE.fullmatch(lines[0])):
        prerequisites.append(found[1].decode("ascii"))
        del lines[0]
    wanted = {f"refs/heads/{branch}".encode(), BUNDLED_SNAPSHOT.encode()}
    refs: dict[bytes, str] = {}
    for line in lines:
        ref = _REF.fullmatch(line)
        if ref is None or ref[2] not in wanted or ref[2] in refs:
            said = capped.printable(line.decode("utf-8", "replace"))
            raise RefusedError(
                f"the bundle of {branch} holds more than the branch and a snapshot: {said!r}", hint=_UNCHANGED
            )
        refs[ref[2]] = ref[1].decode("ascii")
    if not refs:
        raise RefusedError(f"the bundle of {branch} holds neither the branch nor a snapshot", hint=_UNCHANGED)
    commit, snapshot = refs.get(f"refs/heads/{branch}".encode(), ""), refs.get(BUNDLED_SNAPSHOT.encode(), "")
    return Header(commit, snapshot, tuple(prerequisites), end + 2)


def bring_home(
    path: Path, bundle: Path, *, branch: str, base: str, snapshot_ref: str, commit: str, snapshot: str
) -> Home | None:
    """Check an agent's bundle and take it into `refs/heads/<branch>`, or a numbered ref; never forced.

    Args:
        path: a folder in the operator's repository.
        bundle: the agent's bundle (hostile).
        branch: the branch's name, "agents/<name>".
        base: the commit the agent started from.
        snapshot_ref: full ref for what was left uncommitted; it is overwritten by a newer snapshot.
        commit: what the supervisor said the branch holds (40 hex digits), "" when the bundle is to hold no branch.
        snapshot: the same of the snapshot.

    Returns:
        what came home, or None when the bundle holds no new commit (a snapshot may have come all the same).

    Raises:
        CoppiceError: no git or no repository at `path`.
        RefusedError: the bundle is broken, is not the one its supervisor made, needs or names commits that the
            agent was not given, is too large, or a ref cannot be made. Then no ref has moved.
    """
    repo = repository.find(path)
    try:
        return _bring_home(repo, bundle, branch, base, snapshot_ref, (commit, snapshot))
    except RefusedError:
        raise
    except Exception as error:  # whatever goes wrong with one agent's bundle is told of that agent
        said = capped.printable(str(error)) or type(error).__name__
        raise RefusedError(f"the bundle of {branch} was refused: {said}", hint=_UNCHANGED) from error


def _bring_home(
    repo: git.Repo, bundle: Path, branch: str, base: str, snapshot_ref: str, told: tuple[str, str]
) -> Home | None:
    if not _COMMIT.fullmatch(base):
        raise RefusedError(f"the base of {branch} is no commit: {base!r}", hint=_UNCHANGED)
    with bundle.open("rb", buffering=0) as file:
        header = check_header(file.read(HEADER_LIMIT), branch)
        if (header.commit, header.snapshot) != told:
            raise RefusedError(f"the bundle of {branch} is not the one its supervisor made", hint=_UNCHANGED)
        with repository.borrowing(repo) as folder:
            quarantine = _Quarantine(folder, branch, base)
            quarantine.unpack(file, header)
            quarantine.check(header)
            home = _describe(quarantine, header.commit) if header.commit not in {"", base} else None
            own = _Git(Path(repo.git.working_dir or repo.git_dir), repository.environment())
            # Objects only, checked once more where they stay; the refs by what they were before.
            quarantine.copy(own, header)
            return _move(own, quarantine, header, (f"refs/heads/{branch}", snapshot_ref), home)


@dataclass(frozen=True)
class _Git:
    """Git in one repository, capped."""

    folder: Path
    env: dict[str, str]

    def output(self, *arguments: str, stdin: bytes | IO[bytes] | None = None, most: int = 1024 * 1024) -> str:
        argv = repository.command(*arguments)
        found = capped.output(argv, cwd=self.folder, env=self.env, stdin=stdin, most=most)
        return found.decode("utf-8", "replace")

    def running(
        self, *arguments: str, stdin: bytes | IO[bytes] | None = None, caps: capped.Caps = capped.DEFAULT
    ) -> AbstractContextManager[Iterator[bytes]]:
        argv = repository.command(*arguments)
        return capped.running(argv, cwd=self.folder, env=self.env, stdin=stdin, caps=caps)


class _Quarantine(_Git):
    """A repository of ours that holds what an agent sent and borrows the operator's objects."""

    def __init__(self, folder: Path, branch: str, base: str) -> None:
        super().__init__(folder, repository.isolated())
        self._branch, self._base = branch, base
        self._sent: set[bytes] = set()
        self._borrowed: set[bytes] = set()  # what the pack's deltas build on, which the agent did not send

    def _refused(self, reason: str) -> RefusedError:
        return RefusedError(f"the bundle of {self._branch} {reason}", hint=_UNCHANGED)

    def unpack(self, file: IO[bytes], header: Header) -> None:
        """Check what the bundle builds on, unpack it, and tell what was sent from what was borrowed."""
        if header.prerequisites:
            asked = "".join(f"{name}\n" for name in (*header.prerequisites, f"^{self._base}")).encode()
            try:
                foreign = self.output("rev-list", "--max-count=1", "--stdin", stdin=asked).strip()
            except capped.CommandError as error:
                raise self._refused(f"needs commits that are not here: {error.reason}") from error
            if foreign:
                raise self._refused(f"needs commits that its agent was not given: {foreign}")
        file.seek(header.size)
        start = file.read(_PACK_HEADER)
        count = int.from_bytes(start[8:], "big")
        if len(start) != _PACK_HEADER or not start.startswith(b"PACK"):
            raise self._refused("holds no pack")
        if count > _OBJECTS:
            raise self._refused(f"holds {count} objects, and at most {_OBJECTS} are taken")
        end = file.seek(0, 2) - header.size - _PACK_TRAILER
        file.seek(header.size)
        self.output(
            "index-pack", "--stdin", "--fix-thin", "--strict", "--threads=1", f"--max-input-size={_BYTES}",
            stdin=file,
        )  # fmt: skip
        for index in (self.folder / "objects" / "pack").glob("*.idx"):
            with index.open("rb") as stdin, self.running("show-index", stdin=stdin) as chunks:
                for line in capped.records(chunks, b"\n", 200):
                    offset, name = line.split(b" ")[:2]
                    # Git appends what a thin pack builds on to the pack.
                    (self._sent if int(offset) < end else self._borrowed).add(name)

    def check(self, header: Header) -> None:
        """Check that what was sent is whole, the agent's own, and no larger than it may be."""
        tips = [name for name in (header.commit, header.snapshot) if name]
        for tip in tips:
            if self.output("cat-file", "-t", tip).strip() != "commit":
                raise self._refused("holds something that is no commit")
        listed = self.folder / "listed"
        foreign = set(self._borrowed)
        count = 0
        with (
            listed.open("wb") as file,
            self.running("rev-list", "--objects", "--no-object-names", *tips, "--not", self._base) as chunks,
        ):
            for name in capped.records(chunks, b"\n", 64):
                count += 1
                if count > _OBJECTS:
                    raise self._refused(f"names more than {_OBJECTS} objects")
                if name in self._sent:
                    file.write(name + b"\n")
                else:
                    foreign.add(name)
        self._check_foreign(foreign)
        self._check_size(listed)
        for tip in tips:
            self._check_paths(tip)

    def _check_foreign(self, foreign: set[bytes]) -> None:
        """Refuse objects that the agent did not send and its base does not hold.

        The operator's repository has them, or else git had refused the pack: to name or build on them would tell
        an agent of, or publish, what it was never given.
        """
        # The base alone, which is what nearly every pack builds on, before all of its history.
        for options in (["--no-walk"], []):
            if not foreign:
                return
            arguments = ("rev-list", "--objects", "--no-object-names", *options, self._base)
            with self.running(*arguments, caps=_OWN_HISTORY) as chunks:
                for name in capped.records(chunks, b"\n", 64):
                    foreign.discard(name)
                    if not foreign:
                        return
        first = min(foreign).decode("ascii")
        raise self._refused(f"names objects that are neither in it nor in its base's history, as {first}")

    def _check_size(self, listed: Path) -> None:
        total = 0
        with (
            listed.open("rb") as stdin,
            self.running("cat-file", "--buffer", "--batch-check=%(objectsize)", stdin=stdin) as chunks,
        ):
            for size in capped.records(chunks, b"\n", 64):
                total += int(size)
                if total > _BYTES:
                    raise self._refused(f"unpacks to more than {_BYTES // capped.GIB} GiB")

    def _check_paths(self, tip: str) -> None:
        """Refuse more changed paths than anybody looks at: trees in trees can make billions of a few bytes."""
        paths = 0
        arguments = ("diff-tree", "-r", "--name-only", "-z", "--no-renames", self._base, tip)
        try:
            with self.running(*arguments) as chunks:
                for chunk in chunks:
                    paths += chunk.count(b"\0")
                    if paths > _PATHS:
                        raise self._refused(f"changes more than {_PATHS} paths")
        except capped.CommandError as error:  # git holds all of them before it names the first
            raise self._refused(f"changes more paths than can be counted: {error.reason}") from error

    def statistics(self, commit: str) -> tuple[int, int, int] | tuple[None, None, None]:
        """Return files changed, lines added, lines deleted, or Nones when that takes too much.

        Files that are binary, or larger than 1 MiB, count as files only.
        """
        arguments = (
            "-c", "core.bigFileThreshold=1m", "diff-tree", "-r", "--numstat", "-z", "--no-renames",
            "--no-ext-diff", "--no-textconv", "--submodule=short", self._base, commit,
        )  # fmt: skip
        files = added = deleted = 0
        try:
            with self.running(*arguments, caps=_STATISTICS) as chunks:
                for row in capped.records(chunks, b"\0", 200):
                    plus, minus = row.split(b"\t")[:2]
                    files += 1
                    added += int(plus) if plus.isdigit() else 0
                    deleted += int(minus) if minus.isdigit() else 0
        except (capped.CommandError, ValueError):  # None says so
            return None, None, None
        return files, added, deleted

    def subject(self, commit: str) -> str:
        """Return the subject line of a commit."""
        text = self.output("log", "-1", "--no-show-signature", "--no-mailmap", "--format=%s", commit, "--")
        return text.strip("\n")

    def count(self, commit: str) -> int:
        """Return how many commits there are on top of the base."""
        return int(self.output("rev-list", "--count", f"{self._base}..{commit}", "--"))

    def is_ancestor(self, old: str, new: str) -> bool:
        """Return whether all of `old`'s history is in `new`'s."""
        return not self.output("rev-list", "--max-count=1", old, f"^{new}", "--").strip()

    def copy(self, own: _Git, header: Header) -> None:
        """Copy what is new into the operator's repository; it is checked there once more."""
        wanted = [name for name in (header.commit, header.snapshot, f"^{self._base}") if name]
        pack = self.folder / "copied.pack"
        with (
            pack.open("wb") as file,
            self.running(
                "pack-objects", "-q", "--revs", "--thin", "--delta-base-offset", "--stdout",
                stdin="".join(f"{name}\n" for name in wanted).encode(),
            ) as chunks,
        ):  # fmt: skip
            for chunk in chunks:
                file.write(chunk)
        with pack.open("rb", buffering=0) as file:
            count = int.from_bytes(file.read(_PACK_HEADER)[8:], "big")
            file.seek(0)
            if 0 < count < _FEW:
                own.output("unpack-objects", "-q", "--strict", stdin=file)
            elif count:
                own.output("index-pack", "--stdin", "--fix-thin", "--strict", "--threads=1", stdin=file)


def _describe(quarantine: _Quarantine, commit: str) -> Home:
    """Say what a commit holds; where it goes is not known yet."""
    files, added, deleted = quarantine.statistics(commit)
    return Home(
        ref="",
        commit=commit,
        moved=False,
        subject=quarantine.subject(commit),
        commits=quarantine.count(commit),
        files=files,
        added=added,
        deleted=deleted,
        snapshot="",
    )


def _checked_out(own: _Git) -> set[str]:
    lines = own.output("worktree", "list", "--porcelain").split("\n")
    return {line.removeprefix("branch ") for line in lines if line.startswith("branch ")}


def _read_ref(own: _Git, ref: str) -> tuple[str, bool]:
    """Return the commit that a ref holds, "" for none, and whether it is only another name of a second ref."""
    rows = own.output("for-each-ref", "--format=%(refname) %(objectname) %(symref)", ref).split("\n")
    # Refs below a folder of that name are listed as well.
    for name, commit, target in (row.split(" ", 2) for row in rows if row):
        if name == ref:
            return commit, bool(target)
    return "", False


def _free_ref(own: _Git, quarantine: _Quarantine, ref: str, commit: str) -> tuple[str, str | None]:
    """Return `ref` if it can go forward to `commit`, else the first numbered ref that can, and what it holds.

    That is None where the ref holds the commit already. A branch that is checked out is never moved.
    """
    busy = _checked_out(own)
    for number in range(1, _TRIES):
        # An agent's name holds no dot: this is never another agent's branch.
        candidate = ref if number == 1 else f"{ref}.{number}"
        old, other_name = _read_ref(own, candidate)
        if old and quarantine.is_ancestor(commit, old):
            return candidate, None
        if candidate in busy or other_name or (old and not quarantine.is_ancestor(old, commit)):
            continue
        return candidate, old
    raise RefusedError(f"{_TRIES} refs like {ref} are taken", hint="delete the branches you no longer need")


def _move(
    own: _Git, quarantine: _Quarantine, header: Header, refs: tuple[str, str], home: Home | None
) -> Home | None:
    """Move the branch (`refs[0]`) and the snapshot's ref (`refs[1]`), both or none."""
    branch, snapshot = refs
    lines = []
    if home is not None:
        ref, old = _free_ref(own, quarantine, branch, home.commit)
        if old is not None:
            # The old value makes this a compare-and-swap: somebody else's move is never lost.
            lines.append(f"update {ref} {home.commit} {old or '0' * 40}\n")
        kept = snapshot if header.snapshot else ""
        home = replace(home, ref=ref, moved=old is not None, snapshot=kept)
    if header.snapshot:
        lines.append(f"update {snapshot} {header.snapshot}\n")
    if lines:
        own.output("update-ref", "-m", "coppice: brought home", "--stdin", stdin="".join(lines).encode())
    return home
