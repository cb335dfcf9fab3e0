"""`stoa doctor`: checks a configuration end to end and names the changes to make."""

import os

from pydantic import ValidationError
from pydantic_settings import SettingsError

from stoa.application.run_checks import CheckResult, Verdict, run_checks
from stoa.interfaces.cli.common import complain, console, open_container, show_json, table
from stoa.interfaces.settings import Settings, describe_settings_error

Found = list[tuple[str, CheckResult]]


async def doctor(*, json: bool = False) -> int:
    """Check the configuration end to end. Exit code 1 when a check fails.

    Checked are the settings, the data folder, trust, the identity provider, the policy, the catalogue, Redis, Kafka,
    and whether clients reach the gateway by its public name.

    Parameters
    ----------
    json
        Print JSON.
    """
    results = await _results()
    if json:
        show_json([_wire(part, result) for part, result in results])
    else:
        rows = [[part, result.what, result.verdict.value, result.reason, result.remedy] for part, result in results]
        console().print(table("", ["part", "what", "", "found", "what to change"], rows))
    return int(any(result.verdict is Verdict.FAIL for _, result in results))


async def _results() -> Found:
    try:
        settings = Settings()
    except (ValidationError, SettingsError) as wrong:
        problem = describe_settings_error(wrong)
        return [("settings", CheckResult(Verdict.FAIL, "settings", problem, "change the variable that is named"))]
    from stoa.interfaces.bootstrap.doctor import Doctor  # checks of parts that no other command needs

    async with open_container(settings) as container:
        checks = Doctor(settings, container, os.environ).checks()
        return [result async for result in run_checks(checks, lambda name: complain(f"checking {name} ..."))]


def _wire(part: str, result: CheckResult) -> dict[str, str]:
    return {
        "part": part,
        "what": result.what,
        "verdict": result.verdict.value,
        "reason": result.reason,
        "remedy": result.remedy,
    }
