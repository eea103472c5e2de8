"""coppice:docker:Power: whether a box runs.

The Docker plug-in's own switches change only state, and would run a finished agent again (see README, "How it
works"). Here an agent that is done with a run stays done: the box is switched on when the run is new, and
again when the box was killed in the middle of it.
"""

import contextlib
import json
from typing import Any

from docker.models.containers import Container

from coppice.components.plugin.handlers.base import Context, Handler, Values
from coppice.components.runtimes.docker import operations
from coppice.components.runtimes.docker.records import terminal
from coppice.groves.errors import CoppiceError
from coppice.harnesses import layout

RUNNING, FINISHED, STOPPED, GONE = "running", "finished", "stopped", "gone"


def _limit_processes(container: Container, pids: int) -> None:
    # The Docker plug-in's Container has no pids limit and docker-py's update neither; the API has.
    api: Any = container.client.api if container.client else None
    response = api._post_json(api._url("/containers/{0}/update", container.id), data={"PidsLimit": pids})
    api._raise_for_status(response)
    warnings = json.loads(response.content or b"{}").get("Warnings")
    if warnings:
        raise CoppiceError(f"the daemon cannot limit processes: {'; '.join(warnings)}")


def _end(container: Container, run: str) -> str:
    """Return the phase in which the box ended this run by itself (done, failed), "" when it did not."""
    last = terminal(container)
    return str(last.data["phase"]) if last is not None and last.run == run else ""


class Power(Handler):
    """Inputs: `container` (id), `run` (key of the run wanted), `pids` (limit).

    Outputs: `got` (running, finished, stopped, gone), `finished` (key of the run that ended by itself, or ""),
    `ended` (the phase it ended in, done or failed, or "").
    """

    token = "coppice:docker:Power"
    required = frozenset({"container", "run", "pids"})
    outputs = frozenset({"got", "finished", "ended"})

    def changes(self, old: Values, new: Values) -> list[str]:
        """Add drift: a box that a refresh found stopped in the middle of its run is switched on again."""
        changed = super().changes(old, new)
        return changed or (["run"] if old.get("got") in {STOPPED, GONE} else [])

    def moving(self, old: Values, new: Values) -> frozenset[str]:
        del old, new
        return self.outputs

    def create(self, context: Context, inputs: Values) -> tuple[str, Values]:
        context.tell("starting")
        with contextlib.closing(context.client()) as client:
            container = client.containers.get(inputs["container"])
            _limit_processes(container, inputs["pids"])
            container.start()
        return inputs["container"], {"got": RUNNING, "finished": "", "ended": ""}

    def update(self, context: Context, resource_id: str, old: Values, new: Values) -> Values:
        del resource_id
        run = new["run"]
        with contextlib.closing(context.client()) as client:
            box = client.containers.get(new["container"])
            _limit_processes(box, new["pids"])
            # The box before this one still stands here: the engine removes what it replaced last.
            before = operations.get(client, old["container"])
            ended = old["ended"] if old["finished"] == run else before and _end(before, run)
            if ended:
                # What is finished needs no second run, in whatever box.
                return {"got": FINISHED, "finished": run, "ended": ended}
            if before is not None and (before.id != box.id or old["run"] != run):
                # Two runs must not share a workspace.
                before.stop(timeout=layout.STOP_TIMEOUT)
            context.tell("starting")
            box.start()
        return {"got": RUNNING, "finished": "", "ended": ""}

    def read(self, context: Context, resource_id: str, state: Values) -> Values | None:
        del resource_id
        kept = {"finished": state["finished"], "ended": state["ended"]}
        with contextlib.closing(context.client()) as client:
            box = operations.get(client, state["container"])
            if box is None:
                return {"got": GONE, **kept}
            if state["finished"] == state["run"]:
                return {"got": FINISHED, **kept}
            if operations.is_running(box):
                return {"got": RUNNING, **kept}
            ended = _end(box, state["run"])
        return (
            {"got": FINISHED, "finished": state["run"], "ended": ended} if ended else {"got": STOPPED, **kept}
        )

    def delete(self, context: Context, resource_id: str, state: Values) -> None:
        del resource_id
        with contextlib.closing(context.client()) as client:
            box = operations.get(client, state["container"])
            if box is not None:
                box.stop(timeout=layout.STOP_TIMEOUT)
