"""From a claimed job to a sandrun upload."""

import base64
import io
import json
import tarfile
from typing import Any

import pytest

from agent.errors import BadSubmissionError
from agent.model import Job
from agent.submission import Body, build, entrypoint_of
from unit.agent.fake_sandrun import parse_multipart


def job(**fields: Any) -> Job:
    return Job.from_wire({"id": "j", "fence": 1, "code": "print(1)", "interpreter": "python3", **fields})


def unpack(body: Body) -> tuple[dict[str, bytes], dict[str, Any]]:
    parts = parse_multipart(body.content_type, body.data)
    manifest = json.loads(parts.pop("manifest"))
    if set(parts) == {"job.tar.gz"}:
        with tarfile.open(fileobj=io.BytesIO(parts["job.tar.gz"])) as archive:
            members = archive.getmembers()
            parts = {m.name: archive.extractfile(m).read() for m in members}  # type: ignore[union-attr]
    return parts, manifest


@pytest.mark.parametrize(
    ("interpreter", "name"),
    [
        ("python3", "main.py"),
        ("python3.11", "main.py"),
        ("node", "index.js"),
        ("bash", "run.sh"),
        ("sh", "run.sh"),
        ("ruby", "main.rb"),
        ("perl", "main.pl"),
        ("cobol", "main.txt"),
    ],
)
def test_file_is_named_after_the_interpreter(interpreter: str, name: str) -> None:
    assert entrypoint_of(job(interpreter=interpreter)) == name


def test_limits_are_passed_on_when_the_job_has_them() -> None:
    limits = {"timeout": 9, "memory_mb": 64, "cpu_seconds": 0.5}
    for plain in (True, False):
        _, manifest = unpack(build(job(**limits), plain_manifest=plain))
        assert {name: manifest[name] for name in limits} == limits
        _, manifest = unpack(build(job(), plain_manifest=plain))
        assert not {"memory_mb", "cpu_seconds"} & manifest.keys()


def test_code_and_manifest() -> None:
    parts, manifest = unpack(
        build(job(args=["a b", "é"], env={"A": "1"}, stdin="in", timeout=2.5), plain_manifest=False)
    )
    assert parts == {"main.py": b"print(1)"}
    assert manifest == {
        "entrypoint": "main.py",
        "interpreter": "python3",
        "args": ["a b", "é"],
        "timeout": 2.5,
        "env": {"A": "1"},
        "stdin": "in",
    }


def test_plain_files_are_parts_of_their_own() -> None:
    files = {"data.txt": "text", "raw.bin": {"base64": base64.b64encode(b"\0\r\n--\xff").decode()}}
    parts, _ = unpack(build(job(files=files), plain_manifest=True))
    assert parts == {"data.txt": b"text", "raw.bin": b"\0\r\n--\xff", "main.py": b"print(1)"}


def test_code_replaces_no_file() -> None:
    files = {"main.py": "x = 1", "main_1.py/f": "y"}
    parts, manifest = unpack(build(job(files=files), plain_manifest=False))
    assert parts == {"main.py": b"x = 1", "main_1.py/f": b"y", "main_2.py": b"print(1)"}
    assert manifest["entrypoint"] == "main_2.py"


@pytest.mark.parametrize(
    "name",
    ["dir/data.txt", "with space", 'quo"te\r\n', "data.zip", "data.tar", "DATA.ZIP", "naïve.txt", "x" * 150],
)
def test_names_that_a_part_cannot_carry_are_packed(name: str) -> None:
    body = build(job(files={name: "text"}), plain_manifest=False)
    assert parse_multipart(body.content_type, body.data).keys() == {"job.tar.gz", "manifest"}
    parts, _ = unpack(body)
    assert parts == {name: b"text", "main.py": b"print(1)"}


def test_entrypoint_among_the_files_is_not_overwritten() -> None:
    parts, manifest = unpack(
        build(job(code="", entrypoint="pkg/app.py", files={"pkg/app.py": "print(2)"}), plain_manifest=False)
    )
    assert parts == {"pkg/app.py": b"print(2)"}
    assert manifest["entrypoint"] == "pkg/app.py"


def test_code_cannot_forge_a_part() -> None:
    first = build(job(), plain_manifest=False)
    boundary = first.content_type.split("boundary=")[1]
    code = f'\r\n--{boundary}\r\nContent-Disposition: form-data; name="manifest"\r\n\r\n{{}}\r\n--{boundary}--\r\n'
    parts, manifest = unpack(build(job(code=code), plain_manifest=False))
    assert parts["main.py"] == code.encode()
    assert manifest["interpreter"] == "python3"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"code": "\ud800"}, "code is not valid Unicode"),
        ({"args": ["\udfff"]}, "manifest is not valid Unicode"),
        ({"files": {"a": {"base64": "%%"}}}, "file 'a' is not valid base64"),
        ({"files": {"a": 5}}, "file 'a' is neither text nor"),
    ],
)
def test_what_cannot_be_sent_says_why(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(BadSubmissionError, match=said):
        build(job(**fields), plain_manifest=False)
