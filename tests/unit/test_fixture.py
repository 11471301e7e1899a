"""The pytest fixture `edge_memory`, in a run of its own, as someone who tests an agent has it."""

import pytest

pytest_plugins = ["pytester"]

AGENT_TEST = """
import pytest
from edgememory import EdgeMemory

@pytest.mark.anyio
async def test_the_agent_remembers(edge_memory: EdgeMemory) -> None:
    async with edge_memory.session("caller") as session:
        session.remember("Lives in Lisbon")
    async with edge_memory.session("caller") as session:
        assert "Lisbon" in session.context()

@pytest.mark.anyio
async def test_the_next_test_begins_with_nothing(edge_memory: EdgeMemory) -> None:
    async with edge_memory.session("caller") as session:
        assert session.context() == ""
"""


def test_the_fixture_works_on_asyncio_and_trio(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(AGENT_TEST)
    result = pytester.runpytest_subprocess("-W", "error", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=4)


def test_the_plugin_loads_no_driver_and_no_contract(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import sys

        def test_nothing_is_loaded():
            loaded = sys.modules.keys() & {"asyncpg", "redis", "edgememory.testing.cache_contract"}
            assert not loaded
        """
    )
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=1)
