"""One pipeline and one scheduler a job, over modules that all jobs share.

A pipeline object holds the state of one run (guidance, step, scheduler history), so two jobs must not share one;
building one costs well under a millisecond, for no weights are copied.
"""

from typing import Any

import diffusers

from wanworker.generator.loading import LoadedModel
from wanworker.generator.registry import PipelineKind
from wanworker.generator.request import Settings

_DIFFUSERS: Any = diffusers  # it says that it is typed, and is not
_TRAIN_TIMESTEPS = 1000


def resolve_flow_shift(model: LoadedModel, settings: Settings) -> float:
    """The schedule's shift: asked for, else the row's for this size, else the checkpoint's."""
    if settings.flow_shift is not None:
        return settings.flow_shift
    by_row = model.row.flow_shift_for(settings.width, settings.height)
    if by_row is not None:
        return by_row
    config = model.modules["scheduler"].config
    return float(config.get("flow_shift") or config.get("shift") or 1.0)


def new_scheduler(flow_shift: float, solver_order: int = 2) -> Any:
    """UniPC on the flow's straight paths: at few steps the best of diffusers' solvers for Wan."""
    return _DIFFUSERS.UniPCMultistepScheduler(
        num_train_timesteps=_TRAIN_TIMESTEPS,
        prediction_type="flow_prediction",
        use_flow_sigmas=True,
        flow_shift=flow_shift,
        solver_order=solver_order,
    )


def text_pipeline(model: LoadedModel) -> Any:
    """A pipeline that can encode prompts and nothing else."""
    parts = {name: model.modules[name] for name in ("tokenizer", "text_encoder", "vae")}
    return _DIFFUSERS.WanPipeline(**parts, scheduler=new_scheduler(1.0))


def new_pipeline(model: LoadedModel, flow_shift: float, parts: dict[str, Any], *, from_image: bool) -> Any:
    """A pipeline of the job's own; `parts` are its transformers and its autoencoder.

    For models of one set of modules under two pipelines `from_image` chooses; the image encoder stays out, for the
    first frame enters as latents.
    """
    parts = {name: model.modules.get(name) for name in ("tokenizer", "text_encoder")} | parts
    parts["scheduler"] = new_scheduler(flow_shift, model.row.solver_order)
    if model.row.kind is PipelineKind.IMAGE:
        encoder = {name: model.modules.get(name) for name in ("image_encoder", "image_processor")}
        pipeline = _DIFFUSERS.WanImageToVideoPipeline(**parts, **encoder, **model.options)
    elif model.row.kind is PipelineKind.CONTROL:
        pipeline = _DIFFUSERS.WanVACEPipeline(**parts, **model.options)
    elif from_image:
        pipeline = _DIFFUSERS.WanImageToVideoPipeline(
            **parts, image_encoder=None, image_processor=None, **model.options
        )
    else:
        pipeline = _DIFFUSERS.WanPipeline(**parts, **model.options)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
