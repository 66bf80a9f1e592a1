//! A payload of the manifest while it is read, piece by piece: each is bounded, and what a piece cannot be is refused.

use crate::{
    codec::DecodeError,
    types::{
        Offset, Timestamp, TopicId,
        name::{TOPIC_PARTITIONS_MAX, TopicName, is_internal},
    },
};

/// A payload while it is read.
pub(super) struct Input<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Input<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Input { bytes, position: 0 }
    }

    /// An error unless all of it was read, as an entry of type `code`.
    pub(super) fn end(&self, code: u16) -> Result<(), DecodeError> {
        match self.bytes.len() - self.position {
            0 => Ok(()),
            left => {
                let reason = format!("{left} bytes more than an entry of type {code} has");
                Err(DecodeError::malformed(self.position, reason))
            }
        }
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let rest = self.bytes.get(self.position..).unwrap_or_default();
        let Some(taken) = rest.get(..count) else {
            let reason = format!("{count} bytes expected, {} left", rest.len());
            return Err(DecodeError::malformed(self.position, reason));
        };
        self.position += count;
        Ok(taken)
    }

    /// A broken rule about the last `bytes` that were read.
    pub(super) fn malformed(&self, bytes: usize, reason: String) -> DecodeError {
        DecodeError::malformed(self.position - bytes, reason)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub(super) fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    pub(super) fn u16(&mut self) -> Result<u16, DecodeError> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    pub(super) fn u32(&mut self) -> Result<u32, DecodeError> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    pub(super) fn u64(&mut self) -> Result<u64, DecodeError> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    pub(super) fn id(&mut self) -> Result<TopicId, DecodeError> {
        Ok(TopicId::from_bytes(self.array()?))
    }

    pub(super) fn timestamp(&mut self) -> Result<Timestamp, DecodeError> {
        Ok(Timestamp::from_millis(i64::from_be_bytes(self.array()?)))
    }

    pub(super) fn offset(&mut self) -> Result<Offset, DecodeError> {
        let value = i64::from_be_bytes(self.array()?);
        Offset::from_i64(value)
            .ok_or_else(|| DecodeError::malformed(self.position - 8, format!("{value} is no offset")))
    }

    /// The size of a segment's file: positions in it have 32 bits, and the sizes of all are added up.
    pub(super) fn size(&mut self) -> Result<u64, DecodeError> {
        match self.u64()? {
            size if size <= u64::from(u32::MAX) => Ok(size),
            size => Err(DecodeError::malformed(
                self.position - 8,
                format!("no segment has a size of {size} bytes"),
            )),
        }
    }

    pub(super) fn flag(&mut self) -> Result<bool, DecodeError> {
        match self.array()? {
            [0] => Ok(false),
            [1] => Ok(true),
            [other] => Err(DecodeError::malformed(self.position - 1, format!("{other} is neither 0 nor 1"))),
        }
    }

    pub(super) fn text(&mut self) -> Result<String, DecodeError> {
        let len = self.u32()? as usize;
        let start = self.position;
        match std::str::from_utf8(self.take(len)?) {
            Ok(text) => Ok(text.to_string()),
            Err(_) => Err(DecodeError::malformed(start, "a text is not UTF-8")),
        }
    }

    /// What no caller could have named a topic, nobody here has. It would become part of a path.
    pub(super) fn topic_name(&mut self) -> Result<TopicName, DecodeError> {
        let start = self.position;
        let name = self.text()?;
        let shown: String = name.chars().take(80).collect();
        TopicName::new(name)
            .map_err(|rule| DecodeError::malformed(start, format!("{shown:?} is no topic's name: {rule}")))
    }

    /// Whether a topic is the library's own, which its name says too.
    pub(super) fn internal(&mut self, name: &TopicName) -> Result<bool, DecodeError> {
        match self.flag()? {
            said if said == is_internal(name) => Ok(said),
            said => {
                let said = if said { "is" } else { "is not" };
                let reason = format!("topic '{name}' {said} said to be one of Kafka's own");
                Err(DecodeError::malformed(self.position - 1, reason))
            }
        }
    }

    /// How many partitions a topic has.
    pub(super) fn partitions(&mut self) -> Result<u32, DecodeError> {
        match self.u32()? {
            count @ 1..=TOPIC_PARTITIONS_MAX => Ok(count),
            count => {
                let reason = format!("a topic has 1 to {TOPIC_PARTITIONS_MAX} partitions, not {count}");
                Err(DecodeError::malformed(self.position - 4, reason))
            }
        }
    }

    /// A count and as many items, each of `least` bytes or more.
    pub(super) fn many<T>(
        &mut self,
        least: usize,
        item: impl Fn(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        let start = self.position;
        let count = self.u32()? as usize;
        let fit = (self.bytes.len() - self.position) / least;
        if count > fit {
            return Err(DecodeError::malformed(start, format!("{count} items, of which {fit} fit at most")));
        }
        (0..count).map(|_| item(self)).collect()
    }

    pub(super) fn config(&mut self) -> Result<Vec<(String, String)>, DecodeError> {
        self.many(8, |input| Ok((input.text()?, input.text()?)))
    }
}
