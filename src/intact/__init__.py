"""Intact: one command turns a trained float model into a small, fast, bit-exact, sealed integer model.

The public names, each loaded when it is first used, so that `import intact` is quick and never imports torch:

    Spec, build, Built, OverBudget        from a float model to an integer one
    open, Model                           from an artifact to a model that runs
    QuantizationModule, DataParallel      the same behind torch's shape of call
    Recipe, LayerRecipe, Override         how to compress
    tune, Tuned, Space, BudgetMissed      the smallest model that keeps a budget
    new_keys, load_identity, load_recipient, load_signing_key, load_verifying_key,
    passphrase_identity, passphrase_recipient
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
        QuantizationModule,
        Spec,
        build,
        load_identity,
        load_recipient,
        load_signing_key,
        load_verifying_key,
        new_keys,
        passphrase_identity,
        passphrase_recipient,
    )
    from intact.pipeline import open_model as open
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
        ),
        "intact.pipeline",
    ),
    **dict.fromkeys(("BudgetMissed", "Space", "Tuned", "tune"), "intact.tuning"),
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
    "QuantizationModule",
    "Recipe",
    "Space",
    "Spec",
    "Tuned",
    "UsageError",
    "build",
    "load_identity",
    "load_recipient",
    "load_signing_key",
    "load_verifying_key",
    "new_keys",
    "open",
    "passphrase_identity",
    "passphrase_recipient",
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
