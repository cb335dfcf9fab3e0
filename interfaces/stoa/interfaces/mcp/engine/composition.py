"""Puts the engine together: what the methods need, the method table, the eras around it."""

import os

from stoa.application.concurrency.supervisor import ReportDefect, log_defect
from stoa.application.gateway import Gateway
from stoa.application.memory.clock import SystemClock
from stoa.application.ports.clock import Clock
from stoa.application.ports.message_bus import MessageBus
from stoa.application.tasks.lease import LEASE_SECONDS, TICK_SECONDS
from stoa.application.tasks.task_runner import TaskRunner
from stoa.interfaces.mcp.client_requests.channels import HEARTBEAT_SECONDS, Channels
from stoa.interfaces.mcp.client_requests.request_state import RequestStates
from stoa.interfaces.mcp.engine.dispatcher import Dispatcher
from stoa.interfaces.mcp.engine.engine import McpEngine
from stoa.interfaces.mcp.engine.handshake_era import HandshakeEra
from stoa.interfaces.mcp.engine.method_table import Method
from stoa.interfaces.mcp.engine.replies import ErrorReplies
from stoa.interfaces.mcp.engine.session_endpoint import SessionEndpoint
from stoa.interfaces.mcp.engine.stateless_era import StatelessEra
from stoa.interfaces.mcp.methods.completion import CompletionMethods
from stoa.interfaces.mcp.methods.lifecycle import LifecycleMethods
from stoa.interfaces.mcp.methods.listen import ListenMethod
from stoa.interfaces.mcp.methods.listing import Listing
from stoa.interfaces.mcp.methods.prompts import PromptMethods
from stoa.interfaces.mcp.methods.resources import ResourceMethods
from stoa.interfaces.mcp.methods.subscriptions import DEBOUNCE_SECONDS, Subscriptions
from stoa.interfaces.mcp.methods.tasks import McpTaskDoor, Tasks
from stoa.interfaces.mcp.methods.tools import ToolMethods
from stoa.interfaces.mcp.streams.sessions import Sessions
from stoa.interfaces.mcp.wire.introduction import Introduction
from stoa.interfaces.wire.challenge import ProtectedResource

PAGE_SIZE = 1000


def build_engine(
    gateway: Gateway,
    resource: ProtectedResource,
    version: str,
    *,
    page_size: int = PAGE_SIZE,
    states: RequestStates | None = None,
    sessions: Sessions | None = None,
    bus: MessageBus | None = None,
    clock: Clock | None = None,
    debounce_seconds: float = DEBOUNCE_SECONDS,
    lease_seconds: float = LEASE_SECONDS,
    tick_seconds: float = TICK_SECONDS,
    heartbeat_seconds: float = HEARTBEAT_SECONDS,
    report: ReportDefect = log_defect,
) -> McpEngine:
    """An engine for the catalogue of `gateway`.

    `resource`, `version`: the endpoint and the server's version, as announced to clients. `page_size`: entries on one
    page of a list. `states`: seals what a call of several rounds needs; without it no other process can go on with such
    a call. `sessions`: without them every request of the handshake era stands for itself. `bus`: where replicas
    announce updates to each other once the engine is open. `lease_seconds`: after which a silent task counts as lost;
    `tick_seconds`: how often that is checked. `heartbeat_seconds`: how long a call may be silent to a client that wants
    progress. `report`: called with defects after which background work goes on.
    """
    clock = clock or SystemClock()
    introduction = Introduction(version, has_sessions=sessions is not None)
    server_info = introduction.server_info
    states = states or RequestStates(os.urandom(32), clock, resource.url)
    channels = Channels(states, sessions, clock, heartbeat_seconds)
    subscriptions = Subscriptions(
        server_info,
        clock,
        gateway.watch_resources,
        sessions,
        bus=bus,
        debounce_seconds=debounce_seconds,
        report=report,
    )
    gateway.registry.subscribe(subscriptions.publish_changes)
    gateway.watch_resources.subscribe(subscriptions.publish_update)
    task_runner = TaskRunner(
        gateway.invoke_operation,
        gateway.tasks,
        clock,
        McpTaskDoor(server_info),
        lease_seconds=lease_seconds,
        tick_seconds=tick_seconds,
        report=report,
    )
    tasks = Tasks(gateway, channels, server_info, task_runner)
    listing = Listing(server_info, page_size)
    lifecycle = LifecycleMethods(introduction, gateway, sessions)
    tools = ToolMethods(gateway, channels, server_info, listing, tasks)
    resources = ResourceMethods(gateway, channels, server_info, listing, sessions)
    prompts = PromptMethods(gateway, channels, server_info, listing)
    completion = CompletionMethods(gateway, server_info)
    table = {
        "initialize": Method(lifecycle.initialize, in_stateless_era=False),
        "ping": Method(lifecycle.ping, in_stateless_era=False, limits_itself=False),
        "server/discover": Method(lifecycle.discover, in_handshake_era=False, limits_itself=False),
        "logging/setLevel": Method(lifecycle.set_level, in_stateless_era=False, needs_session=True),
        "tools/list": Method(tools.list),
        "tools/call": Method(tools.call),
        "resources/list": Method(resources.list),
        "resources/templates/list": Method(resources.templates),
        "resources/read": Method(resources.read),
        "resources/subscribe": Method(resources.subscribe, in_stateless_era=False, needs_session=True),
        "resources/unsubscribe": Method(resources.unsubscribe, in_stateless_era=False, needs_session=True),
        "prompts/list": Method(prompts.list),
        "prompts/get": Method(prompts.get),
        "completion/complete": Method(completion.complete),
        "subscriptions/listen": Method(ListenMethod(gateway, subscriptions, tasks).listen, in_handshake_era=False),
        "tasks/get": Method(tasks.get, in_handshake_era=False),
        "tasks/update": Method(tasks.update, in_handshake_era=False),
        "tasks/cancel": Method(tasks.cancel, in_handshake_era=False),
    }
    methods = {name: method for name, method in table.items() if sessions is not None or not method.needs_session}
    errors = ErrorReplies(resource)
    dispatcher = Dispatcher(errors)
    return McpEngine(
        gateway,
        errors,
        methods,
        StatelessEra(gateway, methods, dispatcher),
        HandshakeEra(gateway, methods, dispatcher, errors, sessions),
        SessionEndpoint(gateway, clock, errors, subscriptions, sessions),
        subscriptions,
        tasks,
        sessions,
    )
