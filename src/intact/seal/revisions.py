"""What this user has opened or made: the highest revision of each artifact, and when. Protects against older revisions.

A folder holds a file for each artifact, `clock.json`, and `lock`. Files are replaced in one step, by one process at a
time; what they say only ever rises. One that is damaged is refused, since ignoring it would undo the protection.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from intact.errors import AccessError, IntegrityError, UsageError
from intact.seal.policy import LATEST
from intact.wire import decode, encode, from_json, to_json
from intact.wire.canonical import SAFE_INTEGER

VERSION: Final = 1
LIMIT_BYTES: Final = 4096
STEP_S: Final = 3600
"""The clock is written down again when it has gone on by this much."""
CLOCK: Final = "clock.json"
LOCK: Final = "lock"

Record = TypeVar("Record", "Seen", "Clock")


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What is remembered of one artifact.

    Args:
        version: Of this record, 1.
        highest: Highest revision that was opened.
        minimum: Revisions below this one are withdrawn, as a revision that was opened says.
    """

    version: int
    highest: int
    minimum: int

    def after(self, revision: int) -> int:
        """Return the revision that follows `revision` and all that were opened."""
        return max(revision, self.highest) + 1

    def withdraw(self, *below: int | None) -> int | None:
        """Return what a policy says so that all stays withdrawn that was, or is below one of `below`; None for none."""
        said = [each for each in (*below, self.minimum if self.minimum > 1 else None) if each is not None]
        return max(said, default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """When an artifact, any one, was last opened.

    Args:
        version: Of this record, 1.
        seen: Seconds since 1970 UTC.
    """

    version: int
    seen: int


NOTHING: Final = Seen(version=VERSION, highest=1, minimum=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Revisions:
    """The store.

    Args:
        folder: Where it lies; made when something is remembered first.
    """

    folder: Path

    def recall(self, artifact: str) -> Seen:
        """Return what is remembered of `artifact`; nothing where it was never opened.

        Raises:
            IntegrityError: Its file is damaged.
            UsageError: The system refuses to read it.
        """
        found = self._read(_file(artifact), Seen) or NOTHING
        if not 1 <= found.minimum <= found.highest <= SAFE_INTEGER:
            raise _damaged(self.folder / _file(artifact))
        return found

    def last_opened(self) -> int:
        """Return when something was last opened, in seconds since 1970, to the hour; 0 where nothing was.

        Raises:
            IntegrityError: The file is damaged.
            UsageError: The system refuses to read it.
        """
        found = self._read(CLOCK, Clock)
        if found is not None and not 0 <= found.seen <= LATEST:
            raise _damaged(self.folder / CLOCK)
        return 0 if found is None else found.seen

    def check(self, artifact: str, revision: int, *, allow_older: bool) -> None:
        """Accept a revision that is not older than what was opened before.

        Args:
            artifact: Identity of the artifact.
            revision: Its revision.
            allow_older: Accept one that is older, but for those withdrawn.

        Raises:
            AccessError: It is older, or withdrawn.
            IntegrityError: What is remembered is damaged.
        """
        seen = self.recall(artifact)
        if revision < seen.minimum:
            raise AccessError(
                f"revision {revision} of artifact {artifact} is withdrawn: its owner withdrew all below {seen.minimum}",
                hint=f"use revision {seen.highest} or a later one",
            )
        if revision < seen.highest and not allow_older:
            raise AccessError(
                f"revision {revision} of artifact {artifact} is older than revision {seen.highest}, opened before",
                hint="use the newer one; where you mean to go back, accept older revisions (--allow-older)",
            )

    def remember(self, artifact: str, revision: int, minimum: int, now: float) -> None:
        """Write down that `revision` was opened at `now`. What is remembered only ever rises.

        Args:
            artifact: Identity of the artifact.
            revision: Its revision; the caller made sure whose word it is.
            minimum: Revisions below this one are withdrawn.
            now: Seconds since 1970.

        Raises:
            IntegrityError: What is remembered is damaged.
            UsageError: The system refuses to write.
        """
        if not self._tells_more(artifact, revision, minimum, now):
            return
        with self._locked():
            seen = self.recall(artifact)
            raised = Seen(version=VERSION, highest=max(seen.highest, revision), minimum=max(seen.minimum, minimum))
            self._write(_file(artifact), raised)
            if now > self.last_opened():
                self._write(CLOCK, Clock(version=VERSION, seen=int(now)))

    def _tells_more(self, artifact: str, revision: int, minimum: int, now: float) -> bool:
        """Whether there is something to write down."""
        seen = self.recall(artifact)
        known = (self.folder / _file(artifact)).exists() and revision <= seen.highest and minimum <= seen.minimum
        return not known or now > self.last_opened() + STEP_S

    def _read(self, name: str, kind: type[Record]) -> Record | None:
        """Return the record in file `name`; None where there is no file."""
        path = self.folder / name
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _refused(path, "read", error) from error
        try:
            with os.fdopen(descriptor, "rb") as file:
                record = from_json(kind, decode(file.read(LIMIT_BYTES + 1), where=name), where=name)
        except OSError as error:
            raise _refused(path, "read", error) from error
        except IntegrityError:
            raise _damaged(path) from None
        if record.version != VERSION:
            raise _damaged(path)
        return record

    def _write(self, name: str, record: Record) -> None:
        """Replace file `name` in one step; the folder is locked."""
        part = self.folder / f".{name}.{secrets.token_hex(8)}"
        try:
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(encode(to_json(record)))
                file.flush()
                os.fsync(file.fileno())
            part.replace(self.folder / name)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise _refused(self.folder / name, "write", error) from error

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep other processes and threads from writing; waits for those that do."""
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self.folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _refused(self.folder, "write", error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)  # given back with the descriptor, by a killed process too
            yield
        finally:
            os.close(descriptor)


def default_folder() -> Path:
    """Return where revisions are remembered for this user, as the XDG base directory specification says.

    Raises:
        UsageError: The user has no home.
    """
    base = os.environ.get("XDG_STATE_HOME", "")
    try:
        root = Path(base) if base.startswith("/") else Path.home() / ".local" / "state"
    except RuntimeError:
        raise UsageError("there is no home folder to remember revisions in", hint="set XDG_STATE_HOME") from None
    return root / "intact" / "revisions"


def _file(artifact: str) -> str:
    return f"{artifact}.json"


def _damaged(path: Path) -> IntegrityError:
    return IntegrityError(
        f"what is remembered of opened revisions is damaged: {str(path)!a}",
        hint="put back a copy; removing the file forgets what was opened, and lets older revisions in again",
    )


def _refused(path: Path, act: str, error: OSError) -> UsageError:
    return UsageError(
        f"cannot {act} what is remembered of opened revisions, {str(path)!a}: {error.strerror}",
        hint="name a folder for it (--revisions), or do without this protection (--no-revisions)",
    )
