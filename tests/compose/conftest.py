"""One stack for all tests here: built, brought up, taken down with its volumes."""

from collections.abc import Iterator

import pytest

from tests.compose.stack import Stack


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """The running stack; `--wait` returns once every health check is content."""
    stack = Stack()
    stack.compose("build", seconds=1500)
    try:
        stack.compose("up", "--detach", "--wait", "--wait-timeout", "300", seconds=330)
        yield stack
    finally:
        print(stack.compose("ps", "--all", check=False))
        print(stack.compose("logs", "--no-color", "--tail", "30", "gateway", "enhancer", "generator", check=False))
        stack.compose("down", "--volumes", "--timeout", "40", seconds=180)
