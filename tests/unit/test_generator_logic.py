"""Registry, checks, queue, estimates, speeds, progress, settings: everything that needs no tensor."""

import asyncio
import json
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from wanworker.generator.checks import check_order
from wanworker.generator.costs import CostModel, Prediction
from wanworker.generator.device_queue import DeviceQueue
from wanworker.generator.estimate import (
    ONCE,
    StageWork,
    decode_flops,
    decoding_bytes,
    forward_flops,
    peak_bytes,
    tile_count,
    tile_overhead,
    weight_bytes,
    work,
)
from wanworker.generator.occupancy import Share
from wanworker.generator.progress import ProgressTracker
from wanworker.generator.registry import ROWS, Capability, capable_models, find_row
from wanworker.generator.request import FileFormat, Memory, Order, Progress, Settings, Stage, StageSeconds
from wanworker.generator.settings import GeneratorSettings
from wanworker.generator.shapes import ModelShape
from wanworker.runtime.errors import ExhaustedError, InvalidArgumentError, UnavailableError

SETTINGS = Settings("demo", 256, 144, 33, 16, 20, 5.0)
ORDER = Order(SETTINGS, "a fox", "", 1, FileFormat.MP4)
# Wan2.1-T2V-1.3B: the numbers of its published configuration.
WAN_1_3B = ModelShape(
    layers=30,
    dim=1536,
    ffn_dim=8960,
    patch=(1, 2, 2),
    latent_channels=16,
    token_timesteps=False,
    prompt_tokens=512,
    text_dim=4096,
    vae_dim=96,
    vae_multiples=(1, 2, 4, 4),
    vae_blocks=3,
    vae_patch=1,
    stride=8,
    frame_stride=4,
    transformer_parameters=1_418_996_800,
    text_parameters=5_680_910_336,
    text_embedding_parameters=256_384 * 4096,
    vae_parameters=126_892_531,
    image_parameters=0,
)
HD = Settings("wan2.1-t2v-1.3b", 1280, 720, 81, 16, 25, 7.5)


class TestRegistry:
    def test_names_are_unique_and_defaults_are_valid(self) -> None:
        assert len({row.name for row in ROWS}) == len(ROWS)
        for row in ROWS:
            assert row.width % row.size_multiple == row.height % row.size_multiple == 0
            assert row.frames % 4 == 1
            assert row.frames <= row.max_frames
            assert 12 <= row.fps <= 24

    def test_flow_shift_follows_the_size(self) -> None:
        row = find_row("wan2.1-t2v-1.3b")
        assert row.flow_shift_for(832, 480) == 3.0
        assert row.flow_shift_for(1280, 720) == row.flow_shift_for(1920, 1088) == 5.0
        assert find_row("demo").flow_shift_for(256, 144) is None

    def test_capable_models_can_do_all_that_is_asked(self) -> None:
        assert capable_models(Capability.IMAGE_TO_VIDEO, Capability.LAST_FRAME) == ["wan2.1-vace-1.3b"]
        assert "demo" in capable_models(Capability.IMAGE_TO_VIDEO)

    def test_distilled_rows_are_data(self) -> None:
        row = find_row("wan2.1-t2v-14b-4step")
        assert (row.steps, row.guidance_scale, row.solver_order, row.needs_lora) == (4, 1.0, 1, True)

    def test_unknown_name(self) -> None:
        with pytest.raises(InvalidArgumentError) as caught:
            find_row("sora")
        assert caught.value.reason == "MODEL_UNKNOWN"


class TestChecks:
    def test_good_orders_pass(self) -> None:
        assert check_order(ORDER).name == "demo"
        still = replace(ORDER, settings=replace(SETTINGS, frames=1), format=FileFormat.WEBP, crop_width=255)
        assert check_order(still).name == "demo"

    @pytest.mark.parametrize(
        ("settings", "order", "field"),
        [
            ({"frames": 85}, {}, "settings.frames"),
            ({"model": "wan2.2-ti2v-5b"}, {}, "settings.height"),
            ({}, {"format": FileFormat.PNG}, "format"),
            ({}, {"crop_height": 143}, "crop_height"),
            ({}, {"crop_width": 258}, "crop_width"),
        ],
    )
    def test_bad_orders_name_the_field(self, settings: Any, order: Any, field: str) -> None:
        with pytest.raises(InvalidArgumentError) as caught:
            check_order(replace(ORDER, settings=replace(SETTINGS, **settings), **order))
        assert [violation.field for violation in caught.value.violations] == [field]


