"""What runs in a JVM, beside streamlog: Kafka's log layer alone, a Kafka broker with its own tools, Kafka's log cleaner,
Chronicle Queue.

    python3 benches/peers/kafka/measure.py FILE [--quick] [--only layer|broker|cleaner|chronicle]...
    cargo run --release --manifest-path benches/peers/Cargo.toml -- --with FILE --charts DIR

The first takes turns with streamlog, prints the ratios, and writes what it measured of the others as the same list of
`{work, subject, median, unit, runs}`; figures of other subjects already in FILE stay. The second puts it into its
tables and charts. Needs Java 17, Maven, and Maven Central (about 65 MB, kept in the package's target directory).

What differs: the log layer and Chronicle Queue run in a JVM that has warmed up. A broker answers over a socket, serves
many clients and copies for each; its tools report what a client on the same machine gets with `acks=1` and no flush,
and of its hop a mean. Chronicle Queue stores through a mapping of its file and has no checksum. Cleaning is measured in bytes of
input for a second of the processor, on one thread; streamlog builds its files of keys when segments roll, and with that
counts the second of its figures.
"""

import json
import os
import pathlib
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
PACKAGE = HERE.parent
ROOT = PACKAGE.parent.parent
LIBRARY = PACKAGE / "target" / "kafka"
KAFKA = {"org.apache.kafka:kafka_2.13": "4.2.0", "org.apache.kafka:kafka-tools": "4.2.0"}
CHRONICLE = {"net.openhft:chronicle-queue": "2026.2"}
# What Chronicle Queue asks for since Java 17.
OPENED = [f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in (
    "java.io", "java.lang", "java.lang.invoke", "java.lang.reflect", "java.nio", "java.util", "sun.nio.ch", "jdk.internal.misc",
    "jdk.internal.ref")] + [
        "--add-opens=jdk.compiler/com.sun.tools.javac=ALL-UNNAMED",
        "--add-exports=jdk.compiler/com.sun.tools.javac.file=ALL-UNNAMED",
        "--add-exports=java.base/jdk.internal.ref=ALL-UNNAMED", "--add-exports=java.base/sun.nio.ch=ALL-UNNAMED",
        "--add-exports=jdk.unsupported/sun.misc=ALL-UNNAMED"]

# The figures, as the comparison package names them, and its names of the works that give them.
BATCHES, BATCHES_1K = "append, 100 B, batches of 1,000", "append, 1 KiB, batches of 256"
ENQUEUE, SEND = "enqueue, 100 B, one record a call", "send, 100 B, acknowledged one by one"
FLUSHED = "send, 100 B, flushed, 1 thread"
SCAN, SCAN_1K = "scan, 100 B, warm", "scan, 1 KiB, warm"
AWAKE, AWAKE_P99 = "hop to an awake reader, median", "hop to an awake reader, p99"
ASLEEP = "hop to a sleeping reader, median"
COMPACTION, COMPACTION_AND_KEYS = "compaction, a tenth lives", "compaction and files of keys"
WORKS = {
    BATCHES: "batches", BATCHES_1K: "batches of 1 KiB", ENQUEUE: "enqueue", SEND: "send",
    FLUSHED: "send, flushed, 1 thread", SCAN: "scan", SCAN_1K: "scan of 1 KiB", AWAKE: "hop, awake",
    AWAKE_P99: "hop, awake", ASLEEP: "hop, asleep",
}
MILLIONS, THOUSANDS, GIGABYTES, MICROS = "M records/s", "K records/s", "GB/s", "us"
MEGABYTES = "MB/s of CPU"
UNITS = {BATCHES_1K: GIGABYTES, SCAN_1K: GIGABYTES, FLUSHED: THOUSANDS, AWAKE: MICROS, AWAKE_P99: MICROS, ASLEEP: MICROS}


def skipped(why):
    """Nothing was measured, and whoever asked has to know."""
    print(f"SKIPPED, NOTHING WAS MEASURED: {why}", file=sys.stderr)
    sys.exit(77)


def check_tools():
    missing = [tool for tool in ("java", "javac", "mvn", "cargo") if shutil.which(tool) is None]
    if missing:
        skipped(f"no {', '.join(missing)} here; this needs Java 17, Maven and Rust")
    said = subprocess.run(["java", "-version"], capture_output=True, text=True).stderr
    version = re.search(r'version "(\d+)', said)
    if version is None or int(version[1]) < 17:
        skipped(f"Java 17 or later is needed; this is {said.splitlines()[:1]}")


