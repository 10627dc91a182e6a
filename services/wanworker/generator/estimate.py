"""What a generation costs: work in FLOPs, bytes at the peak. Formulas only; `costs` turns work into seconds.

**Transformer forward.** With L tokens, width d, feed-forward width f and T text tokens a block multiplies
(a multiply-add is 2 FLOPs)::

    self-attention projections  q, k, v, out     8·L·d²
    self-attention              QKᵀ, AV          4·L²·d
    cross-attention             q, out; k, v     4·L·d² + 4·T·d²
    cross-attention             QKᵀ, AV          4·L·T·d
    feed-forward                in, out          4·L·d·f

For Wan2.1-1.3B at 720p × 81 (L 75,600, d 1536, f 8960, 30 blocks) that is 1.25 PFLOP; an H100 was measured at 2.28
s, so 549 TFLOP/s. Embeddings and the output projection are under 0.1 % and left out.

**Text encoder.** 2 FLOPs a parameter and token, the token table apart.

**Autoencoder.** A level k steps below the finest has 1/4^k of the pixels and `vae_multiples[k]` times the width w;
each of its residual blocks holds two 3×3×3 convolutions, 2·27·w² FLOPs a pixel and frame each. Frames halve per
temporal stride; counting all levels at full rate over-counts the coarse ones by a few per cent. Tile by tile (256²
tiles, 192 apart) any latent frame of a tile counts as one of a whole tile: at the edges, where tiles are narrow, the
host needs as long to ask for it. An H100 took 11.9 to 13.9 ms for each of clips of 1 to 81 frames, 832 × 480 to
1920 × 1088.

**Muxing.** Frames are encoded while those that follow are decoded. What is left when the last one was decoded is what
x264 holds back to look ahead (13 frames, counted) and the last chunk, or all frames of a clip
whose tiles are blended at the end.

**Bytes.** Weights (numbers in the files × width of the precision they are loaded in), plus
the largest of:

- *denoising*: a block holds, for each token, its input, the residual, norm and modulation in fp32, and either q, k,
  v with their rotated copies and the attention's result, or the feed-forward's inner layer before and after its
  activation; with per-token timesteps also 6·d modulation values in fp32 and in the model's precision. Latents, the
  multistep scheduler's history and both predictions are 8 fp32 copies of the noise;
- *decoding*: each causal convolution of the decoder keeps the last two frames of its input, of a still the only one
  (`feat_cache`), and the finest level's blocks work on a chunk of `frame_stride` frames, of a still one, in so many
  buffers: 7.75 for clips (8.74 GiB at 720p × 81 in bf16 on an H100, convolutions laid out channels last), 11.4 for
  stills (4,270 bytes a pixel, before that layout, which makes it less), and 8 more if levels have shortcuts (TI2V-5B's
  autoencoder, 9.1 GiB at 1280 × 704). A finished chunk is turned to bytes once those
  buffers are free, and leaves for the host, so the length of a clip counts for nothing. Tiles are kept to be blended:
  all of theirs while the last one is decoded; and beside them, when they are put together, the rows, the whole clip
  and the whole clip clamped;
- *encoding*: a layer's attention in the text encoder: scores, the position's bias, their sum, its copy in fp32, the
  probabilities in fp32 and in the model's precision, 16 × heads × tokens² bytes, beside vectors of the model's width
  (0.31 GiB for UMT5-XXL; 0.30 on an H100).
"""

from dataclasses import dataclass, replace

from wanworker.generator.request import Settings, Stage
from wanworker.generator.shapes import ModelShape

ONCE = "once"
"""Variant of DENOISING: what it takes once a job, however many steps: noise, schedule, the pipeline's own set-up."""
_TILE = 256
_TILE_STRIDE = 192
_CACHED_FRAMES = 2
_CLIP_BUFFERS = 7.75
_STILL_BUFFERS = 11.4
_SHORTCUT_BUFFERS = 8
_TILES_TOGETHER = 3
_TEXT_HEAD_DIM = 64  # UMT5's, of any size
_TEXT_SCORE_BYTES = 16
_LATENT_COPIES = 8
_UNENCODED_FRAMES = 17
_FP32 = 4


