"""The tables. Alembic's steps in `migrations` make them; a test holds the two against each other."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)

NEWEST: Final = "0001"
"""The newest step in `migrations`: what a database must have."""

metadata = MetaData()
Number = BigInteger().with_variant(Integer, "sqlite")

settings = Table(
    "settings",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", String(256), nullable=False),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String(8), primary_key=True),
    Column("digest", LargeBinary, nullable=False),
    Column("subject", String(256), nullable=False),
    Column("role", String(16), nullable=False),
    Column("created", Number, nullable=False),
    Column("not_after", Number),
    Column("revoked", Number),
)

grants = Table(
    "grants",
    metadata,
    Column("id", Number, primary_key=True, autoincrement=True),
    Column("subject", String(256), nullable=False),
    Column("model", String(64), nullable=False),
    Column("action", String(16), nullable=False),
    Column("not_before", Number),
    Column("not_after", Number),
    Column("quota", Number),
    Column("rate", String(32)),
    Column("shows", String(16), nullable=False),
    Column("used", Number, nullable=False),
    Column("created", Number, nullable=False),
    Column("revoked", Number),
    CheckConstraint("used >= 0 AND (quota IS NULL OR used <= quota)", name="grants_within_quota"),
    Index("grants_by_subject", "subject", "model"),
    sqlite_autoincrement=True,
)

roles = Table(
    "roles",
    metadata,
    Column("subject", String(256), primary_key=True),
    Column("role", String(16), nullable=False),
)

sessions = Table(
    "sessions",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("subject", String(256), nullable=False),
    Column("credential", String(64), nullable=False),
    Column("expires", Number),
    Column("created", Number, nullable=False),
    Column("seen", Number, nullable=False),
    Index("sessions_by_credential", "credential", "created"),
)

log_entries = Table(
    "log_entries",
    metadata,
    Column("position", Number, primary_key=True, autoincrement=False),
    Column("salt", LargeBinary, nullable=False),
    Column("event", LargeBinary, nullable=False),
    Column("hash", LargeBinary, nullable=False),
)

log_tiles = Table(
    "log_tiles",
    metadata,
    Column("level", Integer, primary_key=True, autoincrement=False),
    Column("number", Number, primary_key=True, autoincrement=False),
    Column("hashes", LargeBinary, nullable=False),
    Column("root", LargeBinary, nullable=False),
)

log_head = Table(
    "log_head",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("size", Number, nullable=False),
    Column("frontier", LargeBinary, nullable=False),
    Column("time_ms", Number, nullable=False),
    CheckConstraint("id = 1", name="log_head_is_one"),
)

checkpoints = Table(
    "checkpoints",
    metadata,
    Column("size", Number, primary_key=True, autoincrement=False),
    Column("note", Text, nullable=False),
    Column("time_ms", Number, nullable=False),
)

refusals = Table(
    "refusals",
    metadata,
    Column("minute", Number, primary_key=True, autoincrement=False),
    Column("model", String(64), primary_key=True),
    Column("subject", String(256), primary_key=True),
    Column("reason", String(64), primary_key=True),
    Column("count", Number, nullable=False),
)

alarms = Table(
    "alarms",
    metadata,
    Column("minute", Number, primary_key=True, autoincrement=False),
    Column("model", String(64), primary_key=True),
    Column("check", String(64), primary_key=True),
    Column("verdict", String(16), primary_key=True),
    Column("count", Number, nullable=False),
)
