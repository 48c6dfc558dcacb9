"""Keys, grants and roles: in SQL, and as values. What changes them is recorded in the log, in the same transaction."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Connection, RowMapping, Select, insert, or_, select, update

from intact.crypto import Secret
from intact.errors import UsageError
from intact.serve.state import credentials
from intact.serve.state.schema import api_keys, grants, roles, settings
from intact.serve.state.values import OIDC_PREFIX, Grant, KeyInfo, Role, Terms, checked_digest, checked_subject

PEPPER_NAME: Final = "pepper"
MOST_LISTED: Final = 100_000
TRIES: Final = 4


def settle_pepper(connection: Connection, pepper: Secret) -> None:
    """Have the database remember its pepper, where it does not.

    Raises:
        UsageError: It remembers another.
    """
    found = known_pepper(connection)
    if found is None:
        connection.execute(insert(settings).values(name=PEPPER_NAME, value=credentials.fingerprint(pepper)))
    elif found != credentials.fingerprint(pepper):
        raise UsageError(
            "the pepper is not the one that the API keys of this state database are stored under",
            hint=f"name the right one with {credentials.PEPPER_FILE}",
        )


def known_pepper(connection: Connection) -> str | None:
    """Return the fingerprint of the database's pepper; None before its first key."""
    return connection.execute(select(settings.c.value).where(settings.c.name == PEPPER_NAME)).scalar()


# ---- keys


def add_key(
    connection: Connection, pepper: Secret, subject: str, role: Role, not_after: int | None, now: int
) -> tuple[Secret, KeyInfo]:
    """Make and insert a key."""
    if checked_subject(subject).startswith(OIDC_PREFIX):
        raise UsageError(
            f"subject of the key begins with {OIDC_PREFIX}, which only those of tokens do", hint="choose another"
        )
    for _ in range(TRIES):
        id_, text = credentials.new_key()
        if connection.execute(select(api_keys.c.id).where(api_keys.c.id == id_)).first() is None:
            break
    info = KeyInfo(id=id_, subject=subject, role=role, created=now, not_after=not_after, revoked=None)
    connection.execute(
        insert(api_keys).values(
            id=id_,
            digest=credentials.digest(text.value, pepper),
            subject=subject,
            role=role.value,
            created=now,
            not_after=not_after,
        )
    )
    return text, info


def revoke_key(connection: Connection, key: str, now: int) -> tuple[KeyInfo, bool]:
    """Revoke a key; the second value says whether it was not revoked before.

    Raises:
        UsageError: There is no such key.
    """
    done = connection.execute(
        update(api_keys).where(api_keys.c.id == key, api_keys.c.revoked.is_(None)).values(revoked=now)
    )
    row = connection.execute(select(api_keys).where(api_keys.c.id == key)).mappings().first()
    if row is None:
        raise UsageError(f"there is no API key {key!a:.40}", hint="`intact apikeys list` shows their ids")
    return _key(row), done.rowcount == 1


def list_keys(connection: Connection) -> list[KeyInfo]:
    """Return all keys, the oldest first."""
    query = select(api_keys).order_by(api_keys.c.created, api_keys.c.id).limit(MOST_LISTED)
    return [_key(row) for row in connection.execute(query).mappings()]


def find_key(connection: Connection, key: str) -> tuple[KeyInfo, bytes] | None:
    """Return a key and what is stored of its text."""
    row = connection.execute(select(api_keys).where(api_keys.c.id == key)).mappings().first()
    return None if row is None else (_key(row), bytes(row["digest"]))


def _key(row: RowMapping) -> KeyInfo:
    return KeyInfo(
        id=row["id"],
        subject=row["subject"],
        role=Role(row["role"]),
        created=row["created"],
        not_after=row["not_after"],
        revoked=row["revoked"],
    )


# ---- grants


def add_grant(connection: Connection, subject: str, model: str, terms: Terms, now: int) -> Grant:
    """Insert a grant."""
    values = {
        "subject": checked_subject(subject),
        "model": checked_digest(model),
        "action": terms.action,
        "not_before": terms.not_before,
        "not_after": terms.not_after,
        "quota": terms.limit,
        "rate": terms.rate,
        "shows": terms.shows,
        "used": 0,
        "created": now,
    }
    done = connection.execute(insert(grants).values(**values))
    assert done.inserted_primary_key is not None  # both databases give it back
    number = int(done.inserted_primary_key[0])
    return Grant(id=number, subject=subject, model=model, terms=terms, used=0, created=now, revoked=None)


def revoke_grant(connection: Connection, grant: int, now: int) -> tuple[Grant, bool]:
    """Revoke a grant; the second value says whether it was not revoked before.

    Raises:
        UsageError: There is no such grant.
    """
    done = connection.execute(
        update(grants).where(grants.c.id == grant, grants.c.revoked.is_(None)).values(revoked=now)
    )
    row = connection.execute(select(grants).where(grants.c.id == grant)).mappings().first()
    if row is None:
        raise UsageError(f"there is no grant {grant}", hint="`intact grants list` shows their numbers")
    return _grant(row), done.rowcount == 1


def list_grants(connection: Connection, subject: str | None, model: str | None) -> list[Grant]:
    """Return grants, the oldest first."""
    query: Select[Any] = select(grants).order_by(grants.c.id).limit(MOST_LISTED)
    if subject is not None:
        query = query.where(grants.c.subject == subject)
    if model is not None:
        query = query.where(grants.c.model == model)
    return [_grant(row) for row in connection.execute(query).mappings()]


def best_grant(connection: Connection, subject: str, model: str, action: str, now: float) -> Grant | None:
    """Return the oldest grant that allows it now; else the newest that is there; None for none."""
    there = select(grants).where(grants.c.subject == subject, grants.c.model == model, grants.c.action == action)
    allowing = there.where(
        grants.c.revoked.is_(None),
        or_(grants.c.not_before.is_(None), grants.c.not_before <= now),
        or_(grants.c.not_after.is_(None), grants.c.not_after >= now),
        or_(grants.c.quota.is_(None), grants.c.used < grants.c.quota),
    )
    for query in (allowing.order_by(grants.c.id), there.order_by(grants.c.id.desc())):
        row = connection.execute(query.limit(1)).mappings().first()
        if row is not None:
            return _grant(row)
    return None


def _grant(row: RowMapping) -> Grant:
    terms = Terms(
        action=row["action"],
        not_before=row["not_before"],
        not_after=row["not_after"],
        limit=row["quota"],
        rate=row["rate"],
        shows=row["shows"],
    )
    return Grant(
        id=row["id"],
        subject=row["subject"],
        model=row["model"],
        terms=terms,
        used=row["used"],
        created=row["created"],
        revoked=row["revoked"],
    )


# ---- roles


def set_role(connection: Connection, subject: str, role: Role) -> None:
    """Insert or replace a role.

    Raises:
        UsageError: The subject is none that a token can name: an API key has its role from the start.
    """
    if not checked_subject(subject).startswith(OIDC_PREFIX):
        raise UsageError(
            f"roles are set for subjects of tokens, {OIDC_PREFIX}...; {subject!a:.60} is none",
            hint="for an API key, make one with --role",
        )
    if connection.execute(update(roles).where(roles.c.subject == subject).values(role=role.value)).rowcount == 0:
        connection.execute(insert(roles).values(subject=subject, role=role.value))


def find_role(connection: Connection, subject: str) -> Role:
    """Return the role of a subject of tokens; caller where none was set."""
    found = connection.execute(select(roles.c.role).where(roles.c.subject == subject)).scalar()
    return Role.CALLER if found is None else Role(found)
