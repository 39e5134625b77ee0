"""What an installation holds."""

import http.server
import re
import socket
import subprocess
import sys
import threading
import zipfile
from pathlib import Path
from typing import Any

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
    paths = (path.relative_to(ROOT / "conf") for path in (ROOT / "conf").rglob("*.yaml"))
    configs = {f"search/conf/{path}" for path in paths}
    devices = {str(p.relative_to(ROOT)) for p in (ROOT / "pruning/catalogue/device").iterdir()}
    assert len(devices) > 10
    assert {name for name in names if name.endswith(".yaml")} == configs | devices
    assert {f"{top}/py.typed" for top in tops} <= set(names)
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
    templates = {
        str(p.relative_to(ROOT)) for p in (ROOT / "tracking" / "pages" / "templates").iterdir()
    }
    assert len(templates) > 5
    assert templates <= set(names)


def make_torch(index: str, venv: Path) -> str:
    """What `make torch` says."""
    done = subprocess.run(
        ["make", "--no-print-directory", "torch", f"TORCH_INDEX={index}", f"VENV={venv}"],
        cwd=ROOT, capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    (line,) = done.stdout.splitlines()
    return line


@pytest.mark.slow
def test_an_index_that_does_not_answer_is_not_waited_for(tmp_path: Path) -> None:
    """One that accepts connections and is silent keeps pip for many minutes."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for index in (f"http://127.0.0.1:{silent.getsockname()[1]}", "http://127.0.0.1:9"):
            said = make_torch(index, tmp_path / "none")
            assert said == f"torch: from the default index, as {index} does not answer"


@pytest.mark.slow
def test_an_index_that_answers_is_asked_for_torch_alone(tmp_path: Path) -> None:
    if sys.platform != "linux":
        pytest.skip("elsewhere the default index has the CPU build")
    pages = tmp_path / "pages"
    (pages / "torch").mkdir(parents=True)
    (pin,) = re.findall(r"^torch==(.*)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    wheel = f"torch-{pin}+cpu-py3-none-any.whl"
    with zipfile.ZipFile(pages / "torch" / wheel, "w") as file:
        info = f"torch-{pin}+cpu.dist-info"
        file.writestr("torch/__init__.py", "")
        file.writestr(
            f"{info}/METADATA",
            f"Metadata-Version: 2.1\nName: torch\nVersion: {pin}+cpu\nRequires-Dist: nosuch\n",
        )
        file.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        file.writestr(f"{info}/RECORD", "")
    (pages / "torch" / "index.html").write_text(f'<a href="{wheel}">{wheel}</a>')
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    asked: list[str] = []

    class Pages(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(pages))

        def log_request(self, *_: object) -> None:
            asked.append(self.path)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        index = f"http://127.0.0.1:{server.server_port}"
        said = make_torch(index, tmp_path / "venv")
        server.shutdown()
    assert said == f"torch: the CPU build, from {index}"
    assert list((tmp_path / "venv").glob("lib/*/site-packages/torch/__init__.py"))
    assert {path.split("/")[1] for path in asked} == {"torch"}
