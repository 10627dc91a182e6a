"""Writes what each service's image needs from the package index: `requirements.py PYPROJECT CLIENT FOLDER`.

pip can install a project's requirements only together with the project; a layer of an image is better without it.
Runs in the image's build, on nothing but the standard library.
"""

import sys
import tomllib
from pathlib import Path

SERVICES = ("gateway", "enhancer", "generator")


def main(services: Path, client: Path, folder: Path) -> None:
    """Writes `<service>.txt` for each service into `folder`; the command line's requirements are in all of them."""
    ours = tomllib.loads(services.read_text(encoding="utf-8"))["project"]
    theirs = tomllib.loads(client.read_text(encoding="utf-8"))["project"]
    shared = [line for line in ours["dependencies"] if not line.startswith("wanworker")]
    shared += theirs["dependencies"] + theirs["optional-dependencies"]["cli"]
    folder.mkdir(parents=True)
    for service in SERVICES:
        lines = sorted({*shared, *ours["optional-dependencies"][service]})
        (folder / f"{service}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
