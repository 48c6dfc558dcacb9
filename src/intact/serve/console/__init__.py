"""The console: pages for who runs a server, who audits it and who asks it. Server-rendered, no script at all."""

from intact.serve.console.app import Console, area

__all__ = ["Console", "area"]
