"""The console in a real browser: every page, by keyboard, in both palettes, at 10,000 claims, and with hostile text."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.serve.browser import MISSING, browser, chromium
from tests.serve.kit import answer
from tests.serve.running import Running, X, running
from vml import api
from vml.errors import ProvingError
from vml.serve.routes.console import FILES, FOLDER, POLICY
from vml.serve.settings import Access

PAGES = {"models": "Models", "jobs": "Jobs", "claims": "Claims", "verify": "Verify a proof", "figures": "Figures"}
PATIENCE_MS = 30_000
HOSTILE = "<img src=x onerror=\"document.title='owned'\">"


@pytest.fixture(scope="module")
def chrome() -> Iterator[Any]:
    if chromium() is None:
        pytest.skip(MISSING)
    with browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def served(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tiny, tmp_path_factory.mktemp("console")) as server:
        yield server


Open = Callable[..., Any]


@pytest.fixture
def opened(chrome: Any, served: Running) -> Iterator[Open]:
    """Opens a page of the console; at the end nothing may have gone wrong in it, or gone elsewhere."""
    contexts: list[Any] = []
    troubles: list[str] = []

    def open_page(name: str, *, scheme: str = "light", url: str = "") -> Any:
        context = chrome.new_context(color_scheme=scheme, viewport={"width": 1100, "height": 800})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.on("pageerror", lambda error: troubles.append(f"error: {error}"))
        page.on("console", lambda said: troubles.append(said.text) if "Content Security Policy" in said.text else None)
        home = url or served.url
        page.on("request", lambda request: None if _local(request.url, home) else troubles.append(request.url))
        page.goto(f"{home}/console/#/{name}")
        page.wait_for_selector("h1")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not troubles


def _local(url: str, home: str) -> bool:
    return url.startswith((home, "blob:", "data:"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_every_page_shows(opened: Open, served: Running, name: str, scheme: str) -> None:
    served.said({"nonce": "a page"})
    page = opened(name, scheme=scheme)
    assert page.inner_text("h1") == PAGES[name]
    assert page.locator("nav a[aria-current]").inner_text() == page.locator(f'nav a[href="#/{name}"]').inner_text()
    assert page.evaluate("document.documentElement.dataset.theme") == scheme
    assert page.locator("[role=alert]").count() == 0


def test_models_show_their_commitments(opened: Open, tiny: Any) -> None:
    assert "0x" + tiny.commitment.hex() in opened("models").inner_text("main")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read(opened: Open, scheme: str) -> None:
    """Contrast of at least 4.5 to 1, as WCAG 2.2 asks for text (1.4.3)."""
    page = opened("models", scheme=scheme)
    colours = page.evaluate(
        """() => Object.fromEntries(["ground", "raised", "text", "quiet", "link", "good", "bad", "wait"].map(
            (name) => [name, getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim()]))"""
    )
    grounds = {name: _luminance(colours.pop(name)) for name in ("ground", "raised")}
    for name, colour in colours.items():
        for ground, light in grounds.items():
            bright, dim = sorted((light, _luminance(colour)), reverse=True)
            assert (bright + 0.05) / (dim + 0.05) >= 4.5, f"{name} on {ground}"


def _luminance(colour: str) -> float:
    """Relative luminance of #rrggbb."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_the_other_palette_is_kept(opened: Open) -> None:
    page = opened("models")
    page.get_by_role("button", name="Dark").click()
    page.reload()
    page.wait_for_selector("h1")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"


def test_everything_is_reached_by_keyboard(opened: Open) -> None:
    page = opened("models")
    seen: list[str] = []
    for _ in range(12):
        page.keyboard.press("Tab")
        seen.append(page.evaluate("document.activeElement.textContent.trim()"))
    assert seen[0] == "Skip to content"
    places = [
        seen.index(name)
        for name in ("Models", "Jobs", "Claims", "Verify", "Figures", "API key", "Claims of this model")
    ]
    assert places == sorted(places)
    page.locator("nav a", has_text="Claims").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("h1:has-text('Claims')")
    # Whoever reads with a voice hears the new page.
    assert page.evaluate("document.activeElement.id") == "main"