class TestDeviceQueue:
    async def test_first_come_first_served_within_a_priority(self) -> None:
        queue = DeviceQueue(4)
        running, video, other = (queue.join(1) for _ in range(3))
        still, second_still = queue.join(0), queue.join(0)
        assert running.granted
        assert still.granted  # a video is no reason for a still to wait
        assert [ticket.position for ticket in (second_still, video, other)] == [0, 1, 2]
        queue.leave(running)
        assert not video.granted
        queue.leave(still)
        assert second_still.granted
        queue.leave(second_still)
        assert video.granted
        assert other.position == 0

    async def test_what_does_not_fit_beside_the_others_waits_and_is_not_overtaken(self) -> None:
        def fits(shares: Collection[Share]) -> bool:
            return sum(share.resident for share in shares) <= 10

        queue = DeviceQueue(4, holders=4, fits=fits)
        first, large, small = (queue.join(share=Share("demo", 0, size, 0, 0)) for size in (8, 20, 1))
        assert (first.granted, large.granted, small.granted) == (True, False, False)
        queue.leave(first)
        assert (large.granted, small.granted) == (True, False)  # alone, it is the engine's to refuse it
        queue.leave(large)
        assert small.granted

    async def test_one_that_starts_at_once_takes_no_place_in_line(self) -> None:
        queue = DeviceQueue(1)
        queue.join(1)
        queue.join(1)
        assert queue.join(0).granted
        with pytest.raises(ExhaustedError):
            queue.join(0)

    async def test_limit(self) -> None:
        queue = DeviceQueue(1)
        queue.join()
        queue.join()
        with pytest.raises(ExhaustedError) as caught:
            queue.join(retry_after_seconds=3)
        assert (caught.value.reason, caught.value.retry_after_seconds) == ("QUEUE_FULL", 3)

    async def test_no_waiting_at_all_still_lets_one_run(self) -> None:
        queue = DeviceQueue(0)
        ticket = queue.join()
        with pytest.raises(ExhaustedError):
            queue.join()
        queue.leave(ticket)
        assert queue.join().granted

    async def test_positions_are_told_at_once_and_at_every_change(self) -> None:
        queue = DeviceQueue(4)
        tickets = [queue.join() for _ in range(3)]
        told: list[int] = []

        async def listen() -> None:
            told.extend([position async for position in queue.positions(tickets[2])])

        listener = asyncio.ensure_future(listen())
        await asyncio.sleep(0)
        queue.leave(tickets[1])
        await asyncio.sleep(0)
        queue.leave(tickets[0])
        await listener
        assert told == [1, 0]
        assert tickets[2].granted

    async def test_closing_turns_away_those_who_wait_but_not_the_holder(self) -> None:
        queue = DeviceQueue(4)
        running, waiting = queue.join(), queue.join()
        queue.close()
        with pytest.raises(UnavailableError):
            [position async for position in queue.positions(waiting)]
        with pytest.raises(UnavailableError):
            queue.join()
        assert [position async for position in queue.positions(running)] == [0]
        queue.leave(running)
        queue.leave(running)
        await asyncio.wait_for(queue.idle(), 1)

    async def test_several_holders(self) -> None:
        queue = DeviceQueue(4, holders=2)
        assert [queue.join().granted for _ in range(3)] == [True, True, False]
        assert (queue.running, queue.waiting) == (2, 1)


