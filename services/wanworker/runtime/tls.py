"""TLS from PEM files, which are read again when they change.

A server asks for its files at each new connection (`grpc.dynamic_ssl_server_credentials`). Channels of gRPC for Python
take their certificates once: `wanworker.runtime.channel.PeerChannel` opens another channel when they change.
"""

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import grpc

from wanworker.runtime.errors import PreconditionError
from wanworker.runtime.reload import Reloaded


@dataclass(frozen=True)
class TlsFiles:
    """PEM files of one end of a connection."""

    certificate: Path | None = None
    """Its certificate, with the intermediate ones after it."""
    key: Path | None = None
    """The certificate's private key, without a password."""
    ca: Path | None = None
    """Authorities that the other end's certificate must come from."""

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files that there are."""
        return tuple(path for path in (self.certificate, self.key, self.ca) if path is not None)


@dataclass(frozen=True)
class _Pem:
    certificate: bytes | None
    key: bytes | None
    ca: bytes | None


def server_credentials(files: TlsFiles) -> grpc.ServerCredentials:
    """Returns credentials of a server; with `files.ca` clients must have a certificate of it (mTLS).

    Raises:
        PreconditionError: A file is missing, is no PEM, or key and certificate do not belong together.
    """
    pem = Reloaded("TLS files", files.paths, lambda: _read(files))

    def configuration() -> grpc.ServerCertificateConfiguration:
        now = pem.current()
        assert now.key is not None and now.certificate is not None, "a server has both"
        return grpc.ssl_server_certificate_configuration([(now.key, now.certificate)], root_certificates=now.ca)

    return grpc.dynamic_ssl_server_credentials(
        configuration(), configuration, require_client_authentication=files.ca is not None
    )


def channel_credentials(files: TlsFiles) -> Reloaded[grpc.ChannelCredentials]:
    """Returns credentials of a channel: another object once the files have changed.

    Raises:
        PreconditionError: As in `server_credentials`.
    """

    def load() -> grpc.ChannelCredentials:
        pem = _read(files)
        return grpc.ssl_channel_credentials(pem.ca, pem.key, pem.certificate)

    return Reloaded("TLS files of peers", files.paths, load)


def _read(files: TlsFiles) -> _Pem:
    pem = _Pem(_bytes(files.certificate), _bytes(files.key), _bytes(files.ca))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if files.ca is not None:
        ca = files.ca
        _checked(ca, "holds no certificate", lambda: context.load_verify_locations(ca))
    if files.certificate is not None:
        certificate, key = files.certificate, files.key
        # Without a password function OpenSSL would ask on the terminal.
        _checked(
            certificate,
            f"is no certificate chain that belongs to the key {key}",
            lambda: context.load_cert_chain(certificate, key, password=lambda: ""),
        )
    return pem


def _bytes(path: Path | None) -> bytes | None:
    try:
        return None if path is None else path.read_bytes()
    except OSError as error:
        raise _bad(path, error.strerror or "cannot be read") from error


def _checked(path: Path, fault: str, load: Callable[[], None]) -> None:
    try:
        load()
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
        raise _bad(path, f"{fault} ({reason})") from error


def _bad(path: Path | None, fault: str) -> PreconditionError:
    return PreconditionError(f"TLS file {path}: {fault}", "BAD_TLS_FILE", {"path": str(path)}, subject=str(path))
