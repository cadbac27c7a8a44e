"""What the tests of physics share."""

import pytest


@pytest.fixture(scope="session", autouse=True)
def cache_of_this_run(tmp_path_factory):
    """Matrices are traced by the code under test, not read from the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPTICS_FREE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
