"""Measures a checkpoint through the stock pipelines, on prompts that it was never trained on.

    python -m models.wan_demo.evaluate --prompts 128 --out RESULT_FOLDER      # minutes on a GPU
    python -m models.wan_demo.evaluate --prompts 4 --images 2 --steps 15 --out /tmp/eval

Writes quality.json and contact_sheet.png and prints a table.  Sentence patterns and phrasings of all prompts are
held out; every second prompt also names a colour and thing that never stood together in training.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import WanImageToVideoPipeline, WanPipeline
from torch import Tensor

from models.wan_demo.config import CHECKPOINT
from models.wan_demo.judge import Verdict, judge
from models.wan_demo.sheet import contact_sheet, to_image
from models.wan_demo.train_autoencoder import psnr
from models.world.captions import caption, held_out_caption
from models.world.render import Clip, render
from models.world.scene import Scene, draw_scene, draw_test_scene

WHOLE = Clip()
"""The size that the demo is made for."""

ASPECTS = ("colour", "motion", "background", "shape")
"""What is judged of each clip."""

SHOWN: tuple[str, ...] = (
    "a red ball bounces in the snow",
    "a large yellow star spins in the night sky with stars",
    "a blue boat moves from left to right at sunset",
    "a pink balloon rises in a green meadow, the camera pans right",
    "a black rocket rises in the clear blue sky",
    "an orange fish circles over the ocean",
    "a purple butterfly flies from right to left in the desert",
    "a green house stays still in the snow, the camera zooms in",
    "a cyan heart grows in a studio",
    "a white moon falls at night",
    "a red car and a blue tree in the desert, they stay still",
    "a yellow mushroom shrinks in a meadow",
)
"""Prompts of the contact sheet."""


@dataclass(frozen=True)
class Options:
    """How to sample."""

    steps: int
    """Denoising steps."""
    guidance: float
    """Guidance scale."""
    batch: int
    """Clips generated at once."""
    seed: int
    """Seed of prompts and noise."""


def _is_right(scene: Scene, verdict: Verdict) -> dict[str, bool]:
    actor = scene.actors[0]
    return {
        "colour": verdict.colour == actor.colour,
        "motion": verdict.motion == scene.motion,
        "background": verdict.background == scene.background,
        "shape": verdict.thing == actor.thing,
    }


def generate(
    pipeline: Any, prompts: Sequence[str], options: Options, clip: Clip = WHOLE, images: Sequence[Any] | None = None
) -> Tensor:
    """Videos (prompts × 3 × frames × height × width, -1 to 1) from a stock pipeline, on the CPU."""
    videos = []
    size = 1 if images is not None else options.batch
    for first in range(0, len(prompts), size):
        chosen = list(prompts[first : first + size])
        extra = {"image": images[first]} if images is not None else {}
        frames = pipeline(
            prompt=chosen, height=clip.height, width=clip.width, num_frames=clip.frames,
            num_inference_steps=options.steps, guidance_scale=options.guidance, output_type="pt",
            generator=torch.Generator().manual_seed(options.seed + first), **extra,
        ).frames  # fmt: skip
        videos.append(frames.float().cpu().transpose(1, 2) * 2 - 1)
    return torch.cat(videos)


def _score(
    scenes: Sequence[Scene], videos: Tensor, device: torch.device
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    records: list[dict[str, Any]] = []
    for scene, video in zip(scenes, videos, strict=True):
        verdict = judge(video.to(device))
        moved = float(video.diff(dim=1).abs().amax((0, 2, 3)).mean())
        records.append({
            "scene": asdict(scene), "seen": asdict(verdict), "right": _is_right(scene, verdict),
            "finite": bool(video.isfinite().all()), "frozen": scene.motion != "still" and moved < 0.02,
        })  # fmt: skip
    summary: dict[str, Any] = {a: sum(r["right"][a] for r in records) / len(records) for a in ASPECTS}
    summary["broken"] = sum(not r["finite"] or r["frozen"] for r in records)
    summary["clips"] = len(records)
    return summary, records


def _text_to_video(pipeline: Any, count: int, options: Options, device: torch.device) -> dict[str, Any]:
    """Held-out phrasings with seen and unseen pairs, and long paragraphs with unseen pairs."""
    rng = random.Random(options.seed)
    result: dict[str, Any] = {}
    for name in ("held-out phrasing, known pair", "held-out phrasing, new pair", "long paragraph, new pair"):
        scenes = [draw_test_scene(rng, held_out="new" in name) for _ in range(max(1, count // 3))]
        say = held_out_caption if "phrasing" in name else caption
        prompts = [say(scene, rng) for scene in scenes]
        while "long" in name and min(len(p.split()) for p in prompts) < 40:
            prompts = [p if len(p.split()) >= 40 else caption(s, rng) for p, s in zip(prompts, scenes, strict=True)]
        videos = generate(pipeline, prompts, options)
        summary, records = _score(scenes, videos, device)
        for record, prompt in zip(records, prompts, strict=True):
            record["prompt"] = prompt
        result[name] = {**summary, "misses": [r for r in records if not all(r["right"].values())]}
    return result


def _image_to_video(pipeline: Any, count: int, options: Options, device: torch.device) -> dict[str, Any]:
    """Give the first frame of a rendering; ask for its motion."""
    rng = random.Random(options.seed + 1)
    animate = WanImageToVideoPipeline(
        **{k: v for k, v in pipeline.components.items() if k not in ("transformer_2",)},
        image_encoder=None, image_processor=None, expand_timesteps=True,
    )  # fmt: skip
    animate.set_progress_bar_config(disable=True)
    scenes = [draw_test_scene(rng, held_out=i % 2 == 1) for i in range(count)]
    first = torch.stack([render([scene], Clip())[0][0, :, 0] for scene in scenes])
    prompts = [held_out_caption(scene, rng) for scene in scenes]
    videos = generate(animate, prompts, options, images=[to_image(frame) for frame in first])
    summary, records = _score(scenes, videos, device)
    kept = [psnr(video[None, :, 0], frame[None]) for video, frame in zip(videos, first, strict=True)]
    misses = [{**r, "prompt": p} for r, p in zip(records, prompts, strict=True) if not r["right"]["motion"]]
    return {**summary, "first_frame_psnr": sum(kept) / len(kept), "first_frame_worst": min(kept), "misses": misses}


@torch.no_grad()
def _autoencoder(pipeline: Any, count: int, seed: int, device: torch.device) -> dict[str, float]:
    """PSNR of the stock encode and decode on whole clips."""
    rng = random.Random(seed + 2)
    values = []
    for _ in range(count):
        video, _ = render([draw_scene(rng)], Clip(), device=device)
        video = video.to(pipeline.vae.dtype)
        output = pipeline.vae.decode(pipeline.vae.encode(video).latent_dist.mode()).sample
        values.append(psnr(output, video.float()))
    return {"mean": sum(values) / len(values), "worst": min(values), "clips": count}


def _other_sizes(pipeline: Any, options: Options, out: Path) -> dict[str, str]:
    """Stills, long clips, square and portrait: whether they are sound, and pictures to look at."""
    found = {}
    prompts = ["a red ball bounces in the snow", "a yellow star spins in the night sky with stars"]
    clips = {"still": Clip(1), "long": Clip(81), "square": Clip(33, 192, 192), "portrait": Clip(33, 256, 144)}
    for name, clip in clips.items():
        videos = generate(pipeline, prompts, options, clip)
        sound = bool(videos.isfinite().all()) and float(videos.std()) > 0.05
        found[name] = f"{clip.frames}×{clip.width}×{clip.height}: {'sound' if sound else 'BROKEN'}"
        shown = videos.expand(-1, -1, 5, -1, -1) if clip.frames == 1 else videos
        contact_sheet(list(zip(prompts, shown, strict=True)), out / f"sheet_{name}.png")
    return found


def table(result: dict[str, Any]) -> str:
    """The figures as a Markdown table."""
    lines = ["| prompts | clips | colour | motion | background | shape | broken |", "|---|---|---|---|---|---|---|"]
    rows = {**result["text_to_video"], "image-to-video": result["image_to_video"]}
    for name, row in rows.items():
        figures = " | ".join(f"{row[a]:.1%}" for a in ASPECTS)
        lines.append(f"| {name} | {row['clips']} | {figures} | {row['broken']} |")
    image, auto = result["image_to_video"], result["autoencoder"]
    mean, worst = image["first_frame_psnr"], image["first_frame_worst"]
    lines.append(f"\nImage-to-video, frame 0: {mean:.1f} dB (worst {worst:.1f}).")
    mean, worst = auto["mean"], auto["worst"]
    lines.append(f"Autoencoder, whole 33-frame clips: {mean:.2f} dB (worst {worst:.1f}, {auto['clips']} clips).")
    lines.append("Other sizes: " + "; ".join(result["other_sizes"].values()) + ".")
    return "\n".join(lines)


def evaluate(checkpoint: Path, out: Path, prompts: int, images: int, options: Options) -> dict[str, Any]:
    """Everything that the command measures."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    pipeline = WanPipeline.from_pretrained(checkpoint, torch_dtype=torch.float32).to(device)
    pipeline.set_progress_bar_config(disable=True)
    out.mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()
    shown = generate(pipeline, SHOWN, options)
    contact_sheet(list(zip(SHOWN, shown, strict=True)), out / "contact_sheet.png")
    print(f"contact sheet {time.monotonic() - begun:.0f} s", flush=True)
    parts: dict[str, Callable[[], Any]] = {
        "text_to_video": lambda: _text_to_video(pipeline, prompts, options, device),
        "image_to_video": lambda: _image_to_video(pipeline, images, options, device),
        "autoencoder": lambda: _autoencoder(pipeline, max(2, prompts // 6), options.seed, device),
        "other_sizes": lambda: _other_sizes(pipeline, options, out),
    }
    result: dict[str, Any] = {"settings": asdict(options)}
    for name, part in parts.items():
        result[name] = part()
        result["seconds"] = round(time.monotonic() - begun, 1)
        # Written after every part: a run that is cut short keeps what it has.
        (out / "quality.json").write_text(json.dumps(result, indent=1) + "\n")
        print(f"{name} {result['seconds']} s", flush=True)
    return result


def main() -> None:
    """Evaluate from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--prompts", type=int, default=128)
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--guidance", type=float, default=5.0)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--seed", type=int, default=1234)
    args = parser.parse_args()
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    options = Options(args.steps, args.guidance, args.batch, args.seed)
    result = evaluate(args.checkpoint, args.out, args.prompts, args.images, options)
    print(table(result) + f"\n{result['seconds']} s", flush=True)


if __name__ == "__main__":
    main()
