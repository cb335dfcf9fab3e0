"""uvicorn's server with a lossless shutdown, sockets for IPv4 and IPv6, and TLS certificates that are reloaded. SIGTERM
and SIGINT end it, SIGHUP reloads files (docs/operations.md)."""

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.config import STARTUP_FAILURE

from stoa.interfaces.http.accepting import BalancedListener, ConnectionCounts
from stoa.interfaces.http.lifecycle import LIFECYCLE_KEY, Lifecycle
from stoa.interfaces.http.process_memory import quieten_collector, return_large_blocks
from stoa.interfaces.http.protocol import GatewayProtocol
from stoa.interfaces.http.sockets import bound
from stoa.interfaces.http.tls import ServerTls

_log = logging.getLogger(__name__)

_TICK_SECONDS = 0.05
_LAST_ACCEPTED_SECONDS = 1.0
"""Time for the connections accepted last to send their request."""
CUT_SECONDS = 5.0
"""Time for cancelled calls to be metered and answered, and for the answers to be read."""
_ABORTED_SECONDS = 1.0
_TLS_HANDSHAKE_SECONDS = 10.0
_TLS_LOOK_TICKS = 50
"""Ticks of uvicorn's main loop, ten a second, between two checks of the TLS files."""
_HANGUP = getattr(signal, "SIGHUP", None)  # not on Windows


def config_of(
    app: Any, keep_alive_seconds: int, *, tls_cert: Path | None = None, tls_key: Path | None = None, **more: Any
) -> uvicorn.Config:
    """The uvicorn configuration for `app`: an ASGI application or, with factory=True, the import path of its
    factory."""
    return uvicorn.Config(
        app,
        http=GatewayProtocol,
        ws="none",
        lifespan="on",
        interface="asgi3",
        proxy_headers=False,
        access_log=False,
        server_header=False,
        log_config=None,
        timeout_keep_alive=keep_alive_seconds,
        timeout_graceful_shutdown=10,
        ssl_certfile=tls_cert,
        ssl_keyfile=tls_key,
        **more,
    )


