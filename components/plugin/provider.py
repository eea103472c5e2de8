"""The provider: hand each resource operation to the handler of its type, in a thread of its own."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from pulumi.provider.experimental import provider as api
from pulumi.provider.experimental.property_value import PropertyValue

from coppice.components.plugin import NAME, VERSION, values
from coppice.components.plugin.handlers import HANDLERS, Context, Handler
from coppice.components.plugin.progress import EngineLog
from coppice.groves.errors import CoppiceError


class CoppiceProvider(api.Provider):
    """Resources `coppice:docker:*`; configuration: `dockerHost`, the daemon's address."""

    def __init__(self, log: EngineLog) -> None:
        super().__init__()
        self._log = log
        self._host: str | None = None

    def _handler(self, token: str) -> Handler:
        # In a URN the type follows those of its parents.
        token = token.rpartition("$")[2]
        handler = HANDLERS.get(token)
        if handler is None:
            raise CoppiceError(
                f"this plug-in has no resource {token}", hint=f"it has {', '.join(sorted(HANDLERS))}"
            )
        return handler

    def _context(self, urn: str) -> Context:
        if self._host is None:
            raise CoppiceError("the coppice provider has no dockerHost", hint="pass a provider with one")
        host = self._host
        return Context(host=host, tell=lambda message: self._log.tell(urn, message))

    async def get_schema(self, request: api.GetSchemaRequest) -> api.GetSchemaResponse:
        del request
        tokens: dict[str, Any] = {token: {"type": "object"} for token in HANDLERS}
        return api.GetSchemaResponse(json.dumps({"name": NAME, "version": VERSION, "resources": tokens}))

    async def configure(self, request: api.ConfigureRequest) -> api.ConfigureResponse:
        host = values.to_python(request.args.get("dockerHost"))
        if isinstance(host, str) and host:
            self._host = host
        # Secrets are not accepted: the engine then keeps track of which inputs were secret.
        return api.ConfigureResponse(
            accept_secrets=False, supports_preview=True, accept_outputs=False, accept_resources=False
        )

    async def check(self, request: api.CheckRequest) -> api.CheckResponse:
        handler = self._handler(request.type)
        failures = [
            api.CheckFailure(name, f"{name} is required")
            for name in handler.required
            if name not in request.new_inputs
        ]
        return api.CheckResponse(inputs=values.sendable_mapping(request.new_inputs), failures=failures)

    async def diff(self, request: api.DiffRequest) -> api.DiffResponse:
        handler = self._handler(request.type)
        old, new = request.old_state, request.new_inputs
        changed = {
            name: PropertyValue.null()
            for name in handler.changes(values.mapping(old), values.mapping(new))
            if name not in request.ignore_changes
        }
        detailed = {
            name: api.PropertyDiff(
                api.PropertyDiffKind.UPDATE_REPLACE
                if name in handler.replaces
                else api.PropertyDiffKind.UPDATE,
                input_diff=True,
            )
            for name in changed
        }
        return api.DiffResponse(
            changes=bool(changed),
            replaces=[name for name in changed if name in handler.replaces],
            diffs=list(changed),
            detailed_diff=detailed,
        )

    async def create(self, request: api.CreateRequest) -> api.CreateResponse:
        handler = self._handler(request.type)
        inputs = values.mapping(request.properties)
        if request.preview:
            return api.CreateResponse(None, _with_unknown(request.properties, handler.outputs))
        context = self._context(request.urn)
        resource_id, outputs = await asyncio.to_thread(handler.create, context, inputs)
        return api.CreateResponse(resource_id, {**request.properties, **values.from_mapping(outputs)})

    async def update(self, request: api.UpdateRequest) -> api.UpdateResponse:
        handler = self._handler(request.type)
        olds, news = values.mapping(request.olds), values.mapping(request.news)
        if request.preview:
            kept = {k: v for k, v in request.olds.items() if k in handler.outputs}
            moving = handler.moving(olds, news)
            return api.UpdateResponse(_with_unknown({**kept, **request.news}, moving))
        context = self._context(request.urn)
        outputs = await asyncio.to_thread(handler.update, context, request.resource_id, olds, news)
        return api.UpdateResponse({**request.news, **values.from_mapping(outputs)})

    async def read(self, request: api.ReadRequest) -> api.ReadResponse:
        handler = self._handler(request.type)
        context = self._context(request.urn)
        state = values.mapping(request.properties)
        found = await asyncio.to_thread(handler.read, context, request.resource_id, state)
        if found is None:
            return api.ReadResponse()
        properties = {**request.properties, **values.from_mapping(found)}
        return api.ReadResponse(request.resource_id, properties, request.inputs)

    async def delete(self, request: api.DeleteRequest) -> None:
        handler = self._handler(request.type)
        context = self._context(request.urn)
        await asyncio.to_thread(
            handler.delete, context, request.resource_id, values.mapping(request.properties)
        )

    async def cancel(self) -> None:
        """Nothing to do: operations are short or bounded, and the engine waits for them."""


def _with_unknown(properties: Mapping[str, PropertyValue], names: frozenset[str]) -> dict[str, PropertyValue]:
    return {**values.sendable_mapping(properties), **{name: values.unknown() for name in names}}
