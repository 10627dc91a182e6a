"""What stays in memory on which card, and the formulas that decide it."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKLWan
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from tests.support.generator import generator_settings
from tests.unit.test_generator_logic import HD, WAN_1_3B
from wanworker.generator import acceleration
from wanworker.generator.conditions import Conditions
from wanworker.generator.control import JobControl
from wanworker.generator.device import Device
from wanworker.generator.engine import Engine
from wanworker.generator.estimate import decoding_bytes, peak_bytes, resident_bytes, weight_bytes
from wanworker.generator.plans import PLANS, choose_plan
from wanworker.generator.registry import find_row
from wanworker.generator.request import FileFormat, Memory, Order, Settings

GIB = 2**30
ROW = find_row("wan2.1-t2v-1.3b")
WAN_14B = replace(WAN_1_3B, layers=40, dim=5120, ffn_dim=13824, transformer_parameters=14_288_491_584)


@pytest.mark.parametrize(
    ("card", "plan"),
    [(80, "resident"), (48, "resident"), (24, "offload text encoder"), (8, "offload text encoder, tiled decode")],
)
def test_1_3b_by_card(card: int, plan: str) -> None:
    assert choose_plan(WAN_1_3B, ROW, card * GIB, 2, 2).name == plan


@pytest.mark.parametrize(("card", "offload"), [(80, False), (48, True), (24, True)])
def test_14b_by_card(card: int, offload: bool) -> None:
    assert choose_plan(WAN_14B, find_row("wan2.1-t2v-14b"), card * GIB, 2, 2).offload_text_encoder == offload


def test_720p_of_81_frames_fits_into_24_gib_under_its_plan() -> None:
    plan = choose_plan(WAN_1_3B, ROW, 24 * GIB, 2, 2)
    assert peak_bytes(WAN_1_3B, plan.applied_to(HD), 2, 2) < 24 * GIB * 0.88
    assert peak_bytes(WAN_1_3B, HD, 2, 2) > 24 * GIB * 0.88


@limits(deadline=None)
@given(st.integers(1, 200), st.integers(1, 200))
def test_a_larger_card_never_gets_a_slower_plan(one: int, other: int) -> None:
    small, large = sorted((one, other))
    order = [PLANS.index(choose_plan(WAN_1_3B, ROW, card * GIB, 2, 2)) for card in (small, large)]
    assert order[0] >= order[1]


@limits(deadline=None)
@given(st.integers(1, 60).map(lambda n: 16 * n), st.integers(0, 20).map(lambda n: 4 * n + 1), st.sampled_from([2, 4]))
def test_more_takes_more(side: int, frames: int, width: int) -> None:
    job = replace(HD, width=side, height=side, frames=frames)
    longer = replace(job, frames=frames + 4)
    for larger in (replace(job, width=side + 16), longer):
        assert resident_bytes(WAN_1_3B, larger, width) >= resident_bytes(WAN_1_3B, job, width)
        assert decoding_bytes(WAN_1_3B, larger, width) >= decoding_bytes(WAN_1_3B, job, width)
    if frames > 1:  # a still's decoder works on one frame at a time, a clip's on four, however long
        assert decoding_bytes(WAN_1_3B, longer, width) == decoding_bytes(WAN_1_3B, job, width)
    assert decoding_bytes(WAN_1_3B, job, 2) < decoding_bytes(WAN_1_3B, job, 4)
    assert weight_bytes(WAN_1_3B, width, 2) < weight_bytes(WAN_1_3B, width, 4)
    tiled = replace(job, memory=Memory(tiled_decode=True))
    if side > 512 and 1 < frames < 80:  # tiles are kept to be blended, so long clips gain less
        assert decoding_bytes(WAN_1_3B, tiled, width) < decoding_bytes(WAN_1_3B, job, width)
    if side <= 256:
        assert decoding_bytes(WAN_1_3B, tiled, width) == decoding_bytes(WAN_1_3B, job, width)


@pytest.mark.parametrize("plan", PLANS)
def test_a_plan_changes_no_frame(plan: Any) -> None:
    engine = Engine(generator_settings())
    model = engine.load_model(find_row("demo"))
    order = Order(Settings("demo", 64, 48, 5, 16, 2, 4.0), "a ball", "", 1, FileFormat.MP4)
    expected = engine.generate(order, Conditions(), JobControl(lambda _: None)).file
    engine._prompts.clear()
    model.plan = plan
    model.rest_text_encoder()
    assert engine.generate(order, Conditions(), JobControl(lambda _: None)).file == expected
    engine.close()


def test_nothing_is_accelerated_on_the_cpu() -> None:
    model: Any = SimpleNamespace(device=Device("cpu"))  # whoever asked for more of it would fail
    acceleration.accelerate(model, attention="auto", compiled=True)


def test_layout_and_compiled_norms_leave_a_decoding_alone() -> None:
    torch.manual_seed(0)
    vae = AutoencoderKLWan(base_dim=4, dim_mult=[1, 2, 2, 2], num_res_blocks=1).eval()
    latents = torch.randn(1, 16, 2, 4, 4)
    with torch.no_grad():
        expected = vae.decode(latents).sample
        acceleration.lay_out_channels_last(vae)
        acceleration.compile_norms(vae.decoder)
        compiled = [type(each).__name__ for each in vae.modules() if each._compiled_call_impl is not None]
        torch.testing.assert_close(vae.decode(latents).sample, expected, atol=1e-4, rtol=1e-4)
    assert set(compiled) == {"WanRMS_norm"}
    convolutions = [each.weight for each in vae.modules() if isinstance(each, torch.nn.Conv3d)]
    assert all(each.is_contiguous(memory_format=torch.channels_last_3d) for each in convolutions)


def test_the_autoencoder_may_run_in_bf16() -> None:
    engine = Engine(generator_settings(vae_dtype="bfloat16"))
    order = Order(Settings("demo", 64, 48, 5, 16, 2, 4.0), "a ball", "", 1, FileFormat.MP4)
    result = engine.generate(order, Conditions(), JobControl(lambda _: None))
    assert engine._models["demo"].vae.dtype is torch.bfloat16
    assert result.statistics.luma_deviation >= 0
    assert engine.device.vae_bytes == 2
    engine.close()
