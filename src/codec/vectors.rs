//! Batches of Kafka's, as hexadecimal text: literal bytes that every encoder and decoder here is held against.
//!
//! The first two have the checksums that Kafka's own tests assert.

/// Offset 0: timestamp 283843, key1, value1; offset 1: timestamp 1234, key2, value2. No producer, no epoch.
pub(crate) const TWO_RECORDS: &str = "
    000000000000000000000055ffffffff02e58cf1ff00000000000100000000000454c300000000000454c3ffffffffffffffffffffffffffff
    0000000220000000086b6579310c76616c756531002400e1bf2202086b6579320c76616c75653200";

/// The same with lz4, in a block that is stored because it does not shrink.
pub(crate) const TWO_RECORDS_LZ4: &str = "
    000000000000000000000064ffffffff02a3ac2aa200030000000100000000000454c300000000000454c3ffffffffffffffffffffffffffff
    0000000204224d186040822400008020000000086b6579310c76616c756531002400e1bf2202086b6579320c76616c7565320000000000";

/// The same with snappy, in a block of one literal.
pub(crate) const TWO_RECORDS_SNAPPY: &str = "
    00000000000000000000006bffffffff02a729e9df00020000000100000000000454c300000000000454c3ffffffffffffffffffffffffffff
    0000000282534e4150505900000000010000000100000026248c20000000086b6579310c76616c756531002400e1bf2202086b6579320c7661
    6c75653200";

/// Timestamp 1000, k, v; timestamp 1001, null, null and a header "h" that is null.
pub(crate) const NULLS: &str = "
    000000000000000000000044ffffffff022bb52bba00000000000100000000000003e800000000000003e9ffffffffffffffffffffffffffff
    0000000210000000026b02760012000202010102026801";

/// What is left of a transactional batch of offsets 10 to 14: largest timestamp 2000, producer 9, epoch 2, sequence 40.
pub(crate) const EMPTIED: &str = "
    000000000000000a00000031000000070290671e48001000000004ffffffffffffffff00000000000007d00000000000000009000200000028
    00000000";

/// Offset 20, key k, timestamp 1000, delete horizon 90000000.
pub(crate) const TOMBSTONE: &str = "
    00000000000000140000003c0000000002c63b3cfc00400000000000000000055d4a8000000000000003e8ffffffffffffffffffffffffffff
    000000011400af9aea5500026b0100";

/// The end of a committed transaction: offset 3, timestamp 1000, producer 9, epoch 0, coordinator epoch 5.
pub(crate) const COMMIT_MARKER: &str = "
    000000000000000300000042000000000262603cab00300000000000000000000003e800000000000003e800000000000000090000ffffffff
    000000012000000008000000010c00000000000500";

/// The end of an aborted one.
pub(crate) const ABORT_MARKER: &str = "
    0000000000000003000000420000000002965eeae300300000000000000000000003e800000000000003e800000000000000090000ffffffff
    000000012000000008000000000c00000000000500";

/// The commit after a cleaner has met it.
pub(crate) const CLEANED_MARKER: &str = "
    0000000000000003000000450000000002154fb8fe00700000000000000000055d4a8000000000000003e800000000000000090000ffffffff
    000000012600af9aea550008000000010c00000000000500";

/// The bytes of hexadecimal text; what is no digit does not count.
pub(crate) fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(16)).collect();
    digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()
}