class TestEstimate:
    def test_forward_of_1_3b_at_720p_matches_the_known_figure(self) -> None:
        # 2.28 s at 549 TFLOP/s, measured on an H100.
        assert forward_flops(WAN_1_3B, HD) == pytest.approx(2.28 * 549e12, rel=0.01)

    @pytest.mark.parametrize(
        ("size", "frames", "evicted", "measured"),
        [
            ((1280, 720), 81, False, 22.2),
            ((832, 480), 33, True, 13.8),
            ((1280, 720), 33, True, 13.8),
            ((832, 480), 1, False, 15.1),
            ((1280, 720), 1, False, 17.1),
            ((1920, 1088), 1, False, 21.7),
        ],
    )
    def test_peaks_of_1_3b_match_those_of_an_h100(
        self, size: tuple[int, int], frames: int, evicted: bool, measured: float
    ) -> None:
        # Stills before their convolutions were laid out channels last, which makes them less.
        memory = Memory(evict_text_encoder=evicted)
        job = replace(HD, width=size[0], height=size[1], frames=frames, memory=memory)
        assert peak_bytes(WAN_1_3B, job, 2, 2) / 2**30 == pytest.approx(measured, rel=0.05)

    def test_tiles_are_kept_to_be_put_together(self) -> None:
        tiled = replace(HD, memory=Memory(tiled_decode=True))
        clip = 3 * HD.frames * HD.width * HD.height * 4
        assert decoding_bytes(WAN_1_3B, tiled) / clip == pytest.approx(3 + tile_overhead(HD), abs=0.01)

    @pytest.mark.parametrize(
        ("size", "frames", "pieces"),
        [((832, 480), 81, 15 * 21), ((1280, 720), 81, 28 * 21), ((1280, 720), 1, 28), ((272, 256), 5, 4 * 2)],
    )
    def test_a_latent_frame_of_a_tile_is_the_same_work_in_any_clip(
        self, size: tuple[int, int], frames: int, pieces: int
    ) -> None:
        tiled = replace(HD, width=size[0], height=size[1], frames=frames, memory=Memory(tiled_decode=True))
        tile = decode_flops(WAN_1_3B, replace(HD, width=256, height=256, frames=4))
        assert work(WAN_1_3B, tiled)[-2] == StageWork(Stage.DECODING, pieces * tile, tile / 4, "tiled")

    def test_a_frame_no_larger_than_a_tile_is_decoded_as_ever(self) -> None:
        small = replace(HD, width=256, height=256)
        assert tile_count(small) == tile_overhead(small) == 1
        assert work(WAN_1_3B, replace(small, memory=Memory(tiled_decode=True))) == work(WAN_1_3B, small)

    def test_weights_of_1_3b_in_bf16(self) -> None:
        small = replace(HD, width=64, height=64, frames=1)
        assert weight_bytes(WAN_1_3B, 2) / 1e9 == pytest.approx(14.7, rel=0.02)
        resident = peak_bytes(WAN_1_3B, small, 2)
        evicted = peak_bytes(WAN_1_3B, replace(small, memory=Memory(evict_text_encoder=True)), 2)
        assert evicted <= resident

    @limits(deadline=None)
    @given(
        st.integers(1, 80).map(lambda n: 16 * n),
        st.integers(1, 80).map(lambda n: 16 * n),
        st.integers(0, 20).map(lambda n: 4 * n + 1),
    )
    def test_more_costs_more(self, width: int, height: int, frames: int) -> None:
        small = replace(HD, width=width, height=height, frames=frames)
        for large in (replace(small, width=width + 16), replace(small, frames=frames + 4)):
            assert forward_flops(WAN_1_3B, large) > forward_flops(WAN_1_3B, small)
            assert decode_flops(WAN_1_3B, large) > decode_flops(WAN_1_3B, small)
            assert peak_bytes(WAN_1_3B, large, 2) >= peak_bytes(WAN_1_3B, small, 2)
        assert tile_overhead(small) >= 1

    def test_work_lists_the_stages_in_order(self) -> None:
        assert list(dict.fromkeys(piece.stage for piece in work(WAN_1_3B, HD))) == list(Stage)[1:]
        assert list(dict.fromkeys(piece.stage for piece in work(WAN_1_3B, HD, load_bytes=1))) == list(Stage)
        mux = [work(WAN_1_3B, replace(HD, frames=count))[-1].amount / (1280 * 720) for count in (1, 33, 81, 121)]
        assert mux == [1, 17, 17, 17]  # what x264 still looks at when the last frame is decoded
        assert work(WAN_1_3B, replace(HD, memory=Memory(tiled_decode=True)))[-1].amount == 81 * 1280 * 720
        guided, plain = (work(WAN_1_3B, replace(HD, guidance_scale=scale)) for scale in (5.0, 1.0))
        assert guided[2].amount == 2 * plain[2].amount
        assert guided[1] == plain[1] == StageWork(Stage.DENOISING, 1.0, guided[2].size, ONCE)


