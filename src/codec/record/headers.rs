//! The headers of a record, borrowed.
//!
//! They lie one after the other at the record's end; finding one means stepping over those before it. Names may repeat, and
//! their order is the producer's.
//!
//! Kafka's protocol says that names are UTF-8, its brokers do not look, and librdkafka takes any bytes. So names are
//! bytes here, shown as text: what is not UTF-8 in one is replaced by U+FFFD, as Kafka's Java client does it. Such
//! names are rare. The texts for those of a batch are made once, when the batch is checked ([`ReplacedNames`]), so that
//! a name is a `&str` like any other and iterating allocates nothing.

use crate::codec::varint::read_varint;
use std::fmt;

/// A name and a value, which may be null.
type Header<'a, Name> = (&'a Name, Option<&'a [u8]>);

/// Headers of a record: pairs of a name and a value, which may be null.
///
/// A name that is not UTF-8, which other libraries may write, has U+FFFD in place of what is not; [`raw`](Self::raw)
/// has the bytes.
#[derive(Clone, Copy, Default)]
pub struct Headers<'a> {
    raw: RawHeaders<'a>,
    replaced: Option<&'a ReplacedNames>,
}

/// The same names and values in the same order.
impl PartialEq for Headers<'_> {
    fn eq(&self, other: &Self) -> bool {
        Iterator::eq(*self, *other)
    }
}

impl Eq for Headers<'_> {}

impl<'a> Headers<'a> {
    /// `left` headers at the front of `rest`.
    #[inline(always)]
    pub(super) fn new(rest: &'a [u8], left: u32, replaced: Option<&'a ReplacedNames>) -> Self {
        Headers { raw: RawHeaders { rest, left }, replaced }
    }

    /// How many are left.
    pub fn len(&self) -> usize {
        self.raw.left as usize
    }

    /// Whether none are left.
    pub fn is_empty(&self) -> bool {
        self.raw.left == 0
    }

    /// The value of the last header of this name, as Kafka's `lastHeader` has it; `None` where there is none, and where
    /// that value is null. Those before it, and null, are found by iterating.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use streamlog::{ProducerRecord, Streamlog, TopicConfig};
    /// # let log = Streamlog::in_memory()?;
    /// # log.create_topic("jobs", TopicConfig::default())?;
    /// # log.producer()?.send(ProducerRecord::new("jobs", "a job").header("attempt", "1").header("attempt", "2"))?;
    /// # let mut consumer = log.consumer("workers")?;
    /// # consumer.subscribe(["jobs"])?;
    /// for record in &consumer.poll(Duration::from_secs(1))? {
    ///     assert_eq!(record.headers.get("attempt"), Some(&b"2"[..]));
    /// }
    /// # Ok::<(), streamlog::Error>(())
    /// ```
    pub fn get(&self, name: &str) -> Option<&'a [u8]> {
        let mut named = self.filter(|(other, _)| *other == name);
        planted!(the_first_header_is_found => return named.next().and_then(|(_, value)| value));
        named.last().and_then(|(_, value)| value)
    }

    /// The headers that are left, with names as the bytes that they are.
    ///
    /// ```
    /// # use streamlog::{RecordData, Streamlog, TopicConfig};
    /// # let log = Streamlog::in_memory()?;
    /// # let partition = log.create_topic("t", TopicConfig::default())?.partition(0)?;
    /// # partition.append(&[RecordData::new("x").header("trace", "7")])?;
    /// for batch in partition.read(0) {
    ///     for record in &batch? {
    ///         assert!(record.headers.raw().any(|(name, _)| name == b"trace"));
    ///     }
    /// }
    /// # Ok::<(), streamlog::Error>(())
    /// ```
    pub fn raw(&self) -> RawHeaders<'a> {
        self.raw
    }

    /// A name as text.
    #[cold]
    fn replaced(&self, name: &[u8]) -> &'a str {
        // Records that nobody has checked yet have no texts.
        self.replaced.and_then(|names| names.find(name)).unwrap_or("\u{fffd}")
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = Header<'a, str>;

    fn next(&mut self) -> Option<Self::Item> {
        let (name, value) = self.raw.next()?;
        let name = str::from_utf8(name).unwrap_or_else(|_| self.replaced(name));
        Some((name, value))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.raw.size_hint()
    }
}

impl fmt::Debug for Headers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(*self).finish()
    }
}

/// Headers of a record, with names as bytes: from [`Headers::raw`].
#[derive(Clone, Copy, Default)]
pub struct RawHeaders<'a> {
    rest: &'a [u8],
    left: u32,
}

impl<'a> RawHeaders<'a> {
    /// The bytes after the headers that were taken.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a> Iterator for RawHeaders<'a> {
    type Item = Header<'a, [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        match split(self.rest) {
            Some((header, rest)) => {
                self.left -= 1;
                self.rest = rest;
                Some(header)
            }
            None => {
                self.left = 0;
                None
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.left as usize))
    }
}

impl fmt::Debug for RawHeaders<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(*self).finish()
    }
}

/// The header at the front, and the bytes after it.
fn split(mut rest: &[u8]) -> Option<(Header<'_, [u8]>, &[u8])> {
    let length = usize::try_from(read_varint(&mut rest)?).ok()?;
    let (name, mut rest) = rest.split_at_checked(length)?;
    let value = super::nullable(&mut rest)?;
    Some(((name, value), rest))
}

/// The names of one record section that are not UTF-8, as text.
#[derive(Debug)]
pub(super) struct ReplacedNames {
    /// The address of the section.
    section: usize,
    /// Where each name begins in the section, ascending, and where its text ends in `text`.
    names: Vec<(u32, u32)>,
    /// One after the other, so that many short names take little memory.
    text: String,
}

impl ReplacedNames {
    /// The texts for `names`, which lie in `section` in this order. Should there be more than 4 GiB of them, the last
    /// have none.
    pub(super) fn new<'a>(section: &[u8], names: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut replaced =
            ReplacedNames { section: section.as_ptr().addr(), names: Vec::new(), text: String::new() };
        for name in names {
            replaced.text.push_str(&String::from_utf8_lossy(name));
            let (Some(at), Ok(end)) = (replaced.place_of(name), u32::try_from(replaced.text.len())) else {
                break;
            };
            replaced.names.push((at, end));
        }
        replaced
    }

    fn place_of(&self, name: &[u8]) -> Option<u32> {
        u32::try_from(name.as_ptr().addr().checked_sub(self.section)?).ok()
    }

    fn find(&self, name: &[u8]) -> Option<&str> {
        let at = self.place_of(name)?;
        let i = self.names.binary_search_by_key(&at, |(at, _)| *at).ok()?;
        let start = i.checked_sub(1).and_then(|before| self.names.get(before)).map_or(0, |(_, end)| *end);
        let (_, end) = self.names.get(i)?;
        self.text.get(start as usize..*end as usize)
    }
}
