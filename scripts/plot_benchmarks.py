"""Draws what `benchmarks.gpu` measured: `python -m scripts.plot_benchmarks RESULTS.jsonl FOLDER`.

RESULTS is its output, or the JSON lines of it. Written are `end_to_end.png` (ours beside plain diffusers, by stage)
and `estimates.png` (predicted beside measured).
"""

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

Line = dict[str, Any]
STAGES = {"encode s": "#8da0cb", "denoise s": "#4c78a8", "decode s": "#f58518", "mux s": "#e45756"}
NAMES = {"encode s": "text", "denoise s": "denoising", "decode s": "decoding", "mux s": "encoding the file"}
MEMORY_BAR, TIME_BAR = 0.10, 0.15


def main(results: Path, folder: Path) -> None:
    """Draws what there are results for."""
    lines = read(results)
    folder.mkdir(parents=True, exist_ok=True)
    machine = next((line for line in lines if line["part"] == "machine"), {"name": "", "torch": ""})
    note = f"{machine['name']}, torch {machine['torch']}"
    compared = [line for line in lines if line["part"] == "compare"]
    if compared:
        draw_end_to_end(compared, note, folder / "end_to_end.png")
    predicted = [line for line in lines if line["part"] == "predict" and "failed" not in line]
    if predicted:
        draw_estimates(predicted, note, folder / "estimates.png")


def read(results: Path) -> list[Line]:
    """The JSON lines among whatever else was printed."""
    texts = (text.strip() for text in results.read_text(encoding="utf-8").splitlines())
    return [json.loads(text) for text in texts if text.startswith('{"part"')]


def draw_end_to_end(lines: list[Line], note: str, path: Path) -> None:
    """A bar a job, its stages one after the other, and a mark at the computed floor of denoising."""
    figure, axes = plt.subplots(figsize=(10, 0.42 * len(lines) + 1.6), layout="constrained")
    lines = lines[::-1]
    starts = [0.0] * len(lines)
    for stage, colour in STAGES.items():
        widths = [line[stage] for line in lines]
        axes.barh([line["name"] for line in lines], widths, left=starts, color=colour, label=NAMES[stage])
        starts = [start + width for start, width in zip(starts, widths, strict=True)]
    for place, line in enumerate(lines):
        axes.plot([line["floor s"]] * 2, [place - 0.4, place + 0.4], color="black", label="" if place else "floor")
        axes.text(line["end to end s"], place, f" {line['end to end s']:.1f} s", va="center")
    axes.margins(x=0.1)
    axes.set_xlabel("seconds from the request to the file")
    axes.set_title(f"Five seconds of video, Wan2.1-T2V-1.3B at full size\n{note}")
    axes.legend(loc="lower right")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def draw_estimates(lines: list[Line], note: str, path: Path) -> None:
    """Two squares: bytes and seconds; on the diagonal a prediction is exact, in the band it keeps the bar."""
    figure, (memory, time) = plt.subplots(1, 2, figsize=(10, 5), layout="constrained")
    for axes, measured, predicted, bar, unit in (
        (memory, "peak GiB", "predicted GiB", MEMORY_BAR, "GiB at the peak"),
        (time, "took s", "predicted s", TIME_BAR, "seconds"),
    ):
        points = [(line[measured], line[predicted]) for line in lines]
        ends = [0.8 * min(map(min, points)), 1.25 * max(map(max, points))]
        axes.fill_between(ends, [end * (1 - bar) for end in ends], [end * (1 + bar) for end in ends], color="#dddddd")
        axes.plot(ends, ends, color="grey")
        axes.scatter(*zip(*points, strict=True), color="#4c78a8", zorder=3)
        axes.set(xscale="log", yscale="log", xlabel=f"measured, {unit}", ylabel=f"predicted, {unit}")
        axes.set_title(f"within {bar:.0%}: {sum(abs(p / m - 1) <= bar for m, p in points)} of {len(points)}")
    figure.suptitle(f"Estimates before each job\n{note}")
    figure.savefig(path, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