def fetch(name, artifacts):
    """The jars of these artifacts and all they need, once; gives their class path."""
    place = LIBRARY / name
    whole = place / "whole"
    wanted = json.dumps(artifacts)
    if not whole.exists() or whole.read_text() != wanted:
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        pieces = (artifact.split(":") + [version] for artifact, version in artifacts.items())
        dependencies = "".join(
            f"<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId><version>{version}</version></dependency>"
            for group, artifact, version in pieces)
        (place / "pom.xml").write_text(
            '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion><groupId>local</groupId>'
            f"<artifactId>{name}</artifactId><version>1</version><dependencies>{dependencies}</dependencies></project>\n")
        print(f"fetching {', '.join(artifacts)} from Maven Central", file=sys.stderr)
        copy = ["mvn", "-q", "-B", "-f", str(place / "pom.xml"), "dependency:copy-dependencies",
                f"-DoutputDirectory={place}", "-DincludeScope=runtime"]
        try:
            done = subprocess.run(copy, capture_output=True, text=True, timeout=600)
        except subprocess.TimeoutExpired:
            skipped("Maven Central did not answer within ten minutes")
        if done.returncode != 0:
            said = [line for line in (done.stdout + done.stderr).splitlines() if "ERROR" in line]
            skipped("Maven Central could not be reached:\n" + "\n".join(said[:3]))
        whole.write_text(wanted)
    return f"{place}/*"


