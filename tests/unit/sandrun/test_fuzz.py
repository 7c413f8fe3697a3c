"""The HTTP surface under invented requests: no 500, no answer that the document does not know, no hang."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from unit.sandrun.http_node import Node, a_node

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with a_node(Path(tmp_path_factory.mktemp("node"))) as running:
        yield running


@pytest.fixture(scope="module")
def operations(node: Node) -> list[Any]:
    document = schemathesis.openapi.from_url(f"{node.client.base_url}/openapi.json")
    return [found.ok() for found in document.get_all_operations() if isinstance(found, Ok)]


def test_the_service_does_what_its_document_says(operations: list[Any]) -> None:
    assert len(operations) == 11
    for operation in operations:

        @settings(max_examples=40, deadline=None)
        @given(case=operation.as_strategy())
        def conforms(case: Any) -> None:
            response = case.call(timeout=150)
            case.validate_response(response, checks=CHECKS)

        conforms()


PIECES = st.one_of(
    st.sampled_from(
        [
            b"--b\r\n",
            b"--b--\r\n",
            b"\r\n",
            b"\n",
            b'Content-Disposition: form-data; name="files"; filename="main.py"\r\n\r\n',
            b'Content-Disposition: form-data; name="files"; filename="a.zip"\r\n\r\n',
            b'Content-Disposition: form-data; name="files"; filename="\xff\xfe"\r\n\r\n',
            b'Content-Disposition: form-data; name="manifest"\r\n\r\n',
            b'Content-Disposition: form-data; name="manifest"; filename="x"\r\n\r\n',
            b"Content-Disposition: form-data\r\n\r\n",
            b"Content-Disposition: attachment; name\r\n\r\n",
            b"Content-Type: text/plain; charset=utf-7\r\n",
            b"Content-Transfer-Encoding: base64\r\n",
            b"Header without colon\r\n\r\n",
            b'{"timeout": 1}\r\n',
            b"PK\x05\x06",
        ]
    ),
    st.binary(max_size=30),
)
KINDS = st.sampled_from(
    [
        "multipart/form-data; boundary=b",
        "multipart/form-data; boundary=b; charset=utf-16",
        "multipart/form-data; boundary=b; charset=nonsense",
        'multipart/form-data; boundary="b"',
        "multipart/form-data; boundary=" + "b" * 200,
        "multipart/form-data",
        "MULTIPART/FORM-DATA; BOUNDARY=b",
    ]
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces=st.lists(PIECES, max_size=14), kind=KINDS)
def test_no_multipart_body_is_answered_with_a_fault(node: Node, pieces: list[bytes], kind: str) -> None:
    answer = node.client.post("/submit", content=b"".join(pieces), headers={"Content-Type": kind})
    assert answer.status_code in (200, 400)
    assert ("error" in answer.json()) is (answer.status_code == 400)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.text(max_size=40))
def test_no_path_is_answered_with_a_fault(node: Node, path: str) -> None:
    job_id = node.submit()
    for prefix in ("/", "/status/", "/logs/", "/download/", f"/download/{job_id}/", "/jobs/"):
        try:
            url = httpx.URL(str(node.client.base_url)).copy_with(path=prefix + path)
        except httpx.InvalidURL:
            continue
        answer = node.client.get(url)
        assert answer.status_code < 500
        assert answer.status_code == 200 or "error" in answer.json()
