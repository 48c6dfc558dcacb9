"""Under what terms an artifact is made: which one it is, which revision of it, and what its policy says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from intact import engine, seal
from intact.errors import UsageError
from intact.seal.manifest import is_artifact_id
from intact.wire.canonical import SAFE_INTEGER


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What is settled before a build begins.

    Args:
        artifact: Identity of the artifact, 32 hex digits; a fresh one where it is None.
        revision: Counts up from 1.
        policy: Limits on its use.
    """

    artifact: str | None
    revision: int
    policy: seal.Policy

    def engines(self, asked: Sequence[str] | None) -> tuple[str, ...] | None:
        """Return the engines to check the model with: those asked for, else those that its readers may use.

        Raises:
            UsageError: One that is asked for is not allowed.
        """
        if self.policy.engines is None:
            return None if asked is None else tuple(asked)
        foreign = sorted(set(asked or ()) - set(self.policy.engines))
        if foreign:
            raise UsageError(
                f"engine {foreign[0]!a:.70} is asked for, but the policy allows {', '.join(self.policy.engines)} only",
                hint="check the model with an engine that its readers may use",
            )
        return self.policy.engines if asked is None else tuple(asked)


def settle(
    policy: seal.Policy | None,
    *,
    revises: Path | None,
    artifact: str | None,
    revision: int | None,
    signer: seal.Signer | None,
) -> Terms:
    """Return the terms of a new artifact.

    Args:
        policy: Limits on its use; none where it is None.
        revises: The artifact that it is the next revision of.
        artifact: Identity of the artifact it is a revision of, where that one is not at hand.
        revision: Its revision; where it is None, 1, or one more than that of `revises`.
        signer: Who will sign it, and must have signed `revises`.

    Raises:
        UsageError: They do not go together, there is no such artifact or engine, or the revision is not a later one.
        AccessError: `revises` is not signed by `signer`.
        IntegrityError: `revises` is damaged.
    """
    policy = policy or seal.Policy()
    for name in policy.engines or ():
        if name not in engine.find():
            raise UsageError(
                f"policy allows engine {name!a}, which does not exist", hint=f"choose from {', '.join(engine.find())}"
            )
    if revises is not None and artifact is not None:
        raise UsageError("both an artifact to revise and an identity are given", hint="give one of them")
    if artifact is not None and not is_artifact_id(artifact):
        raise UsageError(
            f"artifact id is {artifact!a:.40}, wanted 32 lower-case hex digits", hint="see `intact inspect`"
        )
    if revises is not None:
        old = _revised(revises, signer)
        artifact, revision = old.artifact, _later(revision, old.revision)
        if policy.minimum_revision is None:  # what is withdrawn stays withdrawn
            policy = replace(policy, minimum_revision=old.policy.minimum_revision)
    terms = Terms(artifact=artifact, revision=1 if revision is None else revision, policy=policy)
    if not (policy.minimum_revision or 1) <= terms.revision <= SAFE_INTEGER:
        raise UsageError(
            f"revision is {terms.revision}, and revisions below {policy.minimum_revision or 1} are withdrawn",
            hint="give it a higher revision (--revision)",
        )
    return terms


def _later(revision: int | None, old: int) -> int:
    """Return the revision that follows `old`, or the one given where it comes after that."""
    if revision is not None and revision <= old:
        raise UsageError(
            f"revision {revision} does not come after revision {old}", hint=f"give {old + 1}, or leave it out"
        )
    return old + 1 if revision is None else revision


def _revised(path: Path, signer: seal.Signer | None) -> seal.Manifest:
    """Return the manifest of the artifact to be revised, which whoever signs the next revision must have signed."""
    if signer is None:
        return seal.inspect(path).manifest
    if isinstance(signer, seal.CertifiedKey):
        raise UsageError(
            "an artifact signed with certificates cannot be named as the one to revise",
            hint="check it with `intact verify`, then give its identity and the next revision instead",
        )
    return seal.verify(path, signers=[signer.verifying_key])
