import java.io.BufferedReader;
import java.io.File;
import java.io.InputStreamReader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Comparator;
import java.util.Random;
import net.openhft.chronicle.bytes.Bytes;
import net.openhft.chronicle.queue.ChronicleQueue;
import net.openhft.chronicle.queue.ExcerptAppender;
import net.openhft.chronicle.queue.ExcerptTailer;
import net.openhft.chronicle.queue.RollCycles;
import net.openhft.chronicle.queue.impl.single.SingleChronicleQueueBuilder;
import net.openhft.chronicle.wire.DocumentContext;

/**
 * Chronicle Queue in one process. It stores through a mapping of the file and has no checksum.
 *
 * Arguments: bytes of a record, records, "scan" or "hop". Each line on standard input asks for a round, which prints the
 * M records/s of appending and of scanning, or the median and the 99th percentile of a hop in microseconds.
 */
public class Chronicle {
    public static void main(String[] arguments) throws Exception {
        int size = Integer.parseInt(arguments[0]);
        int count = Integer.parseInt(arguments[1]);
        boolean hop = arguments[2].equals("hop");
        BufferedReader asked = new BufferedReader(new InputStreamReader(System.in));
        while (asked.readLine() != null) {
            Path dir = Files.createTempDirectory(Path.of(System.getProperty("dir", ".")), "chronicle");
            try (ChronicleQueue queue = open(dir.toFile())) {
                if (hop) {
                    double[] micros = hop(queue, size, count);
                    System.out.printf("ROUND %.4f %.4f%n", micros[0], micros[1]);
                } else {
                    double append = append(queue, size, count);
                    double scan = scan(queue, count);
                    System.out.printf("ROUND %.6f %.6f%n", count / append / 1e6, count / scan / 1e6);
                }
            }
            try (var files = Files.walk(dir)) {
                files.sorted(Comparator.reverseOrder()).forEach(file -> file.toFile().delete());
            }
        }
        System.exit(0);
    }

    static ChronicleQueue open(File dir) {
        return SingleChronicleQueueBuilder.binary(dir).rollCycle(RollCycles.FAST_DAILY).blockSize(64 << 20).build();
    }

    static double append(ChronicleQueue queue, int size, int count) {
        byte[] value = new byte[size];
        new Random(1).nextBytes(value);
        try (ExcerptAppender appender = queue.createAppender()) {
            long start = System.nanoTime();
            for (int i = 0; i < count; i++) {
                try (DocumentContext document = appender.writingDocument()) {
                    document.wire().bytes().write(value);
                }
            }
            return (System.nanoTime() - start) / 1e9;
        }
    }

    static double scan(ChronicleQueue queue, int count) {
        long sum = 0;
        long seen = 0;
        double time;
        try (ExcerptTailer tailer = queue.createTailer()) {
            long start = System.nanoTime();
            while (true) {
                try (DocumentContext document = tailer.readingDocument()) {
                    if (!document.isPresent()) {
                        break;
                    }
                    sum += touch(document.wire().bytes());
                    seen++;
                }
            }
            time = (System.nanoTime() - start) / 1e9;
        }
        if (seen != count || sum == 42) {
            throw new IllegalStateException("it gave " + seen + " of " + count + " records");
        }
        return time;
    }

    /** Looks at every byte, as all readers here do: the sum of its words. */
    static long touch(Bytes<?> bytes) {
        long at = bytes.readPosition();
        long end = bytes.readLimit();
        long sum = 0;
        for (; at <= end - 8; at += 8) {
            sum += bytes.readLong(at);
        }
        for (; at < end; at++) {
            sum += bytes.readByte(at);
        }
        return sum;
    }

    /** A reader that looks in a loop, and a writer that leaves 20 microseconds between records. */
    static double[] hop(ChronicleQueue queue, int size, int count) throws Exception {
        byte[] rest = new byte[size - 8];
        Thread sender = new Thread(() -> {
            try (ExcerptAppender appender = queue.createAppender()) {
                for (int i = 0; i < count; i++) {
                    long from = System.nanoTime();
                    while (System.nanoTime() - from < 20_000) {
                        Thread.onSpinWait();
                    }
                    try (DocumentContext document = appender.writingDocument()) {
                        document.wire().bytes().writeLong(System.nanoTime()).write(rest);
                    }
                }
            }
        });
        long[] times = new long[count];
        try (ExcerptTailer tailer = queue.createTailer()) {
            sender.start();
            for (int got = 0; got < count; ) {
                try (DocumentContext document = tailer.readingDocument()) {
                    if (document.isPresent()) {
                        long sent = document.wire().bytes().readLong();
                        times[got++] = System.nanoTime() - sent;
                    }
                }
            }
        }
        sender.join();
        Arrays.sort(times);
        return new double[] {times[(count - 1) / 2] / 1e3, times[(int) ((count - 1) * 0.99)] / 1e3};
    }
}
