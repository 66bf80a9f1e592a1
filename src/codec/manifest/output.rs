//! A payload of the manifest while it is written: the mirror of [`Input`](super::input::Input).

use crate::types::{Offset, Timestamp, TopicId};

/// A payload while it is written, at the end of what was written before.
pub(super) struct Output<'a>(pub(super) &'a mut Vec<u8>);

impl Output<'_> {
    fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub(super) fn u8(&mut self, value: u8) -> &mut Self {
        self.bytes(&[value])
    }

    pub(super) fn u16(&mut self, value: u16) -> &mut Self {
        self.bytes(&value.to_be_bytes())
    }

    pub(super) fn u32(&mut self, value: u32) -> &mut Self {
        self.bytes(&value.to_be_bytes())
    }

    pub(super) fn i32(&mut self, value: i32) -> &mut Self {
        self.bytes(&value.to_be_bytes())
    }

    pub(super) fn u64(&mut self, value: u64) -> &mut Self {
        self.bytes(&value.to_be_bytes())
    }

    pub(super) fn id(&mut self, id: &TopicId) -> &mut Self {
        self.bytes(id.as_bytes())
    }

    pub(super) fn timestamp(&mut self, timestamp: Timestamp) -> &mut Self {
        self.bytes(&timestamp.as_millis().to_be_bytes())
    }

    pub(super) fn offset(&mut self, offset: Offset) -> &mut Self {
        self.u64(offset.value())
    }

    pub(super) fn flag(&mut self, flag: bool) -> &mut Self {
        self.bytes(&[u8::from(flag)])
    }

    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        self.count(text.len()).bytes(text.as_bytes())
    }

    /// A count and as many items.
    pub(super) fn many<T>(
        &mut self,
        items: &[T],
        item: impl for<'a> Fn(&'a mut Self, &T) -> &'a mut Self,
    ) -> &mut Self {
        self.count(items.len());
        for each in items {
            item(self, each);
        }
        self
    }

    pub(super) fn config(&mut self, config: &[(String, String)]) -> &mut Self {
        self.many(config, |out, (key, value)| out.text(key).text(value))
    }

    fn count(&mut self, count: usize) -> &mut Self {
        // More than fit make a record far beyond its cap, which is refused before it is written.
        self.u32(u32::try_from(count).unwrap_or(u32::MAX))
    }
}