def test_the_focus_can_be_seen(opened: Open) -> None:
    page = opened("models")
    page.keyboard.press("Tab")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


# Jobs, live.


def test_a_job_is_followed_and_cancelled(opened: Open, served: Running) -> None:
    store = served.server.store
    job = served.said({"prove": "always", "nonce": "live"})["vml_job"]
    page = opened("jobs")
    bar = page.locator(f"#bar-{job}")
    assert float(bar.get_attribute("value")) == 0
    lease = store.lease("a test", seconds=60)
    assert lease is not None
    store.beat(lease, seconds=60, stage="opening", fraction=0.625)
    page.wait_for_function("(id) => Number(document.getElementById(id)?.value) === 0.625", arg=f"bar-{job}")
    assert "opening" in page.inner_text("main")
    page.get_by_role("button", name="Cancel").first.click()
    page.wait_for_selector("button:has-text('Stopping')")
    found = store.job(job)
    assert found is not None
    assert found.cancel_asked
    store.fail(lease, ProvingError(HOSTILE), retry=False)
    # What a stranger wrote is text, here and wherever it is shown.
    page.wait_for_function("() => !document.querySelector('#main').innerText.includes('Stopping')")
    assert page.locator("main img").count() == 0
    assert page.title() != "owned"


def test_a_claims_proof_is_asked_for_and_saved(opened: Open, served: Running, tmp_path: Path) -> None:
    digest = served.said({"nonce": "prove me"})["vml_claim"]
    page = opened(f"claim/{digest}")
    assert digest in page.inner_text("main")
    page.select_option("#backend", "sumcheck")
    page.get_by_role("button", name="Prove").click()
    page.wait_for_selector("h1:has-text('Jobs')")
    served.work(b"what was proved")
    page.goto(f"{served.url}/console/#/claim/{digest}")
    with page.expect_download() as download:
        page.get_by_role("button", name="Save the proof").click()
    download.value.save_as(tmp_path / "proof.json")
    stored = served.server.store.proof(bytes.fromhex(digest[2:]))
    assert stored is not None
    assert (tmp_path / "proof.json").read_bytes() == stored.data


# Verification.


@pytest.fixture(scope="module")
def proof(tiny: Any) -> bytes:
    return api.prove(tiny, {"x": X}, backend="sumcheck", context=b"\x07" * 32).to_bytes()


def verify(page: Any, data: bytes, *, dropped: bool = False) -> str:
    """Hand in a file, and read the verdict."""
    if dropped:
        transfer = page.evaluate_handle(
            """(text) => {
                 const given = new DataTransfer();
                 given.items.add(new File([text], "dropped.proof.json", {type: "application/json"}));
                 return given;
               }""",
            data.decode(),
        )
        page.dispatch_event(".drop", "drop", {"dataTransfer": transfer})
    else:
        page.set_input_files("#file", {"name": "p.proof.json", "mimeType": "application/json", "buffer": data})
    page.wait_for_function("() => document.getElementById('file-name').textContent !== 'No file yet.'")
    page.wait_for_timeout(100)  # the context is read out of the file
    page.get_by_role("button", name="Verify").click()
    page.wait_for_selector("#verdict .verdict, #verdict .bad")
    return str(page.inner_text("#verdict"))


@pytest.mark.parametrize("dropped", [False, True])
def test_a_proof_is_verified_and_explained(opened: Open, proof: bytes, tiny: Any, dropped: bool) -> None:
    page = opened("verify")
    said = verify(page, proof, dropped=dropped)
    assert "✓ Verified" in said
    assert "0x" + tiny.commitment.hex() in said
    assert "keccak-256 as a random oracle" in said
    assert page.input_value("#context") == "0x" + "07" * 32
    assert "compare it with the one you asked for" in page.inner_text("#context-note")


