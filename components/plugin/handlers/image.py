"""coppice:docker:Image: an image of ours, built on the daemon when it is not there."""

import contextlib

from docker.errors import ImageNotFound

from coppice.components import images
from coppice.components.plugin.handlers.base import Context, Handler, Values


class Image(Handler):
    """Inputs: `name` (an image Coppice builds), `source` (digest of what it is built from). Output: `digest`."""

    token = "coppice:docker:Image"
    required = frozenset({"name", "source"})
    outputs = frozenset({"digest"})

    def moving(self, old: Values, new: Values) -> frozenset[str]:
        del old, new
        return self.outputs

    def _ensure(self, context: Context, inputs: Values) -> Values:
        with contextlib.closing(context.client()) as client:
            image_id = images.ensure(client, inputs["name"], inputs["source"], context.tell)
        return {"digest": image_id}

    def create(self, context: Context, inputs: Values) -> tuple[str, Values]:
        outputs = self._ensure(context, inputs)
        return str(outputs["digest"]), outputs

    def update(self, context: Context, resource_id: str, old: Values, new: Values) -> Values:
        del resource_id, old
        return self._ensure(context, new)

    def read(self, context: Context, resource_id: str, state: Values) -> Values | None:
        del resource_id
        with contextlib.closing(context.client()) as client:
            try:
                client.images.get(state["digest"])
            except ImageNotFound:
                return None
        return {"digest": state["digest"]}

    def delete(self, context: Context, resource_id: str, state: Values) -> None:
        # Images are the daemon's cache, shared by every grove on it.
        del context, resource_id, state
