"""`stoa crds`: the definitions on standard output or in a folder, and those that are committed."""

from pathlib import Path

import yaml
from tests.interfaces.cli.test_commands import Shell, stoa  # noqa: F401  # a fixture

COMMITTED = Path(__file__).parents[3] / "deploy" / "crds"


def test_crds_prints_one_definition_for_each_kind(stoa: Shell) -> None:  # noqa: F811
    code, out, err = stoa("crds")
    assert (code, err) == (0, "")
    names = [definition["metadata"]["name"] for definition in yaml.safe_load_all(out)]
    assert names == ["tools.gostoa.dev", "toolsets.gostoa.dev", "resources.gostoa.dev", "prompts.gostoa.dev"]


def test_crds_in_deploy_are_those_that_the_command_writes(stoa: Shell, tmp_path: Path) -> None:  # noqa: F811
    assert stoa("crds", "--output", tmp_path / "made")[0] == 0
    made = {path.name: path.read_text(encoding="utf-8") for path in (tmp_path / "made").iterdir()}
    committed = {path.name: path.read_text(encoding="utf-8") for path in COMMITTED.glob("*.yaml")}
    assert made == committed, "run make crds"