def test_an_altered_proof_is_not_verified(opened: Open, proof: bytes) -> None:
    value = json.loads(proof)
    value["payload"] = value["payload"][:400] + ("A" if value["payload"][400] != "A" else "B") + value["payload"][401:]
    said = verify(opened("verify"), json.dumps(value, separators=(",", ":"), sort_keys=True).encode())
    assert "✗ Not verified" in said


def test_a_proof_for_another_use_is_not_verified(opened: Open, proof: bytes) -> None:
    page = opened("verify")
    page.fill("#context", "0x" + "08" * 32)
    said = verify(page, proof)
    assert "✗ Not verified" in said
    assert "context" in said


def test_what_is_no_proof_is_not_verified(opened: Open) -> None:
    page = opened("verify")
    said = verify(page, json.dumps({"claims": [{"context": HOSTILE}]}).encode())
    assert "Verified" not in said.replace("Not verified", "")
    assert page.locator("main img").count() == 0


# Many claims.


@pytest.mark.slow
def test_ten_thousand_claims_are_leafed_through(tiny: Any, tmp_path: Path, opened: Open) -> None:
    with running(tiny, tmp_path / "many") as many:
        store = many.server.store
        for first in range(0, 10_000, 500):
            store.record([answer(first + i) for i in range(500)])
        page = opened("claims", url=many.url)
        assert "10000 claims" in page.inner_text("main")
        assert page.locator("tbody tr").count() == 50
        newest = page.inner_text("tbody tr:first-child td")
        for _ in range(3):
            page.get_by_role("link", name="Older").click()
            page.wait_for_function("(seen) => document.querySelector('tbody td').innerText !== seen", arg=newest)
            newest = page.inner_text("tbody tr:first-child td")
        assert newest == str(10_000 - 150 - 1)
        digest = "0x" + store.claims(limit=1, before=5001)[0].digest.hex()
        page.fill("#find", digest)
        page.get_by_role("button", name="Show").click()
        page.wait_for_selector("h1:text-is('Claim')")
        assert digest in page.inner_text("main")


# Keys, and what is served.


def test_a_guarded_server_asks_for_a_key(chrome: Any, tiny: Any, tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    digest = hashlib.sha256(b"let me in").hexdigest()
    entry = {"name": "me", "sha256": digest, "roles": ["audit", "infer", "operate", "read"]}
    keys.write_text(json.dumps({"keys": [entry]}))
    with running(tiny, tmp_path / "data", access=Access(keys_file=keys)) as guarded:
        context = chrome.new_context()
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.goto(f"{guarded.url}/console/#/models")
        page.wait_for_selector("dialog[open]")
        page.keyboard.type("let me in")
        page.keyboard.press("Enter")
        page.wait_for_selector("h2:has-text('tiny')")
        assert page.evaluate("JSON.stringify(localStorage)") == "{}"
        assert "let me in" not in page.url
        context.close()


def test_every_file_is_served_and_nothing_else(served: Running) -> None:
    for name in FILES:
        response = served.http.get(f"/console/{name}")
        assert response.status_code == 200
        assert response.headers["content-security-policy"] == POLICY
        assert response.content == (FOLDER / name).read_bytes()
    for name in ("../settings.py", "%2e%2e/settings.py", "views", "views/", "console.py", "%00"):
        assert served.http.get(f"/console/{name}").status_code == 404
    assert served.http.get("/", follow_redirects=True).text == (FOLDER / "index.html").read_text()


def test_nothing_is_inline_or_from_elsewhere() -> None:
    for name, (data, _) in FILES.items():
        text = data.decode().replace("http://www.w3.org/2000/svg", "")
        assert "http://" not in text, name
        assert "https://" not in text, name
        assert "innerHTML" not in text, name
        assert "onclick=" not in text.replace("onclick:", ""), name
