"""HOME and the environment of the harness."""

import os
from collections.abc import Mapping
from pathlib import Path

from .launch import Launch

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
GITCONFIG = """\
[user]
\tname = {agent}
\temail = {agent}@{grove}.coppice.invalid
[init]
\tdefaultBranch = main
[safe]
\tdirectory = {workdir}
[commit]
\tgpgSign = false
[tag]
\tgpgSign = false
[advice]
\taddEmbeddedRepo = false
\taddEmptyPathspec = false
\taddIgnoredFile = false
\tdetachedHead = false
\tstatusHints = false
"""


def prepare(home: Path, launch: Launch) -> None:
    """Write the git identity; a HOME that is kept may hold anything in its place.

    Raises:
        OSError: HOME cannot be written.
    """
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    text = GITCONFIG.format(agent=launch.agent, grove=launch.grove, workdir=_quoted(str(launch.workdir)))
    draft = home / f".gitconfig.{os.getpid()}"
    draft.unlink(missing_ok=True)
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    with os.fdopen(fd, "w", encoding="utf-8") as file:
        file.write(text)
    draft.replace(home / ".gitconfig")


def environment(home: Path, launch: Launch, inherited: Mapping[str, str]) -> dict[str, str]:
    """What the harness sees: the image's variables, the launch document's over them, ours over both."""
    env = {"PATH": PATH, **inherited, "LANG": "C.UTF-8", "TMPDIR": "/tmp", **launch.env}  # noqa: S108  # the box's own tmpfs
    env.update(
        HOME=str(home),
        COPPICE_AGENT=launch.agent,
        COPPICE_GROVE=launch.grove,
        GIT_TERMINAL_PROMPT="0",
    )
    return env


def _quoted(text: str) -> str:
    """A value of a git configuration file, quoted."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
