import pytest
from tests.interfaces.doors import World, new_world


@pytest.fixture
def world() -> World:
    """A gateway with one tool of each kind, and its doors."""
    return new_world()
