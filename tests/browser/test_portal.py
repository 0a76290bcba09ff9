"""The portal as a person uses it, in a real browser."""

import uuid
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from .conftest import Portal

pytestmark = pytest.mark.browser


class Person:
    """Somebody in front of the browser: looks for what is written, types, presses."""

    def __init__(self, driver: webdriver.Chrome, portal: Portal, shots: Path) -> None:
        self.driver = driver
        self.portal = portal
        self.shots = shots

    def go(self, path: str) -> None:
        self.driver.get(self.portal.url + path)

    def find(self, selector: str, within: WebElement | None = None) -> WebElement:
        place = within or self.driver
        return WebDriverWait(self.driver, 10).until(
            lambda _: next(
                (e for e in place.find_elements(By.CSS_SELECTOR, selector) if e.is_displayed()),
                None,
            ),
            f"nothing visible at {selector}",
        )

    def sees(self, text: str) -> None:
        WebDriverWait(self.driver, 10).until(
            lambda d: text in d.find_element(By.TAG_NAME, "body").text, f"does not see {text!r}"
        )

    def fill(self, form: str, **fields: str) -> None:
        for name, value in fields.items():
            box = self.find(f"{form} [name={name}]")
            box.clear()
            box.send_keys(value)

    def press(self, label: str, within: WebElement | None = None) -> None:
        place = within or self.driver
        buttons = place.find_elements(By.TAG_NAME, "button")
        button = next(b for b in buttons if b.is_displayed() and b.text == label)
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", button)
        button.click()

    def log_in(self, password: str | None = None) -> None:
        self.find("#login")
        self.fill(
            "#login", username=self.portal.username, password=password or self.portal.password
        )
        self.press("Sign in")

    def shot(self, name: str) -> None:
        self.driver.save_screenshot(str(self.shots / f"{name}.png"))

    def complaints(self) -> list[str]:
        return [e["message"] for e in self.driver.get_log("browser") if e["level"] != "INFO"]


@pytest.fixture
def person(browser: webdriver.Chrome, portal: Portal, shots: Path) -> Person:
    return Person(browser, portal, shots)


def test_the_portal_says_that_the_service_runs(person: Person) -> None:
    person.go("/portal/")
    person.sees("All systems are running")
    person.shot("portal")
    assert person.complaints() == []


def test_a_wrong_password_is_refused_and_said(person: Person) -> None:
    person.go("/portal/admin/")
    person.log_in("wrong")
    person.sees("The user name or the password is wrong.")
    person.shot("wrong-password")
    # The browser itself notes the 401; nothing else may be there.
    assert all("/api/admin/login" in line and "401" in line for line in person.complaints())


def test_a_provider_goes_from_draft_to_published_and_an_account_is_imported(
    person: Person,
) -> None:
    mark = uuid.uuid4().hex[:6]
    person.go("/portal/admin/")
    person.log_in()
    person.sees("Signed in as admin")
    assert person.driver.execute_script("return document.cookie") == ""  # HttpOnly
    person.fill("#new-host", name=f"host-{mark}", base_url="https://host.example")
    person.press("Register")
    person.sees(f"host-{mark} is registered.")
    person.shot("overview")

    person.go("/portal/admin/providers.html")
    person.find("#draft")
    person.fill(
        "#draft",
        pack_id="cn-models",
        provider_id=f"moon-{mark}",
        display_name="Moon <b>Models</b>",
        base_url="https://api.moon.example/v1",
        models="moon-8k\nmoon-32k",
    )
    person.press("Save draft")
    person.sees("The draft is saved.")
    draft = person.find(f"[data-provider=moon-{mark}]")
    assert "Moon <b>Models</b>" in draft.text
    person.press("Edit", draft)
    person.fill("#draft", display_name="Moon Models")
    person.press("Save draft")
    person.sees("Moon Models")
    person.press("Publish", person.find(f"[data-provider=moon-{mark}]"))
    person.sees(f"moon-{mark} is published in cn-models")
    person.sees("moon-8k, moon-32k")
    person.shot("providers")

    person.go("/portal/admin/batch-import.html")
    person.find("#run")
    assert person.driver.current_url.endswith("/portal/admin-batch-import.html")
    person.fill("#run", items=f"moon-{mark} team key-1\nno-such-provider team key-2")
    person.press("Start the run")
    person.sees("1 of 2 without a failure")
    person.sees("no pack has this provider")
    person.shot("batch-import")

    person.go("/portal/admin/providers.html")
    draft = person.find(f"[data-provider=moon-{mark}]")
    person.press("Delete", draft)
    person.press("Really delete?", draft)
    person.sees("The draft is deleted.")
    person.press("Sign out")
    person.find("#login")
    assert person.complaints() == []


def test_the_pages_fit_on_a_phone_and_in_the_dark(person: Person) -> None:
    device = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
    dark = {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    person.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", device)
    person.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", dark)
    person.go("/portal/admin/providers.html")
    person.log_in()
    person.sees("Drafts")
    pages = {
        "providers": "/portal/admin/providers.html",
        "overview": "/portal/admin/",
        "batch": "/portal/admin-batch-import.html",
        "home": "/portal/",
        "maintenance": "/portal/maintenance.html",
    }
    for name, path in pages.items():
        person.go(path)
        person.find("h1")
        person.shot(f"phone-dark-{name}")
        wide = person.driver.execute_script("return document.documentElement.scrollWidth")
        assert wide <= 390, f"{name} is {wide} wide"
    assert person.complaints() == []
