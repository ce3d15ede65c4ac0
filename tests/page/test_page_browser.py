"""The page in a browser, where there is one."""

import re
import shutil
import subprocess

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
# It asks the page, which has no script of its own, from the outside.
FRAME = """<!doctype html><body><script>
const frame = document.createElement("iframe");
frame.style = "border:0;width:{width}px;height:3000px";
frame.src = "{address}";
frame.onload = () => {{
  const page = frame.contentDocument.documentElement;
  document.title = `${{page.clientWidth}} ${{page.scrollWidth}} ` +
    `${{page.scrollHeight}}`;
}};
document.body.append(frame);
</script>"""


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium on the path")
@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_wider_than_the_window(finished, tmp_path, width):
    frame = tmp_path / "frame.html"
    address = (finished / "report/index.html").as_uri()
    frame.write_text(FRAME.format(width=width, address=address))
    done = subprocess.run(
        [
            CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu",
            "--disable-quic", "--no-first-run", "--disable-component-update",
            "--disable-background-networking", "--disable-sync",
            "--allow-file-access-from-files", "--hide-scrollbars",
            f"--user-data-dir={tmp_path / 'profile'}",
            "--virtual-time-budget=5000", "--dump-dom", frame.as_uri(),
        ],
        capture_output=True, text=True, timeout=120,
    )
    found = re.search(r"<title>(\d+) (\d+) (\d+)</title>", done.stdout)
    assert found, done.stderr[-2000:]
    inside, needed, height = map(int, found.groups())
    assert inside == width and needed <= width
    # All parts are there, below each other.
    assert height > 2000
