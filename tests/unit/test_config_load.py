"""What a right config becomes: settings, layers of options, references, includes."""

from __future__ import annotations

from datetime import UTC
from pathlib import Path

import pytest

from conveyor.config import Reloader, load
from conveyor.config.model import SharedLimits
from conveyor.config.settings import Settings
from conveyor.contract import ConflictPolicy
from conveyor.errors import ConfigError
from conveyor.retry import RetryPolicy


def one(config):
    assert config.problems == ()
    return config.source.list()[0]


def test_an_empty_config_is_all_defaults(read, tmp_path):
    config = read("")
    settings = config.settings
    assert settings.ledger == f"sqlite:///{tmp_path}/conveyor.db"
    assert settings.payloads == tmp_path / "payloads"
    assert settings.key.file == tmp_path / "conveyor.key"
    assert settings.key.value is None
    assert (settings.workers.processes, settings.workers.threads) == (1, 16)
    assert (settings.workers.lease, settings.workers.grace) == (60, 30)
    assert (settings.retention.payloads.delivered, settings.retention.attempts.failed) == (
        7 * 86400,
        90 * 86400,
    )
    assert settings.zone is UTC
    assert config.source.list() == ()
    assert config.base == tmp_path


def test_a_minimal_destination_gets_the_published_policies(read):
    destination = one(read("destinations: {a: {type: box, access_key: k}}"))
    assert (destination.id, destination.name, destination.type) == ("a", "a", "box")
    assert destination.retry == RetryPolicy((5, 30, 120, 600, 3600), 0.1)
    assert destination.conflict is ConflictPolicy.RENAME
    assert destination.template.text == "{session_id|job_id}/{filename}"
    assert (destination.limits.concurrency, destination.limits.max_size) == (4, 1000)
    assert (destination.limits.min_rate, destination.limits.base_timeout) == (32768, 60)
    assert (destination.limits.idle_timeout, destination.limits.answer_timeout) == (120, 30)
    assert (destination.expire_after, destination.max_retry_after) == (7 * 86400, 3600)
    assert destination.is_active
    assert destination.problem is None
    assert destination.options.access_key.get_secret_value() == "k"


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("2d", (2 * 86400, 2 * 86400)),
        ("null", (None, None)),
        ("{delivered: 1d}", (86400, 90 * 86400)),
        ("{delivered: null, failed: 60}", (None, 60)),
    ],
)
def test_attempts_are_kept_by_status_or_all_alike(read, text, kept):
    found = read(f"retention: {{attempts: {text}}}").settings.retention.attempts
    assert (found.delivered, found.failed) == kept


def test_everything_can_be_set(read, tmp_path):
    config = read(
        """
        ledger: sqlite:///data/x.db
        payloads: file:///var/my%20payloads
        key: {value: abc}
        workers: {processes: 2, threads: 4, lease: 20s, grace: 5}
        retention: {payloads: {delivered: 1h, failed: null}, attempts: 2d}
        network: {allow_private: [10.1.2.3/8], ca_bundle: ca.pem, proxy: "http://u:p@proxy:3128"}
        time_zone: UTC
        default_destinations: [a]
        destinations:
          a:
            type: box
            name: A box
            access_key: k
            labels: {customer: 007, tier: gold}
            is_active: false
            retry: {schedule: [1, 2s], jitter: 0, max_retry_after: 5m}
            conflict: overwrite
            path_template: "{date:%Y}/{filename}"
            limits: {concurrency: 2, max_size: 5GB, min_rate: 1MiB/s, base_timeout: 1m, idle_timeout: 3}
            expire_after: 1d
            network: {allow_private: [127.0.0.1]}
            proof: {name: me, max_age: 1h}
            cert: ~/x.pem
        """
    )
    settings, destination = config.settings, one(config)
    assert settings.ledger == f"sqlite:///{tmp_path}/data/x.db"
    assert settings.payloads == Path("/var/my payloads")
    assert settings.retention.payloads.failed is None
    assert settings.network.allow_private == ("10.0.0.0/8",)
    assert settings.network.ca_bundle == tmp_path / "ca.pem"
    assert destination.labels == {"customer": "007", "tier": "gold"}
    assert destination.retry == RetryPolicy((1, 2), 0)
    assert destination.conflict is ConflictPolicy.OVERWRITE
    assert destination.limits.max_size == 1000, "a type's own limit cannot be raised"
    assert destination.limits.min_rate == 2**20
    assert not destination.is_active
    assert set(destination.network.allow_private) == {"10.0.0.0/8", "127.0.0.1/32"}
    assert destination.network.ca_bundle == tmp_path / "ca.pem"
    assert destination.options.proof.max_age == 3600
    assert destination.options.cert == Path.home() / "x.pem"


