"""What the verbs share: options, output, errors."""

import json
import os
import sys
from typing import IO, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from coppice.components.runtimes.docker.records import clean
from coppice.groves import access as grove_access
from coppice.groves.access import AgentAccess
from coppice.groves.errors import CoppiceError
from coppice.groves.plan import Plan
from coppice.harnesses import registry
from coppice.harnesses.unbuilt import unbuilt

_WIDE = 200  # columns where there is no terminal to fit into: what is piped is not folded


def _console(stream: IO[str], *, stderr: bool) -> Console:
    width = None if stream.isatty() or "COLUMNS" in os.environ else _WIDE
    return Console(stderr=stderr, highlight=False, emoji=False, width=width)


out = _console(sys.stdout, stderr=False)
err = _console(sys.stderr, stderr=True)

GroveArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="[GROVE]", help="A grove file, or a grove's name; by default the project's only one."
    ),
]
StackOption = Annotated[str | None, typer.Option("--stack", "-s", help="Stack; by default the grove's name.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON to standard output, and nothing else.")]


def print_json(data: Any) -> None:
    """Print data as JSON on standard output."""
    sys.stdout.write(json.dumps(data, indent=2, sort_keys=False) + "\n")


def report(error: CoppiceError, *, as_json: bool) -> None:
    """Print an error for people on standard error, or as JSON on standard output."""
    problems = getattr(error, "problems", ())
    if as_json:
        found = [str(problem) for problem in problems] or [str(error)]
        print_json({"error": {"messages": found, "remedy": error.hint, "exitCode": error.exit_code}})
        return
    for line in str(error).splitlines() or [""]:
        err.print(f"[bold red]error:[/] {escape(clean(line))}", soft_wrap=True)
    if error.hint:
        err.print(f"  [bold]remedy:[/] {escape(clean(error.hint))}", soft_wrap=True)


def accesses(plan: Plan) -> tuple[AgentAccess, ...]:
    """Return what each agent of a plan may touch.

    Raises:
        InputError: an agent's harness is unknown.
    """
    known = set(registry.names())
    harnesses = {agent.harness for agent in plan.agents} & known
    return grove_access.compute(plan, {name: registry.get(name).needs() for name in harnesses})


def limits_table(items: tuple[AgentAccess, ...]) -> Table:
    """Return the table of what each agent's box may use."""
    table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False, header_style="bold")
    for column in ("agent", "harness", "isolation", "CPUs", "memory", "processes", "time"):
        table.add_column(column, overflow="fold")
    for item in items:
        limits = item.limits
        table.add_row(
            escape(item.agent),
            escape(item.harness),
            escape(item.isolation),
            f"{limits.cpu:g}",
            f"{limits.memory >> 20} MiB",
            str(limits.pids),
            _duration(limits.duration),
        )
    return table


def _duration(seconds: int) -> str:
    hours, rest = divmod(seconds, 3600)
    minutes, left = divmod(rest, 60)
    parts = [f"{hours} h"] * bool(hours) + [f"{minutes} min"] * bool(minutes) + [f"{left} s"] * bool(left)
    return " ".join(parts)


def unbuilt_fields(plan: Plan) -> list[str]:
    """Return what a plan asks for and Coppice cannot do yet, each with its place."""
    return list(unbuilt(plan))


def show_access(plan: Plan, items: tuple[AgentAccess, ...], console: Console) -> None:
    """Print each agent's access, the limits of its box, and what is not built yet."""
    console.print("[bold]Access[/]  what each agent may touch; nothing else is reachable")
    for item in items:
        console.print(f"  {escape(item.agent)}: {escape(item.summary())}", soft_wrap=True)
        for mount in item.mounts:
            console.print(f"    [dim]{escape(mount)}[/]", soft_wrap=True)
    console.print()
    console.print(Padding(limits_table(items), (0, 0, 0, 2)))
    for field in unbuilt_fields(plan):
        console.print(f"  [yellow]not built yet, `up` refuses it:[/] {escape(field)}", soft_wrap=True)
