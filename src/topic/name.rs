//! Topic names as the API takes them. The rules are in `types`, where names that are read from files meet the same ones.

#[cfg(test)]
use crate::types::name::collides;
pub use crate::types::name::{dir_name, is_internal, parse_dir_name};

use crate::{
    error::{Error, Result},
    types::name::TopicName,
};

/// The name, by Kafka's rule: 1 to 249 characters of `[a-zA-Z0-9._-]`, and not `.` or `..`.
///
/// # Errors
///
/// [`Error::InvalidTopic`] with the rule that is broken.
pub fn validate(name: &str) -> Result<TopicName> {
    TopicName::new(name).map_err(|reason| Error::InvalidTopic { name: name.to_string(), reason })
}

/// Whether a directory holds what was in the way of a new partition: `<topic>-<partition>.<32 digits>-stray`.
pub fn is_stray_dir(name: &str) -> bool {
    let digits = name.strip_suffix("-stray").and_then(|name| name.rsplit_once('.')).map(|(_, digits)| digits);
    digits.is_some_and(|digits| digits.len() == 32 && digits.bytes().all(|b| b.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{error::ErrorKind, types::name::TOPIC_NAME_MAX};
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
    fn a_name_that_we_would_not_write_is_not_a_partition_directory() {
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
        let longest = dir_name(&"x".repeat(TOPIC_NAME_MAX), crate::topic::config::MAX_PARTITIONS - 1);
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
