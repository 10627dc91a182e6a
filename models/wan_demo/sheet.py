"""Contact sheets: rows of frames with their prompts."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

_TEXT = 30
"""Height of a caption in pixels."""


def to_image(frame: Tensor) -> Image.Image:
    """A picture of one frame: 3 × height × width, -1 to 1."""
    levels = ((frame.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return Image.fromarray(levels.permute(1, 2, 0).cpu().numpy())


def contact_sheet(rows: Sequence[tuple[str, Tensor]], path: Path, frames: int = 5, columns: int = 1) -> None:
    """Write a PNG with ``frames`` evenly spaced frames of each clip (3 × frames × height × width) below its prompt."""
    height, width = rows[0][1].shape[2:]
    cell_w, cell_h = width * frames, height + _TEXT
    lines = -(-len(rows) // columns)
    sheet = Image.new("RGB", (cell_w * columns, cell_h * lines), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for number, (prompt, video) in enumerate(rows):
        left, top = number // lines * cell_w, number % lines * cell_h
        text = "\n".join(textwrap.wrap(prompt, cell_w // 7)[:2])
        pen.text((left + 4, top + 1), text, fill="black", font=font, spacing=1)
        for column in range(frames):
            index = round(column * (video.shape[1] - 1) / (frames - 1))
            sheet.paste(to_image(video[:, index]), (left + column * width, top + _TEXT))
    colours = sheet.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.FLOYDSTEINBERG)
    colours.save(path, optimize=True)
