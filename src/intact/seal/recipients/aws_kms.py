"""A key of AWS KMS, by its full ARN. It never leaves the service; credentials are found as boto3 finds them."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import urlsplit

from intact.crypto import Secret
from intact.errors import AccessError, UsageError
from intact.seal.recipient import Identity, Kind, Recipient, stays_here

NAME = "aws_kms"
CONTEXT: Final = {"purpose": "intact/v1/data-key"}
"""Encryption context of every wrapping: a key policy can ask for it, the log of AWS shows it."""
TIMEOUT_S: Final = 10
ATTEMPTS: Final = 3

_PREFIX = "arn:"
_ARN = re.compile(r"arn:aws[a-z-]*:kms:([a-z0-9-]+):[0-9]{12}:key/[A-Za-z0-9-]+")
_REFUSED = (
    "AccessDeniedException",
    "UnrecognizedClientException",
    "InvalidSignatureException",
    "ExpiredTokenException",
)
_UNKNOWN = ("NotFoundException", "DisabledException", "KMSInvalidStateException", "InvalidKeyUsageException")
_DAMAGED = ("InvalidCiphertextException", "IncorrectKeyException", "ValidationException")


def parse_recipient(text: str) -> Recipient | None:
    """Read "arn:aws:kms:REGION:ACCOUNT:key/ID". An alias will not do: it may name another key tomorrow.

    Raises:
        UsageError: It begins with "arn:", and names no KMS key.
    """
    return Recipient(kind=NAME, public=text) if _is_key(text) else None


def parse_identity(text: str) -> Identity | None:
    """Read the same: whoever AWS lets decrypt with that key can open.

    Raises:
        UsageError: It begins with "arn:", and names no KMS key.
    """
    return Identity(kind=NAME, public=text) if _is_key(text) else None


def wrap(data_key: Secret, recipient: Recipient) -> bytes:
    """Return the ciphertext that AWS makes of the data key.

    Raises:
        UsageError: AWS cannot be asked, or has no such key.
        AccessError: It refuses.
    """
    plain = data_key.value
    answer = _ask(recipient.public, lambda kms, place: kms.encrypt(Plaintext=plain, **place))
    return bytes(answer["CiphertextBlob"])


def unwrap(wrapped: bytes, identity: Identity) -> Secret:
    """Have AWS decrypt the data key.

    Raises:
        UsageError: AWS cannot be asked, or has no such key.
        AccessError: It refuses, or the ciphertext is not one of this key for this purpose.
    """
    answer = _ask(identity.public, lambda kms, place: kms.decrypt(CiphertextBlob=wrapped, **place))
    return Secret(bytes(answer["Plaintext"]))


def _is_key(text: str) -> bool:
    """Whether `text` is the ARN of a KMS key, and not something else altogether.

    Raises:
        UsageError: It is the ARN of something else.
    """
    if not text.startswith(_PREFIX):
        return False
    if _ARN.fullmatch(text) is None:
        raise UsageError(
            "text that begins with 'arn:' names no KMS key", hint="write arn:aws:kms:REGION:ACCOUNT:key/ID"
        )
    return True


def _ask(arn: str, question: Callable[[Any, dict[str, Any]], Any]) -> dict[str, Any]:
    """Return AWS's answer about the key `arn`, which is asked for by name, so that no other key is used."""
    boto3, config, errors = _library()
    found = _ARN.fullmatch(arn)
    assert found is not None  # `_is_key` saw it
    try:
        with _no_bodies_in_logs():
            kms = _client(boto3, found[1], config)
            return dict(question(kms, {"KeyId": arn, "EncryptionContext": CONTEXT}))
    except errors.ClientError as error:
        raise _refusal(arn, str(error.response.get("Error", {}).get("Code", ""))) from None
    except errors.NoCredentialsError:
        raise UsageError("no credentials for AWS were found", hint="log in, or set AWS_PROFILE") from None
    except (errors.BotoCoreError, ValueError) as error:
        raise UsageError(
            f"AWS KMS cannot be asked about {arn} ({type(error).__name__})", hint="check network and configuration"
        ) from None


def _client(boto3: Any, region: str, config: Any) -> Any:
    """Return a client that asks with TLS, or on this machine and no proxy.

    Raises:
        UsageError: The address is set to one that others could listen to.
    """
    kms = boto3.client("kms", region_name=region, config=config)
    address = urlsplit(kms.meta.endpoint_url)
    if stays_here(address):
        return boto3.client("kms", region_name=region, config=config.merge(type(config)(proxies={})))
    if address.scheme != "https":
        raise UsageError(
            "address of AWS KMS is not https", hint="set AWS_ENDPOINT_URL_KMS to one that begins with https://"
        )
    return kms


@contextmanager
def _no_bodies_in_logs() -> Iterator[None]:
    """Keep botocore from logging requests and answers, keys and all, as it does at level DEBUG."""
    logger = logging.getLogger("botocore")
    before = logger.level
    logger.setLevel(max(logger.getEffectiveLevel(), logging.INFO))
    try:
        yield
    finally:
        logger.setLevel(before)


def _refusal(arn: str, code: str) -> AccessError | UsageError:
    """Return the error for what AWS calls `code`."""
    if code in _REFUSED:
        return AccessError(
            f"AWS does not let these credentials use {arn} ({code})",
            hint="log in again, or ask for kms:Encrypt and kms:Decrypt on this key",
        )
    if code in _DAMAGED:
        return AccessError("AWS KMS does not unwrap the data key", hint="check that keys.json is not damaged")
    if code in _UNKNOWN:
        return UsageError(f"AWS has no {arn} that can be used ({code})", hint="check the ARN and the state of the key")
    shown = code if code.isascii() and code.isalnum() else "no code"
    return UsageError(f"AWS KMS cannot answer about {arn} now ({shown})", hint="try again later")


def _library() -> tuple[Any, Any, Any]:
    """Return boto3, the settings of a client, and the module of its errors.

    Raises:
        UsageError: They are not installed.
    """
    try:
        import boto3
        import botocore.exceptions
        from botocore.config import Config
    except ModuleNotFoundError:
        raise UsageError("keys in AWS KMS need the package boto3", hint="pip install 'intact[aws]'") from None
    settings = Config(connect_timeout=TIMEOUT_S, read_timeout=TIMEOUT_S, retries={"total_max_attempts": ATTEMPTS})
    return boto3, settings, botocore.exceptions


KIND = Kind(name=NAME, wrap=wrap, unwrap=unwrap, parse_recipient=parse_recipient, parse_identity=parse_identity)