class TestCosts:
    PIECE = StageWork(Stage.DENOISING, 1e12, 1e9)

    def test_priors_are_marked_as_such(self) -> None:
        prediction = CostModel("cpu").predict("demo", [self.PIECE])
        assert not prediction.measured
        assert prediction.seconds > 0

    def test_measurements_count_and_slower_ones_little_by_little(self) -> None:
        costs = CostModel("cpu")
        costs.observe("demo", self.PIECE, 10)
        assert costs.predict("demo", [self.PIECE]).seconds == pytest.approx(10)
        costs.observe("demo", self.PIECE, 20)
        prediction = costs.predict("demo", [self.PIECE])
        assert prediction.seconds == pytest.approx(13)
        assert prediction.measured
        assert not costs.predict("other", [self.PIECE]).measured

    def test_parts_of_a_stage_are_kept_apart_and_told_together(self) -> None:
        costs, once = CostModel("cpu"), StageWork(Stage.DENOISING, 1.0, 1e9, ONCE)
        costs.observe("demo", self.PIECE, 10)
        costs.observe("demo", once, 2)
        (stage,) = costs.predict("demo", [once, replace(self.PIECE, amount=5e12)]).stages
        assert stage.stage is Stage.DENOISING
        assert stage.seconds == pytest.approx(52)

    def test_a_variant_goes_by_the_plain_ways_pace_until_it_is_measured(self) -> None:
        costs, tiled = CostModel("cpu"), replace(self.PIECE, variant="tiled")
        costs.observe("demo", self.PIECE, 10)
        assert costs.predict("demo", [tiled]).seconds == pytest.approx(10)
        costs.observe("demo", tiled, 30)
        assert costs.predict("demo", [tiled]).seconds == pytest.approx(30)
        assert costs.predict("demo", [self.PIECE]).seconds == pytest.approx(10)

    def test_a_stills_decoding_stands_in_for_a_clips_until_one_is_measured(self) -> None:
        costs = CostModel("cuda")
        clip, still = (
            next(each for each in work(WAN_1_3B, job) if each.stage is Stage.DECODING)
            for job in (HD, replace(HD, frames=1))
        )
        costs.observe("demo", still, 0.06)
        assert costs.predict("demo", [clip]).seconds == pytest.approx(81 * 0.06)
        costs.observe("demo", clip, 3.4)
        costs.observe("demo", still, 0.2)  # another's work slowed it
        assert costs.predict("demo", [clip]).seconds == pytest.approx(3.4)

    def test_between_two_sizes_the_pace_lies_between_theirs(self) -> None:
        costs = CostModel("cpu")
        costs.observe("demo", self.PIECE, 1)
        costs.observe("demo", replace(self.PIECE, size=1e12), 0.1)
        between = [costs.predict("demo", [replace(self.PIECE, size=size)]).seconds for size in (1e9, 1e10, 1e11, 1e12)]
        assert between == pytest.approx([1, 10 ** (-1 / 3), 10 ** (-2 / 3), 0.1], rel=0.1)
        assert costs.predict("demo", [replace(self.PIECE, size=1e3)]).seconds == pytest.approx(1)

    @pytest.mark.parametrize("second", [0.1, 10])
    def test_beyond_the_largest_size_the_pace_is_that_of_the_largest(self, second: float) -> None:
        costs = CostModel("cpu")
        costs.observe("demo", self.PIECE, 1)
        costs.observe("demo", replace(self.PIECE, size=1e12), second)
        assert costs.predict("demo", [replace(self.PIECE, size=1e15)]).seconds == pytest.approx(second)

    def test_what_was_faster_counts_at_once(self) -> None:
        costs = CostModel("cpu")
        costs.observe("demo", self.PIECE, 10)
        costs.observe("demo", self.PIECE, 4)
        assert costs.predict("demo", [self.PIECE]).seconds == pytest.approx(4)

    def test_forwards_of_an_h100_are_reckoned_from_few(self) -> None:
        # Seconds of an eager forward of the 1.3B. A still's is the host's time to ask for it.
        measured = {(832, 480, 1): 0.046, (1280, 720, 1): 0.046, (832, 480, 81): 0.639, (1280, 720, 81): 2.494}
        costs = CostModel("cuda")

        def forward(size: tuple[int, int, int]) -> StageWork:
            flops = forward_flops(WAN_1_3B, replace(HD, width=size[0], height=size[1], frames=size[2]))
            return StageWork(Stage.DENOISING, flops, flops)

        for size, seconds in measured.items():
            costs.observe("wan", forward(size), seconds)
        for size, seconds in measured.items():
            assert costs.predict("wan", [forward(size)]).seconds == pytest.approx(seconds, rel=0.02)
        # Three steps with guidance took 78.8 s, decoding and encoding included; those take 4.9 s at 1280x720.
        denoising = 78.8 - 4.9 * (1920 * 1088) / (1280 * 720)
        assert 6 * costs.predict("wan", [forward((1920, 1088, 81))]).seconds == pytest.approx(denoising, rel=0.1)

    def test_what_was_measured_is_known(self) -> None:
        costs = CostModel("cpu")
        assert not costs.knows("demo", [self.PIECE])
        costs.observe("demo", self.PIECE, 1)
        assert costs.knows("demo", [self.PIECE, StageWork(Stage.LOADING_MODEL, 1, 1)])
        assert not costs.knows("demo", [self.PIECE, replace(self.PIECE, size=1e12)])

    def test_kept_between_processes(self, tmp_path: Path) -> None:
        file = tmp_path / "cache" / "speeds.json"
        costs = CostModel("cpu", file)
        costs.observe("demo", self.PIECE, 10)
        costs.save()
        assert CostModel("cpu", file).predict("demo", [self.PIECE]).seconds == pytest.approx(10)

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "[]",
            "{}",
            '{"version": 99}',
            '{"version": 1, "seconds_per_unit": {}}',
            '{"version": 5, "seconds_per_unit": 3}',
        ],
    )
    def test_an_unreadable_file_is_begun_anew(self, tmp_path: Path, text: str) -> None:
        file = tmp_path / "speeds.json"
        file.write_text(text)
        costs = CostModel("cpu", file)
        costs.observe("demo", self.PIECE, 1)
        costs.save()
        assert json.loads(file.read_text())["version"] == 5

    def test_a_folder_that_cannot_be_written_is_no_failure(self, tmp_path: Path) -> None:
        (tmp_path / "cache").write_text("a file, not a folder")
        CostModel("cpu", tmp_path / "cache" / "speeds.json").save()