def test_secrets_are_in_no_repr(read):
    config = read(
        """
        ledger: postgresql://me:S3CRET@host/db
        key: {value: S3CRET}
        network: {proxy: "http://me:S3CRET@proxy:1"}
        destinations: {a: {type: box, access_key: S3CRET}}
        """
    )
    assert config.settings.ledger == "postgresql+psycopg://me:S3CRET@host/db"
    assert "S3CRET" not in repr(config)
    assert "S3CRET" not in repr(config.settings)
    assert "S3CRET" not in repr(one(config))
    assert "S3CRET" not in repr(one(config).options)


def test_the_published_camel_case_is_accepted(read):
    destination = one(
        read(
            """
            timeZone: UTC
            defaults: {pathTemplate: "x/{filename}", retry: {maxRetryAfter: 1m}}
            destinations:
              a: {type: box, accessKey: k, partSize: 1KiB, isActive: false, limits: {maxSize: 10},
                  proof: {name: x, maxAge: 2m}}
            """
        )
    )
    assert destination.options.part_size == 1024
    assert destination.options.proof.max_age == 120
    assert destination.limits.max_size == 10
    assert destination.template.text == "x/{filename}"
    assert destination.max_retry_after == 60
    assert not destination.is_active


def test_layers_merge_mappings_and_replace_everything_else(read):
    destination = one(
        read(
            """
            defaults:
              retry: {schedule: [1, 2, 3], jitter: 0.5}
              limits: {baseTimeout: 7}
            presets:
              base: {type: box, labels: {a: 1, b: 2}, headers: {X: base, Y: base}, port: 1}
              fast: {extends: base, retry: {schedule: [9]}, labels: {b: 3}, limits: {base_timeout: 8}}
              other: {port: 2, headers: {Y: other}}
            destinations:
              d: {extends: [fast, other], access_key: k, headers: {Z: own}}
            """
        )
    )
    assert destination.retry == RetryPolicy((9,), 0.5)
    assert destination.labels == {"a": "1", "b": "3"}
    assert destination.options.headers == {"X": "base", "Y": "other", "Z": "own"}
    assert destination.options.port == 2
    assert destination.limits.base_timeout == 8


def test_a_preset_and_a_destination_may_spell_an_option_differently(read):
    text = "presets: {p: {type: box, accessKey: old}}\ndestinations: {d: {extends: p, access_key: new}}"
    assert one(read(text)).options.access_key.get_secret_value() == "new"


def test_references_to_the_environment_and_files(read, write):
    write("line one\nline two\n", "secrets/key")
    env = {"KEY": "from-env", "PORT": "2222", "EMPTY": "", "FILE": "secrets/key", "FLAG": "false"}
    destination = one(
        read(
            """
            destinations:
              a:
                type: box
                access_key: ${KEY}
                port: ${PORT}
                is_active: ${FLAG}
                place: a-${KEY}-${NONE:-x y}-${EMPTY:-z}-${NONE:-}-$$-$${KEY}-$KEY
                headers: {A: !file secrets/key, B: !file "${FILE}"}
            """,
            env=env,
        )
    )
    assert destination.options.access_key.get_secret_value() == "from-env"
    assert destination.options.port == 2222
    assert destination.options.place == "a-from-env-x y-z--$-${KEY}-$KEY"
    assert destination.options.headers == {"A": "line one\nline two", "B": "line one\nline two"}
    assert not destination.is_active


def test_what_the_environment_holds_is_not_expanded_again(read):
    destination = one(read("destinations: {a: {type: box, access_key: '${A}'}}", env={"A": "${B} !file x"}))
    assert destination.options.access_key.get_secret_value() == "${B} !file x"


def test_numbers_keep_how_they_are_written_where_text_is_wanted(read):
    destination = one(read("destinations: {a: {type: box, access_key: 007, place: 1.10, port: 0x10}}"))
    assert destination.options.access_key.get_secret_value() == "007"
    assert destination.options.place == "1.10"
    assert destination.options.port == 16


def test_included_files_bring_destinations_and_presets(read, write, tmp_path):
    write("destinations: {b: {type: box, extends: p}}", "destinations.d/b.yaml")
    write("destinations: {a: {type: box, access_key: !file secrets/k}}", "destinations.d/a.yaml")
    write("presets: {p: {access_key: k}}", "more.yaml")
    write("main-folder", "secrets/k")
    config = read(
        "include: [destinations.d/*.yaml, more.yaml, nothing/*.yaml]\n"
        "destinations: {c: {type: box, extends: p}}"
    )
    assert config.problems == ()
    assert [destination.id for destination in config.source.list()] == ["c", "a", "b"]
    assert config.source.get("a").options.access_key.get_secret_value() == "main-folder"
    assert {path.name for path in config.files.stamps} == {
        "conveyor.yaml",
        "a.yaml",
        "b.yaml",
        "more.yaml",
        "k",
    }


def test_an_alias_type_implies_its_preset(read):
    assert one(read("destinations: {a: {type: slowbox, access_key: k}}")).options.mode == "slow"
    assert one(read("destinations: {a: {type: slowbox, access_key: k, mode: slow}}")).options.mode == "slow"


