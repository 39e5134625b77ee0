"""What an installation holds."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
def test_the_wheel_holds_three_packages_and_every_config(tmp_path):
    copy = tmp_path / "source"
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    for name in listed:
        if (ROOT / name).is_file() and not name.startswith("tests/"):
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_bytes((ROOT / name).read_bytes())
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation"]
    subprocess.run(
        [*command, "-w", str(tmp_path), str(copy)], check=True, capture_output=True, text=True
    )
    (wheel,) = tmp_path.glob("paring-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert tops == {"pruning", "search", "tracking"}
    configs = {str(p.relative_to(ROOT / "conf")) for p in (ROOT / "conf").rglob("*.yaml")}
    assert {n.removeprefix("search/conf/") for n in names if n.endswith(".yaml")} == configs
    modules = {
        str(p.relative_to(ROOT))
        for package in ("pruning", "search", "tracking")
        for p in (ROOT / package).rglob("*.py")
    }
    assert modules <= set(names)
    deploy = ROOT / "pruning" / "deploy"
    static = {
        str(p.relative_to(ROOT)) for part in ("c", "board") for p in (deploy / part).iterdir()
    }
    assert len(static) > 5
    assert static <= set(names)