@dataclass(frozen=True)
class StageWork:
    """Work of one stage, or of a part of it."""

    stage: Stage
    """Which."""
    amount: float
    """FLOPs; bytes for LOADING_MODEL; pixels that are encoded after the decoding for MUXING; 1 for what is `ONCE`."""
    size: float
    """Amount of one indivisible piece (a forward, a frame); speeds depend on it."""
    variant: str = ""
    """Ways of doing it that differ in speed."""


def forward_flops(shape: ModelShape, settings: Settings) -> float:
    """FLOPs of one transformer forward; see the module's derivation."""
    tokens = shape.tokens(settings.width, settings.height, settings.frames)
    dim, text = shape.dim, shape.prompt_tokens
    block = (
        12 * tokens * dim**2
        + 4 * tokens**2 * dim
        + 4 * text * dim**2
        + 4 * tokens * text * dim
        + 4 * tokens * dim * shape.ffn_dim
    )
    return float(shape.layers * block)


def text_flops(shape: ModelShape) -> float:
    """FLOPs of encoding one prompt."""
    return 2.0 * (shape.text_parameters - shape.text_embedding_parameters) * shape.prompt_tokens


def decode_flops(shape: ModelShape, settings: Settings) -> float:
    """FLOPs of decoding a clip in one piece."""
    pixels = settings.width * settings.height / shape.vae_patch**2
    frame = sum(
        pixels / 4**level * shape.vae_blocks * 2 * (2 * 27 * (shape.vae_dim * multiple) ** 2)
        for level, multiple in enumerate(shape.vae_multiples)
    )
    return float(frame * settings.frames)


def tile_count(settings: Settings) -> int:
    """Tiles that a frame is cut into where tiles are asked for; 1 for a frame no larger than a tile."""
    if settings.width <= _TILE and settings.height <= _TILE:
        return 1
    return len(range(0, settings.width, _TILE_STRIDE)) * len(range(0, settings.height, _TILE_STRIDE))


def tile_overhead(settings: Settings) -> float:
    """Pixels decoded over pixels shown, tile by tile."""
    if tile_count(settings) == 1:
        return 1.0

    def covered(length: int) -> int:
        return sum(min(_TILE, length - start) for start in range(0, length, _TILE_STRIDE))

    return covered(settings.width) * covered(settings.height) / (settings.width * settings.height)


def weight_bytes(shape: ModelShape, dtype_bytes: int, vae_bytes: int = _FP32) -> int:
    """Memory of all weights."""
    return (
        shape.transformer_file_bytes
        + (shape.transformer_parameters + shape.text_parameters) * dtype_bytes
        + shape.vae_parameters * vae_bytes
        + shape.image_parameters * _FP32
    )


def work(shape: ModelShape, settings: Settings, *, load_bytes: int = 0) -> tuple[StageWork, ...]:
    """What a job does, in the order of the stages; `load_bytes` is what is to be read first."""
    forward = forward_flops(shape, settings)
    text = text_flops(shape)
    frame = float(settings.width * settings.height)
    tiled = settings.memory.tiled_decode and tile_count(settings) > 1
    decode = decode_flops(shape, settings)
    still = "still" if settings.is_still else ""  # of a clip, frames share what each decoding costs once
    whole = StageWork(Stage.DECODING, decode, decode / settings.frames, still)
    unencoded = frame * (settings.frames if tiled else min(settings.frames, _UNENCODED_FRAMES))
    loading = (StageWork(Stage.LOADING_MODEL, float(load_bytes), float(load_bytes)),) if load_bytes else ()
    return (
        *loading,
        StageWork(Stage.ENCODING_TEXT, text * (2 if settings.guided_steps else 1), text),
        StageWork(Stage.DENOISING, 1.0, forward, ONCE),
        StageWork(Stage.DENOISING, forward * settings.forwards, forward),
        _tiled_decoding(shape, settings) if tiled else whole,
        StageWork(Stage.MUXING, unencoded, frame, still or ("tiled" if tiled else "video")),
    )


