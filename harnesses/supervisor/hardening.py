"""Keep the agent, which has the supervisor's uid, out of the supervisor's own process."""

import os
import sys

PR_SET_DUMPABLE = 4
PR_SET_CHILD_SUBREAPER = 36


def harden() -> list[str]:
    """Make this process closed to its own uid and the parent of every orphan below it.

    Not dumpable: no other process of the same uid may open its descriptors through /proc and forge lines
    of the log, read its memory or trace it. Child subreaper: a descendant that escapes by a double fork and
    a new session stays findable.

    Returns:
        One message for each protection that is missing; empty when all hold.
    """
    if not sys.platform.startswith("linux"):
        return [f"{sys.platform}: the agent can reach into the supervisor, and escaped processes outlive it"]
    try:
        import ctypes  # noqa: PLC0415  # missing from the smallest Pythons, and then it is a warning
    except ImportError as error:
        return [f"the agent can reach into the supervisor: {error}"]
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    missing = []
    for option, value, effect in (
        (PR_SET_DUMPABLE, 0, "the agent can reach into the supervisor"),
        (PR_SET_CHILD_SUBREAPER, 1, "escaped processes outlive the run"),
    ):
        if prctl(option, *(ctypes.c_ulong(word) for word in (value, 0, 0, 0))) != 0:
            missing.append(f"{effect}: prctl({option}): {os.strerror(ctypes.get_errno())}")
    if os.getpid() != 1 and _first_process_is_open():
        missing.append("the agent can write to this log through process 1: run the supervisor as process 1")
    return missing


def _first_process_is_open() -> bool:
    """Whether process 1 is an init that shares this process's standard output and that the agent can open."""
    try:
        return os.stat("/proc/1/fd/1").st_ino == os.fstat(1).st_ino and os.geteuid() != 0  # noqa: PTH116
    except OSError:
        return False
