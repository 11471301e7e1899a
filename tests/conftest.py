"""What every test may use: the event loop it runs on, and how hard Hypothesis tries."""

import os

import pytest
from hypothesis import HealthCheck, settings

from tests.raw_postgres import *  # noqa: F403  (its fixtures, for every test)
from tests.servers import *  # noqa: F403  (its fixtures, for every test)
from tests.worker.fixtures import *  # noqa: F403  (its fixtures, for every test)

_LOADED_MACHINE = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}

settings.register_profile("default", max_examples=100, **_LOADED_MACHINE)
settings.register_profile("quick", max_examples=20, **_LOADED_MACHINE)
settings.register_profile("soak", max_examples=5_000, print_blob=True, **_LOADED_MACHINE)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Asyncio, unless a test asks for others.

    A test for both says ``@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])``.
    """
    return "asyncio"
