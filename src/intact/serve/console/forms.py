"""What a form sends: few fields, short, each once; and what its texts say."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final
from urllib.parse import parse_qsl

from starlette.datastructures import UploadFile
from starlette.requests import Request

from intact.errors import UsageError
from intact.serve.asgi import Scope
from intact.serve.edge import given
from intact.serve.refused import Refused, bad_request

URLENCODED: Final = "application/x-www-form-urlencoded"
MULTIPART: Final = "multipart/form-data"
MOST_FIELDS: Final = 32
LONGEST_QUERY: Final = 2048
LARGEST_UPLOAD: Final = 2**20
LARGEST_FORM: Final = 2**16
"""Most bytes in a form without a file."""
_MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d)?", re.ASCII)
_DIGITS: Final = re.compile(r"\d{1,15}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Form:
    """What was filled in.

    Args:
        fields: Texts by name.
        file: Bytes of the file; None where there is none.
        file_name: What its sender calls it.
    """

    fields: Mapping[str, str] = field(default_factory=dict)
    file: bytes | None = None
    file_name: str = ""

    def text(self, name: str) -> str:
        """Return a text without blanks around it; empty where it is absent."""
        return self.fields.get(name, "").strip()

    def whole(self, name: str, what: str) -> int | None:
        """Return a whole number; None where the field is empty.

        Raises:
            UsageError: It is another text.
        """
        text = self.text(name).replace(",", "").replace(" ", "")
        if not text:
            return None
        if _DIGITS.fullmatch(text) is None:
            raise UsageError(f"{what} is {text!a:.40}, no whole number")
        return int(text)

    def moment(self, name: str, what: str) -> int | None:
        """Return a time as a browser writes it, in seconds since 1970, read as UTC; None where the field is empty.

        Raises:
            UsageError: It is another text.
        """
        text = self.text(name)
        if not text:
            return None
        try:
            if _MOMENT.fullmatch(text) is None:
                raise ValueError
            return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())
        except ValueError:
            raise UsageError(f"{what} is {text!a:.40}, no time", hint="write it as 2027-01-31T00:00, in UTC") from None


def parse_query(query: bytes) -> dict[str, str]:
    """Return what follows "?" in an address, each name once.

    Raises:
        Refused: It is too long, or is no such text.
    """
    if len(query) > LONGEST_QUERY:
        raise bad_request(f"what follows ? in the address has more than {LONGEST_QUERY} bytes")
    return _pairs(query)


async def parse_form(scope: Scope, content_type: str, body: bytes, *, files: bool) -> Form:
    """Return what a form sent.

    Args:
        scope: The request.
        content_type: Its header.
        body: All of it, of bounded length.
        files: Whether it may hold a file.

    Raises:
        Refused: It is no form, has too many fields, or one twice.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if kind == URLENCODED:
        return Form(_pairs(body))
    if kind != MULTIPART or not files:
        raise Refused(415, "this takes forms only")
    request = Request(scope, given(body, _nothing))
    try:
        found = await request.form(max_files=1, max_fields=MOST_FIELDS, max_part_size=LARGEST_UPLOAD)
    except Exception:  # noqa: BLE001 - whatever the parser raises of a body that is none
        raise bad_request("form cannot be read") from None
    try:
        return await _read(found.multi_items())
    finally:
        await found.close()


async def _read(items: list[tuple[str, UploadFile | str]]) -> Form:
    fields: dict[str, str] = {}
    file, file_name = None, ""
    for name, value in items:
        if isinstance(value, str):
            if name in fields:
                raise bad_request("form has a field twice")
            fields[name] = value
        elif value.size:
            if value.size > LARGEST_UPLOAD:
                raise Refused(413, f"file has {value.size:,} bytes, more than the {LARGEST_UPLOAD:,} allowed")
            file, file_name = await value.read(), value.filename or ""
    return Form(fields, file, file_name)


def _pairs(text: bytes) -> dict[str, str]:
    try:
        pairs = parse_qsl(text.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MOST_FIELDS)
    except ValueError:
        raise bad_request("form or address cannot be read") from None
    found = dict(pairs)
    if len(found) != len(pairs):
        raise bad_request("form or address has a field twice")
    return found


async def _nothing() -> dict[str, str]:
    return {"type": "http.disconnect"}
