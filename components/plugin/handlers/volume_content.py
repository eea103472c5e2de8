"""What is in a volume, as a resource: filled by a helper container, gone when the volume is gone."""

import contextlib
from abc import abstractmethod

from coppice.components.plugin.handlers.base import Context, Handler, Values
from coppice.components.runtimes.docker import collector


class VolumeContent(Handler):
    """Content of the volume that input `volume` names; another volume is another content."""

    replaces = frozenset({"volume"})
    unwatched = frozenset({"image"})  # only what the helper runs on

    @abstractmethod
    def fill(self, context: Context, inputs: Values) -> Values:
        """Write the content; return the outputs."""

    def create(self, context: Context, inputs: Values) -> tuple[str, Values]:
        return inputs["volume"], self.fill(context, inputs)

    def update(self, context: Context, resource_id: str, old: Values, new: Values) -> Values:
        del resource_id, old
        return self.fill(context, new)

    def read(self, context: Context, resource_id: str, state: Values) -> Values | None:
        del resource_id
        with contextlib.closing(context.client()) as client:
            if not collector.exists(client, state["volume"]):
                return None
        return {name: state[name] for name in self.outputs}

    def delete(self, context: Context, resource_id: str, state: Values) -> None:
        # It goes with the volume, which is a resource of its own.
        del context, resource_id, state
