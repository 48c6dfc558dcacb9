"""Where `intact log` and `intact receipt` find a log, its key, and files that strangers made."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from intact.errors import AccessError, IntegrityError, UsageError

if TYPE_CHECKING:
    from intact import ledger, seal
    from intact.crypto import Secret
    from intact.serve.state import Store

LIMIT_BODY_BYTES: Final = 2**30
"""Longest request or response that is digested."""
LIMIT_KEY_BYTES: Final = 2**16
PEM: Final = b"-----"
API_KEY: Final = "INTACT_API_KEY"
STATE: Final = "INTACT_STATE"

Folder = Annotated[Path | None, typer.Argument(help="Folder of an exported log.", show_default=False)]
Url = Annotated[
    str | None,
    typer.Option("--url", help="Address of a served log; INTACT_API_KEY is shown to it.", show_default=False),
]
State = Annotated[
    str | None,
    typer.Option("--state", help="Database of the server; INTACT_STATE, or your own, by default.", show_default=False),
]
LogKey = Annotated[
    Path, typer.Option("--key", help="Public key of the log: a .pub file, or a verifier key.", show_default=False)
]
WitnessKeys = Annotated[
    list[str] | None,
    typer.Option(
        "--witness-key",
        help="Verifier key of a witness who must have seen the checkpoint, text or file; may be repeated.",
        show_default=False,
    ),
]
CheckpointFile = Annotated[
    Path | None,
    typer.Option("--checkpoint", help="Checkpoint to hold the log against; its newest by default.", show_default=False),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A log that was found.

    Args:
        newest: Returns its newest checkpoint, unverified.
        at: Returns a reader of the log at a size, which comes from a checkpoint that was verified.
        store: The database, where it is one.
    """

    newest: Callable[[], bytes]
    at: Callable[[int], ledger.LogReader]
    store: Store | None = None


@contextmanager
def opened(folder: Path | None, url: str | None, state: str | None) -> Iterator[Source]:
    """Find the log in a folder, at an address or in a database, as the command line names it.

    Raises:
        UsageError: None is named, or more than one; or there is none.
    """
    if sum(each is not None for each in (folder, url, state)) > 1:
        raise UsageError("more than one log is named", hint="give one of a folder, --url and --state")
    if folder is not None:
        yield _in_folder(folder)
    elif url is not None:
        from intact.ledger import web

        with web.Server(url, key=_api_key()) as server:
            yield _fetched(server.get)
    else:
        with store(state) as found:
            yield Source(newest=lambda: _stored(found), at=lambda size: _long_enough(found, size), store=found)


@contextmanager
def store(state: str | None) -> Iterator[Store]:
    """Open the database of a server: the one that is named, or what INTACT_STATE says, or this user's own.

    Raises:
        UsageError: It cannot be opened.
    """
    from intact.serve.state import Store
    from intact.serve.state.database import default_url

    found = Store.open(state or os.environ.get(STATE) or default_url())
    try:
        yield found
    finally:
        found.close()


def load_key(path: Path) -> ledger.NoteKey | seal.VerifyingKey:
    """Read the public key of a log: PEM, or a verifier key that also names the log.

    Raises:
        UsageError: The file cannot be read, or holds neither.
    """
    from intact import ledger, seal

    data = read_file(path, LIMIT_KEY_BYTES)
    if PEM in data:
        return seal.VerifyingKey.from_pem(data)
    return ledger.NoteKey.from_text(_text(data))


def verifying_key(key: ledger.NoteKey | seal.VerifyingKey) -> seal.VerifyingKey:
    """Return a key without the name it may have."""
    from intact import seal

    return key if isinstance(key, seal.VerifyingKey) else key.verifying_key


def witnesses(given: list[str] | None) -> list[ledger.NoteKey]:
    """Read the keys of witnesses: text, or files.

    Raises:
        UsageError: One is none.
    """
    from intact import ledger

    found = []
    for each in given or ():
        text = each if each.count("+") >= 2 else _text(read_file(Path(each), LIMIT_KEY_BYTES))
        key = ledger.NoteKey.from_text(text)
        if not key.witnesses:
            raise UsageError("key is not one of a witness", hint="give its cosignature key, whose type is 4")
        found.append(key)
    return found


def read_file(path: Path, limit_bytes: int) -> bytes:
    """Return a file, which must not be longer than `limit_bytes`.

    Raises:
        UsageError: It is, or cannot be read.
    """
    try:
        with path.open("rb") as file:
            data = file.read(limit_bytes + 1)
    except OSError as error:
        raise UsageError(f"cannot read {str(path)!a}: {error.strerror}") from None
    if len(data) > limit_bytes:
        raise UsageError(f"{str(path)!a} has more than the {limit_bytes} bytes allowed")
    return data


def write_file(path: Path, text: str) -> None:
    """Write a file.

    Raises:
        UsageError: The system refuses.
    """
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write {str(path)!a}: {error.strerror}") from None


def _in_folder(folder: Path) -> Source:
    from intact.ledger import folder as folders

    if not folder.is_dir():
        raise UsageError(f"there is no folder {str(folder)!a}", hint="name the folder that `intact log export` wrote")
    return _fetched(folders.fetch(folder))


def _fetched(fetch: ledger.Fetch) -> Source:
    from intact import ledger

    return Source(
        newest=lambda: ledger.newest_checkpoint(fetch), at=lambda size: ledger.TiledLog(fetch=fetch, size=size)
    )


def _stored(found: Store) -> bytes:
    checkpoint = found.latest_checkpoint()
    if checkpoint is None:
        raise UsageError("the log has no checkpoint yet", hint="make one: intact log checkpoint --sign KEY")
    return checkpoint.note.encode()


def _long_enough(found: Store, size: int) -> Store:
    if (there := found.size()) < size:
        raise IntegrityError(
            f"log has {there} entries, and {size} were signed: it was cut",
            hint="put the database back from a copy; keep the checkpoint, which proves it",
        )
    return found


def _api_key() -> Secret | None:
    from intact.crypto import Secret

    text = os.environ.get(API_KEY, "").strip()
    if not text:
        return None
    if not text.isascii() or not text.isprintable() or " " in text:
        raise AccessError(f"{API_KEY} holds no API key", hint="set it to what `intact apikeys new` printed")
    return Secret(text.encode())


def _text(data: bytes) -> str:
    return data.decode("ascii", "replace").strip()