def _tiled_decoding(shape: ModelShape, settings: Settings) -> StageWork:
    """Its size is a frame of a tile, the same in any clip; that of decoding whole frames is a frame too."""
    tile = decode_flops(shape, replace(settings, width=_TILE, height=_TILE, frames=shape.frame_stride))
    pieces = tile_count(settings) * shape.latent_frames(settings.frames)
    return StageWork(Stage.DECODING, pieces * tile, tile / shape.frame_stride, "tiled")


def peak_bytes(shape: ModelShape, settings: Settings, dtype_bytes: int, vae_bytes: int = _FP32) -> int:
    """Device memory at the peak of a job, weights included."""
    weights = weight_bytes(shape, dtype_bytes, vae_bytes)
    text_weights = shape.text_parameters * dtype_bytes
    later = weights - (text_weights if settings.memory.evict_text_encoder else 0)
    encoding = weights + encoding_bytes(shape, dtype_bytes)
    return max(
        encoding,
        later + denoising_bytes(shape, settings, dtype_bytes),
        later + decoding_bytes(shape, settings, vae_bytes),
    )


def resident_bytes(shape: ModelShape, settings: Settings, dtype_bytes: int) -> int:
    """What a job holds between its steps: latents, the scheduler's history and both prompts' embeddings."""
    latents = (
        shape.latent_channels
        * shape.latent_frames(settings.frames)
        * (settings.width // shape.stride)
        * (settings.height // shape.stride)
    )
    return latents * _FP32 * _LATENT_COPIES + 2 * shape.prompt_tokens * shape.text_dim * dtype_bytes


def encoding_bytes(shape: ModelShape, dtype_bytes: int) -> int:
    """Activations of the text encoder: attention's scores, vectors of its width, the embeddings of both prompts."""
    scores = _TEXT_SCORE_BYTES * max(1, shape.text_dim // _TEXT_HEAD_DIM) * shape.prompt_tokens**2
    return scores + shape.prompt_tokens * shape.text_dim * dtype_bytes * 14


def denoising_bytes(shape: ModelShape, settings: Settings, dtype_bytes: int) -> int:
    """Activations of one forward, and the latents."""
    tokens = shape.tokens(settings.width, settings.height, settings.frames)
    modulation = 6 * shape.dim * (_FP32 + dtype_bytes) if shape.token_timesteps else 0
    attention = shape.dim * (3 * _FP32 + 7 * dtype_bytes)
    feed_forward = shape.dim * (_FP32 + 2 * dtype_bytes) + 2 * shape.ffn_dim * dtype_bytes
    latents = (
        shape.latent_channels
        * shape.latent_frames(settings.frames)
        * (settings.width // shape.stride)
        * (settings.height // shape.stride)
    )
    return tokens * (modulation + max(attention, feed_forward)) + latents * _FP32 * _LATENT_COPIES


def decoding_bytes(shape: ModelShape, settings: Settings, vae_bytes: int = _FP32) -> int:
    """Activations of the autoencoder's decoder; of tiles, also the pixels, for they are blended at the end."""
    frame_pixels = settings.width * settings.height
    overhead = tile_overhead(settings)
    tiled = settings.memory.tiled_decode and tile_count(settings) > 1
    worked = min(frame_pixels, _TILE * _TILE) if tiled else frame_pixels
    folded = worked / shape.vae_patch**2
    chunk, cached, buffers = _decoder_chunk(shape, settings)
    caches = sum(
        shape.vae_blocks * 2 * cached * shape.vae_dim * multiple * folded / 4**level
        for level, multiple in enumerate(shape.vae_multiples)
    )
    work = (caches + buffers * shape.vae_dim * chunk * folded) * vae_bytes
    if not tiled:
        return int(work)
    pixels = 3 * settings.frames * frame_pixels * vae_bytes
    return int(max(work + overhead * pixels, (overhead + _TILES_TOGETHER) * pixels))


def _decoder_chunk(shape: ModelShape, settings: Settings) -> tuple[int, int, float]:
    """Frames decoded at a time, frames that a convolution keeps, and buffers of the finest level."""
    shortcuts = _SHORTCUT_BUFFERS if shape.vae_residual else 0
    if settings.is_still:
        return 1, 1, _STILL_BUFFERS + shortcuts
    return shape.frame_stride, _CACHED_FRAMES, _CLIP_BUFFERS + shortcuts
