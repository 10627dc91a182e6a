"""API keys: a file of names and hashed keys.

A line a key, made by `wanworker keys new NAME`; empty lines and those that begin with # say nothing::

    render-farm  sha256:9f86d0…  calls_per_minute=600  concurrent_calls=32

The limits may be left out. A name may stand on several lines with the same limits, so that a key can be replaced
without a gap: all keys of a name are the same caller. Keys are 256 random bits, so that one round of SHA-256 is enough:
there is nothing to guess.
"""

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from wanworker.runtime.errors import PreconditionError, UnauthenticatedError
from wanworker.runtime.interceptors import CallLimits, Principal
from wanworker.runtime.reload import Reloaded

LONGEST_KEY = 256
"""Characters; whatever is longer is not one of ours and is not hashed."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")


@dataclass(frozen=True)
class ApiKey:
    """One line of the file."""

    name: str
    """Who calls with it: the owner of the jobs that are made with it."""
    digest: bytes
    """SHA-256 of the key."""
    limits: CallLimits
    """How much its caller may ask for."""


class ApiKeys:
    """`Authenticator` that knows the keys of a file, which is read again when it changes."""

    def __init__(self, path: Path, default_limits: CallLimits) -> None:
        """Reads the file. PreconditionError if it is missing or makes no sense."""
        self._keys = Reloaded("the file of API keys", (path,), lambda: read_keys(path, default_limits))

    async def authenticate(self, metadata: Mapping[str, str | bytes], method: str) -> Principal:
        """The caller by `authorization: Bearer KEY`. UnauthenticatedError if there is none."""
        scheme, _, key = str(metadata.get("authorization", "")).partition(" ")
        if scheme.lower() != "bearer" or not key:
            raise UnauthenticatedError("an API key is needed: send 'authorization: Bearer KEY'", "API_KEY_MISSING")
        found = _find(self._keys.current(), key.strip())
        if found is None:
            raise UnauthenticatedError("this API key is not known here", "API_KEY_UNKNOWN")
        return Principal(found.name, limits=found.limits)


def read_keys(path: Path, default_limits: CallLimits) -> Sequence[ApiKey]:
    """The keys of a file. PreconditionError names the line that makes no sense."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise _bad(path, f"cannot be read: {reason}") from error
    keys: list[ApiKey] = []
    limits: dict[str, CallLimits] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            key = _parse(line, default_limits)
            if limits.setdefault(key.name, key.limits) != key.limits:
                raise ValueError(f"'{key.name}' has other limits on an earlier line")
        except ValueError as error:
            raise _bad(path, f"line {number}: {error}") from error
        keys.append(key)
    if not keys:
        raise _bad(path, "holds no key: nobody could call (make one with `wanworker keys new NAME`)")
    return keys


def _parse(line: str, default_limits: CallLimits) -> ApiKey:
    name, *rest = line.split()
    if not _NAME.fullmatch(name):
        raise ValueError("a name is 1 to 64 letters, digits, dots, dashes and underscores, the first no sign")
    digest = _DIGEST.fullmatch(rest[0]) if rest else None
    if digest is None:
        # The line itself is not repeated: somebody may have put the key there.
        raise ValueError(f"after the name '{name}' comes sha256: and 64 hex digits")
    values = {"calls_per_minute": default_limits.calls_per_minute, "concurrent_calls": default_limits.concurrent_calls}
    for option in rest[1:]:
        field, _, value = option.partition("=")
        if field not in values or not (value.isascii() and value.isdigit() and int(value) > 0):
            raise ValueError("limits are calls_per_minute=N and concurrent_calls=N, N at least 1")
        values[field] = int(value)
    return ApiKey(name, bytes.fromhex(digest[1]), CallLimits(**values))


def _find(keys: Sequence[ApiKey], key: str) -> ApiKey | None:
    if len(key) > LONGEST_KEY:
        return None
    digest = hashlib.sha256(key.encode(errors="replace")).digest()
    found = None
    # All of them are compared, each in constant time: how long it takes says nothing.
    for candidate in keys:
        if hmac.compare_digest(candidate.digest, digest):
            found = candidate
    return found


def _bad(path: Path, fault: str) -> PreconditionError:
    return PreconditionError(f"API keys {path}: {fault}", "BAD_API_KEYS", {"path": str(path)}, subject=str(path))
