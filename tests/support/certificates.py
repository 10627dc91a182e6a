"""Certificates of authorities that live as long as a test."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import trustme

YESTERDAY = datetime.now(UTC) - timedelta(days=1)


@dataclass(frozen=True)
class Pair:
    """Files of a certificate and its key."""

    certificate: Path
    key: Path


class Authority:
    """Issues certificates into a folder; its own is `ca`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._authority = trustme.CA()
        self.ca = folder / "ca.pem"
        self._authority.cert_pem.write_to_path(self.ca)

    def issue(self, name: str, *hosts: str, expired: bool = False) -> Pair:
        """A certificate for hosts, by default this machine's; issued again, the files are replaced."""
        times: dict[str, Any] = {"not_before": YESTERDAY - timedelta(days=9), "not_after": YESTERDAY} if expired else {}
        issued = self._authority.issue_cert(*(hosts or ("localhost", "127.0.0.1")), **times)
        pair = Pair(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        pair.certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(pair.key)
        return pair

    def credentials(self, pair: Pair | None = None) -> grpc.ChannelCredentials:
        """What a client needs that trusts this authority, with a certificate of its own or without."""
        if pair is None:
            return grpc.ssl_channel_credentials(self.ca.read_bytes())
        return grpc.ssl_channel_credentials(self.ca.read_bytes(), pair.key.read_bytes(), pair.certificate.read_bytes())
