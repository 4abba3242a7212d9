"""axe-core, the judge of accessibility that nobody here wrote, run inside a page of Chromium.

Refuses to know whose page it is, and which of its rules are right: what it calls a violation is one.
"""

from functools import cache
from pathlib import Path

from playwright.sync_api import Page

SCRIPT = Path(__file__).parents[1] / "providers_real" / "node_modules" / "axe-core" / "axe.min.js"
_RUN = """
async () => (await axe.run({ resultTypes: ["violations"] })).violations
  .flatMap(one => one.nodes.map(node => `${one.id}: ${node.html} (${node.failureSummary})`))
"""


def find_violations(page: Page) -> list[str]:
    """Return every violation in the page as it is shown now, by its rule, its element and the reason.

    The page's Content-Security-Policy stays in force: it does not bind what the debugger runs.

    Args:
        page: loaded.
    """
    page.evaluate(_source())
    found: list[str] = page.evaluate(_RUN)
    return found


@cache
def _source() -> str:
    return SCRIPT.read_text(encoding="utf-8")
