"""Tell the engine what a long operation is doing, so that both `pulumi up` and `coppice up` show it."""

import asyncio
from types import TracebackType
from typing import Any, Self

import grpc
import grpc.aio
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc


class EngineLog:
    """The engine's log, usable from the threads that handlers run in."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._channel: grpc.aio.Channel | None = None
        self._stub: Any = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._channel = grpc.aio.insecure_channel(self._address)
        self._stub = engine_pb2_grpc.EngineStub(self._channel)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._channel is not None:
            await self._channel.close()

    async def _send(self, urn: str, message: str) -> None:
        request = engine_pb2.LogRequest(severity=engine_pb2.INFO, message=message, urn=urn, ephemeral=True)
        # Progress is a courtesy: an engine that is closing must not fail the operation.
        try:
            await self._stub.Log(request, timeout=5)
        except grpc.aio.AioRpcError:
            return

    def tell(self, urn: str, message: str) -> None:
        """Show `message` at the resource `urn`, until the next."""
        if self._loop is not None:
            asyncio.run_coroutine_threadsafe(self._send(urn, message), self._loop)
