"""coppice up: show each agent's access, start the agents, watch them, bring their branches home."""

import contextlib
import os
import shutil
import sys
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from coppice.groves.errors import CoppiceError
from coppice.stacks.cli.common import (
    GroveArgument,
    JsonOption,
    StackOption,
    accesses,
    err,
    out,
    print_json,
    show_access,
)

if TYPE_CHECKING:
    from coppice.stacks.boxes import Collected
    from coppice.stacks.project import Target


def register(app: typer.Typer) -> None:
    """Add the verb."""

    @app.command()
    def up(
        grove: GroveArgument = None,
        stack: StackOption = None,
        yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
        detach: Annotated[bool, typer.Option("--detach", "-d", help="Do not wait for the agents.")] = False,
        message: Annotated[
            str, typer.Option("--message", "-m", help="Why, for `pulumi stack history`.")
        ] = "",
        json: JsonOption = False,
    ) -> None:
        """Start a grove's agents (or change those that run) and bring their branches home."""
        from coppice.harnesses.unbuilt import refuse_unbuilt
        from coppice.stacks.project import target

        wanted = target(grove, stack)
        items = accesses(wanted.plan)
        if not json:
            show_access(wanted.plan, items, out)
        refuse_unbuilt(wanted.plan)
        if not yes and not json and out.is_terminal:
            typer.confirm("Start?", abort=True)
        code = _run(wanted, message or f"coppice up {wanted.plan.grove}", wait=not detach, as_json=json)
        raise typer.Exit(code)


def _run(wanted: "Target", message: str, *, wait: bool, as_json: bool) -> int:
    """Update, watch, collect; return the exit code."""
    from coppice.components.runtimes.docker import daemon
    from coppice.stacks.boxes import collect, standing
    from coppice.stacks.engine import GroveStack
    from coppice.stacks.follow import Watcher
    from coppice.stacks.progress import Progress

    names = [agent.name for agent in wanted.plan.agents]
    with (
        contextlib.closing(daemon.find().client()) as client,
        Progress(wanted.plan.grove, names, None if as_json else err) as progress,
    ):
        progress.set("", "asking the engine")
        opened = GroveStack(wanted.root, wanted.stack, create=True)
        opened.set_grove(wanted.grove_setting)
        watcher = Watcher(client, progress)
        try:
            outcome = opened.up(message, watcher.event)
        except KeyboardInterrupt as error:
            raise CoppiceError(
                "interrupted: what was made so far stays",
                hint="`coppice up` goes on from there, `coppice destroy` removes it",
                exit_code=130,
            ) from error
        progress.set("", "provisioned", f"{outcome.changed} change(s)", ended=True)
        if not wait:
            return _tell_detached(wanted, outcome.changes, as_json=as_json)
        stand = standing(outcome.outputs, client)
        agents = list(stand.agents.values())
        try:
            watcher.until_settled(agents)
        except KeyboardInterrupt:
            err.print(
                "\nthe agents go on; `coppice ps` and `coppice logs -f` show them, "
                "`coppice collect` brings their branches home"
            )
            return 130
        statuses = {standing.agent: standing.status() for standing in agents}
        collected = [collect(stand, standing) for standing in agents]
    failed = [name for name, status in statuses.items() if status.phase in {"failed", "gone"}]
    if as_json:
        phases = {name: {"phase": s.phase, "reason": s.reason} for name, s in statuses.items()}
        print_json(
            {
                "stack": wanted.stack,
                "changes": outcome.changes,
                "agents": phases,
                "branches": [item.to_json() for item in collected],
            }
        )
    else:
        out.print(f"{outcome.changed} change(s)" if outcome.changed else "no changes", end="; ")
        out.print(", ".join(f"{name} {status.phase}" for name, status in statuses.items()), markup=False)
        show_collected(collected)
        for name in failed:
            reason = statuses[name].reason or "see its log"
            err.print(f"[bold red]error:[/] {escape(name)} failed: {escape(reason)} (`coppice logs {name}`)")
        _next(wanted, collected)
    return 1 if failed else 0


def _tell_detached(wanted: "Target", changes: dict[str, int], *, as_json: bool) -> int:
    if as_json:
        print_json({"stack": wanted.stack, "changes": changes})
    else:
        out.print("started; `coppice ps` shows the agents, `coppice collect` brings their branches home")
    return 0


def show_collected(items: "list[Collected]") -> None:
    """Print what came home of each agent: branch, subject, changed lines."""
    from coppice.components.runtimes.docker.records import clean

    for item in items:
        home = item.home
        if home is None:
            out.print(f"  {escape(item.agent)}: [dim]{escape(clean(item.nothing))}[/]")
            continue
        branch = home.ref.removeprefix("refs/heads/")
        new = "" if home.moved else " [dim](home already)[/]"
        out.print(
            f"  [bold green]{escape(branch)}[/] {home.commit[:10]} {escape(clean(home.subject))}{new}\n"
            f"      {home.commits} commit(s), {home.files} file(s), [green]+{home.added}[/] [red]-{home.deleted}[/]"
        )
        if home.snapshot:
            out.print(f"      left uncommitted: {escape(home.snapshot)}")


def _command() -> str:
    """Return how the user calls coppice: as it was called, or as a script that called it says."""
    return os.environ.get("COPPICE_COMMAND") or ("coppice" if shutil.which("coppice") else sys.argv[0])


def _next(wanted: "Target", collected: "list[Collected]") -> None:
    """Print the three commands that a newcomer wants next."""
    first = next((item for item in collected if item.home), None)
    agent = first.agent if first else wanted.plan.agents[0].name
    grove = "" if wanted.sole else f" -g {wanted.plan.grove}"
    coppice = _command()
    commands = [
        (f"{coppice} diff {agent}{grove}", "see what it changed"),
        (f"{coppice} shell {agent}{grove}", "open a shell in its box and try to get out"),
        (f"{coppice} init YOUR-REPOSITORY", "use it on your own repository"),
    ]
    out.print("next:")
    for command, what in commands:
        out.print(f"  {command:44} [dim]# {what}[/]", soft_wrap=True)
