"""Feeds the parsers with what a coverage-guided fuzzer thinks of, each in a process of its own and for a bounded time.

`make fuzz SECONDS=20`. A crash leaves its input in `corpus/<target>/`, where `test_corpus` finds it from then on.
"""

from __future__ import annotations

import argparse
import logging
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.fuzz.targets import CORPUS, TARGETS, load

MAX_INPUT_BYTES = 8192
SECONDS_PER_INPUT = 10
MEMORY_MIB = 2048
WATCHED = ["broker", "itsdangerous", "joserfc"]  # whose branches guide the fuzzer


def main() -> int:
    """Fuzz one target here, or all of them one after the other."""
    parser = argparse.ArgumentParser(description="Fuzz the parsers.")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; default: all")
    parser.add_argument("--seconds", type=int, default=20, help="for each target")
    parser.add_argument("--here", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    options = parser.parse_args()
    try:
        import atheris  # noqa: F401 - looked for here, so that its absence is one sentence
    except ImportError:
        print("Fuzzing needs atheris, which exists for Python 3.11 to 3.14 on Linux, x86-64.", file=sys.stderr)
        return 1
    if options.here:
        _fuzz(options.here[0], options.here[1:])
    failed = [target for target in options.targets or TARGETS if not _run(target, options.seconds)]
    return 1 if failed else 0


def _run(target: str, seconds: int) -> bool:
    """Fuzz a target in a process of its own; what it learns on the way is thrown away, a crash is kept."""
    seeds = CORPUS / target
    known = set(seeds.iterdir())
    with tempfile.TemporaryDirectory() as learnt:
        command = [sys.executable, "-m", "tests.fuzz.run", "--here", target, learnt, str(seeds)]
        bounds = [
            f"-max_total_time={seconds}",
            f"-max_len={MAX_INPUT_BYTES}",
            f"-timeout={SECONDS_PER_INPUT}",
            f"-rss_limit_mb={MEMORY_MIB}",
            f"-artifact_prefix={seeds}/",
        ]
        ended = subprocess.run([*command, *bounds], capture_output=True, text=True, errors="replace", check=False)
    if ended.returncode:
        kept = [str(path.relative_to(Path.cwd())) for path in set(seeds.iterdir()) - known]
        print(f"{target}: FAILED by {', '.join(kept) or 'no input'}", _tail(ended), sep="\n", flush=True)
        return False
    done = re.search(r"#(\d+)\s+DONE\s+cov: (\d+) ft: (\d+) corp: (\d+)", ended.stderr)
    counts = "{} inputs, {} edges, {} features, {} inputs worth keeping".format(*done.groups() if done else "????")
    print(f"{target}: {counts}", flush=True)
    return True


def _tail(ended: subprocess.CompletedProcess[str]) -> str:
    return (ended.stdout + ended.stderr)[-3000:]


def _fuzz(target: str, arguments: list[str]) -> None:
    """Hand this process to the fuzzer; it does not come back."""
    import atheris

    logging.disable(logging.CRITICAL)
    with atheris.instrument_imports(include=WATCHED):
        loaded = load(target)
    with loaded as judge:
        atheris.Setup([sys.argv[0], *arguments], judge)
        atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
