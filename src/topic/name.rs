//! Topic names and the names of partition directories, by Kafka's rules.
//!
//! A valid name is safe as part of a path: no separator, no `.` or `..`, and with its partition's number it fits into
//! the 255 bytes that file systems allow. Reading a directory's name and writing it are inverses: what
//! [`parse_dir_name`] accepts, [`dir_name`] gives back byte for byte.

use crate::error::{Error, Result};

/// The longest topic name: with a `-` and five digits of a partition it makes 255 bytes.
pub const MAX_LENGTH: usize = 249;

/// The topics that Kafka keeps for itself. Users read them, and never write them.
const INTERNAL: [&str; 3] = ["__consumer_offsets", "__transaction_state", "__share_group_state"];

/// Checks Kafka's rule: 1 to 249 characters of `[a-zA-Z0-9._-]`, and not `.` or `..`.
///
/// # Errors
///
/// [`Error::InvalidTopic`] with the rule that is broken.
pub fn validate(name: &str) -> Result<()> {
    let invalid = |reason: String| Err(Error::InvalidTopic { name: name.to_string(), reason });
    if name.is_empty() {
        return invalid("a name has at least one character".to_string());
    }
    if name == "." || name == ".." {
        return invalid("'.' and '..' name directories".to_string());
    }
    if let Some((at, c)) = name.char_indices().find(|(_, c)| !is_legal(*c)) {
        return invalid(format!(
            "it has {c:?} at byte {at}; letters and digits of ASCII, '.', '_' and '-' are allowed"
        ));
    }
    if name.len() > MAX_LENGTH {
        return invalid(format!("it has {} characters; {MAX_LENGTH} are allowed", name.len()));
    }
    Ok(())
}

fn is_legal(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}

/// Whether two names are too alike to exist side by side.
///
/// They are when they differ only by `.` and `_`, as in Kafka (whose metrics confuse them), or only by case, because a
/// directory must survive a file system that ignores case. A name collides with itself.
pub fn collides(a: &str, b: &str) -> bool {
    a.len() == b.len() && a.bytes().map(folded).eq(b.bytes().map(folded))
}

fn folded(byte: u8) -> u8 {
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

/// The topic and the partition that a directory's name tells; `None` when it names no partition.
///
/// The name is split at its last `-`. Only what [`dir_name`] writes for a valid topic is accepted: `t-01` and `t-+1` are
/// other directories than `t-1`, and none of ours. Kafka's `...-delete`, `...-future` and `...-stray` are `None`.
pub fn parse_dir_name(name: &str) -> Option<(&str, u32)> {
    let (topic, number) = name.rsplit_once('-')?;
    let canonical = number.bytes().all(|b| b.is_ascii_digit()) && (number == "0" || !number.starts_with('0'));
    let partition = number.parse().ok().filter(|_| canonical)?;
    validate(topic).ok()?;
    Some((topic, partition))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use proptest::prelude::*;

    #[test]
    fn kafkas_rule_decides_what_can_name_a_topic() {
        for name in ["a", "A.b_c-9", "...", "__consumer_offsets", "-", &"x".repeat(249)] {
            assert!(validate(name).is_ok(), "{name}");
        }
        for name in ["", ".", "..", "a b", "a/b", "a\\b", "ä", "a\0", "a:b", &"x".repeat(250)] {
            let error = validate(name).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidTopic, "{name}");
        }
    }

    #[test]
    fn a_refusal_names_the_character_and_where_it_is() {
        let text = validate("ab/c").unwrap_err().to_string();
        assert!(text.contains("'/' at byte 2"), "{text}");
    }

    #[test]
    fn names_that_differ_only_by_dot_and_underscore_or_by_case_collide() {
        assert!(collides("a.b", "a_b"));
        assert!(collides("Orders", "orders"));
        assert!(collides("A.b", "a_B"));
        assert!(collides("same", "same"));
        assert!(!collides("a-b", "a_b"));
        assert!(!collides("ab", "abc"));
    }

    #[test]
    fn kafkas_own_topics_are_internal() {
        assert!(is_internal("__consumer_offsets"));
        assert!(is_internal("__transaction_state"));
        assert!(!is_internal("__consumer_offset"));
        assert!(!is_internal("consumer_offsets"));
    }

    #[test]
    fn a_directory_name_is_split_at_its_last_dash() {
        assert_eq!(parse_dir_name("orders-0"), Some(("orders", 0)));
        assert_eq!(parse_dir_name("a-1-23"), Some(("a-1", 23)));
        assert_eq!(parse_dir_name("--4294967295"), Some(("-", u32::MAX)));
    }

    #[test]
    fn what_we_would_not_write_is_no_partition_directory() {
        let foreign = [
            "",
            "orders",
            "orders-",
            "-0",
            "..-0",
            "orders-01",
            "orders-+1",
            "orders--",
            "orders-4294967296",
            "orders-1 ",
            "or/ders-1",
            "orders-0.0123456789abcdef0123456789abcdef-delete",
            "orders-0.0123456789abcdef0123456789abcdef-future",
            "orders-\u{661}",
        ];
        for name in foreign {
            assert_eq!(parse_dir_name(name), None, "{name}");
        }
    }

    #[test]
    fn the_longest_name_and_partition_fit_into_a_file_name() {
        let longest = dir_name(&"x".repeat(MAX_LENGTH), crate::topic::config::MAX_PARTITIONS - 1);
        assert_eq!(longest.len(), 255);
    }

    proptest! {
        #[test]
        fn a_directory_name_reads_back(topic in "[a-zA-Z0-9._-]{1,249}", partition: u32) {
            prop_assume!(validate(&topic).is_ok());
            let name = dir_name(&topic, partition);
            prop_assert_eq!(parse_dir_name(&name), Some((topic.as_str(), partition)));
        }

        #[test]
        fn whatever_parses_is_what_we_write(name in "[a-z.0+/-]{0,8}|\\PC{0,8}") {
            if let Some((topic, partition)) = parse_dir_name(&name) {
                prop_assert_eq!(dir_name(topic, partition), name);
            }
        }

        #[test]
        fn colliding_and_having_one_folded_form_are_the_same(a in "[aAbB._]{1,4}", b in "[aAbB._]{1,4}") {
            let fold = |name: &str| name.to_ascii_lowercase().replace('.', "_");
            prop_assert_eq!(collides(&a, &b), fold(&a) == fold(&b));
        }
    }
}
