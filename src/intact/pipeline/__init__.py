"""The two big jobs: from a float model to an artifact, and from an artifact to a model that runs."""

from intact.compress.recipe import read_toml as read_recipe
from intact.pipeline.bill import bom, write_bom
from intact.pipeline.bill import to_text as bom_text
from intact.pipeline.building import Built, OverBudget, build, refuse_existing
from intact.pipeline.doctor import Check, Examination, examine
from intact.pipeline.evidence import calibrated_on
from intact.pipeline.files import refuse_unwritable
from intact.pipeline.given import store as revisions_store
from intact.pipeline.guarding import plain as plain_contract
from intact.pipeline.keys import Keys, identities, new_keys, recipients, trusted
from intact.pipeline.model import Model, Observed
from intact.pipeline.modules import DataParallel, QuantizationModule
from intact.pipeline.npz import read_npz, with_calibration, write_npz
from intact.pipeline.opening import open_model
from intact.pipeline.reproducing import Reproduction, reproduce
from intact.pipeline.scrubbing import ScrubReport
from intact.pipeline.spec import Spec, read_source
from intact.pipeline.timing import measure
from intact.seal import (
    Policy,
    load_identity,
    load_recipient,
    load_signing_key,
    load_verifying_key,
    passphrase_identity,
    passphrase_recipient,
)

__all__ = [
    "Built",
    "Check",
    "DataParallel",
    "Examination",
    "Keys",
    "Model",
    "Observed",
    "OverBudget",
    "Policy",
    "QuantizationModule",
    "Reproduction",
    "ScrubReport",
    "Spec",
    "bom",
    "bom_text",
    "build",
    "calibrated_on",
    "examine",
    "identities",
    "load_identity",
    "load_recipient",
    "load_signing_key",
    "load_verifying_key",
    "measure",
    "new_keys",
    "open_model",
    "passphrase_identity",
    "passphrase_recipient",
    "plain_contract",
    "read_npz",
    "read_recipe",
    "read_source",
    "recipients",
    "refuse_existing",
    "refuse_unwritable",
    "reproduce",
    "revisions_store",
    "trusted",
    "with_calibration",
    "write_bom",
    "write_npz",
]
