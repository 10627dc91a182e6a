"""TLS credentials from PEM files."""

import os
from pathlib import Path

import grpc

PathLike = str | os.PathLike[str]


def tls_credentials(
    ca: PathLike | None = None, certificate: PathLike | None = None, key: PathLike | None = None
) -> grpc.ChannelCredentials:
    """Returns the `credentials` of a client.

    Args:
        ca: Authorities that the server's certificate must come from; those that gRPC brings when None.
        certificate: Our own certificate chain, for servers that ask for one (mTLS).
        key: The certificate's private key, without a password.

    Raises:
        OSError: A file cannot be read.
        ValueError: Only one of `certificate` and `key` was given.
    """
    if (certificate is None) != (key is None):
        raise ValueError("a client certificate and its key go together: one of them was not given")
    return grpc.ssl_channel_credentials(_read(ca), _read(key), _read(certificate))


def _read(path: PathLike | None) -> bytes | None:
    return None if path is None else Path(path).read_bytes()
