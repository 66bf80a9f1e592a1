import java.io.BufferedReader;
import java.io.File;
import java.io.InputStreamReader;
import java.lang.management.ManagementFactory;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.record.MemoryRecords;
import org.apache.kafka.common.record.MemoryRecordsBuilder;
import org.apache.kafka.common.record.RecordBatch;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.utils.Time;
import org.apache.kafka.server.util.KafkaScheduler;
import org.apache.kafka.storage.internals.log.Cleaner;
import org.apache.kafka.storage.internals.log.LogConfig;
import org.apache.kafka.storage.internals.log.LogDirFailureChannel;
import org.apache.kafka.storage.internals.log.LogSegment;
import org.apache.kafka.storage.internals.log.LogToClean;
import org.apache.kafka.storage.internals.log.ProducerStateManagerConfig;
import org.apache.kafka.storage.internals.log.SkimpyOffsetMap;
import org.apache.kafka.storage.internals.log.UnifiedLog;
import org.apache.kafka.storage.internals.utils.Throttler;
import org.apache.kafka.storage.log.metrics.BrokerTopicStats;

/**
 * Kafka's own log cleaner over one log, in one process: 16-byte keys, 80-byte values, batches of 100 records, segments of
 * 64 MiB, a map of 128 MiB. Arguments: records, keys. Each line on standard input asks for a round, which prints the seconds
 * of the processor that the thread took to clean, and the bytes that it cleaned.
 */
public class LogCleaner {
    static final int VALUE = 80;
    static final int BATCH = 100;

    public static void main(String[] arguments) throws Exception {
        long records = Long.parseLong(arguments[0]);
        long keys = Long.parseLong(arguments[1]);
        BufferedReader asked = new BufferedReader(new InputStreamReader(System.in));
        while (asked.readLine() != null) {
            Path dir = Files.createTempDirectory(Path.of(System.getProperty("dir", ".")), "clean");
            File partition = dir.resolve("t-0").toFile();
            partition.mkdirs();
            KafkaScheduler scheduler = new KafkaScheduler(1);
            scheduler.startup();
            LogConfig config = new LogConfig(Map.of("segment.bytes", "67108864", "cleanup.policy", "compact"));
            UnifiedLog log = UnifiedLog.create(partition, config, 0, 0, scheduler, new BrokerTopicStats(), Time.SYSTEM,
                900000, new ProducerStateManagerConfig(86400000, false), 600000, new LogDirFailureChannel(10), true,
                Optional.empty());
            fill(log, records, keys);
            log.updateHighWatermark(records);
            log.roll();
            log.updateHighWatermark(log.logEndOffset());
            long bytes = sealed(log);
            double seconds = clean(log);
            if (sealed(log) >= bytes) {
                throw new IllegalStateException("nothing was cleaned");
            }
            System.out.printf("ROUND %.6f %d%n", seconds, bytes);
            log.close();
            scheduler.shutdown();
            try (var files = Files.walk(dir)) {
                files.sorted(Comparator.reverseOrder()).forEach(file -> file.toFile().delete());
            }
        }
        System.exit(0);
    }

    static void fill(UnifiedLog log, long records, long keys) throws Exception {
        byte[] value = new byte[VALUE];
        new Random(1).nextBytes(value);
        ByteBuffer buffer = ByteBuffer.allocate(BATCH * (VALUE + 60) + 200);
        long random = 88172645463325252L;
        for (long i = 0; i < records;) {
            buffer.clear();
            MemoryRecordsBuilder batch = MemoryRecords.builder(buffer, RecordBatch.CURRENT_MAGIC_VALUE, Compression.NONE,
                TimestampType.CREATE_TIME, 0L);
            for (int j = 0; j < BATCH && i < records; j++, i++) {
                random ^= random << 13;
                random ^= random >>> 7;
                random ^= random << 17;
                long key = Long.remainderUnsigned(random * 0x2545F4914F6CDD1DL, keys);
                batch.append(1700000000000L + i / BATCH, String.format("user-%011x", key).getBytes(), value);
            }
            log.appendAsLeader(batch.build(), 0);
        }
    }

    /** The bytes of all segments but the active one. */
    static long sealed(UnifiedLog log) {
        long bytes = 0;
        for (LogSegment segment : log.logSegments()) {
            bytes += segment.baseOffset() < log.activeSegment().baseOffset() ? segment.size() : 0;
        }
        return bytes;
    }

    static double clean(UnifiedLog log) throws Exception {
        Cleaner cleaner = new Cleaner(0, new SkimpyOffsetMap(128 << 20), 1 << 19, 2 << 20, 0.9,
            new Throttler(Double.MAX_VALUE, 300, "cleaner", "bytes", Time.SYSTEM), Time.SYSTEM, partition -> { });
        long end = log.activeSegment().baseOffset();
        long begun = ManagementFactory.getThreadMXBean().getCurrentThreadCpuTime();
        for (long from = 0; from < end;) {
            from = cleaner.clean(new LogToClean(log, from, end, false)).getKey();
        }
        return (ManagementFactory.getThreadMXBean().getCurrentThreadCpuTime() - begun) / 1e9;
    }
}