def test_a_type_without_rename_gets_a_harmless_policy_unless_told_otherwise(read):
    text = "defaults: {{conflict: {} }}\ndestinations: {{a: {{type: hole, access_key: k}}}}"
    assert one(read(text.format("rename"))).conflict is ConflictPolicy.SKIP
    assert one(read(text.format("overwrite"))).conflict is ConflictPolicy.OVERWRITE


def test_a_destinations_own_network_settings_win(read):
    config = read(
        """
        network: {proxy: "http://proxy:1", allow_private: [10.0.0.0/8]}
        destinations:
          a: {type: box, access_key: k}
          b: {type: box, access_key: k, network: {proxy: null}}
          c: {type: box, access_key: k, network: {proxy: "http://other:2"}}
          d: {type: box, access_key: k}
        """
    )
    networks = [destination.network for destination in config.source.list()]
    assert [network.proxy for network in networks] == [
        "http://proxy:1",
        None,
        "http://other:2",
        "http://proxy:1",
    ]
    assert all(network.allow_private == ("10.0.0.0/8",) for network in networks)
    assert networks[0] is networks[3]


@pytest.mark.parametrize(
    "edit",
    ["access_key: other", "access_key: k\n    labels: {x: y}", "access_key: k\n    retry: {jitter: 0}"],
)
def test_the_revision_follows_every_edit_and_shows_nothing(read, edit):
    text = "destinations:\n  a:\n    type: box\n    {}"
    before, same = one(read(text.format("access_key: k"))), one(read(text.format("access_key: 'k'  # same")))
    after = one(read(text.format(edit)))
    assert before.revision == same.revision
    assert before.revision != after.revision
    assert len(before.revision) == 24


def test_the_revision_tells_how_a_number_was_written(read):
    text = "destinations: {{a: {{type: box, access_key: {}}}}}"
    assert one(read(text.format("7"))).revision != one(read(text.format("007"))).revision


def test_the_revision_follows_environment_files_defaults_and_network(read, write):
    text = "destinations: {a: {type: box, access_key: '${K}', place: !file f}}"
    write("one", "f")
    seen = [one(read(text, env={"K": "1"})).revision, one(read(text, env={"K": "2"})).revision]
    seen.append(one(read("defaults: {expire_after: 1h}\n" + text, env={"K": "2"})).revision)
    seen.append(one(read("network: {allow_private: [10.0.0.1]}\n" + text, env={"K": "2"})).revision)
    write("two", "f")
    seen.append(one(read(text, env={"K": "2"})).revision)
    assert len(set(seen)) == 5


def test_a_missing_file_is_one_clear_problem(tmp_path, registry):
    with pytest.raises(ConfigError, match="No such file") as caught:
        load(tmp_path / "conveyor.yaml", registry=registry)
    assert caught.value.exit_code == 78
    assert "conveyor init" in str(caught.value)


def test_settings_can_be_used_without_a_file():
    assert Settings().workers.threads == 16


def test_rates_of_a_destination_and_of_an_account(read):
    config = read(
        """
        connections:
          office: {limits: {concurrency: 3, rate: 600/m, byte_rate: 5MB/s}}
          b: {limits: {rate: 1/s}}
        defaults: {limits: {rate: 20/s}}
        destinations:
          a: {type: signed, client_id: app, connection: office, limits: {byte_rate: 1MiB}}
          b: {type: signed, client_id: app}
          c: {type: signed, client_id: app, connection: unlimited}
          d: {type: box, access_key: k}
        """
    )
    a, b, c, d = config.source.list()
    assert (a.limits.rate, a.limits.byte_rate) == (20, 2**20)
    assert a.shared == SharedLimits("office", 3, 10, 5_000_000)
    assert b.shared == SharedLimits("b", None, 1, None)
    assert c.shared is d.shared is None


def test_limits_of_an_account_that_no_destination_has_are_told(read):
    config = read(
        """
        connections: {offise: {limits: {rate: 1/s}}}
        destinations: {a: {type: signed, client_id: app, connection: office}}
        """
    )
    (problem,) = config.problems
    assert (problem.line, problem.field) == (2, "connections.offise")
    assert problem.message == "no destination here has the connection 'offise'"
    assert problem.cure == "did you mean 'office'?"


def test_an_edit_of_an_accounts_limits_is_no_edit_of_its_destinations(read, write):
    text = """
        connections: {{office: {{limits: {{rate: {rate}}}}}}}
        destinations: {{a: {{type: signed, client_id: app, connection: office}}}}
        """
    config = read(text.format(rate="1/s"))
    before = one(config)
    reloader = Reloader(config)
    write(text.format(rate="2/s"))
    reloader.request()
    after = one(reloader.poll().config)
    assert (before.shared.rate, after.shared.rate) == (1, 2)
    assert after.revision == before.revision
