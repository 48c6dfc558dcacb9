"""A key of the transit engine of HashiCorp Vault or OpenBao: vault:KEY, or vault://MOUNT/KEY. It stays on the server.

Where the server is and what opens it come from the environment, as for its own command: VAULT_ADDR (BAO_ADDR),
VAULT_TOKEN (BAO_TOKEN) or ~/.vault-token, VAULT_NAMESPACE (BAO_NAMESPACE), VAULT_CACERT (BAO_CACERT).
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from intact.crypto import Secret
from intact.errors import AccessError, UsageError
from intact.seal.recipient import Identity, Kind, Recipient, stays_here

NAME = "vault"
PURPOSE: Final = b"intact/v1/data-key"
"""Bound to every wrapping as associated data: what the server encrypted for another purpose does not open here."""
TIMEOUT_S: Final = 10
MAX_TOKEN_BYTES: Final = 2**13

_NAME = re.compile(r"vault:(?://((?:[A-Za-z0-9][A-Za-z0-9_.-]*/)+))?([A-Za-z0-9][A-Za-z0-9_.-]*)")
_DEFAULT_MOUNT = "transit/"
_WRAPPED = re.compile(rb"vault:v[1-9][0-9]{0,8}:[A-Za-z0-9+/]+={0,2}")


def parse_recipient(text: str) -> Recipient | None:
    """Read "vault:KEY" or "vault://MOUNT/KEY".

    Raises:
        UsageError: It begins so, and names no key.
    """
    name = _canonical(text)
    return None if name is None else Recipient(kind=NAME, public=name)


def parse_identity(text: str) -> Identity | None:
    """Read the same: whoever the server lets decrypt with that key can open.

    Raises:
        UsageError: It begins so, and names no key.
    """
    name = _canonical(text)
    return None if name is None else Identity(kind=NAME, public=name)


def wrap(data_key: Secret, recipient: Recipient) -> bytes:
    """Return the ciphertext that the server makes of the data key.

    Raises:
        UsageError: The server cannot be asked, or has no such key.
        AccessError: It refuses.
    """
    plain = _text(data_key.value)
    answer = _ask(recipient.public, lambda transit, place: transit.encrypt_data(plaintext=plain, **place))
    ciphertext = str(answer.get("ciphertext", "")).encode()
    if _WRAPPED.fullmatch(ciphertext) is None:
        raise UsageError("Vault answered with no ciphertext", hint="check that VAULT_ADDR is the address of a Vault")
    return ciphertext


def unwrap(wrapped: bytes, identity: Identity) -> Secret:
    """Have the server decrypt the data key.

    Raises:
        UsageError: The server cannot be asked, or has no such key.
        AccessError: It refuses, or the ciphertext is not one it made for this purpose.
    """
    if _WRAPPED.fullmatch(wrapped) is None:
        raise _damaged()
    text = wrapped.decode()
    answer = _ask(identity.public, lambda transit, place: transit.decrypt_data(ciphertext=text, **place))
    try:
        return Secret(base64.b64decode(str(answer.get("plaintext", "")), validate=True))
    except binascii.Error:
        raise _damaged() from None


def _canonical(text: str) -> str | None:
    """Return the full name of the key that `text` names; None when it is the name of something else.

    Raises:
        UsageError: It begins so, and names no key.
    """
    if not text.startswith("vault:"):
        return None
    found = _NAME.fullmatch(text)
    if found is None or ".." in text:
        raise UsageError(
            "text that begins with 'vault:' names no transit key", hint="write vault:KEY or vault://MOUNT/KEY"
        )
    return f"vault://{found[1] or _DEFAULT_MOUNT}{found[2]}"


def _ask(name: str, question: Callable[[Any, dict[str, str]], Any]) -> dict[str, Any]:
    """Return the `data` of the server's answer about the key called `name`.

    No redirection is followed: it would carry the token elsewhere.
    """
    hvac = _library()
    address = _address()
    mount, _, key = name.removeprefix("vault://").rpartition("/")
    place = {"name": key, "mount_point": mount, "associated_data": _text(PURPOSE)}
    client = hvac.Client(
        url=address,
        token=_token(),
        verify=_variable("CACERT") or True,
        namespace=_variable("NAMESPACE") or None,
        timeout=TIMEOUT_S,
        allow_redirects=False,
        session=_session(address),
    )
    try:
        answer = question(client.secrets.transit, place)
    except (hvac.exceptions.Forbidden, hvac.exceptions.Unauthorized):
        raise AccessError(
            f"Vault at {address} does not let this token use {name}",
            hint="log in again, or ask for a policy that allows encrypt and decrypt with this key",
        ) from None
    except hvac.exceptions.InvalidPath:
        raise UsageError(f"Vault at {address} has no {name}", hint="check the names of mount and key") from None
    except hvac.exceptions.InvalidRequest:
        raise _damaged() from None
    except hvac.exceptions.VaultError:
        raise UsageError(f"Vault at {address} cannot answer now", hint="check that it is unsealed and well") from None
    except OSError as error:  # every error of `requests` is one
        raise UsageError(
            f"Vault at {address} cannot be asked ({type(error).__name__})",
            hint="check VAULT_ADDR, the network, and VAULT_CACERT where the certificate is of your own authority",
        ) from None
    finally:
        client.adapter.close()
    data = answer.get("data") if isinstance(answer, dict) else None
    return data if isinstance(data, dict) else {}


def _damaged() -> AccessError:
    return AccessError(
        "Vault does not unwrap the data key",
        hint="check that keys.json is not damaged and the key still has its versions",
    )


def _library() -> Any:
    """Return the client library.

    Raises:
        UsageError: It is not installed.
    """
    try:
        import hvac
        import hvac.exceptions
    except ModuleNotFoundError:
        raise UsageError("keys in Vault need the package hvac", hint="pip install 'intact[vault]'") from None
    return hvac


def _address() -> str:
    """Return where the server is: with TLS, or on this machine.

    Raises:
        UsageError: No address is set, or one that others could listen to.
    """
    address = _variable("ADDR")
    if not address:
        raise UsageError("no address of a Vault is set", hint="set VAULT_ADDR, such as https://vault.example:8200")
    try:
        parts = urlsplit(address)
    except ValueError:
        raise UsageError("address of the Vault is no URL", hint="set VAULT_ADDR to https://HOST:PORT") from None
    if parts.scheme != "https" and not stays_here(parts):
        raise UsageError("address of the Vault is not https", hint="set VAULT_ADDR to one that begins with https://")
    if parts.username or parts.password:
        raise UsageError("address of the Vault holds a password", hint="take it out of VAULT_ADDR")
    return f"{parts.scheme}://{parts.netloc}"


def _session(address: str) -> Any:
    """Return a session that asks no proxy, for an address without TLS: a proxy would read token and keys.

    None for one with TLS, which a proxy cannot look into.
    """
    if not stays_here(urlsplit(address)):
        return None
    import requests  # comes with hvac

    session = requests.Session()
    session.trust_env = False
    return session


def _token() -> str:
    """Return the token, from the environment or from where the server's own command keeps it.

    Raises:
        UsageError: There is none.
    """
    token = _variable("TOKEN")
    if not token:
        try:
            with (Path.home() / ".vault-token").open("rb") as file:
                token = file.read(MAX_TOKEN_BYTES).decode("ascii", "replace").strip()
        except OSError:
            token = ""
    if not token or not token.isascii() or not token.isprintable():
        raise UsageError("no token for the Vault was found", hint="log in with `vault login`, or set VAULT_TOKEN")
    return token


def _variable(name: str) -> str:
    """Return BAO_`name`, or VAULT_`name` where that is not set, as OpenBao's own command does."""
    return os.environ.get(f"BAO_{name}") or os.environ.get(f"VAULT_{name}") or ""


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


KIND = Kind(name=NAME, wrap=wrap, unwrap=unwrap, parse_recipient=parse_recipient, parse_identity=parse_identity)
