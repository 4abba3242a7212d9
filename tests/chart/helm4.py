"""Helm 4's engine behind standard input and output: a JSON request a line in, a JSON answer a line out.

It runs in the chart's environment, which has no part of this project.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import helm_python


def render(request: dict[str, Any]) -> Any:
    """Render a chart offline."""
    with helm_python.Chart.load(request["chart"]) as chart:
        return chart.render(request["values"], name=request["name"], namespace=request["namespace"])


def act(request: dict[str, Any]) -> Any:
    """Install, upgrade, roll back, test or uninstall a release in a cluster."""
    with helm_python.Config(kube_apiserver=request["cluster"], namespace=request["namespace"]) as config:
        return getattr(config, request["action"])(*request["arguments"], **request["options"])


def main() -> None:
    """Answer until the other side ends."""
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = {"result": render(request) if request["action"] == "render" else act(request)}
        except helm_python.HelmError as refused:
            answer = {"refused": str(refused)}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
