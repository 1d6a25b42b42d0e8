"""examples/jupyterhub/z2jh: the same as examples/jupyterhub/external, in the form of the chart."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from running_hub import EXAMPLES
from traitlets.config import Config, PyFileConfigLoader


@pytest.fixture
def values() -> dict[str, Any]:
    text = (EXAMPLES / "z2jh" / "values.yaml").read_text(encoding="utf-8")
    found: dict[str, Any] = yaml.safe_load(text)
    return found


@pytest.fixture
def external(monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.setenv("OLLAMA_SERVICE_TOKEN", "secret")
    folder = EXAMPLES / "external"
    return PyFileConfigLoader("jupyterhub_config.py", path=str(folder)).load_config()


def test_the_service_and_its_role_are_those_of_the_external_one(
    values: dict[str, Any], external: Config
) -> None:
    hub = values["hub"]
    services = [{"name": name, **service} for name, service in hub["services"].items()]
    roles = [{"name": name, **role} for name, role in hub["loadRoles"].items()]
    (theirs,) = external.JupyterHub.services
    assert services == [
        {key: value for key, value in theirs.items() if key != "api_token"}
        | {"url": "http://ollama:9999"}
    ]
    assert roles == external.JupyterHub.load_roles
    assert hub["config"]["JupyterHub"]["load_groups"] == external.JupyterHub.load_groups
    assert hub["config"]["Spawner"]["server_token_scopes"] == external.Spawner.server_token_scopes


def test_notebooks_get_the_same_variables(values: dict[str, Any], external: Config) -> None:
    config = Config({"KubeSpawner": {"environment": dict(values["singleuser"]["extraEnv"])}})
    exec(values["hub"]["extraConfig"]["ollama"], {"c": config})
    ours, theirs = config.KubeSpawner.environment, external.Spawner.environment
    assert ours.keys() == theirs.keys()
    for name in ("JUPYTER_OLLAMA_URL", "OLLAMA_HOST"):
        assert ours[name].removeprefix("http://proxy-public") == theirs[name][21:]