def java(classes, *arguments):
    """Runs a program to its end; gives what it said."""
    done = subprocess.run(["java", "-Xmx1g", "-cp", classes, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{arguments[0]} ended with {done.returncode}:\n{(done.stdout + done.stderr)[-2000:]}")
    return done.stdout


class Rounds:
    """A program of ours in a JVM that stays, and does a round when asked."""

    def __init__(self, classes, work_dir, program, *arguments, options=()):
        subprocess.run(["javac", "-cp", classes, "-d", str(work_dir), str(HERE / f"{program}.java")], check=True)
        self.program = program
        self.log = open(work_dir / f"{program}.log", "w+")
        command = ["java", "-Xmx1g", *options, "-cp", f"{work_dir}:{classes}", f"-Ddir={work_dir}", program]
        self.jvm = subprocess.Popen(command + [str(a) for a in arguments], stdin=subprocess.PIPE,
                                    stdout=subprocess.PIPE, stderr=self.log, text=True, bufsize=1)

    def one(self):
        self.jvm.stdin.write("\n")
        self.jvm.stdin.flush()
        for line in self.jvm.stdout:
            if line.startswith("ROUND "):
                return [float(word) for word in line.split()[1:]]
        self.log.seek(0)
        sys.exit(f"{self.program} ended:\n{self.log.read()[-2000:]}")

    def after_a_pause(self):
        """Memory that lay idle is slow to touch, so the first round after the other's turn does not count."""
        self.one()
        return self.one()

    def end(self):
        self.jvm.stdin.close()
        self.jvm.wait(timeout=60)


def streamlog(figures, quick, work_dir):
    """A turn of streamlog's: one round thrown away, one that counts."""
    file = work_dir / "streamlog.json"
    works = {WORKS[figure] for figure in figures}
    command = ["cargo", "run", "-q", "--release", "--manifest-path", str(PACKAGE / "Cargo.toml"), "--", "--rounds", "1",
               "--subject", "streamlog", "--json", str(file), "--dir", str(work_dir)]
    command += [word for work in works for word in ("--work", work)] + ["--quick"] * quick
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    rows = {row["work"]: row["median"] for row in json.loads(file.read_text())}
    return {figure: rows[figure] for figure in figures}


def in_turns(subject, rounds, quick, work_dir, figures, turn):
    """Theirs, ours, theirs, ours; gives a row a figure, with our runs in the same turns."""
    theirs, ours = [], []
    for number in range(rounds + 1):
        print(f"{subject}: {figures[0]} ..., turn {number} of {rounds}", file=sys.stderr)
        measured, beside = turn(), streamlog(figures, quick, work_dir)
        # The first turn warms both up.
        if number > 0:
            theirs.append(measured)
            ours.append(beside)
    for figure in figures:
        runs = [measured[figure] for measured in theirs]
        yield {"work": figure, "subject": subject, "median": statistics.median(runs),
               "unit": UNITS.get(figure, MILLIONS), "runs": runs, "streamlog": [beside[figure] for beside in ours]}


def layer(work_dir, rounds, scale, quick):
    """Kafka's log layer: encoding, appending, flushing, reading, iterating."""
    classes = fetch("broker", KAFKA)
    subject = "Kafka's log layer"
    few = 256 * int(400_000 * scale / 256)
    asked = [
        (100, 1000, int(1_500_000 * scale), "keep", [(BATCHES, 0, 1), (SCAN, 1, 1)]),
        (1024, 256, few, "keep", [(BATCHES_1K, 0, 1.024), (SCAN_1K, 1, 1.024)]),
        (100, 1, int(300_000 * scale), "keep", [(SEND, 0, 1)]),
        (100, 1, int(2_000 * scale), "flush", [(FLUSHED, 0, 1e3)]),
    ]
    for size, batch, count, flush, columns in asked:
        rounds_of = Rounds(classes, work_dir, "LogLayer", size, batch, count, flush)

        def turn():
            values = rounds_of.after_a_pause()
            return {figure: values[at] * factor for figure, at, factor in columns}

        yield from in_turns(subject, rounds, quick, work_dir, [figure for figure, _, _ in columns], turn)
        rounds_of.end()


def chronicle(work_dir, rounds, scale, quick):
    """Chronicle Queue: appending a record a call, scanning, hopping to an awake reader."""
    classes = fetch("chronicle", CHRONICLE)
    asked = [
        (100, int(1_500_000 * scale), "scan", [(ENQUEUE, 0, 1), (SEND, 0, 1), (SCAN, 1, 1)]),
        (1024, int(150_000 * scale), "scan", [(SCAN_1K, 1, 1.024)]),
        (100, int(50_000 * scale), "hop", [(AWAKE, 0, 1), (AWAKE_P99, 1, 1)]),
    ]
    options = [*OPENED, "-Dchronicle.analytics.disable=true"]
    for size, count, kind, columns in asked:
        rounds_of = Rounds(classes, work_dir, "Chronicle", size, count, kind, options=options)

        def turn():
            values = rounds_of.after_a_pause()
            return {figure: values[at] * factor for figure, at, factor in columns}

        yield from in_turns("Chronicle Queue", rounds, quick, work_dir, [figure for figure, _, _ in columns], turn)
        rounds_of.end()


def cleaner(work_dir, rounds, scale, quick):
    """Kafka's log cleaner, on the same records: in bytes of input for a second of the processor."""
    records = int(10_000_000 * scale)
    theirs = Rounds(fetch("broker", KAFKA), work_dir, "LogCleaner", records, records // 10)
    file = work_dir / "compaction.txt"
    ours = ["cargo", "bench", "-q", "--manifest-path", str(ROOT / "Cargo.toml"), "-p", "streamlog-benches", "--bench",
            "compaction", "--", "kafka", str(file)]
    runs = []
    for number in range(rounds + 1):
        print(f"Kafka's log cleaner: turn {number} of {rounds}", file=sys.stderr)
        seconds, size = theirs.one()
        subprocess.run(ours, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "RECORDS": str(records)})
        compaction, with_keys, own_size = map(float, file.read_text().split())
        # The first turn warms both up.
        if number > 0:
            runs.append((size / seconds / 1e6, own_size / compaction / 1e6, own_size / with_keys / 1e6))
    theirs.end()
    for work, at in (COMPACTION, 1), (COMPACTION_AND_KEYS, 2):
        yield {"work": work, "subject": "Kafka's log cleaner", "median": statistics.median(run[0] for run in runs),
               "unit": MEGABYTES, "runs": [run[0] for run in runs], "streamlog": [run[at] for run in runs]}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def broker(work_dir, rounds, scale, quick):
    """A broker of one node as it comes, but for the replication of its own topics."""
    classes = fetch("broker", KAFKA)
    client, controller = free_port(), free_port()
    properties = work_dir / "server.properties"
    properties.write_text(f"""process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{client},CONTROLLER://127.0.0.1:{controller}
controller.listener.names=CONTROLLER
log.dirs={work_dir}/data
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
""")
    storage = "kafka.tools.StorageTool"
    identity = java(classes, storage, "random-uuid").split()[-1]
    java(classes, storage, "format", "-t", identity, "-c", properties)
    with open(work_dir / "server.log", "w+") as log:
        server = subprocess.Popen(["java", "-Xmx1g", "-cp", classes, "kafka.Kafka", str(properties)], stdout=log, stderr=log)
        try:
            listen(server, client, log)
            yield from clients(classes, f"127.0.0.1:{client}", work_dir, rounds, scale, quick)
        finally:
            server.terminate()
            try:
                server.wait(timeout=30)
            except subprocess.TimeoutExpired:
                server.kill()


def listen(server, port, log):
    deadline = time.monotonic() + 60
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if server.poll() is not None or time.monotonic() > deadline:
            log.seek(0)
            sys.exit(f"the broker does not listen:\n{log.read()[-2000:]}")
        time.sleep(0.2)


def clients(classes, address, work_dir, rounds, scale, quick):
    """What Kafka's own tools say: ProducerPerformance, ConsumerPerformance, EndToEndLatency."""
    tools = "org.apache.kafka.tools"
    count = int(2_000_000 * scale)
    topics = (f"t{number}" for number in range(rounds + 1))

    def turn():
        topic = next(topics)
        java(classes, f"{tools}.TopicCommand", "--bootstrap-server", address, "--create", "--partitions", 1, "--topic", topic)
        said = java(classes, f"{tools}.ProducerPerformance", "--topic", topic, "--num-records", count, "--record-size", 100,
                    "--throughput", -1, "--producer-props", f"bootstrap.servers={address}", "acks=1", "linger.ms=5",
                    "batch.size=65536")
        into = float(re.findall(r"([\d.]+) records/sec", said)[-1]) / 1e6
        said = java(classes, f"{tools}.ConsumerPerformance", "--topic", topic, "--bootstrap-server", address,
                    "--num-records", count, "--timeout", 60000)
        names, values = [re.split(r",\s*", line.strip()) for line in said.strip().splitlines()[-2:]]
        told = dict(zip(names, values))
        if int(told["data.consumed.in.nMsg"]) < count:
            sys.exit(f"the consumer got {told['data.consumed.in.nMsg']} of {count} records")
        out = float(told["fetch.nMsg.sec"]) / 1e6
        said = java(classes, f"{tools}.EndToEndLatency", "--bootstrap-server", address, "--topic", topic, "--num-records",
                    int(5_000 * scale), "--producer-acks", 1, "--record-size", 100)
        # Its percentiles are whole milliseconds; only its mean has decimals.
        hop = float(re.search(r"Avg latency: ([\d.]+)", said)[1]) * 1e3
        # Its producer takes single records and makes batches of them; its reader sends and polls by turns.
        return {ENQUEUE: into, BATCHES: into, SCAN: out, AWAKE: hop, ASLEEP: hop}

    yield from in_turns("Kafka, a broker", rounds, quick, work_dir, [ENQUEUE, BATCHES, SCAN, AWAKE, ASLEEP], turn)


def put(file, rows):
    """Into the file, in place of what it had of the same subjects."""
    kept = json.loads(file.read_text()) if file.exists() else []
    subjects = {row["subject"] for row in rows}
    kept = [row for row in kept if row["subject"] not in subjects]
    file.write_text(json.dumps(kept + rows, indent=2) + "\n")


def tell(rows):
    print(f"{'subject':<18} {'work':<38} {'median':>9} {'streamlog':>9}  {'unit':<12} streamlog is")
    for row in rows:
        ours = statistics.median(row["streamlog"])
        ratio = row["median"] / ours if row["unit"] == MICROS else ours / row["median"]
        print(f"{row['subject']:<18} {row['work']:<38} {row['median']:9.3f} {ours:9.3f}  {row['unit']:<12} {ratio:.2f} x")


def main():
    arguments = sys.argv[1:]
    parts = {"layer": layer, "broker": broker, "cleaner": cleaner, "chronicle": chronicle}
    only = []
    while "--only" in arguments:
        at = arguments.index("--only")
        if arguments[at + 1:at + 2] == [] or arguments[at + 1] not in parts:
            sys.exit(__doc__)
        only.append(arguments[at + 1])
        del arguments[at:at + 2]
    quick = "--quick" in arguments
    files = [argument for argument in arguments if argument != "--quick"]
    if len(files) != 1 or files[0].startswith("-"):
        sys.exit(__doc__)
    check_tools()
    rounds, scale = (1, 0.1) if quick else (5, 1)
    for part in [parts[name] for name in only or parts]:
        # A directory of its own: what is left of one does not slow the next.
        LIBRARY.mkdir(parents=True, exist_ok=True)
        start = time.monotonic()
        with tempfile.TemporaryDirectory(dir=LIBRARY) as work:
            rows = list(part(pathlib.Path(work), rounds, scale, quick))
        put(pathlib.Path(files[0]), rows)
        tell(rows)
        print(f"took {time.monotonic() - start:.0f} s", file=sys.stderr)


main()
