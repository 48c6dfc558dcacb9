"""Intact: integer models, untampered."""
