//! Kafka's small text files: offset and leader epoch checkpoints, `partition.metadata`, `meta.properties`.
//!
//! A checkpoint is a line `0` (its version), a line with the number of entries, and a line for each, every line ended by
//! `\n` and its fields parted by one space; an empty file has no entries. Reading is strict: a line too few or too many is
//! an error, because a file cut off in the middle must not pass for a shorter one.

pub use super::epochs::LeaderEpochs;
use super::{DecodeError, crc::crc32};
use crate::types::{Offset, TopicId, TopicPartition, name::check_topic};
use std::{borrow::Cow, collections::BTreeSet, fmt, str::FromStr};

const CHECKPOINT_VERSION: &str = "0";

/// An offset checkpoint (`recovery-point-`, `log-start-`, `cleaner-`, `replication-offset-checkpoint`).
pub fn encode_offsets(entries: &[(TopicPartition, Offset)]) -> String {
    let lines = entries.iter().map(|(tp, offset)| format!("{} {} {offset}", tp.topic, tp.partition));
    encode_lines(entries.len(), lines)
}

/// The entries of an offset checkpoint, in the file's order, none twice.
pub fn decode_offsets(text: &str) -> Result<Vec<(TopicPartition, Offset)>, DecodeError> {
    let entries = decode_lines(text, |line| {
        let [topic, partition, offset] = fields(line)?;
        check_topic(topic).map_err(|rule| format!("{} is no topic's name: {rule}", shown(topic)))?;
        Ok((TopicPartition::new(topic, partition_number(partition)?), offset_number(offset)?))
    })?;
    let mut seen = BTreeSet::new();
    if let Some((twice, _)) = entries.iter().find(|(tp, _)| !seen.insert(tp)) {
        return Err(DecodeError::malformed(0u64, format!("{twice} is there twice")));
    }
    Ok(entries)
}

/// A `leader-epoch-checkpoint`.
pub fn encode_epochs(entries: &[(i32, Offset)]) -> String {
    encode_lines(entries.len(), entries.iter().map(|(epoch, start)| format!("{epoch} {start}")))
}

/// The entries of a `leader-epoch-checkpoint`, in the file's order; [`LeaderEpochs`] makes sense of them.
pub fn decode_epochs(text: &str) -> Result<Vec<(i32, Offset)>, DecodeError> {
    decode_lines(text, |line| {
        let [epoch, start] = fields(line)?;
        let epoch: u32 = number(epoch)?;
        let epoch = i32::try_from(epoch).map_err(|_| format!("{epoch} is beyond Kafka's epochs"))?;
        Ok((epoch, offset_number(start)?))
    })
}

fn encode_lines(count: usize, lines: impl Iterator<Item = String>) -> String {
    let mut text = format!("{CHECKPOINT_VERSION}\n{count}\n");
    for line in lines {
        text.push_str(&line);
        text.push('\n');
    }
    text
}

fn decode_lines<T>(
    text: &str,
    entry: impl Fn(&str) -> Result<T, Cow<'static, str>>,
) -> Result<Vec<T>, DecodeError> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let mut position = 0;
    let (version, rest) = next_line(text, position)?;
    if version != CHECKPOINT_VERSION {
        let found = format!("a checkpoint of version {}", shown(version));
        return Err(DecodeError::Unsupported { found, supported: "version 0" });
    }
    position += version.len() + 1;
    let (count, mut rest) = next_line(rest, position)?;
    let declared: u64 = number(count).map_err(|reason| DecodeError::malformed(position, reason))?;
    position += count.len() + 1;
    let mut entries = Vec::new();
    while !rest.is_empty() {
        let (line, after) = next_line(rest, position)?;
        entries.push(entry(line).map_err(|reason| DecodeError::malformed(position, reason))?);
        position += line.len() + 1;
        rest = after;
    }
    if entries.len() as u64 != declared {
        let reason = format!("{declared} entries announced, {} found", entries.len());
        return Err(DecodeError::malformed(position, reason));
    }
    Ok(entries)
}

