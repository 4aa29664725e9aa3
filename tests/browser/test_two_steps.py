"""A second step at sign-in: codes of an app, and passkeys, with a virtual authenticator in place of a finger."""

from __future__ import annotations

import re

import pytest
from allauth.mfa.totp.internal.auth import hotp_value, yield_hotp_counters_from_time
from playwright.sync_api import Page, expect

from tests import factories as f
from tests.browser.conftest import Shot

pytestmark = pytest.mark.browser


def _sign_in_by_the_form(page: Page, email: str) -> None:
    page.goto("/accounts/login/")
    page.get_by_label("Email").fill(email)
    page.get_by_label("Password").fill(f.PASSWORD)
    page.get_by_role("button", name="Sign In", exact=True).click()
    expect(page).not_to_have_url(re.compile("/login/"))


def _open_confirmed(page: Page, url: str) -> None:
    """Changes of the second step ask for the password again."""
    page.goto(url)
    page.get_by_label("Password").fill(f.PASSWORD)
    page.get_by_role("button", name="Confirm").click()
    expect(page).to_have_url(re.compile(url))


def _code(secret: str) -> str:
    return f"{hotp_value(secret, next(iter(yield_hotp_counters_from_time()))):06d}"


def _sign_out(page: Page) -> None:
    page.get_by_role("button", name="Your account").click()
    page.get_by_role("button", name="Sign out").click()
    expect(page).to_have_url(re.compile("/accounts/login/"))


def test_a_code_of_an_app_is_asked_for_at_sign_in(page: Page, shot: Shot) -> None:
    person = f.member().user
    _sign_in_by_the_form(page, person.email)
    _open_confirmed(page, "/accounts/2fa/totp/activate/")
    shot("totp-activate")
    secret = page.get_by_label("Authenticator secret").input_value()
    page.get_by_label("Authenticator code").fill(_code(secret))
    page.get_by_role("button", name="Activate").click()
    expect(page.get_by_text("recovery codes").first).to_be_visible()
    shot("totp-active")
    _sign_out(page)

    _sign_in_by_the_form(page, person.email)
    expect(page).to_have_url(re.compile("/accounts/2fa/authenticate/"))
    shot("totp-asked")


def test_a_passkey_signs_in(page: Page, shot: Shot) -> None:
    devtools = page.context.new_cdp_session(page)
    devtools.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2",
        "transport": "internal",
        "hasResidentKey": True,
        "hasUserVerification": True,
    }
    options |= {"isUserVerified": True, "automaticPresenceSimulation": True}
    devtools.send("WebAuthn.addVirtualAuthenticator", {"options": options})
    person = f.member().user
    _sign_in_by_the_form(page, person.email)
    _open_confirmed(page, "/accounts/2fa/webauthn/add/")
    shot("passkey-add")
    page.get_by_label("Name").fill("Laptop")
    page.get_by_label("Passwordless").check()
    page.get_by_role("button", name="Add").click()
    expect(page).to_have_url(re.compile("/accounts/2fa/(?!webauthn/add/)"))
    page.goto("/accounts/2fa/webauthn/")
    shot("passkey-list")
    expect(page.get_by_text("Laptop")).to_be_visible()
    _sign_out(page)

    page.goto("/accounts/login/")
    page.get_by_role("button", name="Sign in with a passkey").click()
    expect(page).to_have_url(re.compile("/overview/$"))
