"""Public names: whoever adds or removes one changes this file, and says so in the changelog."""

from __future__ import annotations

import importlib

import pytest

PUBLIC = {
    "conveyor": """
        BatchError ConfigError Conveyor ConveyorError DeliveryStatus IdempotencyError Item JobStatus
        LedgerError LedgerUnavailable OrderResult PayloadError SubmissionError Submitted
        UsageError __version__
    """,
    "conveyor.contract": """
        CONTRACT_VERSION AccountQuestion AttemptCancelled AttemptContext Buffers Capabilities
        CheckReport CheckStep ConflictPolicy Connector ConnectorEnv ConnectorSpec DeliveryError
        ErrorKind Found FoundKind Json LengthUnit Log Memory NameRules OAuthOptions OAuthProvider Options
        Parcel PreparesPlace Receipt Rotation Scope ServerKey State Target Token TokenSource Trouble
        TrustsServer
    """,
}

HOOKS = """
    after_attempt alert before_attempt connectors delivery_final destination_changed destination_sources
    oauth_providers path_filters path_variables payload_sources secret_resolvers transforms
"""


@pytest.mark.parametrize("module", PUBLIC)
def test_public_names_are_these(module: str) -> None:
    imported = importlib.import_module(module)
    assert sorted(imported.__all__) == sorted(PUBLIC[module].split())
    for name in imported.__all__:
        assert getattr(imported, name) is not None


def test_hook_names_are_these() -> None:
    hookspecs = importlib.import_module("conveyor.hookspecs")
    hooks = sorted(name.removeprefix("conveyor_") for name in vars(hookspecs) if name.startswith("conveyor_"))
    assert hooks == sorted(HOOKS.split())
