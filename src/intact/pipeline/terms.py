"""Under what terms an artifact is made: which one it is, which revision of it, and what its policy says."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from intact import engine, seal
from intact.errors import UsageError
from intact.pipeline import given
from intact.seal.manifest import is_artifact_id
from intact.wire.canonical import SAFE_INTEGER


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What is settled before a build begins.

    Args:
        artifact: Identity of the artifact, 32 hex digits; a fresh one where it is None.
        revision: Counts up from 1.
        policy: Limits on its use.
        revisions: Where the revision is written down once it is made; None for nowhere.
    """

    artifact: str | None
    revision: int
    policy: seal.Policy
    revisions: seal.Revisions | None = None

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

    def remember(self, made: seal.Manifest) -> None:
        """Write down the revision that was made and signed, so that none before it is taken for the latest.

        Raises:
            IntegrityError: What is remembered of revisions is damaged.
            UsageError: It cannot be written.
        """
        if self.revisions is not None:
            self.revisions.remember(made.artifact, made.revision, made.policy.minimum_revision or 1, time.time())


def settle(
    policy: seal.Policy | None,
    *,
    revises: Path | None,
    artifact: str | None,
    revision: int | None,
    signer: seal.Signer | None,
    revisions: Path | str | bool,
    allow_older: bool,
) -> Terms:
    """Return the terms of a new artifact.

    Args:
        policy: Limits on its use; none where it is None.
        revises: The artifact that it is the next revision of.
        artifact: Identity of the artifact it is a revision of, where that one is not at hand.
        revision: Its revision; where it is None, 1, or one more than that of `revises`.
        signer: Who will sign it, and must have signed `revises`.
        revisions: Where opened revisions are remembered, as `given.store` takes it; for a later revision only.
        allow_older: Take a `revises` older than a revision opened before, unless it is withdrawn.

    Raises:
        UsageError: They do not go together, there is no such artifact or engine, or the revision is not a later one.
        AccessError: `revises` is not signed by `signer`, or is older than one opened before; or `revision` is.
        IntegrityError: `revises`, or what is remembered, is damaged.
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
        terms = _next(policy, _revised(revises, signer), revision, given.store(revisions), allow_older=allow_older)
    else:
        terms = Terms(artifact=artifact, revision=1 if revision is None else revision, policy=policy)
        if artifact is not None:
            terms = _held(terms, artifact, given.store(revisions), allow_older=allow_older)
    if not (policy.minimum_revision or 1) <= terms.revision <= SAFE_INTEGER:
        raise UsageError(
            f"revision is {terms.revision}, and revisions below {policy.minimum_revision or 1} are withdrawn",
            hint="give it a higher revision (--revision)",
        )
    return terms


def _next(
    policy: seal.Policy,
    old: seal.Manifest,
    revision: int | None,
    revisions: seal.Revisions | None,
    *,
    allow_older: bool,
) -> Terms:
    """Return the terms of the revision after `old` and all that were opened: what is withdrawn stays withdrawn."""
    if revisions is not None:
        revisions.check(old.artifact, old.revision, allow_older=allow_older)
    seen = seal.NOTHING_SEEN if revisions is None else revisions.recall(old.artifact)
    withdrawn = seen.withdraw(policy.minimum_revision, old.policy.minimum_revision)
    return Terms(
        artifact=old.artifact,
        revision=_later(revision, seen.after(old.revision) - 1),
        policy=replace(policy, minimum_revision=withdrawn),
        revisions=revisions,
    )


def _held(terms: Terms, artifact: str, revisions: seal.Revisions | None, *, allow_older: bool) -> Terms:
    """Return the terms of a revision of `artifact`, which is not at hand: what is withdrawn stays withdrawn."""
    if revisions is None:
        return terms
    revisions.check(artifact, terms.revision, allow_older=allow_older)
    withdrawn = revisions.recall(artifact).withdraw(terms.policy.minimum_revision)
    return replace(terms, policy=replace(terms.policy, minimum_revision=withdrawn), revisions=revisions)


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
