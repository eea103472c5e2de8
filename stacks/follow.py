"""Watch boxes until their agents have settled."""

import threading

from coppice.components.runtimes.docker import operations, records
from coppice.stacks.boxes import Standing
from coppice.stacks.progress import Progress

# An agent in one of these does nothing more by itself.
_SETTLED = records.TERMINAL | {"waiting", "suspended"}


def _watch(standing: Standing, progress: Progress, stop: threading.Event) -> None:
    status = standing.status()
    if status.running and standing.container is not None:
        for record in operations.follow(standing.container, since_start=True):
            if stop.is_set():
                return
            if record.type == "phase":
                phase = str(record.data["phase"])
                progress.set(standing.agent, phase, record.text("reason"), ended=phase in _SETTLED)
                if phase in _SETTLED:
                    break
            elif record.type == "output":
                progress.set(standing.agent, "working", record.text("text").strip()[:100])
    status = standing.status()
    progress.set(standing.agent, status.phase, status.reason, ended=True)


def until_settled(agents: list[Standing], progress: Progress) -> None:
    """Show each agent's phases until all of them are done, failed or waiting.

    Raises:
        KeyboardInterrupt: the user does not want to wait; the agents go on.
    """
    stop = threading.Event()
    threads = [
        threading.Thread(target=_watch, args=(standing, progress, stop), daemon=True) for standing in agents
    ]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            # In short waits: a join without a limit would not see Ctrl-C.
            while thread.is_alive():
                thread.join(timeout=0.2)
    finally:
        stop.set()
