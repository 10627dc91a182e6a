"""Packages that a plain installation lacks."""

import importlib

import pytest

from wanworker.runtime.extras import needs


def test_a_missing_package_ends_the_process_with_one_line() -> None:
    with pytest.raises(SystemExit) as caught, needs("generator"):
        importlib.import_module("no_such_package.part")
    assert caught.value.code == "wanworker-generator: no no_such_package here: pip install 'wanworker[generator]'"


def test_a_missing_module_of_ours_is_a_bug() -> None:
    with pytest.raises(ModuleNotFoundError), needs("generator"):
        importlib.import_module("wanworker.no_such_module")
