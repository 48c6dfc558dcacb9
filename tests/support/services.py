"""Services that hold keys, for every kind of recipient that needs one; a new such kind needs a line here."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest import mock

from intact.seal.recipient import KeyPair, Kind
from intact.seal.recipients import aws_kms, vault
from support.transit import transit

REGION = "eu-central-1"


@contextmanager
def vault_service(folder: Path) -> Iterator[Callable[[], KeyPair]]:
    """Run a Vault; give a function that makes a key there and returns its pair."""
    count = iter(range(100))
    with transit(folder) as state, mock.patch.dict(os.environ, state.environment):

        def make() -> KeyPair:
            name = f"key-{next(count)}"
            state.keys["transit", name] = os.urandom(32)
            return _pair(vault.KIND, f"vault:{name}")

        yield make


@contextmanager
def aws_service(folder: Path) -> Iterator[Callable[[], KeyPair]]:
    """Imitate AWS; give a function that makes a key there and returns its pair."""
    import boto3
    from moto import mock_aws

    credentials = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}
    elsewhere = {"core": {"passthrough": {"urls": [r"https?://127\.0\.0\.1"]}}}  # it would answer for every server
    with mock.patch.dict(os.environ, credentials), mock_aws(config=elsewhere):
        kms = boto3.client("kms", region_name=REGION)
        yield lambda: _pair(aws_kms.KIND, kms.create_key()["KeyMetadata"]["Arn"])


SERVICES = {"vault": vault_service, "aws_kms": aws_service}


@contextmanager
def makers(kinds: tuple[Kind, ...], folder: Path) -> Iterator[dict[str, Callable[[], KeyPair]]]:
    """Give for every kind a function that makes a fresh pair."""
    with ExitStack() as stack:
        yield {
            kind.name: kind.generate or stack.enter_context(SERVICES[kind.name](folder / kind.name)) for kind in kinds
        }


def _pair(kind: Kind, text: str) -> KeyPair:
    recipient, identity = kind.parse_recipient(text), kind.parse_identity(text)
    assert recipient is not None
    assert identity is not None
    return KeyPair(recipient=recipient, identity=identity)
