"""Kafka itself beside the others: its log layer alone in one JVM, and a broker with its own measuring tools.

    benches/peers/kafka/measure.py FILE [--quick]
    cargo run --release --manifest-path benches/peers/Cargo.toml -- --with FILE --charts DIR

The first writes what it measured as the same list of `{work, subject, median, unit, runs}`, the second puts it into
its tables and charts. Needs Java 17, Maven, and Maven Central (about 55 MB, kept in the package's target directory).

What differs: the log layer runs in a JVM that has warmed up, its first round thrown away. A broker answers over a
socket, serves many clients and copies for each; its figures are what a program on the same machine gets.
"""

import json
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
LIBRARY = HERE.parent / "target" / "kafka"
VERSION = "4.2.0"
LAYER, BROKER = "Kafka's log layer", "Kafka, a broker"
POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>local</groupId><artifactId>kafka</artifactId><version>1</version><dependencies>
<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{VERSION}</version></dependency>
<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>{VERSION}</version></dependency>
</dependencies></project>
"""


def fetch():
    """The jars, once."""
    if not any(LIBRARY.glob("kafka_2.13*.jar")):
        LIBRARY.mkdir(parents=True, exist_ok=True)
        pom = LIBRARY / "pom.xml"
        pom.write_text(POM)
        copy = ["mvn", "-q", "-f", str(pom), "dependency:copy-dependencies", f"-DoutputDirectory={LIBRARY}"]
        subprocess.run(copy + ["-DincludeScope=runtime"], check=True)
    return f"{LIBRARY}/*"


def java(classes, *arguments, **options):
    return subprocess.run(["java", "-Xmx1g", "-cp", classes, *map(str, arguments)], check=True, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, **options).stdout


def row(work, subject, unit, runs):
    return {"work": work, "subject": subject, "median": statistics.median(runs), "unit": unit, "runs": runs}


def log_layer(classes, work_dir, rounds, scale):
    subprocess.run(["javac", "-cp", classes, "-d", str(work_dir), str(HERE / "LogLayer.java")], check=True)
    classes = f"{work_dir}:{classes}"

    def layer(size, batch, count, flush):
        said = java(classes, f"-Ddir={work_dir}", "LogLayer", size, batch, count, flush, rounds + 1)
        lines = re.findall(r"^ROUND ([\d.]+) ([\d.]+)$", said, re.M)[1:]
        return [float(append) for append, _ in lines], [float(scan) for _, scan in lines]

    append, scan = layer(100, 1000, int(2_000_000 * scale), "keep")
    yield row("append, 100 B, batches of 1,000", LAYER, "M records/s", append)
    yield row("scan, 100 B, warm", LAYER, "M records/s", scan)
    append, scan = layer(1024, 256, int(400_000 * scale) // 256 * 256, "keep")
    yield row("append, 1 KiB, batches of 256", LAYER, "GB/s", [run * 1.024 for run in append])
    yield row("scan, 1 KiB, warm", LAYER, "GB/s", [run * 1.024 for run in scan])
    append, _ = layer(100, 1, int(300_000 * scale), "keep")
    yield row("send, 100 B, acknowledged one by one", LAYER, "M records/s", append)
    append, _ = layer(100, 1, int(4_000 * scale), "flush")
    yield row("send, 100 B, flushed, 1 thread", LAYER, "K records/s", [run * 1e3 for run in append])


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def broker(classes, work_dir, rounds, scale):
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
    server = subprocess.Popen(["java", "-Xmx1g", "-cp", classes, "kafka.Kafka", str(properties)],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield from clients(classes, f"127.0.0.1:{client}", client, rounds, scale)
    finally:
        server.terminate()
        server.wait(timeout=60)


def clients(classes, address, port, rounds, scale):
    deadline = time.monotonic() + 60
    while socket.socket().connect_ex(("127.0.0.1", port)) != 0:
        if time.monotonic() > deadline:
            sys.exit("the broker does not listen")
        time.sleep(0.2)
    topics = ["org.apache.kafka.tools.TopicCommand", "--bootstrap-server", address, "--create", "--partitions", "1"]
    count = int(2_000_000 * scale)
    into, out, ends = [], [], []
    for number in range(rounds + 1):
        java(classes, *topics, "--topic", f"t{number}")
        said = java(classes, "org.apache.kafka.tools.ProducerPerformance", "--topic", f"t{number}", "--num-records", count,
                    "--record-size", 100, "--throughput", -1, "--producer-props", f"bootstrap.servers={address}",
                    "acks=1", "linger.ms=5", "batch.size=65536")
        into.append(float(re.findall(r"([\d.]+) records/sec", said)[-1]) / 1e6)
        said = java(classes, "org.apache.kafka.tools.ConsumerPerformance", "--topic", f"t{number}",
                    "--bootstrap-server", address, "--num-records", count, "--timeout", 60000)
        names, values = [re.split(r",\s*", line.strip()) for line in said.strip().splitlines()[-2:]]
        out.append(float(dict(zip(names, values))["fetch.nMsg.sec"]) / 1e6)
        said = java(classes, "org.apache.kafka.tools.EndToEndLatency", "--bootstrap-server", address, "--topic",
                    f"t{number}", "--num-records", int(5_000 * scale), "--producer-acks", 1, "--record-size", 100)
        # Its percentiles are whole milliseconds; only its mean has decimals.
        ends.append(float(re.search(r"Avg latency: ([\d.]+)", said)[1]) * 1e3)
    yield row("append, 100 B, batches of 1,000", BROKER, "M records/s", into[1:])
    yield row("scan, 100 B, warm", BROKER, "M records/s", out[1:])
    yield row("hop to a sleeping reader, median", BROKER, "us", ends[1:])


def main():
    files = [argument for argument in sys.argv[1:] if not argument.startswith("--")]
    if len(files) != 1:
        sys.exit(__doc__)
    missing = [tool for tool in ("java", "javac", "mvn") if shutil.which(tool) is None]
    if missing:
        print(f"SKIPPED: no {', '.join(missing)}")
        sys.exit(77)
    rounds, scale = (1, 0.1) if "--quick" in sys.argv else (5, 1)
    classes = fetch()
    with tempfile.TemporaryDirectory(dir=LIBRARY) as work:
        work_dir = pathlib.Path(work)
        rows = [*log_layer(classes, work_dir, rounds, scale), *broker(classes, work_dir, rounds, scale)]
    pathlib.Path(files[0]).write_text(json.dumps(rows, indent=2) + "\n")
    for measured in rows:
        print(f"{measured['subject']:<20} {measured['work']:<40} {measured['median']:10.3f} {measured['unit']}")


main()
