"""The compose file: no secret in it, loopback only, images pinned, commands that exist."""

import re
from pathlib import Path

import pytest
import yaml

from search import cli

TEXT = (Path(__file__).parent.parent / "docker-compose.yml").read_text()
SERVICES = yaml.safe_load(TEXT)["services"]


def test_no_secret_is_in_the_file():
    for line in TEXT.splitlines():
        if re.search(r"PASSWORD\s*:", line):
            assert "${POSTGRES_PASSWORD:?" in line


def test_images_are_pinned_and_nothing_listens_beyond_loopback():
    images = [service["image"] for service in SERVICES.values() if "image" in service]
    images += re.findall(r"^\s*FROM (\S+)", TEXT, flags=re.MULTILINE)
    assert len(images) >= 2
    assert all(re.search(r":\d+\.\d+", image) for image in images)
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


@pytest.mark.parametrize("name", [n for n, s in SERVICES.items() if "command" in s])
def test_the_commands_compose(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    verb, *overrides = (
        re.sub(r"\$\{\w+:-(\w+)\}", r"\1", word) for word in SERVICES[name]["command"]
    )
    assert cli.run(verb, [*overrides, "--cfg", "job"]) == 0
    assert "paring" in capsys.readouterr().out
