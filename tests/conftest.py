"""What every test gets: a Hypothesis that tries the same examples each time, so that a failure is a change's doing.

`HYPOTHESIS_PROFILE=search` looks for new ones.
"""

import gc
import os
import signal
from collections.abc import Iterator
from functools import cache

import pytest
from hypothesis import HealthCheck, Phase, settings
from tests.live.servers import Redis, running
from tests.services import redis_in_process

from stoa.infrastructure.opa import module_cache

# With as few as 20 examples these tests notice nearly all mutants (docs/quality.md): more of them find what is new, and
# that is what `search` is for.
settings.register_profile(
    "fixed", derandomize=True, deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("search", parent=settings.get_profile("fixed"), derandomize=False, max_examples=1000)
# Few examples, and none made smaller: whether a mutant is noticed is all that tools/quality/mutants.py asks.
settings.register_profile(
    "mutation", parent=settings.get_profile("fixed"), max_examples=20, phases=(Phase.explicit, Phase.generate)
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fixed"))

if hasattr(signal, "SIGHUP"):  # under nohup it is ignored, and gateways that are started here would inherit that
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files whose tests wait for processes are spread among those that compute: two at once would leave the machine
    idle, and one that came last would leave the other worker without work."""
    files = dict.fromkeys(item.path for item in items)
    waiting = [path for path in files if "e2e" in path.parts]
    computing = [path for path in files if "e2e" not in path.parts]
    every = 3 * len(computing) // (4 * len(waiting)) if waiting else 0
    rank = {path: (number, True) for number, path in enumerate(computing)}
    rank |= {path: (number * every, False) for number, path in enumerate(waiting)}
    items.sort(key=lambda item: rank[item.path])


def pytest_collection_finish() -> None:
    """What thousands of collected tests are made of stays; the garbage collector need not look at it again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _policies_are_compiled_once() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module_cache, "_compiled_aside", cache(module_cache._compiled_aside))
        yield


@pytest.fixture(scope="session")
def in_process_redis() -> Iterator[str]:
    with redis_in_process() as url:
        yield url


@pytest.fixture(scope="session")
def real_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running(Redis, tmp_path_factory.mktemp("redis")) as server:
        yield f"redis://127.0.0.1:{server.port}/0"


@pytest.fixture(
    scope="session",
    params=["memory", "in_process_redis", pytest.param("real_redis", marks=pytest.mark.live)],
)
def shared_in(request: pytest.FixtureRequest) -> str | None:
    """Where replicas keep what they share: the URL of a Redis, or None for the memory of one process."""
    return None if request.param == "memory" else str(request.getfixturevalue(request.param))
