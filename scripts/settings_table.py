"""Writes the README's table of settings from the settings classes; with --check it only compares."""

import sys
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from wanworker.enhancer.settings import EnhancerSettings
from wanworker.gateway.settings import GatewaySettings
from wanworker.generator.settings import GeneratorSettings
from wanworker.runtime.settings import ServiceSettings

README = Path(__file__).parent.parent / "README.md"
BEGIN, END = "<!-- settings: begin -->\n", "<!-- settings: end -->\n"
HEAD = "| variable | default | meaning |\n| --- | --- | --- |\n"
SERVICES: tuple[type[BaseSettings], ...] = (GatewaySettings, EnhancerSettings, GeneratorSettings)


def _default(field: FieldInfo) -> str:
    value: Any = field.get_default(call_default_factory=True, validated_data={})
    if value is None:
        return ""
    text = "true" if value is True else "false" if value is False else str(value)
    return f"`{text}`" if text else ""


def _row(name: str, field: FieldInfo) -> str:
    description = (field.description or "").replace("|", "\\|")
    return f"| `{name}` | {_default(field)} | {description} |\n"


def table() -> str:
    """The settings of all services as Markdown: first what all have, then each service's own."""
    out = [f"Every service has these, with its own prefix in place of `…`:\n\n{HEAD}"]
    shared = ServiceSettings.model_fields
    out += [_row(f"…{name.upper()}", field) for name, field in shared.items()]
    for settings in SERVICES:
        prefix = settings.model_config["env_prefix"]
        port = settings.model_fields["port"].default
        out.append(f"\n`{prefix}…` (port {port}):\n\n{HEAD}")
        own = ((name, field) for name, field in settings.model_fields.items() if name not in shared)
        out += [_row(f"{prefix}{name.upper()}", field) for name, field in own]
    return "".join(out)


def main() -> int:
    """Writes or checks the table. Returns the process's exit code."""
    text = README.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    fresh = f"{before}{BEGIN}{table()}{END}{after}"
    if "--check" in sys.argv[1:]:
        if fresh != text:
            print("stale: the settings table in README.md (run 'make proto' and commit)", file=sys.stderr)
            return 1
        return 0
    README.write_text(fresh, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
