from __future__ import annotations

from dataclasses import FrozenInstanceError, fields
from pathlib import Path

import pytest

from wattle_jupyter import settings
from wattle_jupyter.errors import InvalidRequest

DOCS = Path(__file__).parent.parent / "docs" / "settings.md"


def test_the_table_names_every_setting_and_nothing_else() -> None:
    known = {(section, key) for section, part in settings.values(settings.Settings()).items() for key in part}
    assert {(line.section, line.key) for line in settings.TABLE} == known


def test_the_documentation_holds_the_table_and_the_foreign_names() -> None:
    text = DOCS.read_text(encoding="utf-8")
    assert settings.markdown() in text
    assert all(f"`{key}`" in text or f" {key}`" in text for _, key in settings.FOREIGN)


@pytest.mark.parametrize("line", settings.TABLE, ids=lambda line: line.variable)
def test_a_default_in_the_table_is_the_default_in_the_code(line: settings.Setting) -> None:
    default = settings.values(settings.Settings())[line.section][line.key]
    if line.kind == "int" and line.key != "slots":
        assert line.default == str(default)
    elif line.kind == "seconds":
        assert line.default == ("none" if default is None else f"{default:g}")
    elif line.kind == "level":
        assert line.default == default


def test_there_are_8_slots_or_2_for_each_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    assert settings.load(None, {}).scheduler.slots == 8
    monkeypatch.setattr("os.cpu_count", lambda: 32)
    assert settings.load(None, {}).scheduler.slots == 64


def test_the_environment_wins_over_the_server_and_the_server_over_the_file() -> None:
    toml = "[scheduler]\nslots = 1\nloss_budget = 1\nmax_active_runs = 1"
    found = settings.load(
        toml, {"WATTLE_SCHEDULER__SLOTS": "3"}, {"scheduler": {"slots": 2, "loss_budget": 2}}
    ).scheduler
    assert (found.slots, found.loss_budget, found.max_active_runs) == (3, 2, 1)


def test_the_file_of_the_wattle_scheduler_is_taken() -> None:
    toml = """
    [server]
    host = "localhost"
    port = 9240
    cors_origins = ["*"]
    [coordinator]
    mode = "standalone"
    worker_timeout_secs = 300
    max_concurrent_workers = 12
    [database]
    max_connections = 50
    [execution]
    log_dir = "logs"
    [logging]
    level = "INFO"
    """
    found = settings.load(toml, {})
    assert (found.scheduler.slots, found.execution.timeout, found.logging.level) == (12, 300.0, "info")


@pytest.mark.parametrize(
    "order", [["slots = 2", "max_concurrent_workers = 9"], ["max_concurrent_tasks = 9", "slots = 2"]]
)
def test_our_own_name_goes_before_the_foreign_one(order: list[str]) -> None:
    assert settings.load("[scheduler]\n" + "\n".join(order), {}).scheduler.slots == 2


@pytest.mark.parametrize(
    ("toml", "environ", "overrides", "message"),
    [
        (
            "[scheduler]\nslot = 1",
            {},
            {},
            "wattle.toml: there is no setting `slot` in `[scheduler]`; did you mean `slots`?",
        ),
        ("[schedule]\nslots = 1", {}, {}, "wattle.toml: there is no section `schedule`; did you mean `scheduler`?"),
        (
            "slots = 1",
            {},
            {},
            "wattle.toml: `slots` stands outside the sections; put it under "
            "`[server]`, `[scheduler]`, `[execution]`, `[store]`, `[logging]`",
        ),
        ("[scheduler]\nslots = 0", {}, {}, "wattle.toml: `slots` must be a whole number from 1 to 100000, not 0"),
        ("[scheduler]\nslots = true", {}, {}, "wattle.toml: `slots` must be a whole number from 1 to 100000, not True"),
        (
            None,
            {"WATTLE_LOGGING__LEVEL": "loud"},
            {},
            "the environment (WATTLE_LOGGING__LEVEL): `level` must be one of debug, info, warning, error, not 'loud'",
        ),
        (
            None,
            {"WATTLE_STORE__PATH": "/x"},
            {},
            "the environment (WATTLE_STORE__PATH): there is no setting `path` in `[store]`; "
            "there is `dir`, `local_types`, `max_object`, `keep_outputs`, `keep_backups`, `backup_hours`, "
            "`keep_automatic`, `keep_runs`, `keep_days`, `undo_days`",
        ),
        (
            None,
            {},
            {"execution": {"grace": "soon"}},
            "the server's configuration: `grace` must be seconds as a number from 0 to 1e+09, not 'soon'",
        ),
        (None, {}, {"store": "x"}, "the server's configuration: `store` must be a mapping, not 'x'"),
        ("[store]\ndir = ''", {}, {}, "wattle.toml: `dir` must be text, not ''"),
    ],
)
def test_a_bad_setting_is_named_with_its_source_and_cure(
    toml: str | None, environ: dict[str, str], overrides: dict[str, dict[str, object]], message: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        settings.load(toml, environ, overrides)
    assert str(caught.value) == message


def test_a_file_that_is_not_toml_is_refused_with_the_line() -> None:
    with pytest.raises(InvalidRequest, match=r"not valid TOML: .*line 2"):
        settings.load("[scheduler]\nslots\n", {})


def test_other_variables_of_the_environment_are_left_alone() -> None:
    assert settings.load(None, {"WATTLE_RUN": "x", "SCHEDULER__SLOTS": "1", "PATH": "/bin"}) == settings.Settings()


@pytest.mark.parametrize("section", [field.name for field in fields(settings.Settings)])
def test_settings_cannot_be_changed(section: str) -> None:
    part = getattr(settings.Settings(), section)
    with pytest.raises(FrozenInstanceError):
        setattr(part, fields(part)[0].name, 1)
