"""schemathesis over what is served: as its command line does it, in a process of its own, and counted.

    python fuzzing.py FILE WORDS...

is that process: `schemathesis WORDS...`, which leaves in FILE how many requests each operation got. It does without
what took much of its time and found nothing: a report of each request, and the hunt of Hypothesis for successes,
which it does by shrinking requests. (Half of our ids are those of things that exist.)
"""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
UNSEEN = "FUZZING_UNSEEN"
"""Variable of the environment by which the other process is told what no answer may hold."""


def fuzz(
    url: str, *words: str, token: str | None, folder: Path, seed: int, examples: int, unseen: Sequence[str] = ()
) -> Counter[str]:
    """Ask operations in ways that are made up, with all checks on.

    Args:
        url: Of the server; its document is at `/openapi.json`.
        words: More for the command line, such as what to leave out.
        token: Of the one who asks. None: nobody who is known.
        folder: To work in. What is configured there, in `schemathesis.toml`, holds.
        seed: Of chance: the same one asks the same, as long as the answers are the same.
        examples: Requests that are made up for each operation, and whole scenarios for all. What its schema has in the
            way of limits is asked besides.
        unseen: Texts that no answer may hold: what is somebody else's.

    Returns:
        How many requests each operation got, beside those of whole scenarios.

    Raises:
        AssertionError: Something was found; it says what.
    """
    counted = folder / f"counted-{seed}.json"
    command = [
        *(sys.executable, __file__, str(counted), "run", f"{url}/openapi.json"),
        *([] if token is None else ["--header", f"Authorization: Bearer {token}"]),
        *("--seed", str(seed), "--max-examples", str(examples)),
        *("--checks", "all", "--continue-on-failure", "--generation-database", "none", "--warnings", "off"),
        *("--suppress-health-check", "all", "--no-color", *words),
    ]
    # Tables of characters are kept there from one run to the next.
    env = {**os.environ, "HYPOTHESIS_STORAGE_DIRECTORY": str(ROOT / ".hypothesis"), UNSEEN: json.dumps([*unseen])}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=1800, check=False)
    assert done.returncode == 0, f"{done.stdout[-20_000:]}\n{done.stderr[-5_000:]}"
    found = json.loads(counted.read_text(encoding="utf-8"))
    assert found["seen"] == [], "somebody was told what is not theirs"
    return Counter(found["counted"])


def main(file: Path, words: Sequence[str]) -> None:
    import hypothesis
    from schemathesis import cli
    from schemathesis.config import ProjectConfig
    from schemathesis.engine import events

    chosen = ProjectConfig.get_hypothesis_settings

    def generating(self: ProjectConfig, **choice: Any) -> hypothesis.settings:
        return hypothesis.settings(chosen(self, **choice), phases=[hypothesis.Phase.generate])

    ProjectConfig.get_hypothesis_settings = generating  # no word of the command line takes phases away
    counted: Counter[str] = Counter()
    unseen = [each.encode() for each in json.loads(os.environ[UNSEEN])]
    seen: list[str] = []

    @cli.handler()
    class Counting(cli.EventHandler):
        def handle_event(self, ctx: Any, event: Any) -> None:
            if isinstance(event, events.ScenarioFinished) and event.phase.value != "stateful":
                counted[event.recorder.label] += len(event.recorder.cases)
            if isinstance(event, events.ScenarioFinished):
                answers = [each.response for each in event.recorder.interactions.values() if each.response is not None]
                seen.extend(
                    f"{event.recorder.label}: {each.decode()}"
                    for each in unseen
                    if any(each in answer.content for answer in answers)
                )

        def shutdown(self, ctx: Any) -> None:
            file.write_text(json.dumps({"counted": counted, "seen": seen}), encoding="utf-8")

    cli.schemathesis(list(words))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
