"""Serve the provider over gRPC, as the engine expects of a plug-in.

The SDK's own `main` turns an exception into "Unexpected <class …>" with a traceback; here a CoppiceError
becomes the operation's error message and nothing else.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

import grpc
import grpc.aio
from docker.errors import DockerException
from google.protobuf import empty_pb2
from pulumi.provider.experimental.server import ProviderServicer
from pulumi.runtime.proto import provider_pb2_grpc

from coppice.components.plugin import VERSION
from coppice.components.plugin.progress import EngineLog
from coppice.components.plugin.provider import CoppiceProvider
from coppice.groves.errors import CoppiceError

_MAX_MESSAGE = 400 * 1024 * 1024  # bytes; what the SDK allows itself


async def _abort(context: Any, error: Exception) -> NoReturn:
    hint = error.hint if isinstance(error, CoppiceError) else None
    await context.abort(grpc.StatusCode.UNKNOWN, f"{error}. {hint}" if hint else str(error))
    raise AssertionError("abort returned")


class _Servicer(ProviderServicer):
    """The SDK's servicer with readable errors, and configuration that is never diffed into a replacement."""

    async def _guarded(self, call: Callable[[Any, Any], Awaitable[Any]], request: Any, context: Any) -> Any:
        try:
            return await call(request, context)
        except (CoppiceError, DockerException, OSError) as error:
            await _abort(context, error)

    async def Configure(self, request: Any, context: Any) -> Any:
        return await self._guarded(super().Configure, request, context)

    async def Check(self, request: Any, context: Any) -> Any:
        return await self._guarded(super().Check, request, context)

    async def Diff(self, request: Any, context: Any) -> Any:
        return await self._guarded(super().Diff, request, context)

    async def Create(self, request: Any, context: Any) -> Any:
        return await self._guarded(super().Create, request, context)

    async def Update(self, request: Any, context: Any) -> Any:
        return await self._guarded(super().Update, request, context)

    async def Delete(self, request: Any, context: Any) -> Any:
        return await self._guarded(super().Delete, request, context)

    async def Read(self, request: Any, context: Any) -> Any:
        return await self._guarded(super().Read, request, context)

    async def Attach(self, request: Any, context: Any) -> Any:
        # Only used when a debugger starts the plug-in by hand; answering keeps that possible.
        del request, context
        return empty_pb2.Empty()


async def _until_unneeded(parent: int) -> None:
    """Return when the engine says so, by SIGINT to this process group, or is gone.

    A killed engine says nothing, and must leave no orphan.

    Args:
        parent: the engine's process id, asked for before it could know that this process is ready.
    """
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, told.set)
    while os.getppid() == parent and not told.is_set():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(told.wait(), timeout=1)


async def _serve(engine: str, args: list[str]) -> None:
    parent = os.getppid()
    options = [("grpc.max_receive_message_length", _MAX_MESSAGE)]
    server = grpc.aio.server(options=options)
    async with EngineLog(engine) as log:
        provider = CoppiceProvider(log)
        servicer = _Servicer(args, VERSION, provider, engine_address=engine)
        provider_pb2_grpc.add_ResourceProviderServicer_to_server(servicer, server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        sys.stdout.write(f"{port}\n")
        sys.stdout.flush()
        await _until_unneeded(parent)
        await server.stop(grace=None)


def serve(args: list[str]) -> None:
    """Run until the engine ends.

    Args:
        args: the plug-in's command line; its first plain word is the engine's address.
    """
    engine = next((word for word in args if not word.startswith("-")), None)
    if engine is None:
        sys.stderr.write("this is a Pulumi plug-in; the engine starts it\n")
        raise SystemExit(2)
    asyncio.run(_serve(engine, args))
