"""What is made of something else is what would be made of it now, and the chart's files are well formed."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import yaml

from tests.chart.helm import Helm3, Helm4
from tests.chart.test_renders import EVERYTHING
from tests.chart.tools import CHART, EXAMPLES, HERE, ROOT, attempt, run, values_of
from tests.chart.values_schema import FILE

# What checkov would have otherwise, and why it stays.
SKIPPED = {
    "CKV_K8S_11": "no CPU limit: throttling would make sign-ins slow and protect nobody, memory is limited",
    "CKV_K8S_43": "a digest is the admin's to give (image.digest); without one the tag is the chart's version",
    "CKV_K8S_15": "pullPolicy: IfNotPresent lets replicas start while the registry is down; a digest makes it exact",
    "CKV_K8S_21": "the namespace is Helm's --namespace; checkov sees `default` where a manifest names none",
    "CKV_K8S_8": "the pods of checks run once and end",
    "CKV_K8S_9": "the pods of checks run once and end",
    "CKV2_K8S_6": "networkPolicy.enabled switches one on: which namespaces may come in is the cluster's",
}


def test_the_schema_is_one_of_draft_07() -> None:
    run("check-jsonschema", "--check-metaschema", FILE)


def test_the_schema_knows_every_value_and_no_other() -> None:
    def keys(part: object, schema: dict[str, object], path: str = "") -> list[str]:
        if not isinstance(part, dict) or "properties" not in schema or path == "config.":
            return []
        properties = schema["properties"]
        assert isinstance(properties, dict)
        wrong = [path + key for key in part.keys() ^ properties.keys()]
        return wrong + [one for key in part for one in keys(part[key], properties.get(key, {}), f"{path}{key}.")]

    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    assert keys(values, json.loads(FILE.read_text(encoding="utf-8"))) == []


def test_the_table_of_values_is_what_the_comments_make_of_it(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    shutil.copy(CHART / "README.md", readme)
    maker = HERE / "node_modules/@bitnami/readme-generator-for-helm/bin/index.js"
    run("node", maker, "--values", CHART / "values.yaml", "--readme", readme)
    assert readme.read_text(encoding="utf-8") == (CHART / "README.md").read_text(encoding="utf-8"), "make chart-table"


def test_a_comment_in_brackets_does_not_spoil_the_table() -> None:
    readme = (CHART / "README.md").read_text(encoding="utf-8")
    assert [line for line in readme.splitlines() if line.startswith("| `") and "` | ]" in " ".join(line.split())] == []


def test_version_and_image_are_the_projects() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f'version = "{chart["appVersion"]}"' in project


def test_the_readmes_values_are_the_smallest_example() -> None:
    found = re.search(r"```yaml\n(.*?)```", (CHART / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL)
    assert found
    assert yaml.safe_load(found[1]) == values_of("minimal")


def test_helm_lint_has_nothing_to_say() -> None:
    for example in EXAMPLES:
        assert "0 chart(s) failed" in run("helm", "lint", "--strict", CHART, "--values", example)


def test_yamllint_has_nothing_to_say(helm_3: Helm3) -> None:
    files = [CHART / "Chart.yaml", CHART / "values.yaml", *EXAMPLES, *sorted((CHART / "monitoring").glob("*.yaml"))]
    run("yamllint", "--strict", "--config-data", lint_rules(braces="{max-spaces-inside: 0}"), *files)
    # Rendered, layout is the serializer's; what is left is what makes a file mean something else.
    rules = lint_rules("indentation", "comments", "empty-lines")
    run("yamllint", "--strict", "--config-data", rules, "-", text=helm_3.render(values_of("minimal") | EVERYTHING))


def lint_rules(*switched_off: str, **rules: str) -> str:
    """Return yamllint's rules: its own, but for these."""
    off = dict.fromkeys((*switched_off, "document-start", "line-length"), "disable")
    return f"{{extends: default, rules: {{{', '.join(f'{name}: {rule}' for name, rule in (off | rules).items())}}}}}"


def test_checkov_finds_what_is_explained_and_nothing_else(helm_3: Helm3, tmp_path: Path) -> None:
    for example in ("minimal", "monitoring"):
        (tmp_path / f"{example}.yaml").write_text(helm_3.render(values_of(example)), encoding="utf-8")
    options = ("--framework", "kubernetes", "--skip-download", "--compact", "--quiet", "--output", "json")
    found = json.loads(attempt("checkov", "--directory", tmp_path, *options, folder=tmp_path).stdout)
    assert {check["check_id"] for check in found["results"]["failed_checks"]} == SKIPPED.keys()


def test_a_package_holds_no_examples(tmp_path: Path, helm_4: Helm4) -> None:
    run("helm", "package", CHART, "--destination", tmp_path)
    (package,) = tmp_path.glob("*.tgz")
    listed = run("tar", "--list", "--file", package)
    assert "comm100-sso-broker/monitoring/alerts.yaml" in listed
    assert "examples" not in listed
    rendered = helm_4.ask(
        action="render", chart=str(package), values=values_of("monitoring"), name="sso", namespace="identity"
    )
    assert any(name.endswith("prometheusrule.yaml") for name in rendered)
