"""The engine: claim, attempt, record. ``engine.py`` puts the parts together."""
