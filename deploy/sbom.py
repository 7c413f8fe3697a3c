"""What is in an image, as a CycloneDX 1.6 document: Debian's packages and Python's, as the image itself lists them.

`python3 deploy/sbom.py IMAGE` prints it. Standard library and the docker command only. The image is started without
network, and its package databases are read; nothing is guessed from file names.
"""

import argparse
import json
import subprocess
import sys
from typing import Any
from urllib.parse import quote

DPKG = (
    "dpkg-query",
    "--show",
    "--showformat",
    "${binary:Package}\\t${Version}\\t${Architecture}\\t${source:Package}\\n",
)
PYTHON = (
    "python3",
    "-c",
    "import importlib.metadata as m\nfor d in m.distributions(): print(d.name, d.version, sep='\\t')",
)


def in_image(image: str, *command: str) -> str:
    """What a program of the image prints. RuntimeError when it fails."""
    limits = ["--rm", "--network", "none", "--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]
    run = subprocess.run(
        ["docker", "run", *limits, "--entrypoint", command[0], image, *command[1:]],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if run.returncode != 0:
        raise RuntimeError(f"{command[0]} in {image}: {run.stderr.strip()}")
    return run.stdout


def component(name: str, version: str, purl: str) -> dict[str, str]:
    """One package."""
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}


def debian_packages(image: str) -> list[dict[str, str]]:
    """What dpkg installed."""
    found = []
    for line in in_image(image, *DPKG).splitlines():
        package, version, architecture, source = line.split("\t")
        name = package.partition(":")[0]
        purl = f"pkg:deb/debian/{quote(name)}@{quote(version, safe='')}?arch={architecture}&upstream={quote(source)}"
        found.append(component(name, version, purl))
    return found


def python_packages(image: str) -> list[dict[str, str]]:
    """What pip installed into the image's environment; none where there is no Python."""
    try:
        lines = in_image(image, *PYTHON).splitlines()
    except RuntimeError as error:
        if "executable file not found" in str(error):
            return []
        raise
    pairs = sorted({tuple(line.split("\t")) for line in lines})
    return [component(name, version, f"pkg:pypi/{quote(name.lower())}@{quote(version)}") for name, version in pairs]


def document(image: str) -> dict[str, Any]:
    """The whole document."""
    inspect = subprocess.run(
        ["docker", "image", "inspect", image], capture_output=True, text=True, timeout=30, check=True
    )
    shown = json.loads(inspect.stdout)[0]
    labels = shown["Config"].get("Labels") or {}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "container",
                "bom-ref": shown["Id"],
                "name": labels.get("org.opencontainers.image.title", image),
                "version": labels.get("org.opencontainers.image.version", "unknown"),
                "hashes": [{"alg": "SHA-256", "content": shown["Id"].removeprefix("sha256:")}],
                "properties": [{"name": name, "value": value} for name, value in sorted(labels.items())],
            }
        },
        "components": debian_packages(image) + python_packages(image),
    }


def main() -> int:
    """Entry point; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("image")
    try:
        print(json.dumps(document(parser.parse_args().image), indent=1))
    except (RuntimeError, OSError, subprocess.SubprocessError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
