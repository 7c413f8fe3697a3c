"""The images as they would be shipped: labelled, listed, and without a secret in any layer."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TAG = os.environ.get("SANDRUN_TAG", "latest")
IMAGES = [f"sandrun-{name}:{TAG}" for name in ("broker", "node", "caddy", "prometheus")]
LABELS = {f"org.opencontainers.image.{name}" for name in ("title", "version", "revision", "source", "created")}


def run(*command: str | Path, stdin: bytes | None = None) -> subprocess.CompletedProcess[str]:
    text = None if stdin is None else stdin.decode()
    return subprocess.run(command, input=text, capture_output=True, text=True, timeout=250, check=False)


@pytest.mark.parametrize("image", IMAGES)
def test_images_are_labelled_and_run_as_nobody_special(image: str) -> None:
    (shown,) = json.loads(run("docker", "image", "inspect", image).stdout)
    assert shown["Config"]["Labels"].keys() >= LABELS
    assert shown["Config"]["User"] == "1000:1000"


@pytest.mark.parametrize(
    ("image", "wanted"),
    [
        (IMAGES[0], {"pkg:pypi/uvicorn", "pkg:pypi/pydantic", "pkg:deb/debian/libc6", "pkg:deb/debian/python3"}),
        (IMAGES[1], {"pkg:deb/debian/bubblewrap", "pkg:deb/debian/ruby", "pkg:pypi/requests"}),
        (IMAGES[2], {"pkg:deb/debian/caddy", "pkg:deb/debian/ca-certificates"}),
        (IMAGES[3], {"pkg:deb/debian/prometheus", "pkg:deb/debian/promtool"}),
    ],
)
def test_the_bill_of_materials_names_every_package(image: str, wanted: set[str]) -> None:
    made = run(sys.executable, ROOT / "deploy/sbom.py", image)
    assert made.returncode == 0, made.stderr
    bill = json.loads(made.stdout)
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    references = [part["bom-ref"] for part in bill["components"]]
    assert len(references) == len(set(references)), "each once"
    assert wanted <= {part["purl"].partition("@")[0] for part in bill["components"]}
    assert all(part["version"] for part in bill["components"])


def test_no_layer_holds_a_secret() -> None:
    found = run(sys.executable, ROOT / "deploy/image_secrets.py", *IMAGES)
    assert (found.returncode, found.stdout) == (0, "no secret in any layer\n"), found.stderr


@pytest.fixture
def careless(tmp_path: Path) -> Iterator[str]:
    """An image with a key that a later layer deletes, a token in its environment, and a file named like one."""
    key = "-----BEGIN PRIVATE KEY-----\n" + "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQ\n" * 3
    (tmp_path / "key.pem").write_text(key)
    (tmp_path / ".netrc").write_text("machine x")
    (tmp_path / "empty").write_text("")
    (tmp_path / "Dockerfile").write_text(
        "FROM scratch\nLABEL sandrun-broker.test=images\nENV API_TOKEN=abc\n"
        "COPY key.pem /app/key.pem\nCOPY .netrc /app/.netrc\nCOPY empty /app/key.pem\n"
    )
    name = f"sandrun-test-careless-{os.getpid()}"
    built = run("docker", "build", "--quiet", "--tag", name, tmp_path)
    assert built.returncode == 0, built.stderr
    yield name
    run("docker", "image", "rm", "--force", name)


def test_the_search_finds_what_is_there(careless: str) -> None:
    found = run(sys.executable, ROOT / "deploy/image_secrets.py", careless)
    assert found.returncode == 1
    for word in ("key.pem: looks like", ".netrc: its name", "API_TOKEN"):
        assert word in found.stdout
