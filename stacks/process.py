"""Run `pulumi` in a process group of its own, so that Ctrl-C ends an update cleanly and leaves nothing behind.

The engine ends its plug-ins and releases its lock when it is interrupted once; it must not be interrupted twice
because the terminal and `coppice` both pass the signal on.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import IO

from pulumi.automation import CommandResult, OnOutput, PulumiCommand
from pulumi.automation.errors import create_command_error
from semver import VersionInfo

# What the first, second and third Ctrl-C mean to the engine.
_SIGNALS = (signal.SIGINT, signal.SIGINT, signal.SIGKILL)
_SAID = (
    "cancelling: waiting for what is under way (Ctrl-C again to stop waiting)",
    "stopping the engine",
    "killing the engine: `pulumi cancel` releases its lock",
)


def _collect(stream: IO[str], callback: OnOutput | None, lines: list[str]) -> None:
    with stream:
        for line in stream:
            text = line.rstrip()
            lines.append(text)
            if callback:
                callback(text)


class GroupedCommand(PulumiCommand):
    """The Automation API's command runner, with cancellation."""

    def __init__(self, pulumi: Path) -> None:
        # Not the base class's: it asks for the version at once, whether anybody wants to know or not.
        self.command = str(pulumi)

    @cached_property
    def version(self) -> VersionInfo | None:  # type: ignore[override]
        """The engine's version; which ones serve is Pulumi.yaml's to say (requiredPulumiVersion)."""
        done = subprocess.run([self.command, "version"], capture_output=True, text=True, check=False)
        try:
            return VersionInfo.parse(done.stdout.strip().removeprefix("v"))
        except ValueError:
            return None

    def run(
        self,
        args: list[str],
        cwd: str,
        additional_env: Mapping[str, str],
        on_output: OnOutput | None = None,
        on_error: OnOutput | None = None,
    ) -> CommandResult:
        """Run one `pulumi` command to its end.

        Args:
            args: its arguments.
            cwd: where it runs.
            additional_env: variables beside the caller's.
            on_output: called with each line of standard output.
            on_error: called with each line of standard error.

        Raises:
            CommandError: it failed.
            KeyboardInterrupt: it was cancelled, and has ended.
        """
        words = [self.command, "--non-interactive", *[word for word in args if word != "--non-interactive"]]
        environment = {**os.environ, **additional_env, "PULUMI_AUTOMATION_API": "true"}
        out: list[str] = []
        err: list[str] = []
        process = subprocess.Popen(
            words,
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )
        readers = [
            threading.Thread(target=_collect, args=(process.stdout, on_output, out), daemon=True),
            threading.Thread(target=_collect, args=(process.stderr, on_error, err), daemon=True),
        ]
        for reader in readers:
            reader.start()
        interrupts = self._wait(process)
        for reader in readers:
            reader.join(timeout=10)
        if interrupts:
            raise KeyboardInterrupt
        result = CommandResult(stdout="\n".join(out), stderr="\n".join(err), code=process.returncode)
        if result.code != 0:
            raise create_command_error(result)
        return result

    def _wait(self, process: subprocess.Popen[str]) -> int:
        """Wait for the end, passing Ctrl-C on; return how often it was pressed."""
        interrupts = 0
        while True:
            try:
                process.wait()
            except KeyboardInterrupt:
                step = min(interrupts, len(_SIGNALS) - 1)
                sys.stderr.write(f"\n{_SAID[step]}\n")
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, _SIGNALS[step])
                interrupts += 1
            else:
                return interrupts
