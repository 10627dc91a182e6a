"""What the three services share: settings, telemetry, the gRPC server, its interceptors and its errors.

Nothing here knows prompts, jobs or videos, and importing any of it loads neither torch nor llama_cpp nor the
OpenTelemetry SDK.
"""
