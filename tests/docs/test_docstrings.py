"""The examples in docstrings say what happens."""

import doctest
import importlib
import pkgutil

import pytest

import edgememory

MODULES = sorted(module.name for module in pkgutil.walk_packages(edgememory.__path__, "edgememory."))


@pytest.mark.parametrize("name", [name for name in MODULES if not name.endswith("__main__")])
def test_the_examples_in_docstrings_are_true(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0