fn next_line(text: &str, position: usize) -> Result<(&str, &str), DecodeError> {
    text.split_once('\n').ok_or_else(|| DecodeError::malformed(position, "a line without its end"))
}

fn fields<const N: usize>(line: &str) -> Result<[&str; N], Cow<'static, str>> {
    let mut parts = line.split(' ');
    let fields = std::array::from_fn(|_| parts.next().unwrap_or_default());
    match fields.contains(&"") || parts.next().is_some() {
        true => Err(format!("{N} fields parted by single spaces expected, found {}", shown(line)).into()),
        false => Ok(fields),
    }
}

/// A decimal number of digits alone: no sign, no spaces.
fn number<T: FromStr>(text: &str) -> Result<T, Cow<'static, str>> {
    match text.parse() {
        Ok(number) if text.bytes().all(|digit| digit.is_ascii_digit()) => Ok(number),
        _ => Err(format!("{} is not a number in range", shown(text)).into()),
    }
}

fn offset_number(text: &str) -> Result<Offset, Cow<'static, str>> {
    let value: u64 = number(text)?;
    i64::try_from(value)
        .ok()
        .and_then(Offset::from_i64)
        .ok_or_else(|| format!("{value} is beyond Kafka's offsets").into())
}

fn partition_number(text: &str) -> Result<u32, Cow<'static, str>> {
    let partition: u32 = number(text)?;
    match i32::try_from(partition) {
        Ok(_) => Ok(partition),
        Err(_) => Err(format!("{partition} is beyond Kafka's partitions").into()),
    }
}

/// What a stranger wrote, short and escaped, fit for a message.
fn shown(text: &str) -> impl fmt::Display {
    let short: String = text.chars().take(80).collect();
    format!("{short:?}")
}

/// A `partition.metadata` file.
pub fn encode_partition_metadata(id: &TopicId) -> String {
    format!("version: 0\ntopic_id: {id}")
}

/// A `partition.identity` file, which is ours: what Kafka's says, the partition, and the CRC-32 of all that is before it.
pub fn encode_partition_identity(id: &TopicId, partition: u32) -> String {
    let text = format!("{}\npartition: {partition}", encode_partition_metadata(id));
    let sum = crc32(text.as_bytes());
    format!("{text} {sum:08x}")
}

/// The topic and the partition that a `partition.identity` file names, where it is as it was written.
pub fn decode_partition_identity(text: &str) -> Option<(TopicId, u32)> {
    let (said, sum) = text.rsplit_once(' ')?;
    let partition = number(said.lines().nth(2)?.strip_prefix("partition: ")?).ok()?;
    let id = decode_partition_metadata(said).ok()?;
    (format!("{:08x}", crc32(said.as_bytes())) == sum).then_some((id, partition))
}

/// The topic's identity in a `partition.metadata` file. As Kafka does, any later version is read as this one.
pub fn decode_partition_metadata(text: &str) -> Result<TopicId, DecodeError> {
    let mut lines = text.lines();
    let version = lines.next().and_then(|line| line.trim_end().strip_prefix("version: "));
    if version.is_none_or(|version| number::<u32>(version).is_err()) {
        return Err(DecodeError::malformed(0u64, "the first line is not \"version: \" and a number"));
    }
    let position = text.find('\n').map_or(text.len(), |end| end + 1);
    match lines.next().and_then(|line| line.trim_end().strip_prefix("topic_id: ")).map(TopicId::from_str) {
        Some(Ok(id)) if id.as_bytes() != &[0; 16] => Ok(id),
        _ => Err(DecodeError::malformed(
            position,
            "the second line is not \"topic_id: \" and an id other than zero",
        )),
    }
}

