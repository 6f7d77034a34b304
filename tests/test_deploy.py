"""The files with which people run agents are whole: they parse, fit together, and name only what exists."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest

from swim.cli.agent import command as agent
from swim.cli.members import command as members
from swim.metrics import _COUNTERS, _HELP, _LABEL
from tests.house import ROOT

yaml = pytest.importorskip("yaml")

DEPLOY = ROOT / "examples/deploy"
METRICS = {f"swim_{name}_total" if name in _COUNTERS else f"swim_{name}" for name in _HELP}
KINDS = {
    "Service": "core.v1.Service",
    "StatefulSet": "apps.v1.StatefulSet",
    "PodDisruptionBudget": "policy.v1.PodDisruptionBudget",
    "NetworkPolicy": "networking.v1.NetworkPolicy",
}
"""What is deployed, and where its schema is."""
LABELS = {"job", "node", "source", *_LABEL.values()}


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((DEPLOY / name).read_text(encoding="utf-8")))


def misfits(document: dict[str, Any], schema: dict[str, Any]) -> list[str]:
    """What a published schema finds wrong with it, with the place."""
    jsonschema = pytest.importorskip("jsonschema", reason="needs the extra test")
    validator = jsonschema.validators.validator_for(schema)(schema)
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(document)]


def data(name: str) -> dict[str, Any]:
    return json.loads((ROOT / "tests/data" / name).read_text(encoding="utf-8"))


def options_of(command: click.Command) -> set[str]:
    return {option for parameter in command.params for option in parameter.opts if option.startswith("--")}


def check_arguments(command: click.Command, arguments: list[str]) -> None:
    """Every option of these exists."""
    given = {argument.partition("=")[0] for argument in arguments if argument.startswith("--")}
    assert given
    assert given <= options_of(command)


def check_query(expression: str) -> None:
    """It asks for metrics and labels that there are."""
    asked = set(re.findall(r"swim_\w+", expression))
    assert asked
    assert asked <= METRICS
    selected = [each.split(",") for each in re.findall(r"\{(.*?)\}", expression)]
    labels = {re.split(r"=~?|!=", label)[0].strip() for each in selected for label in each}
    grouped = {label.strip() for each in re.findall(r"by \((.*?)\)", expression) for label in each.split(",")}
    assert labels | grouped <= LABELS
    assert expression.count("(") == expression.count(")")


# --- systemd


def unit() -> str:
    return (DEPLOY / "swim-agent.service").read_text(encoding="utf-8")


def test_the_unit_starts_an_agent_with_options_that_exist() -> None:
    (line,) = re.findall(r"^ExecStart=(.*)$", unit(), re.MULTILINE)
    words = line.split()
    assert words[:2] == ["/opt/swim/bin/swim", "agent"]
    check_arguments(agent, words)
    assert "Type=notify" in unit()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze on this machine")
def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    path = tmp_path / "swim-agent.service"
    path.write_text(unit().replace("/opt/swim/bin/swim", sys.executable), encoding="utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", str(path)], capture_output=True, text=True, timeout=60, check=False
    )
    own = [line for line in done.stderr.splitlines() if "swim-agent" in line]
    assert (done.returncode, own) == (0, []), done.stderr


# --- Kubernetes, compose


def test_the_manifests_fit_together() -> None:
    found = {document["kind"]: document for document in documents("kubernetes.yaml")}
    assert list(found) == list(KINDS)
    versions = {kind: document["apiVersion"] for kind, document in found.items()}
    assert versions == {
        "Service": "v1",
        "StatefulSet": "apps/v1",
        "PodDisruptionBudget": "policy/v1",
        "NetworkPolicy": "networking.k8s.io/v1",
    }
    labels = found["StatefulSet"]["spec"]["template"]["metadata"]["labels"]
    selectors = [
        found["Service"]["spec"]["selector"],
        found["StatefulSet"]["spec"]["selector"]["matchLabels"],
        found["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        found["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
    ]
    assert all(selector.items() <= labels.items() for selector in selectors)
    service = found["Service"]["spec"]
    assert service["clusterIP"] == "None"
    assert service["publishNotReadyAddresses"] is True
    assert found["StatefulSet"]["spec"]["serviceName"] == found["Service"]["metadata"]["name"]


def schema_of(kind: str) -> dict[str, Any]:
    return {**data("kubernetes-1.25.json"), "$ref": f"#/$defs/io.k8s.api.{KINDS[kind]}"}


@pytest.mark.parametrize("kind", KINDS)
def test_the_manifests_are_what_kubernetes_takes(kind: str) -> None:
    (document,) = [each for each in documents("kubernetes.yaml") if each["kind"] == kind]
    assert misfits(document, schema_of(kind)) == []


def test_a_manifest_that_kubernetes_would_not_take_is_found() -> None:
    document = next(each for each in documents("kubernetes.yaml") if each["kind"] == "StatefulSet")
    pod = document["spec"]["template"]["spec"]
    pod["terminationGracePeriod"] = 15
    pod["containers"][0]["ports"][0]["containerPort"] = "7946"
    del document["spec"]["serviceName"]
    assert len(misfits(document, schema_of("StatefulSet"))) == 3


def test_the_compose_file_is_what_the_specification_says() -> None:
    (document,) = documents("compose.yaml")
    schema = data("compose-spec.json")
    assert misfits(document, schema) == []
    document["services"]["swim"]["replicas"] = 3
    assert len(misfits(document, schema)) == 1, "a key in the wrong place is found"


def test_the_pods_run_an_agent_that_is_reached_where_the_service_says() -> None:
    found = {document["kind"]: document["spec"] for document in documents("kubernetes.yaml")}
    (container,) = found["StatefulSet"]["template"]["spec"]["containers"]
    arguments = container["args"]
    assert arguments[0] == "agent"
    check_arguments(agent, arguments)
    given = dict(argument.split("=", 1) for argument in arguments if "=" in argument)
    service = next(each for each in documents("kubernetes.yaml") if each["kind"] == "Service")
    assert given["--join"] == service["metadata"]["name"]
    port = int(given["--bind"].rpartition(":")[2])
    ports = {(each["port"], each["protocol"]) for each in found["Service"]["ports"]}
    assert ports == {(port, "UDP"), (port, "TCP")}
    allowed = {(each["port"], each["protocol"]) for each in found["NetworkPolicy"]["ingress"][0]["ports"]}
    assert allowed == ports
    name, replicas = service["metadata"]["name"], found["StatefulSet"]["replicas"]
    assert set(given["--voters"].split(",")) <= {f"{name}-{number}" for number in range(replicas)}
    variables = {variable["name"] for variable in container["env"]}
    assert set(re.findall(r"\$\((\w+)\)", " ".join(arguments))) == variables
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in found["StatefulSet"]["template"]["spec"]["volumes"]}
    probe = container["readinessProbe"]
    assert probe["exec"]["command"][:2] == ["swim", "members"]
    check_arguments(members, probe["exec"]["command"])


def test_compose_runs_several_agents_with_one_seed() -> None:
    (document,) = documents("compose.yaml")
    service = document["services"]["swim"]
    check_arguments(agent, service["command"])
    assert service["command"][service["command"].index("--join") + 1] == "swim"
    assert service["deploy"]["replicas"] == 3
    context = (DEPLOY / service["build"]["context"]).resolve()
    assert (context / service["build"]["dockerfile"]).samefile(DEPLOY / "Dockerfile")
    check_arguments(members, service["healthcheck"]["test"])


# --- metrics


def test_alerts_ask_for_metrics_that_there_are() -> None:
    (document,) = documents("prometheus-rules.yaml")
    rules = [rule for group in document["groups"] for rule in group["rules"]]
    assert len({rule["alert"] for rule in rules}) == len(rules) > 5
    for rule in rules:
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert set(rule["annotations"]) == {"summary", "description"}
        assert re.fullmatch(r"\d+[smh]", rule.get("for", "1m"))
        check_query(rule["expr"])
        for label in re.findall(r"\$labels\.(\w+)", str(rule["annotations"])):
            assert label in LABELS


def test_the_dashboard_asks_for_metrics_that_there_are() -> None:
    board = json.loads((DEPLOY / "grafana-dashboard.json").read_text(encoding="utf-8"))
    panels = board["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels) > 8
    for panel in panels:
        assert panel["title"]
        assert panel["targets"]
        for target in panel["targets"]:
            check_query(target["expr"])


def promtool(*arguments: str) -> str:
    path = shutil.which("promtool")
    if path is None:
        pytest.skip("no promtool on this machine: it is in Debian's package prometheus")
    done = subprocess.run([path, *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_prometheus_takes_the_alerts() -> None:
    assert "8 rules found" in promtool("check", "rules", str(DEPLOY / "prometheus-rules.yaml"))


def test_prometheus_takes_the_queries_of_the_dashboard(tmp_path: Path) -> None:
    board = json.loads((DEPLOY / "grafana-dashboard.json").read_text(encoding="utf-8"))
    queries = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    rules = [
        {"record": f"query:{number}", "expr": re.sub(r"\$__\w+", "5m", query)}
        for number, query in enumerate(queries)
    ]
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}), encoding="utf-8")
    assert f"{len(queries)} rules found" in promtool("check", "rules", str(path))


@pytest.mark.parametrize("query", ["swim_membres", 'swim_members{stat="alive"}', "sum by (pod) (swim_acks)"])
def test_a_query_for_what_is_not_there_is_found(query: str) -> None:
    with pytest.raises(AssertionError):
        check_query(query)


def test_the_page_names_every_file() -> None:
    page = (DEPLOY / "README.md").read_text(encoding="utf-8")
    files = {path.name for path in DEPLOY.iterdir()} - {"README.md"}
    assert {name for name in files if f"]({name})" not in page} == set()
