"""The only user of the Automation API: one grove's stack, and what can be done with it.

The program, the state and the plug-ins are those of a plain `pulumi` in the project's folder.
"""

import contextlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from pulumi.automation import ConfigValue, EngineEvent, LocalWorkspace, Stack
from pulumi.automation.errors import (
    CommandError,
    ConcurrentUpdateError,
    StackAlreadyExistsError,
    StackNotFoundError,
)

from coppice.components import repository
from coppice.components.plugin.handlers.workspace import DISCARD
from coppice.groves.errors import CoppiceError
from coppice.stacks import settings, setup
from coppice.stacks.process import GroupedCommand
from coppice.stacks.state import GroveState, read

_GROVE_KEY = "grove"
_DIRECTIVE = re.compile(r"<\{%.*?%\}>")
OnEvent = Callable[[EngineEvent], None]


@dataclass
class Errors:
    """What the engine said went wrong, gathered from its events while an operation runs."""

    messages: list[str] = field(default_factory=list)

    def event(self, event: EngineEvent) -> None:
        """Keep an event's message if it is an error or a mandatory policy's violation."""
        diagnostic, policy = event.diagnostic_event, event.policy_event
        if diagnostic is not None and diagnostic.severity == "error":
            self._add(diagnostic.message)
        elif policy is not None and policy.enforcement_level == "mandatory":
            self._add(f"policy {policy.policy_name}: {policy.message}")

    def _add(self, message: str) -> None:
        text = plain(message).strip()
        # The engine closes with "update failed" and repeats what its plug-ins said already.
        if (
            text
            and text not in {"update failed", "preview failed", "destroy failed"}
            and text not in self.messages
        ):
            self.messages.append(text)


def plain(message: str) -> str:
    """Return an engine message without its colour directives (`<{%reset%}>`)."""
    return _DIRECTIVE.sub("", message)


def touched(changes: Mapping[str, int]) -> int:
    """Return the number of resources that an operation touched, or would touch."""
    return sum(count for kind, count in changes.items() if kind not in {"same", "read", "refresh"})


def kind_of(operation: Any) -> str:
    """Return the engine's word for a change; the SDK hands out an enum in one place and a text in another."""
    return str(getattr(operation, "value", operation))


