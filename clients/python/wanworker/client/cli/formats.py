"""How values are written for people and for scripts."""

import json
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from wanworker.client.enums import Stage
from wanworker.client.types import GenerationSettings, StageDuration

STAGE_TEXT = {
    Stage.UNSPECIFIED: "working",
    Stage.QUEUED: "waiting",
    Stage.ENHANCING: "enhancing the prompt",
    Stage.LOADING_MODEL: "loading the model",
    Stage.ENCODING_TEXT: "encoding the text",
    Stage.DENOISING: "denoising",
    Stage.DECODING: "decoding",
    Stage.MUXING: "writing the file",
    Stage.STORING: "storing",
}
"""What a job is at, for people."""

_EIGHTHS = " ▏▎▍▌▋▊▉█"


def as_dict(message: Message) -> dict[str, Any]:
    """Returns protobuf's own JSON mapping with the field names of the .proto files (`total_steps`).

    64-bit integers are strings there, durations "2.5s", times RFC 3339, bytes base64.
    """
    fields: dict[str, Any] = MessageToDict(message, preserving_proto_field_name=True)
    return fields


def print_json(**record: Any) -> None:
    """Prints one JSON line."""
    print(json.dumps(record, ensure_ascii=False), flush=True)


def seconds_text(seconds: float) -> str:
    """Writes `0.4 s`, `12 s`, `3 min 05 s`, `2 h 10 min`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def bytes_text(count: int) -> str:
    """Writes `512 B`, `61.2 KiB`, `1.5 GiB`."""
    value, unit = float(count), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{count} B" if unit == "B" else f"{value:.1f} {unit}"


def size_text(width: int, height: int) -> str:
    """Writes `256×144`."""
    return f"{width}×{height}"


def bar(share: float, width: int = 24) -> str:
    """Draws a share of 0 to 1 in eighths of a character."""
    eighths = round(max(0.0, min(1.0, share)) * width * 8)
    return "█" * (eighths // 8) + (_EIGHTHS[eighths % 8] if eighths % 8 else "")


def stage_rows(stages: tuple[StageDuration, ...]) -> list[tuple[str, str, str]]:
    """Returns rows of stage, time and bar; bars are shares of the whole."""
    total = sum(stage.seconds for stage in stages) or 1.0
    return [(STAGE_TEXT[s.stage], seconds_text(s.seconds), bar(s.seconds / total)) for s in stages]


def settings_text(settings: GenerationSettings) -> str:
    """Writes what a generation runs with in one line."""
    frames = f"{settings.frames} frames at {settings.fps} fps" if settings.frames > 1 else "one frame"
    return (
        f"{settings.model} · {size_text(settings.width, settings.height)} · {frames} · "
        f"{settings.steps} steps · guidance {settings.guidance_scale:g}"
    )


def change_text(before: GenerationSettings, after: GenerationSettings) -> str:
    """Writes what differs between two settings: `steps 25 → 20, tiled decode`."""
    parts = []
    if (before.width, before.height) != (after.width, after.height):
        parts.append(f"{size_text(before.width, before.height)} → {size_text(after.width, after.height)}")
    for name in ("frames", "fps", "steps", "guidance_scale"):
        old, new = getattr(before, name), getattr(after, name)
        if old != new:
            parts.append(f"{name.split('_')[0]} {old:g} → {new:g}")
    for name in ("tiled_decode", "evict_text_encoder", "free_caches"):
        if getattr(after.memory, name) and not getattr(before.memory, name):
            parts.append(name.replace("_", " "))
    return ", ".join(parts) or "same output"
