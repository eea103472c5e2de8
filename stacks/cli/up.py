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
    from coppice.stacks.updating import After


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
        if not yes and not json and sys.stdin.isatty():
            typer.confirm("Start?", abort=True)
        code = _run(wanted, message or f"coppice up {wanted.plan.grove}", wait=not detach, as_json=json)
        raise typer.Exit(code)


def _run(wanted: "Target", message: str, *, wait: bool, as_json: bool) -> int:
    """Update, watch, collect, report; return the exit code."""
    from coppice.components.runtimes.docker import daemon
    from coppice.stacks.engine import GroveStack, touched
    from coppice.stacks.follow import Watcher
    from coppice.stacks.progress import Progress
    from coppice.stacks.updating import begin, finish

    with contextlib.closing(daemon.find().client()) as client:
        opened = GroveStack(wanted.root, wanted.stack, create=True)
        before = begin(opened, wanted, client)
        names = {agent.name for agent in wanted.plan.agents} | set(before.agents)
        with Progress(wanted.plan.grove, sorted(names), None if as_json else err) as progress:
            progress.set("", "asking the engine")
            watcher = Watcher(client, progress)
            failure: CoppiceError | None = None
            changes: dict[str, int] = {}
            try:
                changes = opened.up(message, watcher.event, refresh=before.lost)
                progress.set("", "provisioned", f"{touched(changes)} change(s)", ended=True)
            except KeyboardInterrupt as error:
                raise CoppiceError(
                    "interrupted: what was made so far stays",
                    hint="`coppice up` goes on from there, `coppice destroy` removes it",
                    exit_code=130,
                ) from error
            except CoppiceError as error:
                # Agents that were started work all the same: they are watched, and their work is brought home.
                failure = error
                progress.set("", "failed", ended=True)
            if not wait and failure is None:
                return _tell_detached(wanted, changes, as_json=as_json)
            try:
                after = finish(opened, wanted, client, watcher)
            except KeyboardInterrupt:
                err.print(
                    "\nthe agents go on; `coppice ps` and `coppice logs -f` show them, "
                    "`coppice collect` brings their branches home"
                )
                return 130
    if as_json:
        print_json(
            {"stack": wanted.stack, "changes": changes, **after.to_json(), "error": str(failure or "")}
        )
    else:
        _report(wanted, changes, after, removed=sorted(set(before.agents) - set(after.statuses)))
    if failure is not None:
        if as_json:
            return failure.exit_code
        raise failure
    return 1 if after.failed else 0


def _report(wanted: "Target", changes: dict[str, int], after: "After", *, removed: list[str]) -> None:
    """Print what an update came to: phases, branches, what went wrong, what to do next."""
    from coppice.stacks.engine import touched

    phases = ", ".join(f"{name} {status.phase}" for name, status in after.statuses.items())
    count = touched(changes)
    out.print(
        f"{count} change(s); {phases}" if count else f"no changes; {phases}", markup=False, soft_wrap=True
    )
    show_collected(after.collected)
    for name in removed:
        out.print(f"  {escape(name)}: removed; what it had done is on branch agents/{escape(name)}")
    for note in after.notes:
        out.print(f"  [yellow]note:[/] {escape(note)}", soft_wrap=True)
    coppice = _command()
    for name in after.failed:
        reason = after.statuses[name].reason or "see its log"
        err.print(
            f"[bold red]error:[/] {escape(name)} failed: {escape(reason)} (see `{coppice} logs {name}{wanted.words}`; "
            "a changed prompt is a new run)",
            soft_wrap=True,
        )
    _next(wanted, after.collected)


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
        if item.error:
            out.print(f"  {escape(item.agent)}: [red]{escape(clean(item.error))}[/]", soft_wrap=True)
        elif home is None:
            out.print(f"  {escape(item.agent)}: [dim]{escape(clean(item.nothing))}[/]", soft_wrap=True)
        else:
            branch = home.ref.removeprefix("refs/heads/")
            new = "" if home.moved else " [dim](home already)[/]"
            subject = escape(clean(home.subject))
            out.print(f"  [bold green]{escape(branch)}[/] {home.commit[:10]} {subject}{new}", soft_wrap=True)
            if home.files is None:
                out.print(f"      {home.commits} commit(s), too large to count lines")
            else:
                lines = f"[green]+{home.added}[/] [red]-{home.deleted}[/]"
                out.print(f"      {home.commits} commit(s), {home.files} file(s), {lines}")
            if home.snapshot:
                out.print(f"      left uncommitted: {escape(home.snapshot)}")


def _command() -> str:
    """Return how the user calls coppice: as it was called, or as a script that called it says."""
    return os.environ.get("COPPICE_COMMAND") or ("coppice" if shutil.which("coppice") else sys.argv[0])


def _next(wanted: "Target", collected: "list[Collected]") -> None:
    """Print the three commands that a newcomer wants next."""
    first = next((item for item in collected if item.home), None)
    agent = first.agent if first else wanted.plan.agents[0].name
    coppice = _command()
    commands = [
        (f"{coppice} diff {agent}{wanted.words}", "see what it changed"),
        (f"{coppice} shell {agent}{wanted.words}", "open a shell in its box and try to get out"),
        (f"{coppice} init YOUR-REPOSITORY", "use it on your own repository"),
    ]
    out.print("next:")
    for command, what in commands:
        out.print(f"  {escape(command):44} [dim]# {what}[/]", soft_wrap=True)