class GroveStack:
    """A grove's stack.

    Args:
        project: the folder with Pulumi.yaml.
        name: the stack's name.
        create: make the stack when it is not there.

    Raises:
        CoppiceError: no engine, or no such stack.
    """

    def __init__(self, project: Path, name: str, *, create: bool) -> None:
        used = setup.prepare()
        self._environment = {**settings.environment(used), "PATH": settings.search_path()}
        self._command = GroupedCommand(used.pulumi)
        self._create = create
        self._project = project
        self._file = project / f"Pulumi.{name}.yaml"
        self.name = name

    @cached_property
    def _stack(self) -> Stack:
        """Return the stack, selected or made: that takes the engine a quarter of a second."""
        workspace = LocalWorkspace(
            work_dir=str(self._project), env_vars=self._environment, pulumi_command=self._command
        )
        make = Stack.create_or_select if self._create else Stack.select
        with self._explaining(Errors()):
            try:
                return make(self.name, workspace)
            except StackAlreadyExistsError:
                # Somebody else made it since we looked.
                return Stack.select(self.name, workspace)

    @contextlib.contextmanager
    def _explaining(self, errors: Errors) -> Iterator[None]:
        """Turn a failure of the engine into a CoppiceError."""
        try:
            yield
        except StackNotFoundError as error:
            raise CoppiceError(
                f"there is no stack {self.name} in {self._project}",
                hint="`coppice up` makes it; `pulumi stack ls` lists those there are",
                exit_code=3,
            ) from error
        except CommandError as error:
            raise _explain(error, errors) from error

    def set_grove(self, value: str | None) -> None:
        """Make the stack's configuration name the grove file; None: the stack's own name is enough."""
        now = self._setting(_GROVE_KEY)
        if value and now != value:
            self._stack.set_config(_GROVE_KEY, ConfigValue(value))
        elif not value and now:
            self._stack.remove_config(_GROVE_KEY)

    def _setting(self, key: str) -> str:
        """Read a plain setting from the stack's file: asking the engine takes a process and a quarter second."""
        if not self._file.is_file():
            return ""
        try:
            data = yaml.safe_load(self._file.read_bytes())
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            said = " ".join(str(error).split())
            raise CoppiceError(f"{self._file} is not YAML: {said}", hint="correct it", exit_code=2) from error
        config = data.get("config") if isinstance(data, dict) else None
        found = [value for name, value in (config or {}).items() if name.endswith(f":{key}")]
        return str(found[0]) if found else ""

    @contextlib.contextmanager
    def _watching(self, on_event: OnEvent | None) -> Iterator[OnEvent]:
        errors = Errors()

        def both(event: EngineEvent) -> None:
            errors.event(event)
            if on_event is not None:
                on_event(event)

        with self._explaining(errors):
            yield both

    def ensure(self) -> None:
        """Make the stack when it is not there and may be made.

        Raises:
            CoppiceError: it is not there and may not, or cannot.
        """
        _ = self._stack

    def preview(self, on_event: OnEvent | None = None, *, refresh: bool = False) -> dict[str, int]:
        """Return how many resources an update would touch, per kind of change.

        Args:
            on_event: called with each engine event.
            refresh: look first at how things really are.

        Raises:
            CoppiceError: the program or a policy refused.
        """
        with self._watching(on_event) as watch:
            result = self._stack.preview(on_event=watch, refresh=refresh or None)
        return {kind_of(kind): count for kind, count in result.change_summary.items()}

    def up(self, message: str, on_event: OnEvent | None = None, *, refresh: bool = False) -> dict[str, int]:
        """Run an update; return how many resources it touched, per kind of change.

        Args:
            message: why, for `pulumi stack history`.
            on_event: called with each engine event.
            refresh: look first at how things really are, and heal what differs.

        Raises:
            CoppiceError: it failed; what it made stays in the state.
        """
        with self._watching(on_event) as watch:
            result = self._stack.up(
                message=message,
                on_event=watch,
                continue_on_error=True,
                show_secrets=False,
                refresh=refresh or None,
            )
        changes = result.summary.resource_changes or {}
        return {kind_of(kind): count for kind, count in changes.items()}

    def destroy(self, on_event: OnEvent | None = None, *, discard: bool = False) -> None:
        """Remove everything, then the stack itself; its configuration file stays if git tracks it.

        Args:
            on_event: called with each engine event.
            discard: remove workspaces without bringing home what is in them.

        Raises:
            CoppiceError: something could not be removed.
        """
        if discard:
            self._environment[DISCARD] = "1"
        with self._watching(on_event) as watch:
            self._stack.destroy(on_event=watch, show_secrets=False)
            tracked = repository.is_tracked(self._file)
            self._stack.workspace.remove_stack(self.name, preserve_config=tracked)

    def state(self) -> GroveState | None:
        """Return what the stack holds, None for nothing yet.

        Raises:
            CoppiceError: there is no such stack, or its state cannot be read.
        """
        words = ["stack", "export", "--stack", self.name]
        with self._explaining(Errors()):
            result = self._command.run(words, str(self._project), self._environment)
        return read(json.loads(result.stdout))


def _explain(error: CommandError, errors: Errors) -> CoppiceError:
    """Turn the engine's failure into one readable message."""
    if isinstance(error, ConcurrentUpdateError):
        return CoppiceError(
            "another update of this stack is running, or was killed",
            hint="wait for it; if there is none, `pulumi cancel` releases its lock",
            exit_code=3,
        )
    # The SDK's traceback of a program that only hit what the engine has explained already says nothing more.
    messages = [text for text in errors.messages if "Traceback (most recent call last)" not in text]
    if errors.messages and not messages:
        messages = [text.strip().splitlines()[-1] for text in errors.messages]
    if messages:
        refused = any(message.startswith("policy ") for message in messages)
        return CoppiceError("\n".join(messages), exit_code=3 if refused else 1)
    text = str(error)
    stderr = text.partition("stderr:")[2].strip()
    lines = [line for line in (stderr or text).splitlines() if line.strip()]
    return CoppiceError("\n".join(plain(line.removeprefix("error: ")) for line in lines[-10:]))
