"""coppice:docker:Power: whether a box runs.

The Docker plug-in's own switches change only state, and would run a finished agent again (see README, "How it
works"). Here an agent that is done with a run stays done: the box is switched on when the run is new, and
again when the box was killed in the middle of it.
"""

import contextlib
import json

from docker.errors import NotFound
from docker.models.containers import Container

from coppice.components.plugin.handlers.base import Context, Handler, Values
from coppice.components.runtimes.docker.records import terminal_run
from coppice.groves.errors import CoppiceError

RUNNING, FINISHED, STOPPED, GONE = "running", "finished", "stopped", "gone"
_STOP = 30  # seconds from SIGTERM to SIGKILL; the supervisor takes its snapshot in them


def _limit_processes(container: Container, pids: int) -> None:
    # The Docker plug-in's Container has no pids limit and docker-py's update neither; the API has.
    api = container.client.api  # type: ignore[union-attr]
    response = api._post_json(api._url("/containers/{0}/update", container.id), data={"PidsLimit": pids})  # noqa: SLF001
    api._raise_for_status(response)  # noqa: SLF001
    warnings = json.loads(response.content or b"{}").get("Warnings")
    if warnings:
        raise CoppiceError(f"the daemon cannot limit processes: {'; '.join(warnings)}")


def _state(container: Container, run: str) -> str:
    """Return what the box is at with this run: running, finished, or stopped before its end."""
    container.reload()
    if container.status in {"running", "restarting", "paused"}:
        return RUNNING
    return FINISHED if terminal_run(container) == run else STOPPED


class Power(Handler):
    """Inputs: `container` (id), `run` (key of the run wanted), `pids` (limit). Outputs: `got`, `finishedRun`."""

    token = "coppice:docker:Power"
    required = frozenset({"container", "run", "pids"})
    outputs = frozenset({"got", "finishedRun"})

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
        return inputs["container"], {"got": RUNNING, "finishedRun": ""}

    def update(self, context: Context, resource_id: str, old: Values, new: Values) -> Values:
        del resource_id
        run = new["run"]
        with contextlib.closing(context.client()) as client:
            box = client.containers.get(new["container"])
            _limit_processes(box, new["pids"])
            finished = old.get("finishedRun", "")
            with contextlib.suppress(NotFound):
                # The box before this one still stands here; what it finished needs no second run.
                finished = terminal_run(client.containers.get(old["container"])) or finished
            if finished == run:
                return {"got": FINISHED, "finishedRun": finished}
            if old["container"] != new["container"]:
                with contextlib.suppress(NotFound):
                    client.containers.get(old["container"]).stop(timeout=_STOP)
            elif old["run"] != run and _state(box, old["run"]) == RUNNING:
                box.stop(timeout=_STOP)
            context.tell("starting")
            box.start()
        return {"got": RUNNING, "finishedRun": finished}

    def read(self, context: Context, resource_id: str, state: Values) -> Values | None:
        del resource_id
        run, finished = state["run"], state.get("finishedRun", "")
        with contextlib.closing(context.client()) as client:
            try:
                box = client.containers.get(state["container"])
            except NotFound:
                return {"got": GONE, "finishedRun": finished}
            if finished == run:
                return {"got": FINISHED, "finishedRun": finished}
            got = _state(box, run)
        return {"got": got, "finishedRun": run if got == FINISHED else finished}

    def delete(self, context: Context, resource_id: str, state: Values) -> None:
        del resource_id
        with contextlib.closing(context.client()) as client, contextlib.suppress(NotFound):
            client.containers.get(state["container"]).stop(timeout=_STOP)
