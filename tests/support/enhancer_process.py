"""An enhancer in a process of its own, so that what it gives back can be seen from outside."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc.aio

from tests.support.ports import free_port
from wanworker.v1 import enhancer_pb2 as pb
from wanworker.v1 import enhancer_pb2_grpc as pb_grpc


@dataclass(frozen=True)
class RunningEnhancer:
    """An enhancer's process."""

    stub: Any
    process: subprocess.Popen[bytes]
    model: Path

    @property
    def resident_bytes(self) -> int:
        """Main memory that it has."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    @property
    def mapped(self) -> bool:
        """True while the model's file is mapped."""
        return str(self.model) in Path(f"/proc/{self.process.pid}/maps").read_text()

    async def unload(self) -> bool:
        """Evicts the model; True if there was one."""
        return bool((await self.stub.Unload(pb.UnloadRequest())).unloaded)


@contextmanager
def _process(model: Path, port: int, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    chosen = {"PORT": port, "MODEL_PATH": model, "THREADS": 1, "CACHE_ENTRIES": 0, "DRAIN_PAUSE_SECONDS": 0}
    environment = os.environ | {f"WANWORKER_ENHANCER_{name}": str(value) for name, value in chosen.items()}
    command = [sys.executable, "-m", "wanworker.enhancer"]
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
        try:
            yield process
        finally:
            process.terminate()
            process.wait(30)


@asynccontextmanager
async def running_enhancer(model: Path, log: Path) -> AsyncIterator[RunningEnhancer]:
    """The process, without its cache of answers; ended at the end."""
    port = free_port()
    with _process(model, port, log) as process:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            await asyncio.wait_for(channel.channel_ready(), 60)
            yield RunningEnhancer(pb_grpc.EnhancerServiceStub(channel), process, model)
