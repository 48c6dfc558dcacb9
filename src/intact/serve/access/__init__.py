"""Who asks, which grant they use, and how fast: each denies unless it finds a reason not to."""

from intact.serve.access.authenticate import Authenticator
from intact.serve.access.limiter import Limiter
from intact.serve.access.oidc import Oidc, OidcSettings
from intact.serve.access.permits import Permits

__all__ = ["Authenticator", "Limiter", "Oidc", "OidcSettings", "Permits"]
