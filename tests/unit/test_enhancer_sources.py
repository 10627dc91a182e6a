from pathlib import Path

import pytest

from tests.support.enhancer import hub_cache
from wanworker.enhancer.errors import ModelNotFoundError
from wanworker.enhancer.settings import EnhancerSettings
from wanworker.enhancer.sources import HubSource, PathSource, model_name, part_names, source_from

SPLIT = ["m-q4-00001-of-00002.gguf", "m-q4-00002-of-00002.gguf"]


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def test_parts_are_named_as_llama_cpp_names_them() -> None:
    assert part_names("m-q4-00002-of-00002.gguf") == SPLIT
    assert part_names("m-q4.gguf") == ["m-q4.gguf"]


def test_a_file_by_path(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").touch()
    assert PathSource(tmp_path / "m.gguf").fetch().first == tmp_path / "m.gguf"


def test_a_split_file_by_path_starts_with_the_first_part(tmp_path: Path) -> None:
    for name in SPLIT:
        (tmp_path / name).touch()
    assert PathSource(tmp_path / SPLIT[1]).fetch().parts == [tmp_path / name for name in SPLIT]


def test_the_missing_part_is_named(tmp_path: Path) -> None:
    (tmp_path / SPLIT[0]).touch()
    with pytest.raises(ModelNotFoundError) as caught:
        PathSource(tmp_path / SPLIT[0]).check()
    assert caught.value.metadata == {"path": str(tmp_path / SPLIT[1])}
    assert caught.value.reason == "MODEL_NOT_FOUND"


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="not a file"):
        PathSource(tmp_path).check()


def test_the_hubs_cache_is_read_without_the_hub(tmp_path: Path) -> None:
    hub_cache(tmp_path, "Org/Repo-GGUF", dict.fromkeys(SPLIT, b"x"))
    files = HubSource("Org/Repo-GGUF", SPLIT[0], "main", tmp_path).fetch()
    assert [part.name for part in files.parts] == SPLIT
    assert len({part.parent for part in files.parts}) == 1, "llama.cpp looks for the others beside the first"


def test_a_folder_in_the_repository(tmp_path: Path) -> None:
    hub_cache(tmp_path, "Org/Repo", {f"q4/{name}": b"x" for name in SPLIT})
    files = HubSource("Org/Repo", f"q4/{SPLIT[0]}", "main", tmp_path).fetch()
    assert [part.parent.name for part in files.parts] == ["q4", "q4"]


def test_half_a_model_in_the_cache_is_none(tmp_path: Path) -> None:
    hub_cache(tmp_path, "Org/Repo", {SPLIT[0]: b"x"})
    with pytest.raises(ModelNotFoundError) as caught:
        HubSource("Org/Repo", SPLIT[0], "main", tmp_path).fetch()
    assert caught.value.metadata == {"path": f"Org/Repo/{SPLIT[1]}"}


@pytest.mark.parametrize("repo", ["Org/Nothing", "not a repo/at/all"])
def test_what_is_nowhere_is_not_found(tmp_path: Path, repo: str) -> None:
    with pytest.raises(ModelNotFoundError) as caught:
        HubSource(repo, "m.gguf", "main", tmp_path).fetch()
    assert caught.value.metadata == {"path": f"{repo}/m.gguf"}


def test_the_path_wins_over_the_hub() -> None:
    settings = EnhancerSettings(model_path=Path("/models/m.gguf"))
    assert source_from(settings) == PathSource(Path("/models/m.gguf"))
    assert source_from(settings).describe() == "/models/m.gguf"
    assert model_name(settings) == "m"


def test_the_default_is_on_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANWORKER_ENHANCER_MODEL_PATH", raising=False)
    settings = EnhancerSettings()
    described = "Qwen/Qwen2.5-7B-Instruct-GGUF/qwen2.5-7b-instruct-q4_k_m-00001-of-00002.gguf"
    assert source_from(settings).describe() == described
    assert model_name(settings) == "qwen2.5-7b-instruct-q4_k_m"
    assert model_name(EnhancerSettings(model_name="Qwen")) == "Qwen"
