import java.io.BufferedReader;
import java.io.File;
import java.io.InputStreamReader;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.record.FileRecords;
import org.apache.kafka.common.record.MemoryRecords;
import org.apache.kafka.common.record.MemoryRecordsBuilder;
import org.apache.kafka.common.record.Record;
import org.apache.kafka.common.record.RecordBatch;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.utils.Time;
import org.apache.kafka.server.storage.log.FetchIsolation;
import org.apache.kafka.server.util.KafkaScheduler;
import org.apache.kafka.storage.internals.log.FetchDataInfo;
import org.apache.kafka.storage.internals.log.LogConfig;
import org.apache.kafka.storage.internals.log.LogDirFailureChannel;
import org.apache.kafka.storage.internals.log.ProducerStateManagerConfig;
import org.apache.kafka.storage.internals.log.UnifiedLog;
import org.apache.kafka.storage.log.metrics.BrokerTopicStats;

/**
 * Kafka's log layer alone, in one process: batches are encoded, appended, perhaps flushed, read and iterated. No network
 * and no broker.
 *
 * Arguments: bytes of a record, records of a batch, records, "flush" or "keep". Each line on standard input asks for
 * a round, which prints the M records/s of appending and of scanning.
 */
public class LogLayer {
    public static void main(String[] arguments) throws Exception {
        int size = Integer.parseInt(arguments[0]);
        int batch = Integer.parseInt(arguments[1]);
        int count = Integer.parseInt(arguments[2]);
        boolean flush = arguments[3].equals("flush");
        BufferedReader asked = new BufferedReader(new InputStreamReader(System.in));
        while (asked.readLine() != null) {
            Path dir = Files.createTempDirectory(Path.of(System.getProperty("dir", ".")), "loglayer");
            File partition = dir.resolve("t-0").toFile();
            partition.mkdirs();
            KafkaScheduler scheduler = new KafkaScheduler(1);
            scheduler.startup();
            UnifiedLog log = UnifiedLog.create(partition, new LogConfig(Map.of()), 0, 0, scheduler,
                new BrokerTopicStats(), Time.SYSTEM, 900000, new ProducerStateManagerConfig(86400000, false), 600000,
                new LogDirFailureChannel(10), true, Optional.empty());
            double append = append(log, size, batch, count, flush);
            log.updateHighWatermark(count);
            double scan = flush ? 0 : scan(log, count);
            System.out.printf("ROUND %.6f %.6f%n", count / append / 1e6, flush ? 0 : count / scan / 1e6);
            log.close();
            scheduler.shutdown();
            try (var files = Files.walk(dir)) {
                files.sorted(Comparator.reverseOrder()).forEach(file -> file.toFile().delete());
            }
        }
        System.exit(0);
    }

    static double append(UnifiedLog log, int size, int batch, int count, boolean flush) throws Exception {
        byte[] value = new byte[size];
        new Random(1).nextBytes(value);
        ByteBuffer buffer = ByteBuffer.allocate(batch * (size + 20) + 200);
        long start = System.nanoTime();
        for (int at = 0; at < count; at += batch) {
            buffer.clear();
            MemoryRecordsBuilder builder = MemoryRecords.builder(buffer, RecordBatch.CURRENT_MAGIC_VALUE,
                Compression.NONE, TimestampType.CREATE_TIME, 0L);
            for (int i = 0; i < batch; i++) {
                builder.append(1700000000000L + at + i, null, value);
            }
            log.appendAsLeader(builder.build(), 0);
            if (flush) {
                log.flush(false);
            }
        }
        return (System.nanoTime() - start) / 1e9;
    }

    static double scan(UnifiedLog log, int count) throws Exception {
        long sum = 0;
        long seen = 0;
        long offset = 0;
        long start = System.nanoTime();
        while (offset < count) {
            FetchDataInfo fetched = log.read(offset, 1 << 20, FetchIsolation.LOG_END, true);
            ByteBuffer bytes = ByteBuffer.allocate(fetched.records.sizeInBytes());
            ((FileRecords) fetched.records).readInto(bytes, 0);
            for (RecordBatch read : MemoryRecords.readableRecords(bytes).batches()) {
                read.ensureValid();
                if (read.lastOffset() < offset) {
                    continue;
                }
                for (Record record : read) {
                    sum += touch(record.value());
                    seen++;
                }
                offset = read.lastOffset() + 1;
            }
        }
        double time = (System.nanoTime() - start) / 1e9;
        if (seen != count || sum == 42) {
            throw new IllegalStateException("it gave " + seen + " of " + count + " records");
        }
        return time;
    }

    /** Looks at every byte, as all readers here do: the sum of its words. */
    static long touch(ByteBuffer value) {
        int at = value.position();
        long sum = 0;
        for (; at <= value.limit() - 8; at += 8) {
            sum += value.getLong(at);
        }
        for (; at < value.limit(); at++) {
            sum += value.get(at);
        }
        return sum;
    }
}
