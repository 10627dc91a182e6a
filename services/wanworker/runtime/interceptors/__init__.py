"""What happens to every call before and after its handler."""

import grpc.aio

from wanworker.runtime.interceptors._call import Call, CallInterceptor, Proceed
from wanworker.runtime.interceptors.access import AccessInterceptor
from wanworker.runtime.interceptors.auth import (
    Authenticator,
    AuthInterceptor,
    CallLimits,
    Principal,
    current_principal,
)
from wanworker.runtime.interceptors.decoding import DecodingInterceptor
from wanworker.runtime.interceptors.errors import ErrorInterceptor
from wanworker.runtime.interceptors.gate import GateInterceptor
from wanworker.runtime.interceptors.limits import LimitInterceptor
from wanworker.runtime.interceptors.patience import PatienceInterceptor
from wanworker.runtime.interceptors.running import RunningInterceptor
from wanworker.runtime.interceptors.tracing import TracingInterceptor
from wanworker.runtime.interceptors.validation import ValidationInterceptor

__all__ = [
    "AccessInterceptor",
    "AuthInterceptor",
    "Authenticator",
    "Call",
    "CallInterceptor",
    "CallLimits",
    "DecodingInterceptor",
    "ErrorInterceptor",
    "GateInterceptor",
    "LimitInterceptor",
    "PatienceInterceptor",
    "Principal",
    "Proceed",
    "RunningInterceptor",
    "TracingInterceptor",
    "ValidationInterceptor",
    "current_principal",
    "default_interceptors",
]


def default_interceptors(authenticator: Authenticator | None = None) -> list[grpc.aio.ServerInterceptor]:
    """Returns the interceptors of a service, outermost first.

    Args:
        authenticator: Who decides who may call; everybody may when None.
    """
    return [
        TracingInterceptor(),
        AccessInterceptor(),
        ErrorInterceptor(),
        DecodingInterceptor(),
        *([] if authenticator is None else [AuthInterceptor(authenticator), LimitInterceptor()]),
        ValidationInterceptor(),
    ]
