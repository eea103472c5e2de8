"""coppice ps: the agents of a grove that stands."""

import typer
from rich.markup import escape
from rich.table import Table

from coppice.stacks.cli.common import GroveArgument, JsonOption, StackOption, out, print_json

_STYLES = {"done": "green", "failed": "red", "gone": "red", "working": "cyan", "suspended": "yellow"}


def register(app: typer.Typer) -> None:
    """Add the verb."""

    @app.command()
    def ps(grove: GroveArgument = None, stack: StackOption = None, json: JsonOption = False) -> None:
        """List the agents: phase, reason, since when, branch, box."""
        from coppice.stacks.boxes import opened

        with opened(grove, stack) as stand:
            rows = [(agent, agent.status()) for agent in stand.agents.values()]
        if json:
            print_json(
                [
                    {
                        "agent": agent.name,
                        "phase": status.phase,
                        "reason": status.reason,
                        "since": status.since,
                        "running": status.running,
                        "branch": agent.state.branch,
                        "base": agent.state.base,
                        "box": agent.state.box,
                    }
                    for agent, status in rows
                ]
            )
            return
        table = Table(box=None, padding=(0, 2), show_edge=False, header_style="bold")
        for column in ("agent", "phase", "since", "branch", "box", "reason"):
            table.add_column(column, overflow="fold")
        for agent, status in rows:
            style = _STYLES.get(status.phase, "default")
            table.add_row(
                escape(agent.name),
                f"[{style}]{escape(status.phase)}[/]",
                _seconds(status.since),
                escape(agent.state.branch),
                agent.state.box[:12],
                escape(status.reason),
            )
        out.print(table)


def _seconds(time: str) -> str:
    """Return a time to the second."""
    return time.partition(".")[0] + "Z" if "." in time else time
