"""What the gateway finds out about itself: `python -m wanworker.gateway.checkup`."""

from collections.abc import Iterator

import sqlalchemy as sa

from wanworker.gateway.database import POSTGRES_CONNECT
from wanworker.gateway.service import peer_tls
from wanworker.gateway.settings import GatewaySettings
from wanworker.gateway.startup import check_start
from wanworker.runtime import checkup
from wanworker.runtime.checkup import Finding, Verdict
from wanworker.runtime.probe import why_not_serving
from wanworker.runtime.server import StartError


def _packages(settings: GatewaySettings) -> Iterator[Finding]:
    yield checkup.packages("gateway", ("wanworker", "grpcio", "dbos", "sqlalchemy", "httpx", "pillow"))


def _port(settings: GatewaySettings) -> Iterator[Finding]:
    yield checkup.port("gateway", settings)


def _disk(settings: GatewaySettings) -> Iterator[Finding]:
    yield checkup.folder("jobs and files", settings.data_dir, "WANWORKER_GATEWAY_DATA_DIR")


def _store(settings: GatewaySettings) -> Iterator[Finding]:
    if not settings.database_url:
        # A file in the data folder, which `_disk` has looked at; the gateway makes both.
        yield Finding("disk", "job store", Verdict.OK, "SQLite in the data folder")
        return
    check_start(settings)
    engine = sa.create_engine(
        settings.database_url,
        connect_args={} if settings.database_url.startswith("sqlite") else POSTGRES_CONNECT,
    )
    where = engine.url.render_as_string(hide_password=True)
    try:
        with engine.connect() as connection:
            connection.execute(sa.select(1))
        yield Finding("disk", "job store", Verdict.OK, where)
    except sa.exc.DBAPIError as error:
        reason = str(error.orig).strip().partition("\n")[0]
        yield Finding("disk", "job store", Verdict.BROKEN, f"{where} cannot be reached: {reason}")
    finally:
        engine.dispose()


def _peers(settings: GatewaySettings) -> Iterator[Finding]:
    try:
        tls = peer_tls(settings)
    except StartError as error:
        yield Finding("settings", "TLS", Verdict.BROKEN, str(error))
        return
    for name, address in (("enhancer", settings.enhancer_address), ("generator", settings.generator_address)):
        reason = why_not_serving(address, tls=tls)
        if not reason:
            yield Finding("peers", name, Verdict.OK, f"{address} serves")
        else:
            cost = "prompts stay as they are" if name == "enhancer" else "jobs wait for it, then fail"
            text = f"{address} does not serve ({reason.partition(':')[0]})"
            yield Finding("peers", name, Verdict.WARNING, text, f"as long as it is down, {cost}")


if __name__ == "__main__":
    checkup.run_checkup("gateway", "dbos", GatewaySettings, (_packages, _port, _disk, _store, _peers))
