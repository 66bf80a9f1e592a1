//! What the feature `serde` makes of values: see "Features" in the crate's documentation for the forms.

/// A type is serialized as the text that `Display` writes, and deserialized by `FromStr`.
macro_rules! serde_as_text {
    ($($name:ty),+) => {$(
        #[cfg(feature = "serde")]
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        #[cfg(feature = "serde")]
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )+};
}
pub(crate) use serde_as_text;

#[cfg(feature = "serde")]
use super::{Compression, Durability, IsolationLevel, TimestampType, TopicId, TopicPartition};
serde_as_text!(Compression, Durability, IsolationLevel, TimestampType, TopicId, TopicPartition);

#[cfg(feature = "serde")]
mod numbers {
    use super::super::{Offset, Timestamp};
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    impl Serialize for Offset {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            self.value().serialize(serializer)
        }
    }

    impl<'de> Deserialize<'de> for Offset {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let value = u64::deserialize(deserializer)?;
            let offset = Offset::new(value);
            if offset == value { Ok(offset) } else { Err(D::Error::custom("no offset is that large")) }
        }
    }

    impl Serialize for Timestamp {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            self.as_millis().serialize(serializer)
        }
    }

    impl<'de> Deserialize<'de> for Timestamp {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            i64::deserialize(deserializer).map(Timestamp::from_millis)
        }
    }
}

/// What is only text for people: a path, an error.
#[cfg(feature = "serde")]
pub(crate) mod shown {
    use serde::{Serialize, Serializer};
    use std::{fmt::Display, path::PathBuf};

    pub fn path<S: Serializer>(path: &std::path::Path, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&path.display())
    }

    pub fn paths<S: Serializer>(paths: &[PathBuf], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(paths.iter().map(|path| path.display().to_string()))
    }

    pub fn placed_paths<P: Serialize, S: Serializer>(
        paths: &[(P, PathBuf)],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(paths.iter().map(|(place, path)| (place, path.display().to_string())))
    }

    pub fn errors<P: Serialize, E: Display, S: Serializer>(
        errors: &[(P, E)],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(errors.iter().map(|(place, error)| (place, error.to_string())))
    }

    pub fn error<E: Display, S: Serializer>(error: &Option<E>, serializer: S) -> Result<S::Ok, S::Error> {
        error.as_ref().map(ToString::to_string).serialize(serializer)
    }
}