/// What a `meta.properties` file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetaProperties {
    /// The file's version: 0 or 1.
    pub version: u32,
    /// The cluster, by whatever text it was given as its id.
    pub cluster_id: Option<String>,
    /// The node, `broker.id` in version 0.
    pub node_id: Option<u32>,
    /// The data directory.
    pub directory_id: Option<TopicId>,
}

/// A `meta.properties` file of version 1. Where Kafka has a comment with the date, this has none: equal directories are
/// equal bytes.
pub fn encode_meta_properties(cluster_id: &TopicId, node_id: u32, directory_id: &TopicId) -> String {
    format!("#\nversion=1\ncluster.id={cluster_id}\nnode.id={node_id}\ndirectory.id={directory_id}\n")
}

/// What is there of a `meta.properties` file; unknown keys are skipped.
#[allow(
    dead_code,
    reason = "the reading half of a format that is written here: tests and fuzzing read it back"
)]
pub fn decode_meta_properties(text: &str) -> Result<MetaProperties, DecodeError> {
    let (mut version, mut node, mut broker) = (None, None, None);
    let (mut cluster_id, mut directory_id) = (None, None);
    let mut position = 0;
    for line in text.split_inclusive('\n') {
        let at = |reason| DecodeError::malformed(position, reason);
        if let Some((key, value)) = property(line).map_err(at)? {
            match key {
                "version" => version = Some(number::<u32>(&value).map_err(at)?),
                "node.id" => node = Some(number::<u32>(&value).map_err(at)?),
                "broker.id" => broker = Some(number::<u32>(&value).map_err(at)?),
                "cluster.id" => cluster_id = Some(value),
                "directory.id" => {
                    let id =
                        value.parse().map_err(|_| at(format!("{} is not an id", shown(&value)).into()))?;
                    directory_id = Some(id);
                }
                _ => {}
            }
        }
        position += line.len();
    }
    match version {
        Some(version @ 0..=1) => {
            let node_id = if version == 0 { broker } else { node };
            Ok(MetaProperties { version, cluster_id, node_id, directory_id })
        }
        Some(other) => Err(DecodeError::Unsupported {
            found: format!("meta.properties of version {other}"),
            supported: "versions 0 and 1",
        }),
        None => Err(DecodeError::malformed(0u64, "meta.properties without a version")),
    }
}

