"""The pages, one file each, each ending in its routes: addresses, and the roles that may."""

from typing import Final

from intact.serve.console.pages import grants, keys, log, models, tallies, trying
from intact.serve.console.visit import Route

ROUTES: Final[tuple[Route, ...]] = (
    *models.ROUTES,
    *grants.ROUTES,
    *keys.ROUTES,
    *tallies.ROUTES,
    *log.ROUTES,
    *trying.ROUTES,
)
