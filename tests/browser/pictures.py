"""Makes the documents' pictures of our pages: `python -m tests.browser.pictures`.

They are made of examples, so that they change only when a page does. No test compares them.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.browser.chromium import Screen, Seen, opened_page, running_chromium
from tests.registration import sample_pages

IMAGES = Path(__file__).parents[2] / "docs" / "admin" / "images"
WINDOW = Screen("picture", 800, 1100, "light")  # the rest of a page is left out: a picture stays below 150 KB


def main() -> None:
    """Write every picture again."""
    with tempfile.TemporaryDirectory() as folder:
        pictures = {
            "setup-page": sample_pages.overview(Path(folder), tree=sample_pages.single()),
            "test-sign-in": sample_pages.real_test_sign_in(Path(folder)),
        }
    IMAGES.mkdir(exist_ok=True)
    with running_chromium() as chromium, opened_page(chromium, WINDOW, Seen()) as page:
        for name, html in pictures.items():
            page.set_content(html)
            page.screenshot(path=IMAGES / f"{name}.png")


if __name__ == "__main__":
    main()