/// A line of a Java properties file: nothing for blanks and comments. Of the format's liberties only those that its
/// writer takes are read: `=` between key and value, and `\` before a character that is meant as it is.
fn property(line: &str) -> Result<Option<(&str, String)>, Cow<'static, str>> {
    let line = line.trim_start().trim_end_matches(['\n', '\r']);
    if line.is_empty() || line.starts_with(['#', '!']) {
        return Ok(None);
    }
    let (key, value) = line.split_once('=').ok_or_else(|| format!("no '=' in {}", shown(line)))?;
    let mut plain = String::new();
    let mut characters = value.trim_start().chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.next() {
                Some(escaped) if !escaped.is_ascii_alphanumeric() => plain.push(escaped),
                _ => return Err(format!("an escape in {} that is not read here", shown(line)).into()),
            },
            other => plain.push(other),
        }
    }
    Ok(Some((key.trim_end(), plain)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SEQUENCE: &str = "AAECAwQFBgcICQoLDA0ODw";

    #[test]
    fn checkpoints_are_kafkas_text() {
        let entries =
            [(TopicPartition::new("a-b.c_d", 3), 7.into()), (TopicPartition::new("a", 0), Offset::MAX)];
        let text = "0\n2\na-b.c_d 3 7\na 0 9223372036854775807\n";
        assert_eq!(encode_offsets(&entries), text);
        assert_eq!(decode_offsets(text), Ok(entries.to_vec()));
        let epochs = [(0, 0.into()), (2, 4.into())];
        assert_eq!(encode_epochs(&epochs), "0\n2\n0 0\n2 4\n");
        assert_eq!(decode_epochs("0\n2\n0 0\n2 4\n"), Ok(epochs.to_vec()));
    }

    #[test]
    fn no_entries_are_an_empty_file_or_a_zero() {
        assert_eq!(encode_offsets(&[]), "0\n0\n");
        assert_eq!(decode_offsets("0\n0\n"), Ok(vec![]));
        assert_eq!(decode_offsets(""), Ok(vec![]));
        assert_eq!(decode_epochs(""), Ok(vec![]));
    }

    #[test]
    fn a_checkpoint_that_breaks_a_rule_is_refused() {
        for text in [
            "0",
            "0\n",
            "0\n1\n",
            "0\n0\na 0 1\n",
            "0\n2\na 0 1\n",
            "0\n1\na 0 1",
            "0\n1\na 0\n",
            "0\n1\na 0 1 2\n",
            "0\n1\na  0 1\n",
            "0\n1\na 0 -1\n",
            "0\n1\na 0 +1\n",
            "0\n1\na -1 1\n",
            "0\n1\na 2147483648 1\n",
            "0\n1\na 0 9223372036854775808\n",
            "0\n1\n.. 0 1\n",
            "0\n1\na/b 0 1\n",
            "0\n2\na 0 1\na 0 2\n",
            "0\n1\na 0 1\r\n",
            "0\n18446744073709551616\n",
            "0\n18446744073709551615\na 0 1\n",
            "0\n1\n\n",
        ] {
            assert!(matches!(decode_offsets(text), Err(DecodeError::Malformed { .. })), "{text:?}");
        }
        assert!(matches!(decode_offsets("1\n0\n"), Err(DecodeError::Unsupported { .. })));
        for text in ["0\n1\n-1 0\n", "0\n1\n0 -1\n", "0\n1\n2147483648 0\n", "0\n1\n0\n"] {
            assert!(matches!(decode_epochs(text), Err(DecodeError::Malformed { .. })), "{text:?}");
        }
    }

    #[test]
    fn every_proper_beginning_of_a_checkpoint_is_refused() {
        let text = "0\n2\na 0 12\nb 1 34\n";
        assert!((1..text.len()).all(|end| decode_offsets(&text[..end]).is_err()));
    }

    #[test]
    fn an_error_says_where_its_line_begins() {
        let position = |text| match decode_offsets(text) {
            Err(DecodeError::Malformed { position, .. }) => position,
            other => panic!("{other:?}"),
        };
        assert_eq!(position("0\n2\na 0 1\nb 0 x\n"), 10);
        assert_eq!(position("0\nx\n"), 2);
        assert_eq!(position("0\n10\nx\n"), 5);
    }

    #[test]
    fn an_error_of_other_files_says_where_its_line_begins() {
        let position = |result: Result<(), DecodeError>| match result {
            Err(DecodeError::Malformed { position, .. }) => position,
            other => panic!("{other:?}"),
        };
        assert_eq!(position(decode_partition_metadata("version: 0\ntopic_id: x").map(drop)), 11);
        assert_eq!(position(decode_partition_metadata("version: 0").map(drop)), 10);
        assert_eq!(position(decode_meta_properties("#\nversion=1\nnode.id=x\n").map(drop)), 12);
        let escaped = "version=1\ncluster.id=\\u0041\n";
        assert_eq!(position(decode_meta_properties(escaped).map(drop)), 10, "only Java reads this escape");
    }

    #[test]
    fn partition_metadata_is_kafkas_text() {
        let id = SEQUENCE.parse().unwrap();
        let text = "version: 0\ntopic_id: AAECAwQFBgcICQoLDA0ODw";
        assert_eq!(decode_partition_metadata(text), Ok(id));
        assert_eq!(encode_partition_metadata(&id), text);
        assert_eq!(decode_partition_identity(text), None);
        let ours = encode_partition_identity(&id, 17);
        // The sum is that of Python's zlib.crc32.
        assert_eq!(ours, format!("{text}\npartition: 17 862ecebf"));
        assert_eq!(decode_partition_identity(&ours), Some((id, 17)));
        for bit in 0..8 * ours.len() {
            let mut bytes = ours.clone().into_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let flipped = String::from_utf8_lossy(&bytes);
            assert_eq!(decode_partition_identity(&flipped), None, "{flipped:?}");
        }
        assert_eq!(decode_partition_metadata(&format!("{text}\n")), Ok(id));
        assert_eq!(decode_partition_metadata(&text.replace(": 0\n", ": 3\r\n")), Ok(id));
        let zero = "version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAA";
        for text in ["", "version: -1\ntopic_id: x", "version: 0", "version: 0\ntopic_id: short", zero] {
            assert!(decode_partition_metadata(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn meta_properties_are_read_as_kafka_writes_them() {
        let text = "#\n#Mon Nov 23 09:02:23 UTC 2026\nnode.id=1\ndirectory.id=9yA4EkNIU7Q246np0696KA\nversion=1\ncluster.id=AAAAAAAAAAAAAAAAAAAAAQ\n";
        let expected = MetaProperties {
            version: 1,
            cluster_id: Some("AAAAAAAAAAAAAAAAAAAAAQ".into()),
            node_id: Some(1),
            directory_id: "9yA4EkNIU7Q246np0696KA".parse().ok(),
        };
        assert_eq!(decode_meta_properties(text), Ok(expected.clone()));
        let (cluster, directory) = (TopicId::from_bytes([0; 16]), TopicId::from_bytes([7; 16]));
        let ours = decode_meta_properties(&encode_meta_properties(&cluster, 5, &directory));
        assert_eq!(
            ours,
            Ok(MetaProperties {
                cluster_id: Some(cluster.to_string()),
                node_id: Some(5),
                directory_id: Some(directory),
                ..expected
            })
        );
        let old = decode_meta_properties("!x\r\n\n broker.id = 3\r\nversion=0\nother=\\:\\=").unwrap();
        assert_eq!((old.version, old.node_id, old.cluster_id, old.directory_id), (0, Some(3), None, None));
        assert_eq!(
            decode_meta_properties("version=1\ncluster.id=a\\=b\\:").unwrap().cluster_id.as_deref(),
            Some("a=b:")
        );
    }

    #[test]
    fn meta_properties_that_make_no_sense_are_refused() {
        for text in [
            "",
            "version=x",
            "version=1\nnode.id=-1",
            "version=1\ndirectory.id=short",
            "version",
            "version=1\\",
        ] {
            assert!(matches!(decode_meta_properties(text), Err(DecodeError::Malformed { .. })), "{text:?}");
        }
        assert!(matches!(decode_meta_properties("version=2"), Err(DecodeError::Unsupported { .. })));
    }

    proptest! {
        #[test]
        fn any_text_is_decoded_or_refused(text in "(0\n)?(1\n)?[a0 \n=:\\\\#.-]{0,40}|\\PC{0,40}") {
            let _ = (decode_offsets(&text), decode_epochs(&text));
            let _ = (decode_partition_metadata(&text), decode_meta_properties(&text));
        }

        #[test]
        fn what_was_encoded_is_decoded(
            offsets in prop::collection::btree_map(("[a-zA-Z0-9_-]{1,20}", 0u32..1 << 31), any::<u64>(), 0..8),
            epochs in prop::collection::vec((0i32..=i32::MAX, any::<u64>()), 0..8),
        ) {
            let offsets: Vec<_> =
                offsets.into_iter().map(|((t, p), o)| (TopicPartition::new(t, p), Offset::new(o))).collect();
            let epochs: Vec<_> = epochs.into_iter().map(|(epoch, start)| (epoch, Offset::new(start))).collect();
            prop_assert_eq!(decode_offsets(&encode_offsets(&offsets)), Ok(offsets));
            prop_assert_eq!(decode_epochs(&encode_epochs(&epochs)), Ok(epochs));
        }
    }
}
