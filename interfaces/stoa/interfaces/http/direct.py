"""Answers requests to the routes of `Endpoints` without the web framework, whose cycle of tasks, contexts and signals
keeps the event loop longer than a call does (docs/decisions/0074)."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

from werkzeug.exceptions import HTTPException, InternalServerError, MethodNotAllowed, NotFound
from werkzeug.routing import Map, RequestRedirect

from stoa.interfaces.http.guard import AsgiApp, Receive, Scope, Send
from stoa.interfaces.wire.endpoints import Handler, HttpAnswer, HttpRequest

_log = logging.getLogger(__name__)
_METHODS = frozenset({"GET", "POST", "PUT", "DELETE", "PATCH"})
_ATTEND_AFTER_SECONDS = 0.05
"""Time before a task watches for a client that goes away. Most answers are there by then, and cost no task."""

_Route = tuple[Handler, Mapping[str, Any]]
"""A handler and the variable parts of the path."""


class DirectEndpoints:
    """Wraps the framework's ASGI application. `url_map`: its routing; `handlers`: by the names that it has for routes.
    `problem` answers requests that no route takes, and defects; the framework has it too."""

    def __init__(
        self,
        app: AsgiApp,
        url_map: Map,
        handlers: Mapping[str, Handler],
        problem: Callable[[HTTPException, Scope], HttpAnswer],
    ) -> None:
        self._app = app
        self._routing = url_map.bind("")
        self._handlers = handlers
        self._problem = problem

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = self._route_of(scope)
        if route is None:
            await self._app(scope, receive, send)
            return
        watch = _Watch(receive)
        try:
            answer = await self._answer(route, scope)
        except asyncio.CancelledError:
            if watch.is_gone:
                return
            raise
        finally:
            watch.end()
        headers = [(name.lower().encode(), value.encode()) for name, value in answer.headers.items()]
        headers += ((b"content-type", answer.content_type.encode()), (b"content-length", b"%d" % len(answer.body)))
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})

    def _route_of(self, scope: Scope) -> _Route | HTTPException | None:
        """The route of a request, or the error to answer with; None: the framework answers, as it does for HEAD,
        OPTIONS, redirects and the routes that it alone has."""
        if scope["type"] != "http" or scope["method"] not in _METHODS or scope.get("root_path"):
            return None
        try:
            endpoint, parts = self._routing.match(scope["path"], scope["method"])
        except RequestRedirect:
            return None
        except (NotFound, MethodNotAllowed) as error:
            return error.with_traceback(None)  # it refers to this frame
        handler = self._handlers.get(endpoint)
        return None if handler is None else (handler, parts)

    async def _answer(self, route: _Route | HTTPException, scope: Scope) -> HttpAnswer:
        if isinstance(route, HTTPException):
            return self._problem(route, scope)
        handler, parts = route
        try:
            return await handler(HttpRequest(scope), **parts)
        except HTTPException as error:
            return self._problem(error, scope)
        except Exception:  # noqa: BLE001  # a defect: the client gets an answer of the usual form
            _log.exception("Exception on request %s %s", scope["method"], scope["path"])
            return self._problem(InternalServerError(), scope)


class _Watch:
    """Cancels the current task when the client goes away. `is_gone`: it did."""

    def __init__(self, receive: Receive) -> None:
        self.is_gone = False
        self._receive = receive
        self._answering = asyncio.current_task()
        self._watching: asyncio.Task[None] | None = None
        self._timer = asyncio.get_running_loop().call_later(_ATTEND_AFTER_SECONDS, self._begin)

    def _begin(self) -> None:
        self._watching = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        while (await self._receive())["type"] == "http.request":
            pass  # the body, which was read already
        self.is_gone = True
        if self._answering is not None:
            self._answering.cancel()

    def end(self) -> None:
        self._timer.cancel()
        if self._watching is not None:
            self._watching.cancel()
