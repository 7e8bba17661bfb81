"""Tests that others publish: what they need of plugins that pyproject.toml keeps out."""

from __future__ import annotations

import asyncio
import inspect

import pytest


def pytest_configure(config: pytest.Config) -> None:
    # Importing langchain-tests marks tests of other things with these.
    for name in ("benchmark", "vcr"):
        config.addinivalue_line("markers", f"{name}: only in langchain-tests")


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a test that is a coroutine."""
    test = pyfuncitem.obj
    if not inspect.iscoroutinefunction(test):
        return None
    needed = pyfuncitem._fixtureinfo.argnames
    asyncio.run(test(**{name: pyfuncitem.funcargs[name] for name in needed}))
    return True
