"""A witness inside of the database: a trigger that notes every write to a job's row.

It stands and falls with the very transaction that it notes, so that it sees what killed processes did up to their
last moment, and it knows nothing of the gateway's code but the table's name and columns.
"""

import json
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

_SQLITE = (
    "CREATE TABLE IF NOT EXISTS chaos_ledger "
    "(id INTEGER PRIMARY KEY AUTOINCREMENT, job_id TEXT, old_state INTEGER, new_state INTEGER, job TEXT)",
    "DROP TRIGGER IF EXISTS chaos_note",
    "CREATE TRIGGER chaos_note AFTER UPDATE OF job ON wanworker_jobs BEGIN "
    "INSERT INTO chaos_ledger (job_id, old_state, new_state, job) "
    "VALUES (new.id, old.state, new.state, new.job); END",
)
_POSTGRES = (
    "CREATE TABLE IF NOT EXISTS chaos_ledger "
    "(id BIGSERIAL PRIMARY KEY, job_id TEXT, old_state INTEGER, new_state INTEGER, job TEXT)",
    "CREATE OR REPLACE FUNCTION chaos_note() RETURNS trigger AS $$ BEGIN "
    "INSERT INTO chaos_ledger (job_id, old_state, new_state, job) "
    "VALUES (new.id, old.state, new.state, new.job); RETURN new; END $$ LANGUAGE plpgsql",
    "DROP TRIGGER IF EXISTS chaos_note ON wanworker_jobs",
    "CREATE TRIGGER chaos_note AFTER UPDATE ON wanworker_jobs FOR EACH ROW EXECUTE FUNCTION chaos_note()",
)
_FINAL = (3, 4, 5)


@dataclass(frozen=True)
class Write:
    """One write to a job's row."""

    old_state: int
    """Before."""
    new_state: int
    """After."""
    job: dict[str, Any]
    """The row's JSON."""

    @property
    def ends(self) -> bool:
        """Whether the job came into this final state with it."""
        return self.new_state in _FINAL and self.old_state != self.new_state


class Ledger:
    """The notes of one database."""

    def __init__(self, url: str) -> None:
        """`url` as the gateway has it; its table must be there."""
        self._engine = sa.create_engine(url)
        statements = _SQLITE if self._engine.dialect.name == "sqlite" else _POSTGRES
        with self._engine.begin() as connection:
            for statement in statements:
                connection.execute(sa.text(statement))

    def writes(self) -> dict[str, list[Write]]:
        """All writes by job, in their order."""
        found: dict[str, list[Write]] = {}
        with self._engine.connect() as connection:
            rows = connection.execute(sa.text("SELECT job_id, old_state, new_state, job FROM chaos_ledger ORDER BY id"))
            for job_id, old, new, job in rows:
                found.setdefault(job_id, []).append(Write(old, new, json.loads(job)))
        return found

    def close(self) -> None:
        """Disconnects."""
        self._engine.dispose()


def repeats(writes: list[Write]) -> list[str]:
    """What was done twice that must be done once, for people; empty if nothing was."""
    found = []
    ends = [write.new_state for write in writes if write.ends]
    if len(ends) > 1:
        found.append(f"reached a final state {len(ends)} times: {ends}")
    made: dict[str, Any] | None = None
    prompt = ""
    for write in writes:
        inner = write.job.get("inner", {})
        if made is not None and inner.get("made") not in (None, made):
            found.append("a finished generation was run again")
        made = inner.get("made") or made
        if prompt and write.job.get("enhanced_prompt", "") != prompt:
            found.append("a finished prompt was written again")
        prompt = write.job.get("enhanced_prompt", "") or prompt
    seeds = {write.job.get("inner", {}).get("seed") for write in writes}
    if len(seeds) > 1:
        found.append(f"the seed changed: {sorted(map(str, seeds))}")
    return found
