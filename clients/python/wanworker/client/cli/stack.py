"""The three services as processes: what each is started with."""

import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path

SERVICES = ("enhancer", "generator", "gateway")
"""In the order of their start: the gateway last, so that it finds its peers."""

QWEN_DEMO = Path("qwen-demo/qwen-demo.gguf")
WAN_DEMO = Path("wan-demo")


class StackError(Exception):
    """The services cannot be started; the message says what to do."""


@dataclass(frozen=True)
class StackOptions:
    """What `wanworker up` was asked for."""

    demo: bool
    """Whether to use the bundled demo models."""
    models_dir: Path | None = None
    """Where those are; None looks for a checkout."""
    gateway_port: int = 50051
    """0 picks a free one, here and below."""
    enhancer_port: int = 50052
    """Port of the enhancer."""
    generator_port: int = 50053
    """Port of the generator."""
    data_dir: Path | None = None
    """Where the gateway keeps jobs and files; None is its own default."""

    def port(self, service: str) -> int:
        """Returns the port that a service was given."""
        return {
            "enhancer": self.enhancer_port,
            "generator": self.generator_port,
            "gateway": self.gateway_port,
        }[service]


def check_installed() -> None:
    """Raises StackError if the services' distribution is not here."""
    missing = []
    for service in SERVICES:
        try:
            found = importlib.util.find_spec(f"wanworker.{service}") is not None
        except ModuleNotFoundError:
            found = False
        if not found:
            missing.append(f"wanworker.{service}")
    if missing:
        raise StackError(
            f"the services are not installed here ({', '.join(missing)} missing): "
            "pip install 'wanworker[all]', or `make up` in a checkout"
        )


def find_models(models_dir: Path | None) -> Path:
    """Returns the folder of the demo models: the given one, or models/ of a checkout above here or above this
    file."""
    candidates = [models_dir] if models_dir is not None else _checkouts()
    for folder in candidates:
        if (folder / QWEN_DEMO).is_file() and (folder / WAN_DEMO).is_dir():
            return folder.resolve()
    looked = ", ".join(str(folder) for folder in candidates[:3])
    raise StackError(f"no demo models ({QWEN_DEMO}, {WAN_DEMO}) in {looked}: name their folder with --models-dir")


def _checkouts() -> list[Path]:
    here = Path.cwd()
    roots = [here, *here.parents, *Path(__file__).resolve().parents]
    found = [root / "models" for root in roots if (root / "protos" / "wanworker").is_dir()]
    return list(dict.fromkeys(found)) or [here / "models"]


def environment(service: str, options: StackOptions, port_file: Path, ports: dict[str, int]) -> dict[str, str]:
    """Returns a service's environment: ours, the port, and what `--demo` and the running peers say.

    Variables that the user has set win over what `--demo` would set.
    """
    prefix = f"WANWORKER_{service.upper()}_"
    defaults = {f"{prefix}LOG_FORMAT": "text", "PYTHONUNBUFFERED": "1"}
    if options.demo:
        models = find_models(options.models_dir)
        defaults |= {
            "WANWORKER_ENHANCER_MODEL_PATH": str(models / QWEN_DEMO),
            "WANWORKER_GENERATOR_DEFAULT_MODEL": "demo",
            "WANWORKER_GENERATOR_DEMO_PATH": str(models / WAN_DEMO),
        }
    fixed = {f"{prefix}PORT": str(options.port(service)), f"{prefix}PORT_FILE": str(port_file)}
    if service == "gateway":
        fixed |= {f"WANWORKER_GATEWAY_{peer.upper()}_ADDRESS": f"127.0.0.1:{port}" for peer, port in ports.items()}
        if options.data_dir is not None:
            fixed["WANWORKER_GATEWAY_DATA_DIR"] = str(options.data_dir.resolve())
    return defaults | dict(os.environ) | fixed
