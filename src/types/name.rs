//! The names of topics, of groups and of partition directories, by Kafka's rules. There is no other home for them.
//!
//! A name that was read from a file is a stranger's until it is a [`TopicName`], which cannot hold one that the API would
//! refuse. Such a name is safe as part of a path: no separator, no `.` or `..`, and with its partition's number it fits
//! into the 255 bytes that file systems allow. Reading a directory's name and writing it are inverses: what
//! [`parse_dir_name`] accepts, [`dir_name`] gives back byte for byte.

use super::canonical;
use std::{fmt, ops::Deref};

/// The longest topic name: with a `-` and five digits of a partition it makes 255 bytes.
pub const TOPIC_NAME_MAX: usize = 249;

/// How many partitions a topic can have.
pub const TOPIC_PARTITIONS_MAX: u32 = 100_000;

/// The longest name of a group, in bytes: that of any of Kafka's strings.
pub const GROUP_NAME_MAX: usize = i16::MAX as usize;

/// The topics that Kafka keeps for itself. Users read them, and never write them.
const INTERNAL: [&str; 3] = ["__consumer_offsets", "__transaction_state", "__share_group_state"];

/// A valid topic name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName(String);

impl TopicName {
    /// The name, if it is one; else the rule that it breaks.
    pub fn new(name: impl Into<String>) -> Result<Self, String> {
        let name = name.into();
        unless_planted!(believe_any_name => check_topic(&name)?);
        Ok(TopicName(name))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Deref for TopicName {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Kafka's rule for topics: 1 to 249 characters of `[a-zA-Z0-9._-]`, and not `.` or `..`. The error is the rule that
/// `name` breaks.
pub fn check_topic(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err("a name has at least one character".to_string());
    }
    if name == "." || name == ".." {
        return Err("'.' and '..' name directories".to_string());
    }
    if let Some((at, c)) = name.char_indices().find(|(_, c)| !is_legal(*c)) {
        return Err(format!(
            "it has {c:?} at byte {at}; letters and digits of ASCII, '.', '_' and '-' are allowed"
        ));
    }
    if name.len() > TOPIC_NAME_MAX {
        return Err(format!("it has {} characters; {TOPIC_NAME_MAX} are allowed", name.len()));
    }
    Ok(())
}

fn is_legal(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}

/// The rule for groups, whose names are in no path: 1 to 32767 bytes.
pub fn check_group(name: &str) -> Result<(), String> {
    match name.len() {
        1..=GROUP_NAME_MAX => Ok(()),
        len => Err(format!("a group's name has 1 to {GROUP_NAME_MAX} bytes, not {len}")),
    }
}

/// Whether two names are too alike to exist side by side.
#[cfg(test)]
pub fn collides(a: &str, b: &str) -> bool {
    a.len() == b.len() && a.bytes().map(folded_byte).eq(b.bytes().map(folded_byte))
}

/// The form that all names share that are too alike to exist side by side.
///
/// They are when they differ only by `.` and `_`, as in Kafka (whose metrics confuse them), or only by case, because a
/// directory must survive a file system that ignores case. A name is too like itself.
pub fn folded(name: &TopicName) -> String {
    name.bytes().map(|byte| char::from(folded_byte(byte))).collect()
}

fn folded_byte(byte: u8) -> u8 {
    if byte == b'.' { b'_' } else { byte.to_ascii_lowercase() }
}

/// Whether the topic is one of Kafka's own, like `__consumer_offsets`.
pub fn is_internal(name: &str) -> bool {
    INTERNAL.contains(&name)
}

/// The name of a partition's directory: `<topic>-<partition>`.
pub fn dir_name(topic: &str, partition: u32) -> String {
    format!("{topic}-{partition}")
}

/// The topic and the partition in a directory's name; `None` when it names no partition.
///
/// The name is split at its last `-`. Only what [`dir_name`] writes for a valid topic is accepted: `t-01` and `t-+1` are
/// other directories than `t-1`, and none of ours. Kafka's `...-delete`, `...-future` and `...-stray` are `None`.
pub fn parse_dir_name(name: &str) -> Option<(&str, u32)> {
    let (topic, number) = name.rsplit_once('-')?;
    let partition = canonical(number)?;
    check_topic(topic).ok()?;
    Some((topic, partition))
}
