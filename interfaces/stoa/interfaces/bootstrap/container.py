"""Builds the container from all providers."""

from dishka import STRICT_VALIDATION, AsyncContainer, Provider, make_async_container

from stoa.interfaces.bootstrap.core import Core
from stoa.interfaces.bootstrap.doors import Doors
from stoa.interfaces.bootstrap.governance import Governance
from stoa.interfaces.bootstrap.kubernetes import KubernetesProvider
from stoa.interfaces.bootstrap.metering import MeteringProvider
from stoa.interfaces.settings import Settings


def build_container(settings: Settings, *overrides: Provider) -> AsyncContainer:
    """Wires all parts and starts none. Providers in `overrides` replace parts and declare it with `override=True`."""
    return make_async_container(
        Core(),
        Governance(),
        MeteringProvider(),
        KubernetesProvider(),
        Doors(),
        *overrides,
        context={Settings: settings},
        validation_settings=STRICT_VALIDATION,
    )