class FakeClock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class TestProgress:
    STAGES = (
        StageSeconds(Stage.ENCODING_TEXT, 1.0),
        StageSeconds(Stage.DENOISING, 6.0),
        StageSeconds(Stage.DECODING, 2.0),
        StageSeconds(Stage.MUXING, 1.0),
    )

    def tracker(self, *, measured: bool = True) -> tuple[ProgressTracker, list[Progress], FakeClock]:
        events: list[Progress] = []
        clock = FakeClock()
        return ProgressTracker(Prediction(self.STAGES, measured), events.append, clock), events, clock

    def test_stages_weigh_what_they_take(self) -> None:
        tracker, events, _ = self.tracker()
        for stage in (Stage.ENCODING_TEXT, Stage.DENOISING, Stage.DECODING, Stage.MUXING):
            tracker.begin(stage)
        tracker.advance(1.0)
        assert [event.fraction for event in events] == pytest.approx([0, 0.1, 0.7, 0.9, 0.999])

    def test_eta_follows_the_pace_of_this_job(self) -> None:
        tracker, events, clock = self.tracker()
        tracker.begin(Stage.DENOISING, 4)
        assert events[-1].eta_seconds == pytest.approx(9)
        clock.now = 3.0  # a quarter of the steps took 3 s instead of 1.5 s
        tracker.advance(0.25, 1, 4)
        assert events[-1].eta_seconds == pytest.approx(9 + 3)

    def test_nothing_known_means_no_eta_until_the_first_step(self) -> None:
        tracker, events, clock = self.tracker(measured=False)
        tracker.begin(Stage.ENCODING_TEXT)
        tracker.begin(Stage.DENOISING, 4)
        assert [event.eta_seconds for event in events] == [None, None]
        clock.now = 3.0
        tracker.advance(0.25, 1, 4)
        assert events[-1].eta_seconds == pytest.approx(9 + 6)  # the later stages are scaled alike

    def test_small_changes_are_dropped_but_steps_are_not(self) -> None:
        tracker, events, _ = self.tracker()
        tracker.begin(Stage.DENOISING, 1000)
        tracker.advance(0.001)
        assert len(events) == 1
        tracker.advance(0.001, 1, 1000)
        assert len(events) == 2

    @limits(deadline=None)
    @given(st.lists(st.tuples(st.sampled_from(list(Stage)), st.floats(0, 1)), max_size=20))
    def test_never_falls(self, moves: list[tuple[Stage, float]]) -> None:
        tracker, events, _ = self.tracker()
        for stage, inner in moves:
            tracker.begin(stage)
            tracker.advance(inner)
        fractions = [event.fraction for event in events]
        assert fractions == sorted(fractions)
        assert all(0 <= fraction < 1 for fraction in fractions)


class TestSettings:
    def test_from_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("WANWORKER_GENERATOR_MODEL_PATHS", '{"wan2.1-t2v-1.3b": "/models/wan"}')
        monkeypatch.setenv("WANWORKER_GENERATOR_QUEUE_LIMIT", "3")
        defaults: Any = {}
        settings = GeneratorSettings(**defaults)
        assert settings.model_paths == {"wan2.1-t2v-1.3b": Path("/models/wan")}
        assert (settings.queue_limit, settings.port) == (3, 50053)

    def test_every_setting_is_described(self) -> None:
        assert all(field.description for field in GeneratorSettings.model_fields.values())
