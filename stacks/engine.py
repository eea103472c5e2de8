"""The only user of the Automation API: one grove's stack, and what can be done with it.

The program, the state and the plug-ins are those of a plain `pulumi` in the project's folder.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pulumi.automation import ConfigValue, EngineEvent, LocalWorkspace, LocalWorkspaceOptions, Stack
from pulumi.automation.errors import CommandError, ConcurrentUpdateError, StackNotFoundError

from coppice.groves.errors import CoppiceError
from coppice.stacks import settings, setup
from coppice.stacks.process import GroupedCommand

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
    while "<{%" in message and "%}>" in message:
        head, _, rest = message.partition("<{%")
        message = head + rest.partition("%}>")[2]
    return message


@dataclass(frozen=True)
class Outcome:
    """What an operation did: how many resources per kind of change, and the stack's outputs after it."""

    changes: dict[str, int]
    outputs: dict[str, Any]

    @property
    def changed(self) -> int:
        """Return the number of resources that were, or would be, touched."""
        return sum(count for kind, count in self.changes.items() if kind not in {"same", "read"})


def _kind(operation: Any) -> str:
    """Return the engine's word for a change; the SDK hands out an enum in one place and a text in another."""
    return str(getattr(operation, "value", operation))


def _outputs(raw: Any) -> dict[str, Any]:
    return {name: output.value for name, output in raw.items()}


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
        environment = {**settings.environment(used), "PATH": settings.search_path()}
        # The workspace asks for variables in its own process too, when it looks for the command.
        os.environ["PATH"] = environment["PATH"]
        options = LocalWorkspaceOptions(env_vars=environment, pulumi_command=GroupedCommand(used.pulumi))
        workspace = LocalWorkspace(
            work_dir=str(project), env_vars=options.env_vars, pulumi_command=options.pulumi_command
        )
        self.name = name
        self.project = project
        try:
            self._stack = Stack.create_or_select(name, workspace) if create else Stack.select(name, workspace)
        except StackNotFoundError as error:
            raise CoppiceError(
                f"there is no stack {name} in {project}",
                hint=f"`coppice up {name}` makes it; `pulumi stack ls` lists those there are",
                exit_code=3,
            ) from error
        except CommandError as error:
            raise _explain(error, Errors()) from error

    def set_grove(self, value: str | None) -> None:
        """Make the stack's configuration name the grove file; None: the stack's own name is enough."""
        key = "grove"
        current = self._stack.get_all_config()
        full = next((name for name in current if name.endswith(f":{key}")), None)
        now = current[full].value if full else ""
        if value and now != value:
            self._stack.set_config(key, ConfigValue(value))
        elif not value and now:
            self._stack.remove_config(key)

    @contextlib.contextmanager
    def _watching(self, on_event: OnEvent | None) -> Iterator[tuple[Errors, OnEvent]]:
        errors = Errors()

        def both(event: EngineEvent) -> None:
            errors.event(event)
            if on_event is not None:
                on_event(event)

        try:
            yield errors, both
        except CommandError as error:
            raise _explain(error, errors) from error

    def preview(self, on_event: OnEvent | None = None) -> dict[str, int]:
        """Return how many resources an update would touch, per kind of change.

        Raises:
            CoppiceError: the program or a policy refused.
        """
        with self._watching(on_event) as (_errors, watch):
            result = self._stack.preview(on_event=watch)
        return {_kind(kind): count for kind, count in result.change_summary.items()}

    def up(self, message: str, on_event: OnEvent | None = None) -> Outcome:
        """Run an update.

        Args:
            message: why, for `pulumi stack history`.
            on_event: called with each engine event.

        Raises:
            CoppiceError: it failed; what it made stays in the state.
        """
        with self._watching(on_event) as (_errors, watch):
            result = self._stack.up(
                message=message, on_event=watch, continue_on_error=True, show_secrets=False
            )
        changes = result.summary.resource_changes or {}
        return Outcome({_kind(kind): count for kind, count in changes.items()}, _outputs(result.outputs))

    def destroy(self, on_event: OnEvent | None = None) -> None:
        """Remove everything, then the stack itself; its configuration file stays when the user changed it.

        Raises:
            CoppiceError: something could not be removed.
        """
        with self._watching(on_event) as (_errors, watch):
            self._stack.destroy(on_event=watch, show_secrets=False)
            self._stack.workspace.remove_stack(self.name)

    def outputs(self) -> dict[str, Any]:
        """Return the stack's outputs.

        Raises:
            CoppiceError: the state cannot be read.
        """
        with self._watching(None):
            return _outputs(self._stack.outputs())


def _explain(error: CommandError, errors: Errors) -> CoppiceError:
    """Turn the engine's failure into one readable message."""
    if isinstance(error, ConcurrentUpdateError):
        return CoppiceError(
            "another update of this stack is running, or was killed",
            hint="wait for it; if there is none, `pulumi cancel` releases its lock",
            exit_code=3,
        )
    if errors.messages:
        refused = any(message.startswith("policy ") for message in errors.messages)
        return CoppiceError("\n".join(errors.messages), exit_code=3 if refused else 1)
    text = str(error)
    stderr = text.partition("stderr:")[2].strip()
    lines = [line for line in (stderr or text).splitlines() if line.strip()]
    return CoppiceError("\n".join(plain(line.removeprefix("error: ")) for line in lines[-10:]))
