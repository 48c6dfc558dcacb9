"""Intact: one command turns a trained float model into a small, fast, bit-exact, sealed integer model.

The public names, each loaded when it is first used, so that `import intact` is quick and never imports torch:

    Spec, build, Built, OverBudget        from a float model to an integer one
    open, Model, ScrubReport              from an artifact to a model that runs
    Policy                                limits on the use of an artifact
    QuantizationModule, DataParallel      the same behind torch's shape of call
    Recipe, LayerRecipe, Override         how to compress
    tune, Tuned, Space, BudgetMissed      the smallest model that keeps a budget
    new_keys, load_identity, load_recipient, load_signing_key, load_verifying_key,
    passphrase_identity, passphrase_recipient
    any_of, all_of, threshold, countersign  whose signatures are accepted, and one more
    reproduce                             build an artifact again and compare every integer
    IntactError and the errors below it   see `intact.errors`
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from intact.errors import (
    AccessError,
    CheckFailed,
    DataError,
    IntactError,
    IntegrityError,
    ModelError,
    UsageError,
)

if TYPE_CHECKING:
    from intact.compress.recipe import LayerRecipe, Override, Recipe
    from intact.pipeline import (
        Built,
        DataParallel,
        Keys,
        Model,
        OverBudget,
        Policy,
        QuantizationModule,
        ScrubReport,
        Spec,
        build,
        load_identity,
        load_recipient,
        load_signing_key,
        load_verifying_key,
        new_keys,
        passphrase_identity,
        passphrase_recipient,
        reproduce,
    )
    from intact.pipeline import open_model as open
    from intact.seal import all_of, any_of, countersign, threshold
    from intact.tuning import BudgetMissed, Space, Tuned, tune

_LAZY = {
    **dict.fromkeys(("LayerRecipe", "Override", "Recipe"), "intact.compress.recipe"),
    **dict.fromkeys(
        (
            "Built",
            "DataParallel",
            "Keys",
            "Model",
            "OverBudget",
            "Policy",
            "ScrubReport",
            "QuantizationModule",
            "Spec",
            "build",
            "load_identity",
            "load_recipient",
            "load_signing_key",
            "load_verifying_key",
            "new_keys",
            "open",
            "passphrase_identity",
            "passphrase_recipient",
            "reproduce",
        ),
        "intact.pipeline",
    ),
    **dict.fromkeys(("BudgetMissed", "Space", "Tuned", "tune"), "intact.tuning"),
    **dict.fromkeys(("all_of", "any_of", "countersign", "threshold"), "intact.seal"),
}

__all__ = [
    "AccessError",
    "BudgetMissed",
    "Built",
    "CheckFailed",
    "DataError",
    "DataParallel",
    "IntactError",
    "IntegrityError",
    "Keys",
    "LayerRecipe",
    "Model",
    "ModelError",
    "OverBudget",
    "Override",
    "Policy",
    "QuantizationModule",
    "Recipe",
    "ScrubReport",
    "Space",
    "Spec",
    "Tuned",
    "UsageError",
    "all_of",
    "any_of",
    "build",
    "countersign",
    "load_identity",
    "load_recipient",
    "load_signing_key",
    "load_verifying_key",
    "new_keys",
    "open",
    "passphrase_identity",
    "passphrase_recipient",
    "reproduce",
    "threshold",
    "tune",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'intact' has no attribute {name!r}")
    value = getattr(import_module(_LAZY[name]), "open_model" if name == "open" else name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
