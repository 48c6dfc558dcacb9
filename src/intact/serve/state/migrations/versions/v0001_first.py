"""Keys, grants, roles, the log and its tallies."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

Number = sa.BigInteger().with_variant(sa.Integer, "sqlite")
EMPTY_FRONTIER = bytes(8)


def upgrade() -> None:
    """Make all tables."""
    _access()
    _log()
    _tallies()


def _access() -> None:
    op.create_table(
        "settings",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("value", sa.String(256), nullable=False),
    )
    op.create_table(
        "api_keys",
        sa.Column("id", sa.String(8), primary_key=True),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("subject", sa.String(256), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("created", Number, nullable=False),
        sa.Column("not_after", Number),
        sa.Column("revoked", Number),
    )
    op.create_table(
        "grants",
        sa.Column("id", Number, primary_key=True, autoincrement=True),
        sa.Column("subject", sa.String(256), nullable=False),
        sa.Column("model", sa.String(64), nullable=False),
        sa.Column("action", sa.String(16), nullable=False),
        sa.Column("not_before", Number),
        sa.Column("not_after", Number),
        sa.Column("quota", Number),
        sa.Column("rate", sa.String(32)),
        sa.Column("shows", sa.String(16), nullable=False),
        sa.Column("used", Number, nullable=False),
        sa.Column("created", Number, nullable=False),
        sa.Column("revoked", Number),
        sa.CheckConstraint("used >= 0 AND (quota IS NULL OR used <= quota)", name="grants_within_quota"),
        sqlite_autoincrement=True,
    )
    op.create_index("grants_by_subject", "grants", ["subject", "model"])
    op.create_table(
        "roles",
        sa.Column("subject", sa.String(256), primary_key=True),
        sa.Column("role", sa.String(16), nullable=False),
    )
    op.create_table(
        "sessions",
        sa.Column("digest", sa.String(64), primary_key=True),
        sa.Column("subject", sa.String(256), nullable=False),
        sa.Column("credential", sa.String(64), nullable=False),
        sa.Column("expires", Number),
        sa.Column("created", Number, nullable=False),
        sa.Column("seen", Number, nullable=False),
    )
    op.create_index("sessions_by_credential", "sessions", ["credential", "created"])


def _log() -> None:
    op.create_table(
        "log_entries",
        sa.Column("position", Number, primary_key=True, autoincrement=False),
        sa.Column("salt", sa.LargeBinary, nullable=False),
        sa.Column("event", sa.LargeBinary, nullable=False),
        sa.Column("hash", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "log_tiles",
        sa.Column("level", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("number", Number, primary_key=True, autoincrement=False),
        sa.Column("hashes", sa.LargeBinary, nullable=False),
        sa.Column("root", sa.LargeBinary, nullable=False),
    )
    head = op.create_table(
        "log_head",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("size", Number, nullable=False),
        sa.Column("frontier", sa.LargeBinary, nullable=False),
        sa.Column("time_ms", Number, nullable=False),
        sa.CheckConstraint("id = 1", name="log_head_is_one"),
    )
    op.bulk_insert(head, [{"id": 1, "size": 0, "frontier": EMPTY_FRONTIER, "time_ms": 0}])
    op.create_table(
        "checkpoints",
        sa.Column("size", Number, primary_key=True, autoincrement=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("time_ms", Number, nullable=False),
    )


def _tallies() -> None:
    op.create_table(
        "refusals",
        sa.Column("minute", Number, primary_key=True, autoincrement=False),
        sa.Column("model", sa.String(64), primary_key=True),
        sa.Column("subject", sa.String(256), primary_key=True),
        sa.Column("reason", sa.String(64), primary_key=True),
        sa.Column("count", Number, nullable=False),
    )
    op.create_table(
        "alarms",
        sa.Column("minute", Number, primary_key=True, autoincrement=False),
        sa.Column("model", sa.String(64), primary_key=True),
        sa.Column("check", sa.String(64), primary_key=True),
        sa.Column("verdict", sa.String(16), primary_key=True),
        sa.Column("count", Number, nullable=False),
    )
