"""The generator: one device, one diffusers pipeline, fully resolved requests in, files out.

Layers, each knowing only those above it::

    request, registry, settings, errors      plain data
    estimate, progress, device_queue         arithmetic and order
    memory, device                           what memory there is, and what of it is used
    sources, shapes, loading, pipelines      from a name to modules in memory
    offloading, attention, acceleration      where those wait, and which kernels run them
    denoising, decoding, muxing, previews    the ML core: functions on tensors and frames
    engine                                   one job, start to end, in a thread
    runner                                   queue, thread, cancellation: asyncio
    translate, servicer, service             gRPC
"""
