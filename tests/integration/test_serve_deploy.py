"""What is under deploy/ is valid and closed, and its commands are run for real, as far as one machine can."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import kubernetes_validate
import pytest
import yaml
from typer.main import get_command

from intact.cli import app
from intact.serve.state import Role
from support import databases
from support.serving import Site, make_site
from support.web_certificates import WebAuthority

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
VERSIONS = ("1.27", "1.31", "1.37")
SECRETS = Path("/run/secrets/intact")


def documents(folder: str) -> list[dict[str, Any]]:
    """Every object in the files of a folder."""
    paths = sorted((DEPLOY / folder).glob("*.yaml"))
    return [each for path in paths for each in yaml.safe_load_all(path.read_text())]


KUBERNETES, KSERVE = documents("kubernetes"), documents("kserve")


def of_kind(kind: str) -> list[dict[str, Any]]:
    """All objects of a kind."""
    return [each for each in KUBERNETES + KSERVE if each["kind"] == kind]


def pods() -> list[Any]:
    """What pods are made from, with the name of the file that says so."""
    (deployment,), (runtime,) = of_kind("Deployment"), of_kind("ClusterServingRuntime")
    return [
        pytest.param(deployment["spec"]["template"]["spec"], id="kubernetes"),
        pytest.param(runtime["spec"], id="kserve"),
    ]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("document", KUBERNETES, ids=lambda each: f"{each['kind']}-{each['metadata']['name']}")
def test_manifests_are_what_kubernetes_takes(document: dict[str, Any], version: str) -> None:
    kubernetes_validate.validate(document, version, strict=True)


@pytest.mark.parametrize("pod", pods())
def test_a_pod_by_itself_is_what_kubernetes_takes(pod: dict[str, Any]) -> None:
    known = ("containers", "volumes", "securityContext")  # a runtime of KServe has more of its own
    spec = {name: pod[name] for name in known}
    document = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "one"}, "spec": spec}
    kubernetes_validate.validate(document, VERSIONS[-1], strict=True)


@pytest.mark.parametrize("pod", pods())
def test_a_pod_has_no_more_rights_than_it_needs(pod: dict[str, Any]) -> None:
    whole = pod["securityContext"]
    assert whole["runAsNonRoot"] is True
    assert whole["runAsUser"] > 0
    assert whole["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in pod["containers"]:
        own = container["securityContext"]
        assert own["readOnlyRootFilesystem"] is True
        assert own["allowPrivilegeEscalation"] is False
        assert own["capabilities"] == {"drop": ["ALL"]}
        assert all(mount["readOnly"] for mount in container["volumeMounts"] if mount["mountPath"] != "/tmp")  # noqa: S108
        assert container["resources"]["limits"]["memory"]
    (deployment,), (service,) = of_kind("Deployment"), of_kind("InferenceService")
    assert deployment["spec"]["template"]["spec"]["automountServiceAccountToken"] is False
    assert service["spec"]["predictor"]["automountServiceAccountToken"] is False


@pytest.mark.parametrize("pod", pods())
def test_secrets_are_files_and_nothing_secret_is_written_down(pod: dict[str, Any]) -> None:
    (container,) = pod["containers"]
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    mounted = [mount["mountPath"] for mount in container["volumeMounts"] if "secret" in volumes[mount["name"]]]
    probe = container["readinessProbe"]["exec"]["command"]
    named = re.findall(r"/run/secrets/[^\s]+", " ".join([*container["args"], *probe]))
    assert named
    assert all(any(Path(path).is_relative_to(folder) for folder in mounted) for path in named)
    assert all(each.get("valueFrom") is None for each in container["env"])
    text = yaml.safe_dump(pod)
    assert "intact_" not in text
    assert "postgresql" not in text
    assert "Authorization" not in text


def test_replicas_outlive_each_other_and_a_stop_has_the_time_it_needs() -> None:
    (deployment,), (budget,), (service,) = of_kind("Deployment"), of_kind("PodDisruptionBudget"), of_kind("Service")
    labels = {"app.kubernetes.io/name": "intact"}
    assert deployment["spec"]["replicas"] == 2 > budget["spec"]["minAvailable"] == 1
    assert deployment["spec"]["selector"]["matchLabels"] == budget["spec"]["selector"]["matchLabels"] == labels
    assert service["spec"]["selector"] == labels
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    drain = int(option(container, "--drain"))
    assert pod["terminationGracePeriodSeconds"] > drain + int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"https": int(option(container, "--port")), "grpc": int(option(container, "--grpc-port"))}
    assert {port["targetPort"] for port in service["spec"]["ports"]} == ports.keys()


def test_the_network_is_closed_but_for_what_is_named() -> None:
    nobody, ours = sorted(of_kind("NetworkPolicy"), key=lambda each: len(str(each)))
    assert nobody["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    rules = [*ours["spec"]["ingress"], *ours["spec"]["egress"]]
    assert all(rule.get("ports") and (rule.get("from") or rule.get("to")) for rule in rules)


def test_the_runtime_of_kserve_has_what_kserve_wants() -> None:
    (runtime,), (service,) = of_kind("ClusterServingRuntime"), of_kind("InferenceService")
    assert runtime["apiVersion"] == "serving.kserve.io/v1alpha1"
    assert service["apiVersion"] == "serving.kserve.io/v1beta1"
    (container,) = runtime["spec"]["containers"]
    assert container["name"] == "kserve-container"
    (made_for,) = runtime["spec"]["supportedModelFormats"]
    model = service["spec"]["predictor"]["model"]
    assert model["modelFormat"] == {"name": made_for["name"], "version": made_for["version"]}
    assert model["runtime"] == runtime["metadata"]["name"]
    assert model["protocolVersion"] in runtime["spec"]["protocolVersions"] == ["v2"]
    assert container["ports"][0]["containerPort"] == int(option(container, "--port"))
    assert service["spec"]["predictor"]["minReplicas"] >= 2


@pytest.mark.parametrize("pod", pods())
def test_every_option_exists(pod: dict[str, Any]) -> None:
    command = get_command(app).commands["serve"]  # type: ignore[attr-defined]
    known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    (container,) = pod["containers"]
    assert container["args"][0] == "serve"
    used = [word.partition("=")[0] for word in container["args"] if word.startswith("--")]
    assert set(used) <= known
    assert len(set(used)) == len(used)


def option(container: dict[str, Any], name: str) -> str:
    """The value of an option of the server."""
    (found,) = [word.partition("=")[2] for word in container["args"] if word.startswith(f"{name}=")]
    return str(found)


@pytest.fixture(scope="module")
def mounted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, dict[str, str]]]:
    """What the secrets and volumes of the manifests hold, and the folder that each lies in here."""
    folder = tmp_path_factory.mktemp("deploy")
    with databases.postgres() as cluster, databases.redis(folder / "redis") as redis:
        site = make_site(folder, cluster.url())
        secrets, tls, models = folder / "secrets", WebAuthority(folder), folder / "models"
        for made in (secrets, models):
            made.mkdir()
        pair = tls.pair("server")
        contents = {
            "identity.key": (site.keys / "identity.key").read_bytes(),
            "signing.pub": (site.keys / "signing.pub").read_bytes(),
            "receipt.key": (site.keys / "signing.key").read_bytes(),
            "pepper": (site.folder / "pepper").read_bytes(),
            "state-url": site.state.encode(),
            "redis-url": f"redis://127.0.0.1:{redis.port}/0\n".encode(),
            "probe-key": f"{site.key('probe')}\n".encode(),
            "tls.crt": pair.certificate.read_bytes(),
            "tls.key": pair.key.read_bytes(),
        }
        for name, content in contents.items():
            (secrets / name).write_bytes(content)
            (secrets / name).chmod(0o400)
        (models / "digits.intact").symlink_to(site.models["tiny"])
        (models / "mounted").symlink_to(site.models["tiny"])
        places = {
            "/run/secrets/intact-tls": str(secrets),
            "/run/secrets/intact": str(secrets),
            "/mnt/models": str(models / "mounted"),
            "/models": str(models),
            "{{.Name}}": "digits",
        }
        yield site, places


@pytest.mark.parametrize("pod", pods())
def test_the_command_of_a_pod_serves_and_its_probe_says_so(
    mounted: tuple[Site, dict[str, str]], pod: dict[str, Any], tmp_path: Path
) -> None:
    site, places = mounted
    (container,) = pod["containers"]
    port = databases.free_port()
    places = {
        **places,
        "--host=0.0.0.0": "--host=127.0.0.1",
        f"--port={option(container, '--port')}": f"--port={port}",
        "--grpc-port=8001": "--grpc-port=0",
        f":{option(container, '--port')}/": f":{port}/",
    }
    environment = {each["name"]: here(each["value"], places) for each in container["env"]}
    environment = {**os.environ, **environment, "XDG_CACHE_HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}
    server = databases.Server(
        words=[sys.executable, "-m", "intact", *(here(word, places) for word in container["args"])],
        port=port,
        log=tmp_path / "log",
        means={"env": environment},
    )
    words = [here(word, places) for word in container["readinessProbe"]["exec"]["command"]]

    def probe(*, key: str | None = None) -> int:
        told = [sys.executable, *words[1:]]
        if key is not None:
            told[-1 if told[-1].endswith("key") else -2] = key
        return subprocess.run(told, env=environment, capture_output=True, timeout=30, check=False).returncode

    assert probe() == 1  # nobody listens yet
    server.start()
    try:
        assert probe() == 0
        stranger = tmp_path / "stranger-key"
        stranger.write_text("intact_aaaaaaaa_" + "b" * 43)
        assert probe(key=str(stranger)) == 1
        scheme = "https" if "--tls-cert" in " ".join(container["args"]) else "http"
        headers = {"authorization": f"Bearer {site.key('auditor', Role.AUDITOR)}"}
        url = f"{scheme}://127.0.0.1:{port}/v2/models/digits"
        assert httpx.get(url, headers=headers, verify=False).json()["name"] == "digits"  # noqa: S501 - the probe checks
    finally:
        server.stop()
    assert server.process is None


def here(word: str, places: dict[str, str]) -> str:
    """A word of a manifest, as it is on this machine."""
    longest = sorted(places, key=len, reverse=True)
    return re.sub("|".join(map(re.escape, longest)), lambda found: places[found[0]], word)


def test_the_image_runs_as_nobody_in_particular_and_installs_what_replicas_need() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    user = re.findall(r"^USER (\d+):(\d+)$", text, re.MULTILINE)
    assert user == [("10001", "10001")]
    extras = set(re.search(r"\.\[([a-z,]+)\]", text)[1].split(","))  # type: ignore[index]
    assert {"serve", "postgres"} <= extras
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert ignored[0] == "*"  # no key that lies about gets into an image
    copied = {word for line in re.findall(r"^COPY (?!--from)(.*)$", text, re.MULTILINE) for word in line.split()[:-1]}
    assert copied <= {line.removeprefix("!") for line in ignored if line.startswith("!")}
