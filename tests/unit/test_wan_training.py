"""The parts of wan-demo's training, at toy size on the CPU."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from models.wan_demo import train_video  # noqa: E402
from models.wan_demo.config import new_autoencoder, new_transformer  # noqa: E402
from models.wan_demo.data import TEXT_LENGTH, worded  # noqa: E402
from models.wan_demo.muon import Muon, orthogonal  # noqa: E402
from models.wan_demo.pool import TOY, Pool  # noqa: E402
from models.wan_demo.text import load_tokenizer  # noqa: E402
from models.wan_demo.train_text import QUESTIONS, right_answers  # noqa: E402
from models.wan_demo.train_video import Settings, Trainer  # noqa: E402
from models.world.captions import stray_words, with_stray_words  # noqa: E402
from models.world.scene import Actor, Scene, draw_scene  # noqa: E402
from models.world.words import COLOURS, THINGS  # noqa: E402

SCENE = Scene((Actor("heart", "blue", "large"),), "left_to_right", "snow", "pan_left", seed=4)


@pytest.mark.parametrize("shape", [(3, 24, 16), (3, 16, 24), (1, 16, 16)])
def test_an_orthogonal_update_keeps_the_directions_and_evens_out_their_sizes(shape: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    matrices = torch.randn(shape)
    u, _, v = torch.linalg.svd(matrices, full_matrices=False)
    found = torch.linalg.svd(orthogonal(matrices).float(), full_matrices=False)
    assert found.S.min() > 0.3
    assert found.S.max() < 1.3
    # The exact orthogonal factor points the same way.
    overlap = (orthogonal(matrices).float() * (u @ v)).sum((1, 2)) / min(shape[1:])
    assert overlap.min() > 0.6


def test_muon_solves_a_linear_problem() -> None:
    torch.manual_seed(0)
    wanted, x = torch.randn(8, 8), torch.randn(64, 8)
    weights = [torch.zeros(8, 8, requires_grad=True) for _ in range(2)]
    muon, losses = Muon(weights, weight_decay=0.0), []
    for step in range(120):
        for weight in weights:
            weight.grad = None
        loss = sum(((x @ weight - x @ wanted) ** 2).mean() for weight in weights)
        loss.backward()
        muon.step(0.3 * (1 - step / 120))
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 100


def test_stray_words_say_nothing_about_the_world() -> None:
    known = {*COLOURS, *THINGS, "left", "right", "up", "down", "sky", "snow", "grows", "spins"}
    assert len(stray_words()) > 5000
    assert not known & set(stray_words())
    text = "a red ball bounces in the snow"
    kept = [word for word in with_stray_words(text, random.Random(1)).split() if word not in stray_words()]
    assert kept == text.split()


def test_each_scene_gets_captions_of_its_own() -> None:
    ids = worded([SCENE, draw_scene(random.Random(3))], 3, random.Random(0))
    assert ids.shape == (2, 3, TEXT_LENGTH)
    texts = [load_tokenizer().decode(row, skip_special_tokens=True) for row in ids[0].long()]
    assert len(set(texts)) == 3


def test_the_text_encoder_is_asked_what_the_scene_shows() -> None:
    empty = Scene((), "still", "night", "static", seed=1)
    answers = dict(zip(QUESTIONS, right_answers([SCENE, empty]).T.tolist(), strict=True))
    said = {name: [QUESTIONS[name].answers[i] for i in both] for name, both in answers.items()}
    assert said["thing"] == ["heart", ""]
    assert said["colour"] == ["blue", ""]
    assert said["second thing"] == ["", ""]
    assert said["motion"] == ["left_to_right", "still"]


def test_training_steps_change_all_parts_and_keep_them_finite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_video, "new_transformer", lambda: new_transformer(num_layers=1, ffn_dim=64))
    torch.manual_seed(0)
    pool = Pool(new_autoencoder(base_dim=8).eval(), TOY, seed=0, workers=0)
    pool.fill()
    trainer = Trainer(Settings(minutes=1), len(load_tokenizer()), torch.device("cpu"))
    before = {name: value.clone() for name, value in trainer.model.named_parameters()}
    losses = [float(trainer.step(pool.sample(), 0.5, given_image=False)) for _ in range(2)]
    assert all(0 < loss < 100 for loss in losses)
    changed = {name for name, value in trainer.model.named_parameters() if not torch.equal(value, before[name])}
    for part in ("text_encoder", "transformer.blocks.0.attn2.to_k", "transformer.proj_out"):
        assert any(name.startswith(part) for name in changed), part
    trainer.save(tmp_path)
    assert {"text_encoder.safetensors", "transformer.safetensors", "video_trainer.pt"} <= {
        path.name for path in tmp_path.iterdir()
    }
