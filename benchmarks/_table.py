"""How the GPU's benchmarks print what they measured: once to be read, once as a line of JSON."""

import json
from collections.abc import Iterable
from dataclasses import dataclass

GIB = 2**30


@dataclass(frozen=True)
class Row:
    """A line of a table."""

    name: str
    """Which job."""
    values: dict[str, float | str]
    """Columns, in order."""


def print_rows(part: str, rows: Iterable[Row]) -> None:
    """A part's heading, then each row as soon as it is there."""
    print(f"\n{part}")
    for row in rows:
        print_row(part, row)


def print_row(part: str, row: Row) -> None:
    """One row of a part."""
    cells = (f"{key} {_cell(value)}" for key, value in row.values.items())
    print(f"  {row.name:42}  " + "  ".join(cells), flush=True)
    print("  " + json.dumps({"part": part, "name": row.name, **row.values}), flush=True)


def _cell(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.3g}" if abs(value) < 10 else f"{value:.1f}"