class GatewayServer(uvicorn.Server):
    """Serves with the configuration of `config_of`, over TLS if a certificate is named."""

    def __init__(self, config: uvicorn.Config, counts: ConnectionCounts | None = None, place: int = 0) -> None:
        """`counts`: of the workers that share the listening sockets; this one is at `place`. Raises InvalidInput if the
        certificate cannot be used."""
        super().__init__(config)
        self._counts = ConnectionCounts() if counts is None else counts
        self._place = place
        self._balanced: list[BalancedListener] = []
        certificate, key = config.ssl_certfile, config.ssl_keyfile
        self._tls = None if certificate is None or key is None else ServerTls(Path(certificate), Path(key))
        self._reloading: asyncio.Task[None] | None = None
        self._listeners: list[socket.socket] = []
        self.cut_seconds = CUT_SECONDS

    @property
    def _lifecycle(self) -> Lifecycle | None:
        lifecycle: Lifecycle | None = self.lifespan.state.get(LIFECYCLE_KEY)
        return lifecycle

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts to listen on `sockets`, which are bound, or on HOST and PORT."""
        await self.lifespan.startup()
        if self.lifespan.should_exit:
            raise SystemExit(STARTUP_FAILURE)
        quieten_collector()  # only now: the catalogue, which stays, was loaded by the lifespan
        return_large_blocks()
        config = self.config
        try:
            self._listeners = bound(config.host, config.port) if sockets is None else sockets
            loop = asyncio.get_running_loop()
            self.servers = [self._listening(listener) for listener in self._listeners]
        except OSError as caught:
            _log.error("cannot listen: %s", caught.strerror)
            await self.lifespan.shutdown()
            raise SystemExit(STARTUP_FAILURE) from caught
        self._listen_for_hangup(loop)
        scheme = "http" if self._tls is None else "https"
        for server in self.servers:
            for listener in server.sockets:
                host, port = listener.getsockname()[:2]
                _log.info("serving %s://%s:%d", scheme, f"[{host}]" if ":" in host else host, port)
        self.started = True

    def _listening(self, listener: socket.socket) -> Any:
        backlog = self.config.backlog
        connections = self.server_state.connections
        balanced = BalancedListener(
            listener, self._connection, self._counts, self._place, lambda: len(connections), self._secured()
        )
        balanced.start(backlog)
        self._balanced.append(balanced)
        return balanced

    def _connection(self) -> asyncio.Protocol:
        return GatewayProtocol(self.config, self.server_state, self.lifespan.state)

    def _secured(self) -> dict[str, Any]:
        if self._tls is None:
            return {}
        return {"ssl": self._tls.context, "ssl_handshake_timeout": _TLS_HANDSHAKE_SECONDS}

    def _listen_for_hangup(self, loop: asyncio.AbstractEventLoop) -> None:
        if _HANGUP is None or signal.getsignal(_HANGUP) is signal.SIG_IGN:  # nohup, or a supervisor that hears it
            return
        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):  # not in the main thread
            loop.add_signal_handler(_HANGUP, self.reload)

    def reload(self) -> None:
        """Reloads files. Further requests to reload are ignored until it is done."""
        if self._tls is not None:
            self._tls.reload()
        lifecycle = self._lifecycle
        if lifecycle is not None and (self._reloading is None or self._reloading.done()):
            self._reloading = asyncio.create_task(lifecycle.reload())

    async def on_tick(self, counter: int) -> bool:
        if self._tls is not None and counter % _TLS_LOOK_TICKS == 0:
            self._tls.reload_if_changed()
        for listener in self._balanced:
            listener.publish()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002  # uvicorn's signature
        lifecycle, state = self._lifecycle, self.server_state
        _log.info("Shutting down")
        if lifecycle is not None:
            lifecycle.drain()
            if signal.SIGINT not in self._captured_signals:  # a user at a terminal does not want to wait
                await self._wait(lifecycle.drain_seconds, lambda: False)
        await self._close_listeners()
        await self._wait(_LAST_ACCEPTED_SECONDS, lambda: not any(map(_is_new, state.connections)))
        for connection in list(state.connections):
            connection.shutdown()
        if lifecycle is not None:
            lifecycle.end_streams()
            await self._finish(lifecycle)
        await self._abort()
        if self._reloading is not None:
            self._reloading.cancel()
        if not self.force_exit:
            await self.lifespan.shutdown()

    async def _close_listeners(self) -> None:
        """Accepts the waiting connections, then closes the listeners at once. Otherwise the system would reset
        connections that wait to be accepted, with requests that their clients have sent already."""
        accepted: list[socket.socket] = []
        for listener, server in zip(self._listeners, self.servers, strict=True):
            with contextlib.suppress(OSError):  # nothing waits any more
                while True:
                    accepted.append(listener.accept()[0])
            server.close()
            listener.close()
        loop = asyncio.get_running_loop()
        connecting = [
            loop.connect_accepted_socket(self._connection, connection, **self._secured()) for connection in accepted
        ]
        await asyncio.gather(*connecting, return_exceptions=True)  # such as a TLS handshake that failed

    async def _finish(self, lifecycle: Lifecycle) -> None:
        state = self.server_state

        def is_over() -> bool:
            return not (state.connections or state.tasks or lifecycle.running_calls)

        if await self._wait(lifecycle.grace_seconds, is_over):
            return
        if not self.force_exit:
            _log.warning("%d calls did not end within SHUTDOWN_GRACE_SECONDS and are cut off", lifecycle.running_calls)
        lifecycle.cut()
        await self._wait(self.cut_seconds, is_over)

    async def _abort(self) -> None:
        """Aborts connections whose clients neither send nor read."""
        state = self.server_state
        for connection in list(state.connections):
            connection.transport.abort()
        if not await self._wait(_ABORTED_SECONDS, lambda: not state.tasks):
            for task in list(state.tasks):
                task.cancel()

    async def _wait(self, seconds: float, is_over: Callable[[], bool]) -> bool:
        """Waits until `is_over`; False if it was not within `seconds`."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + seconds
        while not is_over():
            if clock() >= deadline or self.force_exit:
                return False
            await asyncio.sleep(min(_TICK_SECONDS, max(0.0, deadline - clock())))
        return True


def _is_new(connection: Any) -> bool:
    return isinstance(connection, GatewayProtocol) and connection.is_new
