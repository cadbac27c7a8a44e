"""What the torture tests share."""

import pytest


@pytest.fixture(scope="session")
def child(tmp_path_factory):
    """A process that trains, saves and reads on order; starting it takes seconds, so all tests share one."""
    from training_tools import Child  # torch, which the recording tests do without

    child = Child(tmp_path_factory.mktemp("cache"))
    yield child
    child.close()
