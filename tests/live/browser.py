"""A person at a browser: logs in at Keycloak's pages, consents, and follows the way back to the client.

As a program it is what BROWSER names, for clients that open one: `browser.py URL` with the user's name in
STOA_LOGIN_USER, and a line for each login in the file STOA_LOGIN_LOG. `browser.py --callback URL` prints the URL that
Keycloak sends the browser back to instead of following it.
"""

import html
import os
import re
import sys
import time
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import httpx

_CALLBACK_SECONDS = 30
"""Until the client listens: some open the browser first."""
_PAGES = 8
"""Redirects and forms; a real login has four."""


def callback_of(url: str, user: str) -> str:
    """The URL at the client's that a login at `url` ends with. Users' passwords are their names."""
    with httpx.Client(timeout=30, trust_env=False) as http:
        page = http.get(url)
        for _ in range(_PAGES):
            for cookie in http.cookies.jar:
                cookie.secure = False  # as browsers do on loopback
            if page.is_redirect:
                target = urljoin(str(page.url), page.headers["location"])
                if urlsplit(target).netloc != urlsplit(url).netloc:
                    return target
                page = http.get(target)
            else:
                action, fields = _form(page.text, user)
                page = http.post(urljoin(str(page.url), action), data=fields)
    raise AssertionError(f"the login did not end: {page.url}")


def log_in(url: str, user: str) -> str:
    """The text of the client's own page, after its callback."""
    callback, deadline = callback_of(url, user), time.monotonic() + _CALLBACK_SECONDS
    while True:
        try:
            return httpx.get(callback, timeout=30, trust_env=False, follow_redirects=True).text
        except httpx.ConnectError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def _form(page: str, user: str) -> tuple[str, dict[str, str]]:
    login = re.search(r'<form[^>]+id="kc-form-login"[^>]+action="([^"]+)"', page)
    if login:
        return html.unescape(login[1]), {"username": user, "password": user}
    consent = re.search(r'<form[^>]+action="([^"]*consent[^"]*)"', page)
    code = re.search(r'name="code" value="([^"]*)"', page)
    assert consent, f"neither a login nor a consent page: {re.sub(r'<[^>]*>', ' ', page)[:2000]}"
    return html.unescape(consent[1]), {"code": code[1] if code else "", "accept": "Yes"}


def main(*arguments: str) -> None:
    user = os.environ["STOA_LOGIN_USER"]
    with Path(os.environ["STOA_LOGIN_LOG"]).open("a", encoding="utf-8") as log:
        print(arguments[-1], file=log)
    if arguments[0] == "--callback":
        print(callback_of(arguments[1], user))
    else:
        log_in(arguments[0], user)


if __name__ == "__main__":
    main(*sys.argv[1:])
