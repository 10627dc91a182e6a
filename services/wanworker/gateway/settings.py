"""Settings of the gateway."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from wanworker.runtime.settings import ServiceSettings


class GatewaySettings(ServiceSettings):
    """Settings of the gateway; values come from the environment, prefix `WANWORKER_GATEWAY_`."""

    model_config = SettingsConfigDict(env_prefix="WANWORKER_GATEWAY_", frozen=True, extra="ignore")

    port: int = Field(50051, ge=0, le=65535, description="Port to listen on; 0 picks a free one.")
    enhancer_address: str = Field("127.0.0.1:50052", description="Where the enhancer listens, host:port.")
    generator_address: str = Field("127.0.0.1:50053", description="Where the generator listens, host:port.")
    peer_ca: Path | None = Field(
        None,
        description="PEM file of authorities that the certificates of enhancer and generator must come from: switches "
        "TLS to them on. Read again when it changes, as the two below.",
    )
    peer_certificate: Path | None = Field(
        None, description="PEM file of the certificate chain that the gateway shows them (mTLS)."
    )
    peer_key: Path | None = Field(None, description="PEM file of that certificate's key, without a password.")
    api_keys: Path | None = Field(
        None,
        description="File of API keys, made by `wanworker keys new`. Read again when it changes. Everybody may call "
        "when unset.",
    )
    api_key_calls_per_minute: int = Field(
        600, ge=1, description="Calls that a key may make a minute, unless its line says."
    )
    api_key_concurrent_calls: int = Field(
        32, ge=1, description="Calls of a key that may run at once, watchers included, unless its line says."
    )
    data_dir: Path = Field(
        Path("wanworker-data"),
        description="Folder of the SQLite database and the artifacts; made if missing. Gateways that share a database "
        "share it too.",
    )
    database_url: str = Field(
        "",
        description="SQLAlchemy URL of the job database, for example postgresql+psycopg://user@host/name; "
        "SQLite in the data folder when empty.",
    )
    max_concurrent_jobs: int = Field(4, ge=1, le=64, description="Jobs that are worked on at once.")
    queue_limit: int = Field(100, ge=0, description="Jobs that may wait before CreateJob answers QUEUE_FULL.")
    still_head_start_seconds: float = Field(
        600.0, ge=0, description="How much longer a video must have waited than a still to go first; 0 for none."
    )
    enhance_timeout_seconds: float = Field(
        60.0, gt=0, description="How long the enhancer may take before the original prompt is used."
    )
    peer_timeout_seconds: float = Field(
        3.0, gt=0, description="How long a peer may take to answer GetStatus and Estimate."
    )
    generator_retries: int = Field(
        12, ge=0, description="How often a job waits for a generator that is unavailable before it fails."
    )
    retry_initial_seconds: float = Field(0.5, gt=0, description="First wait; doubles from wait to wait.")
    retry_max_seconds: float = Field(10.0, gt=0, description="Longest wait between two attempts.")
    attempt_limit: int = Field(40, ge=1, description="Attempts of a job in all, restarts of the gateway included.")
    preview_interval_steps: int = Field(3, ge=0, le=200, description="Denoising steps between previews; 0 for none.")
    slow_job_seconds: float = Field(300.0, gt=0, description="A job that takes longer gets a SLOW_JOB warning.")
    deadline_margin_seconds: float = Field(
        0.5, ge=0, description="How much earlier than a job's own deadline the generator must be done."
    )
    reference_max_bytes: int = Field(
        3 * 1024 * 1024, ge=1, le=3 * 1024 * 1024, description="Longest reference image that is fetched."
    )
    reference_max_pixels: int = Field(40_000_000, ge=1, description="Most pixels that a reference image may have.")
    reference_timeout_seconds: float = Field(15.0, gt=0, description="How long fetching a reference image may take.")
    progress_save_seconds: float = Field(
        1.0, gt=0, description="Shortest time between two progress writes of a job to the database."
    )

    artifact_max_age_seconds: float = Field(
        30 * 86400.0, ge=0, description="Age at which a stored file is deleted; its job stays. 0 keeps files for ever."
    )
    artifact_max_total_bytes: int = Field(
        100 * 1024**3, ge=0, description="Bytes of stored files; beyond, the oldest are deleted. 0 sets no limit."
    )
    artifact_sweep_seconds: float = Field(
        60.0, gt=0, description="Time between two looks for files and jobs to delete."
    )
    job_max_age_seconds: float = Field(
        30 * 86400.0,
        ge=0,
        description="Age since its end at which a job is deleted with its file, its reference image and its "
        "request_id. 0 keeps jobs for ever.",
    )

    @property
    def resolved_database_url(self) -> str:
        """The database's URL, with the default filled in."""
        return self.database_url or f"sqlite:///{(self.data_dir / 'dbos.sqlite').absolute()}"
