"""The example for embedding programs runs as it is shipped."""

import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "embed.py"


def test_the_embedding_example_calls_denies_and_meters():
    finished = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLE], capture_output=True, text=True, timeout=100, check=False
    )
    assert (finished.returncode, finished.stderr) == (0, "")
    assert finished.stdout.splitlines() == [
        "ann may call: add, first-pet, getPet",
        "add: success: 42",
        "getPet: success: {'id': 7, 'name': 'Rex'}",
        'getPet: invalid: Invalid arguments: /id: value is not of type "integer"',
        "retire-pet: unauthorized: Not permitted: needs scope stoa:admin",
        "first-pet: success: {'id': 1, 'name': 'Rex'}",
        "metered: acme ann add success True",
        "metered: acme ann getPet success True",
        "metered: acme ann getPet invalid False",
        "metered: acme ann retire-pet unauthorized False",
        "metered: acme ann first-pet success True",
    ]
