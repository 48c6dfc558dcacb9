"""Serving: only the right callers, only good inputs, and a record of every answer."""
