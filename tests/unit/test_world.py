"""The demo world, the whole-clip autoencoder and the judge, at sizes that two cores manage in seconds."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from models.wan_demo.config import new_autoencoder  # noqa: E402
from models.wan_demo.judge import judge  # noqa: E402
from models.wan_demo.parallel import decode, encode  # noqa: E402
from models.world import captions  # noqa: E402
from models.world.render import Clip, Window, render  # noqa: E402
from models.world.scene import Actor, Scene, draw_scene, draw_test_scene  # noqa: E402
from models.world.shapes import SHAPES  # noqa: E402
from models.world.styles import STYLES  # noqa: E402
from models.world.words import BACKGROUNDS, CAMERAS, MOTIONS, THINGS, held_out_pair  # noqa: E402

SCENE = Scene((Actor("heart", "blue", "large"),), "left_to_right", "snow", "pan_left", seed=4)
SMALL = Clip(frames=5, height=48, width=80)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Two threads that wait for each other on a busy machine are far slower than one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_every_word_can_be_drawn() -> None:
    assert set(THINGS) == set(SHAPES)
    assert set(BACKGROUNDS) == set(STYLES)


@pytest.mark.parametrize("clip", [SMALL, Clip(1, 48, 48), Clip(9, 64, 32)])
def test_a_rendering_has_the_size_and_range_that_were_asked(clip: Clip) -> None:
    scenes = [draw_scene(random.Random(seed)) for seed in range(3)]
    video, cover = render(scenes, clip)
    assert video.shape == (3, 3, clip.frames, clip.height, clip.width)
    assert cover.shape == (3, 1, clip.frames, clip.height, clip.width)
    assert video.isfinite().all()
    assert video.min() >= -1
    assert video.max() <= 1


def test_a_seed_gives_the_same_picture_and_another_seed_another() -> None:
    other = Scene(SCENE.actors, SCENE.motion, SCENE.background, SCENE.camera, seed=5)
    first, again, changed = (render([scene], SMALL)[0] for scene in (SCENE, SCENE, other))
    assert torch.equal(first, again)
    assert not torch.equal(first, changed)


def test_a_scene_looks_the_same_in_any_company() -> None:
    alone = render([SCENE], SMALL)[0][0]
    among = render([draw_scene(random.Random(9)), SCENE], SMALL)[0][1]
    assert torch.allclose(alone, among, atol=1e-5)


def test_a_window_is_a_part_of_the_whole() -> None:
    whole = render([SCENE], SMALL)[0]
    window = Window(torch.tensor([2.0]), torch.tensor([8.0]), torch.tensor([16.0]), 3, 32, 40)
    part = render([SCENE], SMALL, window)[0]
    assert torch.allclose(part, whole[:, :, 2:5, 8:40, 16:56], atol=1e-4)


def test_held_out_phrasings_are_never_trained_on() -> None:
    rng = random.Random(0)
    trained = "\n".join(captions.caption(draw_scene(rng), rng).lower() for _ in range(1500))
    for table in (MOTIONS, BACKGROUNDS, CAMERAS):
        for phrases in table.values():
            assert not set(phrases.train) & set(phrases.held_out)
            for phrase in phrases.held_out:
                assert phrase not in trained
    assert not set(captions.TRAIN_PATTERNS) & set(captions.HELD_OUT_PATTERNS)


def test_held_out_pairs_are_never_drawn_for_training() -> None:
    rng = random.Random(1)
    for _ in range(1500):
        assert not any(held_out_pair(a.colour, a.thing) for a in draw_scene(rng).actors)
    for _ in range(50):
        assert all(held_out_pair(a.colour, a.thing) for a in draw_test_scene(rng, held_out=True).actors)


def test_captions_name_what_is_seen() -> None:
    rng = random.Random(2)
    for _ in range(50):
        text = captions.held_out_caption(SCENE, rng)
        assert "blue heart" in text
        assert "snow" in text


@pytest.mark.parametrize("frames", [1, 5, 9])
def test_whole_clips_at_once_give_what_the_chunked_loop_gives(frames: int) -> None:
    torch.manual_seed(0)
    vae = new_autoencoder(base_dim=8).eval()
    video = torch.rand(1, 3, frames, 16, 32) * 2 - 1
    latents = torch.randn(1, 16, (frames + 3) // 4, 2, 4)
    with torch.no_grad():
        mean, _ = encode(vae, video)
        assert torch.allclose(mean, vae.encode(video).latent_dist.mean, atol=1e-5)
        stock = vae.decode(latents).sample
        assert torch.allclose(decode(vae, latents).clamp(-1, 1), stock, atol=1e-5)


@pytest.mark.parametrize(
    ("thing", "colour", "motion", "background"),
    [
        ("star", "yellow", "spins", "night"),
        ("heart", "red", "rises", "meadow"),
        ("boat", "purple", "right_to_left", "desert"),
    ],
)
def test_the_judge_is_right_about_renderings(thing: str, colour: str, motion: str, background: str) -> None:
    scene = Scene((Actor(thing, colour, "large"),), motion, background, "static", seed=3)
    verdict = judge(render([scene], Clip(33, 96, 160))[0][0])
    assert (verdict.colour, verdict.motion, verdict.background) == (colour, motion, background)
    assert verdict.thing == thing
