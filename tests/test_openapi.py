"""The OpenAPI document: valid, complete, and true of real answers."""

from __future__ import annotations

import contextlib
import json
import re
from typing import Any

import jsonschema
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from processes import EngineProcess

from wattle_jupyter import openapi
from wattle_jupyter.operations import OPERATIONS

DOCUMENT = openapi.document("/base/")


def test_the_document_is_valid() -> None:
    OpenAPIV31SpecValidator(DOCUMENT).validate()


def test_every_operation_is_in_it_and_no_other() -> None:
    found = {(verb.upper(), path[1:]) for path, item in DOCUMENT["paths"].items() for verb in item}
    assert found == {(o.verb, o.path) for o in OPERATIONS}
    names = [operation["operationId"] for item in DOCUMENT["paths"].values() for operation in item.values()]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda o: f"{o.verb} {o.path}")
def test_an_operation_says_what_it_takes_and_who_may(operation: Any) -> None:
    said = DOCUMENT["paths"][f"/{operation.path}"][operation.verb.lower()]
    assert said["x-permission"] == operation.action
    in_path = {p["name"] for p in said["parameters"] if p["in"] == "path"}
    assert in_path == set(re.findall(r"{(\w+)}", operation.path))
    assert {str(operation.status), "400", "403", "404", "503"} <= set(said["responses"])
    assert ("requestBody" in said) is (operation.verb in ("POST", "PUT"))
    if operation.body:
        properties = said["requestBody"]["content"]["application/json"]["schema"]["properties"]
        assert set(properties) == set(operation.body)


def test_the_server_serves_it(engine: EngineProcess) -> None:
    status, served = engine.request("GET", "openapi.json")
    assert status == 200
    assert served == openapi.document("/")
    assert served["servers"] == [{"url": "/wattle/api"}]
    assert DOCUMENT["servers"] == [{"url": "/base/wattle/api"}]


@pytest.fixture(scope="module")
def run(engine: EngineProcess) -> str:
    spec = {
        "name": "w",
        "params": {"n": 3},
        "tasks": {
            "t": {"run": 'echo "v=1" >> "$WATTLE_OUTPUT"; touch f.txt', "outputs": {"v": None, "f": "f.txt"}},
            "u": {"run": "echo {{ t.v }} {{ n }}; exit 4", "retries": 1, "retry_delay": 0},
            "s": {"run": "true", "needs": ["u"]},
        },
    }
    engine.post("workflows", spec)
    found = engine.post("workflows/w/start")["id"]
    engine.ended(found)
    return str(found)


def schema_of(verb: str, path: str, status: int) -> dict[str, Any]:
    answer = DOCUMENT["paths"][f"/{path}"][verb.lower()]["responses"][str(status)]
    return {**answer["content"]["application/json"]["schema"], "components": DOCUMENT["components"]}


def check(verb: str, path: str, status: int, answer: Any) -> None:
    jsonschema.Draft202012Validator(schema_of(verb, path, status)).validate(answer)


GETS = [o.path for o in OPERATIONS if o.verb == "GET" and o.media == "application/json" and o.status == 200]


@pytest.mark.parametrize("path", GETS)
def test_a_real_answer_is_as_the_document_says(engine: EngineProcess, run: str, path: str) -> None:
    names = {"name": "w", "workflow": "w", "worker": "u", "run": run, "task": "t"}
    query = "?pattern=x" if path.endswith("/search") else ""
    status, answer = engine.request("GET", path.format(**names) + query)
    assert status == 200
    check("GET", path, status, answer)


def test_answers_of_changes_and_errors_are_as_the_document_says(engine: EngineProcess, run: str) -> None:
    requests = [
        ("POST", "runs", "runs", {"workflow": "w"}, 201),
        ("POST", "runs/{run}/cancel", "runs/last/cancel", None, 200),
        ("POST", "runs/{run}/retry", f"runs/{run}/retry", {"tasks": ["u"]}, 200),
        ("POST", "runs/{run}/tasks/{task}/stop", f"runs/{run}/tasks/u/stop", None, 200),
        ("POST", "runs/{run}/tasks/{task}/retry", f"runs/{run}/tasks/t/retry", None, 409),
        ("POST", "workers/{workflow}/{worker}/start", "workers/w/t/start", {}, 201),
        ("POST", "workers/{workflow}/{worker}/stop", "workers/w/t/stop", None, 200),
        ("DELETE", "workers/{workflow}/{worker}", "workers/w/t", None, 409),
        ("DELETE", "workers/{workflow}/{worker}", "workers/w/s", None, 200),
        ("POST", "workflows", "workflows", {"name": "w", "tasks": {"x": {}}}, 400),
        ("DELETE", "workflows/{name}", "workflows/w", None, 200),
        ("DELETE", "workflows/{name}", "workflows/w", None, 404),
    ]
    for verb, path, real, body, expected in requests:
        status, answer = engine.request(verb, real, body)
        assert status == expected, (verb, real, answer)
        check(verb, path, status, answer)


def test_real_events_are_as_the_document_says(engine: EngineProcess) -> None:
    engine.post("workflows", {"name": "told", "tasks": {"a": "true"}})
    run = engine.post("workflows/told/start")["id"]
    engine.ended(run)
    for path in (f"runs/{run}", "workflows/told"):
        assert engine.request("DELETE", path)[0] == 200
    schema = {"$ref": "#/components/schemas/EventView", "components": DOCUMENT["components"]}
    check_event = jsonschema.Draft202012Validator(schema).validate
    kinds: set[str] = set()
    event: dict[str, Any] = {}
    connection, stream = engine.open("GET", "events?since=0")
    with contextlib.closing(connection):
        while (event.get("kind"), event.get("body")) != ("workflow.deleted", {"name": "told"}):
            line = stream.readline().decode()
            if line.startswith("data:"):
                event = json.loads(line[5:])
                check_event(event)
                kinds.add(event["kind"])
    assert kinds == {"run.created", "run.changed", "run.deleted", "workflow.changed", "workflow.deleted"}
    with pytest.raises(jsonschema.ValidationError):
        check_event({**event, "kind": "run.changed"})


def test_a_wrong_answer_would_be_seen(engine: EngineProcess, run: str) -> None:
    _, answer = engine.request("GET", f"runs/{run}")
    del answer["data"]["counts"]
    with pytest.raises(jsonschema.ValidationError, match="counts"):
        check("GET", "runs/{run}", 200, answer)
