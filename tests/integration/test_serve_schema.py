"""The description of the HTTP interface holds: schemathesis asks what it allows, and looks at what comes back."""

from __future__ import annotations

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import checks
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi import checks as openapi

from intact.serve.state import Role
from support.serving import Server, Site

pytestmark = pytest.mark.filterwarnings("ignore")  # of its own

CHECKS = [
    checks.not_a_server_error,
    openapi.status_code_conformance,
    openapi.content_type_conformance,
    openapi.response_headers_conformance,
    openapi.response_schema_conformance,
    openapi.unsupported_method,
    openapi.ignored_auth,
]
PATHS = [
    ("GET", "/v2"),
    ("GET", "/v2/health/live"),
    ("GET", "/v2/health/ready"),
    ("GET", "/v2/models/{name}"),
    ("GET", "/v2/models/{name}/ready"),
    ("GET", "/v2/models/{name}/versions/{version}"),
    ("GET", "/v2/models/{name}/versions/{version}/ready"),
    ("POST", "/v2/models/{name}/infer"),
    ("POST", "/v2/models/{name}/versions/{version}/infer"),
    ("POST", "/v2/repository/index"),
    ("GET", "/metrics"),
    ("GET", "/log/checkpoint"),
    ("GET", "/log/tile/{path}"),
]


@pytest.fixture(scope="module")
def headers(site: Site) -> dict[str, str]:
    site.grant("tester")
    return {"Authorization": f"Bearer {site.key('tester', Role.ADMIN)}"}


@pytest.fixture(scope="module")
def interface(server: Server, headers: dict[str, str]) -> schemathesis.BaseSchema:
    return schemathesis.openapi.from_url(f"{server.http}/openapi.json", headers=headers)


def test_every_route_is_asked(interface: schemathesis.BaseSchema) -> None:
    found = {(each.ok().method.upper(), each.ok().path) for each in interface.get_all_operations()}
    assert found == set(PATHS)


@pytest.mark.parametrize("mode", list(GenerationMode))
@pytest.mark.parametrize(("method", "path"), PATHS)
def test_every_route_does_as_it_is_described(
    interface: schemathesis.BaseSchema, headers: dict[str, str], method: str, path: str, mode: GenerationMode
) -> None:
    operation = interface[path][method]
    known = {"name": "tiny", "version": "1"}

    @settings(
        max_examples=20,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: schemathesis.Case) -> None:
        case.call_and_validate(headers=headers, checks=CHECKS)
        if case.path_parameters and mode is GenerationMode.POSITIVE:  # and of a model that there is
            given_ = case.path_parameters
            case.path_parameters = {name: known.get(name, value) for name, value in given_.items()}
            case.call_and_validate(headers=headers, checks=CHECKS)

    try:
        ask()
    except schemathesis.errors.InvalidSchema:
        pytest.skip("nothing of this route can be wrong")
