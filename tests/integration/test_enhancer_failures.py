from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from tests.support.enhancer import build_gguf, completed, enhance, failure, kinds, serve, status
from wanworker.runtime.server import StartError
from wanworker.v1 import enhancer_pb2_grpc as pb_grpc

if TYPE_CHECKING:
    Stub = pb_grpc.EnhancerServiceAsyncStub


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_gguf(tmp_path_factory.mktemp("models") / "tiny.gguf")


@pytest.fixture(params=[0.0, 0.5])
def broken(model: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    path = tmp_path / "m.gguf"
    path.write_bytes(model.read_bytes()[: int(request.param * model.stat().st_size)])
    return path


@pytest.fixture
async def stub(model: Path) -> AsyncIterator["Stub"]:
    async with serve(model) as stub:
        yield stub


async def test_a_missing_file_is_told_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(StartError, match=r"nothing\.gguf"):
        async with serve(tmp_path / "nothing.gguf"):
            pass


async def test_a_broken_file_is_told_at_the_start_if_it_is_preloaded(broken: Path) -> None:
    with pytest.raises(StartError, match="MODEL_BROKEN"):
        async with serve(broken, preload=True):
            pass


async def test_a_file_that_goes_missing(tmp_path: Path) -> None:
    path = build_gguf(tmp_path / "m.gguf")
    async with serve(path) as stub:
        path.rename(tmp_path / "elsewhere.gguf")
        error = await failure(stub)
        assert (error.code, error.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "MODEL_NOT_FOUND")
        assert error.metadata["path"] == str(path)
        (tmp_path / "elsewhere.gguf").rename(path)
        assert kinds(await enhance(stub)) == ["loading", "delta", "completed"]


async def test_a_model_that_is_not_on_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    async with serve(None, model_repo="Org/Repo", model_file="m.gguf", model_cache=tmp_path) as stub:
        error = await failure(stub)
    assert (error.code, error.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "MODEL_NOT_FOUND")
    assert error.metadata["path"] == "Org/Repo/m.gguf"


async def test_a_broken_file(broken: Path) -> None:
    async with serve(broken) as stub:
        error = await failure(stub)
        assert (error.code, error.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "MODEL_BROKEN")
        assert error.metadata["path"] == str(broken)
        assert error.metadata["detail"]
        assert not (await status(stub)).loaded


async def test_a_prompt_that_does_not_fit(model: Path) -> None:
    async with serve(model, context_tokens=1024) as stub:
        error = await failure(stub, "x" * 3000)
        assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "PROMPT_TOO_LONG")
        assert error.metadata["limit"] == "1008"
        assert int(error.metadata["tokens"]) > 3000
        assert [violation.field for violation in error.violations] == ["prompt"]
        assert kinds(await enhance(stub)) == ["delta", "completed"]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"prompt": " \n"}, "prompt"),
        ({"prompt": ""}, "prompt"),
        ({"max_tokens": 5}, "max_tokens"),
        ({"temperature": 3.0}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
    ],
)
async def test_bad_fields(stub: "Stub", fields: dict[str, Any], field: str) -> None:
    error = await failure(stub, **fields)
    assert error.code is grpc.StatusCode.INVALID_ARGUMENT
    assert {violation.field for violation in error.violations} == {field}


async def test_an_empty_answer(stub: "Stub", monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wanworker.enhancer.enhancer.clean", lambda text, *, cut_off: "")
    error = await failure(stub, seed=5)
    assert (error.code, error.reason) == (grpc.StatusCode.INTERNAL, "EMPTY_ANSWER")
    assert error.metadata["seed"] == "5"
    monkeypatch.undo()
    assert not (await completed(stub, seed=5)).cached


async def test_a_model_that_fails_is_loaded_again(stub: "Stub", monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("wanworker.enhancer.engine.lib.llama_decode", lambda context, batch: -3)
        error = await failure(stub)
    assert (error.code, error.reason) == (grpc.StatusCode.INTERNAL, "MODEL_FAILED")
    assert kinds(await enhance(stub)) == ["loading", "delta", "completed"]
