"""What a service needs and a plain installation may lack. Imports nothing but the standard library."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def needs(service: str) -> Iterator[None]:
    """Around the imports of a service's `__main__`: a package that is missing ends the process with one line.

    Args:
        service: The service, and the extra of the distribution that brings its packages.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "wanworker":
            raise
        sys.exit(f"wanworker-{service}: no {error.name} here: pip install 'wanworker[{service}]'")
