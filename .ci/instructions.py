"""Counts instructions per record and holds them against a table: time is not repeatable on shared machines, this is.

    .ci/instructions.py            measure, print, fail when a work takes a quarter more than the table says
    .ci/instructions.py --write    measure, and write the table

Without valgrind it ends with 77, which a step of `.ci/run` reports as skipped.
"""

import json
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
TABLE = ROOT / ".ci" / "instructions.json"
# Each work with two counts of records; what the smaller one takes too (opening, filling, closing) is not counted.
WORKS = {
    "enqueue": (20_000, 80_000),
    "send": (1_000, 3_000),
    "send_named": (1_000, 3_000),
    "send_named_among_many": (1_000, 3_000),
    "transaction": (2_000, 8_000),
    "append": (20_000, 80_000),
    "append_one": (1_000, 3_000),
    "scan": (20_000, 80_000),
    "scan_transactions": (2_000, 8_000),
    "scan_committed": (2_000, 8_000),
    "poll": (20_000, 80_000),
    "hop": (1_000, 3_000),
}
MAY_GROW = 1.25


def executable():
    command = ["cargo", "bench", "--locked", "-p", "streamlog-benches", "--no-run", "--bench", "instructions", "--message-format=json"]
    built = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    for line in built.stdout.splitlines():
        message = json.loads(line)
        if message.get("executable") and message["target"]["name"] == "instructions":
            return message["executable"]
    sys.exit("cargo built no such bench")


def instructions(program, work, count):
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", program, work, str(count)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    collected = re.search(r"Collected : (\d+)", run.stderr)
    if run.returncode != 0 or collected is None:
        sys.exit(f"{work} under valgrind ended with {run.returncode}:\n{run.stderr}")
    return int(collected[1])


def measure():
    program = executable()
    measured = {}
    for work, (few, many) in WORKS.items():
        difference = instructions(program, work, many) - instructions(program, work, few)
        measured[work] = round(difference / (many - few), 1)
    return measured


def main():
    if shutil.which("valgrind") is None:
        print("SKIPPED: no valgrind, no instructions counted")
        sys.exit(77)
    table = json.loads(TABLE.read_text()) if TABLE.exists() else {}
    measured = measure()
    print(f"{'instructions per record':<24} {'table':>10} {'now':>10} {'change':>8}")
    grown = []
    for work, now in measured.items():
        before = table.get(work)
        change = f"{(now / before - 1) * 100:+.0f} %" if before else "new"
        print(f"{work:<24} {before or '-':>10} {now:>10} {change:>8}")
        if before and now > before * MAY_GROW:
            grown.append(work)
    if "--write" in sys.argv[1:]:
        TABLE.write_text(json.dumps(measured, indent=4) + "\n")
    elif grown:
        sys.exit(f"more than a quarter more instructions: {', '.join(grown)}")
    elif set(measured) - set(table):
        sys.exit("works that the table does not have: run .ci/instructions.py --write")


main()
