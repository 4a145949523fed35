"""No pinned package has a published vulnerability, as far as the service that knows them can be reached from here."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SERVICE = "https://pypi.org/pypi/pip/json"
PATIENCE, MOST_SECONDS = 3, 15


def test_pinned_packages_have_no_known_vulnerability() -> None:
    try:
        with urllib.request.urlopen(SERVICE, timeout=PATIENCE) as answer:
            assert "vulnerabilities" in json.load(answer)
    except (OSError, ValueError, AssertionError) as error:
        pytest.skip(f"the service of pip-audit cannot be reached from here: {SERVICE}: {error}")
    options = ["--no-deps", "--disable-pip", "--progress-spinner=off", "--format=json", f"--timeout={PATIENCE}"]
    command = [sys.executable, "-m", "pip_audit", "-r", str(ROOT / "constraints.txt"), *options]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=MOST_SECONDS)
    except subprocess.TimeoutExpired:
        pytest.skip(f"pip-audit took more than {MOST_SECONDS} s; without a limit: make audit")
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except ValueError:
        pytest.skip(f"pip-audit cannot work here: {done.stderr.strip()[-200:]}")
    if not (known := [package for package in packages if "vulns" in package]):
        pytest.skip(f"the service knows none of the {len(packages)} packages, of which it may be a mirror without them")
    assert {package["name"]: package["vulns"] for package in known if package["vulns"]} == {}
