"""One handler a resource type: what creating, reading, updating and deleting it means on the daemon."""

from coppice.components.plugin.handlers.base import Context, Handler
from coppice.components.plugin.handlers.box_files import BoxFiles
from coppice.components.plugin.handlers.image import Image
from coppice.components.plugin.handlers.mirror import Mirror
from coppice.components.plugin.handlers.power import Power
from coppice.components.plugin.handlers.workspace import Workspace

_ALL: tuple[Handler, ...] = (Image(), Mirror(), Workspace(), BoxFiles(), Power())
HANDLERS: dict[str, Handler] = {handler.token: handler for handler in _ALL}

__all__ = ["HANDLERS", "Context", "Handler"]
