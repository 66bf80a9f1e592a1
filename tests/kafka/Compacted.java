import java.io.File;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HexFormat;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.function.Supplier;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.record.Record;
import org.apache.kafka.common.record.RecordBatch;
import org.apache.kafka.common.utils.Time;
import org.apache.kafka.common.utils.Timer;
import org.apache.kafka.server.util.KafkaScheduler;
import org.apache.kafka.storage.internals.log.*;
import org.apache.kafka.storage.internals.utils.Throttler;
import org.apache.kafka.storage.log.metrics.BrokerTopicStats;

/**
 * What Kafka's own loader finds in directories of partitions, and what its own cleaner leaves there.
 *
 * Reads a line for each directory, `load DIR` or `clean NOW DELETE_RETENTION SEGMENT_BYTES DIR`, and prints `dir DIR`, a line
 * for each batch (its delete horizon in seconds) and record, and `end START END`. Needs Kafka 4.2's jars in the class path, and nothing else.
 */
public class Compacted {
    static long now;
    static final Time TIME = new Time() {
        public long milliseconds() { return now; }
        public long nanoseconds() { return now * 1_000_000; }
        public long hiResClockMs() { return now; }
        public void sleep(long ms) { now += ms; }
        public void waitObject(Object o, Supplier<Boolean> c, long d) { throw new UnsupportedOperationException(); }
        public Timer timer(long t) { return Time.SYSTEM.timer(t); }
        public <T> T waitForFuture(CompletableFuture<T> f, long d) { throw new UnsupportedOperationException(); }
    };

    public static void main(String[] args) throws Exception {
        KafkaScheduler scheduler = new KafkaScheduler(1);
        scheduler.startup();
        for (String line : new String(System.in.readAllBytes()).lines().toList()) {
            String[] words = line.split(" ", 2);
            if (words[0].equals("load")) {
                load(scheduler, words[1]);
            } else {
                String[] rest = line.split(" ", 5);
                clean(scheduler, Long.parseLong(rest[1]), rest[2], rest[3], rest[4]);
            }
        }
        scheduler.shutdown();
        System.exit(0);
    }

    static UnifiedLog open(KafkaScheduler scheduler, File dir, LogConfig config, boolean wasClean) throws Exception {
        UnifiedLog log = UnifiedLog.create(dir, config, 0, 0, scheduler, new BrokerTopicStats(), TIME, 900000,
            new ProducerStateManagerConfig(86400000, false), 600000, new LogDirFailureChannel(10), wasClean, Optional.empty());
        log.updateHighWatermark(log.logEndOffset());
        return log;
    }

    static void load(KafkaScheduler scheduler, String dir) throws Exception {
        System.out.println("dir " + dir);
        try {
            UnifiedLog log = open(scheduler, new File(dir), new LogConfig(Map.of("cleanup.policy", "compact")), false);
            show(log);
            log.close();
        } catch (Exception e) {
            System.out.println("failed " + e);
        }
        leftovers(dir);
    }

    static void clean(KafkaScheduler scheduler, long at, String retention, String segment, String dir) throws Exception {
        System.out.println("dir " + dir);
        now = at;
        LogConfig config = new LogConfig(Map.of("cleanup.policy", "compact", "delete.retention.ms", retention,
            "internal.segment.bytes", segment, "file.delete.delay.ms", "0"));
        UnifiedLog log = open(scheduler, new File(dir), config, true);
        long end = log.activeSegment().baseOffset();
        Throttler throttler = new Throttler(Double.MAX_VALUE, 300, "cleaner", "bytes", Time.SYSTEM);
        Cleaner cleaner = new Cleaner(0, new SkimpyOffsetMap(1 << 20), 1 << 16, 1 << 20, 0.9, throttler, TIME, tp -> { });
        for (long from = 0; from < end; ) {
            from = cleaner.clean(new LogToClean(log, from, end, false)).getKey();
        }
        show(log);
        log.close();
    }

    static void show(UnifiedLog log) throws Exception {
        for (LogSegment segment : log.logSegments()) {
            segment.offsetIndex().sanityCheck();
            segment.timeIndex().sanityCheck();
            segment.txnIndex().sanityCheck();
            for (RecordBatch batch : segment.log().batches()) {
                batch.ensureValid();
                System.out.println("batch " + batch.baseOffset() + " " + batch.lastOffset() + " " + batch.countOrNull() + " "
                    + batch.compressionType().name + " " + batch.timestampType().name + " " + batch.maxTimestamp() + " "
                    + Math.floorDiv(batch.deleteHorizonMs().orElse(-1), 1000));
                for (Record record : batch) {
                    record.ensureValid();
                    StringBuilder headers = new StringBuilder();
                    for (Header header : record.headers()) {
                        headers.append(' ').append(header.key()).append('=').append(hex(header.value()));
                    }
                    System.out.println("record " + record.offset() + " " + record.timestamp() + " "
                        + (record.hasKey() ? hex(bytes(record.key())) : "null") + " "
                        + (record.hasValue() ? hex(bytes(record.value())) : "null") + headers);
                }
            }
        }
        System.out.println("end " + log.logStartOffset() + " " + log.logEndOffset());
    }

    /** Files of a swap that the loader should have done away with. */
    static void leftovers(String dir) throws Exception {
        try (var files = Files.list(Path.of(dir))) {
            files.map(file -> file.getFileName().toString()).filter(name -> name.endsWith(".swap") || name.endsWith(".cleaned"))
                .sorted().forEach(name -> System.out.println("left " + name));
        }
    }

    static byte[] bytes(java.nio.ByteBuffer buffer) {
        byte[] bytes = new byte[buffer.remaining()];
        buffer.get(bytes);
        return bytes;
    }

    static String hex(byte[] bytes) {
        return bytes == null ? "null" : "x" + HexFormat.of().formatHex(bytes);
    }
}
