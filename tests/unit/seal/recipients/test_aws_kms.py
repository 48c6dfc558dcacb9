"""Keys in AWS KMS, imitated by moto."""

from __future__ import annotations

import base64
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import ClientError, NoCredentialsError

from intact.crypto import Secret
from intact.errors import AccessError, IntactError, UsageError
from intact.seal.recipient import KeyPair, Recipient
from intact.seal.recipients import aws_kms
from support.services import REGION, aws_service

KEY = Secret.random()
ARN = f"arn:aws:kms:{REGION}:123456789012:key/0d990263-018e-4065-a703-eff731de951e"


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], KeyPair]]:
    with aws_service(tmp_path_factory.mktemp("aws")) as found:
        yield found


def test_context_and_key_are_bound(make: Callable[[], KeyPair]) -> None:
    pair = make()
    wrapped = aws_kms.wrap(KEY, pair.recipient)
    client = boto3.client("kms", region_name=REGION)
    context = {"purpose": "intact/v1/data-key"}
    assert client.decrypt(CiphertextBlob=wrapped, EncryptionContext=context)["Plaintext"] == KEY.value
    with pytest.raises(ClientError):
        client.decrypt(CiphertextBlob=wrapped)
    foreign = client.encrypt(KeyId=pair.recipient.public, Plaintext=KEY.value)["CiphertextBlob"]
    with pytest.raises(AccessError, match="does not unwrap"):
        aws_kms.unwrap(foreign, pair.identity)


CHANGES = {
    "key/": "alias/",
    "kms": "s3",
    REGION: "evil.example/",
    f":{REGION}:": "::",
    "123456789012": "12",
    "arn:aws": "arn:x",
    "951e": "951e/x",
    "731de": "731 de",
}


@pytest.mark.parametrize("text", ["arn:", *(ARN.replace(*change) for change in CHANGES.items())])
def test_other_names_are_refused(text: str) -> None:
    for parse in (aws_kms.parse_recipient, aws_kms.parse_identity):
        with pytest.raises(UsageError, match="names no KMS key"):
            parse(text)


@pytest.mark.parametrize("arn", [ARN, ARN.replace("arn:aws", "arn:aws-us-gov"), ARN.replace("0d99", "mrk-0d99")])
def test_the_names_of_aws_are_taken(arn: str) -> None:
    assert aws_kms.parse_recipient(arn) == Recipient(kind="aws_kms", public=arn)


def test_a_missing_key_is_named(make: Callable[[], KeyPair]) -> None:
    with pytest.raises(UsageError, match=f"AWS has no {ARN}") as caught:
        aws_kms.wrap(KEY, Recipient(kind="aws_kms", public=ARN))
    assert caught.value.hint


@pytest.mark.parametrize(
    ("code", "kind", "message"),
    [
        ("AccessDeniedException", AccessError, "does not let these credentials"),
        ("ExpiredTokenException", AccessError, "does not let these credentials"),
        ("UnrecognizedClientException", AccessError, "does not let these credentials"),
        ("InvalidCiphertextException", AccessError, "does not unwrap"),
        ("IncorrectKeyException", AccessError, "does not unwrap"),
        ("NotFoundException", UsageError, "has no"),
        ("DisabledException", UsageError, "that can be used"),
        ("ThrottlingException", UsageError, "cannot answer"),
        ("<script>", UsageError, "no code"),
    ],
)
def test_every_refusal_of_aws_has_a_class(code: str, kind: type[IntactError], message: str) -> None:
    found = aws_kms._refusal(ARN, code)
    assert type(found) is kind
    assert message in found.message
    assert found.hint


def test_nobody_listening_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_ENDPOINT_URL_KMS", "https://127.0.0.1:9")
    monkeypatch.setattr(aws_kms, "ATTEMPTS", 1)
    with pytest.raises(UsageError, match=r"cannot be asked about .* \(EndpointConnectionError\)"):
        aws_kms.wrap(KEY, Recipient(kind="aws_kms", public=ARN))


def test_no_credentials_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def nothing(*_: object, **__: object) -> None:
        raise NoCredentialsError

    monkeypatch.setattr(boto3, "client", nothing)
    with pytest.raises(UsageError, match="no credentials for AWS") as caught:
        aws_kms.wrap(KEY, Recipient(kind="aws_kms", public=ARN))
    assert caught.value.hint


def test_without_its_package_the_kind_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(UsageError, match="need the package boto3") as caught:
        aws_kms.wrap(KEY, Recipient(kind="aws_kms", public=ARN))
    assert caught.value.hint == "pip install 'intact[aws]'"


def test_what_botocore_logs_of_requests_is_kept_out(
    make: Callable[[], KeyPair], caplog: pytest.LogCaptureFixture
) -> None:
    pair, shown = make(), base64.b64encode(KEY.value).decode()
    with caplog.at_level(logging.DEBUG), caplog.at_level(logging.DEBUG, "botocore"):
        boto3.client("kms", region_name=REGION).encrypt(KeyId=pair.recipient.public, Plaintext=KEY.value)
        assert shown in caplog.text  # it would log the key
        caplog.clear()
        assert aws_kms.unwrap(aws_kms.wrap(KEY, pair.recipient), pair.identity) == KEY
        assert shown not in caplog.text
        assert logging.getLogger("botocore").level == logging.DEBUG
