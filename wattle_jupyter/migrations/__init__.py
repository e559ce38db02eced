"""Numbered SQL scripts; each runs in one transaction that also sets ``PRAGMA user_version`` to its number."""

SCHEMA = 4
"""Number of the newest one."""
