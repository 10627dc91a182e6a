"""Settings that every service has. Each service adds its own in one frozen class of its own prefix."""

from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]


class ServiceSettings(BaseSettings):
    """Base of a service's settings; values come from the environment, prefix `WANWORKER_<SERVICE>_`."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore")

    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=0, ge=0, le=65535, description="Port to listen on; 0 picks a free one.")
    reflection: bool = Field(default=True, description="Whether clients may list services and messages.")
    tls_certificate: Path | None = Field(
        default=None,
        description="PEM file of the server's certificate chain: switches TLS on. Read again when it changes, as the "
        "two below.",
    )
    tls_key: Path | None = Field(default=None, description="PEM file of the certificate's key, without a password.")
    tls_client_ca: Path | None = Field(
        default=None,
        description="PEM file of authorities: callers must have a certificate of one of them (mTLS).",
    )
    allow_plaintext: bool = Field(
        default=False,
        description="Whether connections to and from other machines may go without TLS; without it the service "
        "refuses to start.",
    )
    shutdown_grace_seconds: float = Field(
        default=20.0, ge=0, description="How long running calls may take to end after SIGTERM."
    )
    drain_pause_seconds: float = Field(
        default=0.5,
        ge=0,
        description="Pause between NOT_SERVING and refusing calls, for load balancers to notice.",
    )
    max_receive_bytes: int = Field(default=4 * 1024 * 1024, ge=1024, description="Longest message that is accepted.")
    log_level: LogLevel = Field(default="INFO", description="Least severe line to log.")
    log_format: Literal["auto", "text", "json"] = Field(
        default="auto", description="`auto` is text on a terminal and JSON elsewhere."
    )
    metrics_port: int | None = Field(
        default=None, ge=0, le=65535, description="Port of the Prometheus endpoint; none when unset."
    )
    metrics_host: str = Field(
        default="127.0.0.1", description="Address of the Prometheus endpoint, which asks nobody for a key."
    )
    port_file: Path | None = Field(
        default=None, description="File to write the bound port to once the service listens."
    )

    @classmethod
    def variable(cls, field: str) -> str:
        """The environment variable of a field."""
        return f"{cls.model_config.get('env_prefix', '')}{field.upper()}"

    @classmethod
    def complaints(cls, error: ValidationError) -> list[str]:
        """Returns a line for each variable that is not as it should be: its name, its value, what is wrong."""
        prefix = cls.model_config.get("env_prefix", "")
        return [
            f"{prefix}{'_'.join(str(part) for part in found['loc']).upper()}={found['input']!r}: {found['msg']}"
            for found in error.errors(include_url=False)
        ]
