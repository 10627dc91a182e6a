"""The numbers of a checkpoint that its cost follows from, read from its configuration without loading weights."""

from dataclasses import dataclass

from wanworker.generator.errors import model_broken
from wanworker.generator.registry import ModelRow
from wanworker.generator.sources import INDEX, Source, components, count_parameters, read_json


@dataclass(frozen=True)
class ModelShape:
    """Sizes of a checkpoint's parts."""

    layers: int
    """Transformer blocks, control blocks included."""
    dim: int
    """Width of the transformer."""
    ffn_dim: int
    """Width of its feed-forward layers."""
    patch: tuple[int, int, int]
    """Latents a token: frames, rows, columns."""
    latent_channels: int
    """Channels of the noise."""
    token_timesteps: bool
    """True if each token has a timestep of its own (`expand_timesteps`)."""
    prompt_tokens: int
    """Text tokens, padding included."""
    text_dim: int
    """Width of the text embeddings."""
    vae_dim: int
    """Width of the autoencoder's decoder at its finest level."""
    vae_multiples: tuple[int, ...]
    """Width at each level over `vae_dim`, the finest first."""
    vae_blocks: int
    """Residual blocks a level of the decoder."""
    vae_patch: int
    """Pixels that the autoencoder folds into channels, a side."""
    stride: int
    """Pixels a latent, a side."""
    frame_stride: int
    """Frames a latent frame, but for the first."""
    transformer_parameters: int
    """Of all transformers."""
    text_parameters: int
    """Of the text encoder."""
    text_embedding_parameters: int
    """Of its token table, which is looked up rather than multiplied."""
    vae_parameters: int
    """Of the autoencoder."""
    image_parameters: int
    """Of the image encoder; 0 without one."""
    vae_residual: bool = False
    """True if the decoder's levels have shortcuts beside them (`is_residual`)."""
    transformer_file_bytes: int = 0
    """Length of a single-file transformer, whose weights stay packed as they are there; 0 without one."""

    def latent_frames(self, frames: int) -> int:
        """Latent frames of a clip."""
        return (frames - 1) // self.frame_stride + 1

    def tokens(self, width: int, height: int, frames: int) -> int:
        """Transformer tokens of a clip."""
        time, rows, columns = self.patch
        return (
            (self.latent_frames(frames) // time) * (height // self.stride // rows) * (width // self.stride // columns)
        )


def read_shape(source: Source, row: ModelRow) -> ModelShape:
    """The shape of a checkpoint.

    Raises:
        PreconditionError: MODEL_BROKEN with the file at fault.
    """
    folder = source.folder
    index = read_json(source, folder / INDEX)
    transformer = read_json(source, folder / "transformer" / "config.json")
    vae = read_json(source, folder / "vae" / "config.json")
    text = read_json(source, folder / "text_encoder" / "config.json")
    tokenizer = read_json(source, folder / "tokenizer" / "tokenizer_config.json")
    names = components(source)
    try:
        return ModelShape(
            layers=transformer["num_layers"] + len(transformer.get("vace_layers") or ()),
            dim=transformer["num_attention_heads"] * transformer["attention_head_dim"],
            ffn_dim=transformer["ffn_dim"],
            patch=tuple(transformer["patch_size"]),
            latent_channels=transformer["out_channels"],
            token_timesteps=bool(index.get("expand_timesteps", False)),
            prompt_tokens=int(min(row.prompt_tokens, tokenizer.get("model_max_length") or row.prompt_tokens)),
            text_dim=transformer["text_dim"],
            vae_dim=vae.get("decoder_base_dim") or vae["base_dim"],
            vae_multiples=tuple(vae["dim_mult"]),
            vae_blocks=vae["num_res_blocks"] + 1,
            vae_patch=vae.get("patch_size") or 1,
            stride=vae.get("scale_factor_spatial", 8),
            frame_stride=vae.get("scale_factor_temporal", 4),
            transformer_parameters=sum(
                count_parameters(source, name)
                for name in names
                if "transformer" in name and (name != "transformer" or source.transformer is None)
            ),
            text_parameters=count_parameters(source, "text_encoder"),
            text_embedding_parameters=text["vocab_size"] * text["d_model"],
            vae_parameters=count_parameters(source, "vae"),
            image_parameters=count_parameters(source, "image_encoder") if "image_encoder" in names else 0,
            vae_residual=bool(vae.get("is_residual", False)),
            transformer_file_bytes=0 if source.transformer is None else source.transformer.stat().st_size,
        )
    except KeyError as error:
        raise model_broken(source.name, folder, f"its configuration lacks {error}") from error
