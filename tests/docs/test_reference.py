"""Generated pages and pictures are what their sources say; `make reference` and `make pictures` make them anew."""

import pytest
import yaml
from tests.docs.markdown import ROOT
from tools.docs import pictures, reference

from stoa.interfaces.settings import Settings

PAGES = reference.pages()


@pytest.mark.parametrize("page", PAGES)
def test_reference_page_is_what_the_code_says(page: str) -> None:
    written = (ROOT / "docs" / page).read_text(encoding="utf-8")
    assert written == PAGES[page], f"docs/{page} is out of date; run `make reference`"


def test_configuration_names_every_setting_once() -> None:
    page = PAGES["configuration.md"]
    assert {name: page.count(f"\n| `{name.upper()}` |") for name in Settings.model_fields} == dict.fromkeys(
        Settings.model_fields, 1
    )


def test_architecture_picture_is_drawn_from_its_source() -> None:
    folder = ROOT / "docs" / "pictures"
    source = yaml.safe_load((folder / "architecture.yaml").read_text(encoding="utf-8"))
    drawn = (folder / "architecture.svg").read_text(encoding="utf-8")
    assert drawn == pictures.architecture(source), "run `make pictures`"
    assert "prefers-color-scheme: dark" in drawn


def test_demo_picture_shows_the_page_that_the_demo_prints() -> None:
    drawn = (ROOT / "docs" / "pictures" / "demo.svg").read_text(encoding="utf-8").replace("&#160;", " ")
    for shown in ("crm-search", "stoa token --role cpi-admin", "export STOA_TOKEN", "allowed by", "success"):
        assert shown in drawn
    assert "@font-face" not in drawn, "a picture asks no other server for fonts"


def test_terminal_picture_keeps_text_and_colour() -> None:
    drawn = pictures.terminal("\x1b[31mred\x1b[0m plain", "command")
    assert "red" in drawn
    assert "plain" in drawn.replace("&#160;", " ")
    assert "\x1b" not in drawn
