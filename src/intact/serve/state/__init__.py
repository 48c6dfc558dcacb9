"""What the server keeps: keys, grants, how much of them is used, and the log. SQLite, or PostgreSQL for replicas."""

from intact.serve.state.group import Settler
from intact.serve.state.store import Store
from intact.serve.state.values import (
    AlarmCount,
    Charge,
    Checkpoint,
    Denied,
    Entry,
    Grant,
    KeyInfo,
    Principal,
    RefusalCount,
    Role,
    Terms,
)

__all__ = [
    "AlarmCount",
    "Charge",
    "Checkpoint",
    "Denied",
    "Entry",
    "Grant",
    "KeyInfo",
    "Principal",
    "RefusalCount",
    "Role",
    "Settler",
    "Store",
    "Terms",
]
