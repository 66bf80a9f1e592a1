//! The sequences of a named producer's records, as headers of the last record of each run.
//!
//! A record's number is known when it is appended, and whether it ends a run when the next one comes, or the batch is sealed:
//! the header is then added to the bytes that the record has already.

use super::BatchBuilder;
use crate::codec::{
    named::{NamedSequences, SEQUENCE},
    varint::{read_varint, write_varint},
};

/// How many bytes more a record may take that has a number.
pub const NUMBER_OVERHEAD: usize = 40;

/// The numbers of a batch that is being filled.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Numbers {
    given: Option<NamedSequences>,
    /// Whether the last record does not say its number yet.
    is_open: bool,
}

impl Numbers {
    pub(super) fn given(&self) -> Option<NamedSequences> {
        self.given
    }
}

impl BatchBuilder {
    /// The numbers of its records so far.
    pub fn sequences(&self) -> Option<NamedSequences> {
        self.numbers.given
    }

    /// The next record will have this number: where that leaves a gap, the last one says its own.
    pub fn before_number(&mut self, number: u64) {
        if self.numbers.given.is_some_and(|given| given.last.checked_add(1) != Some(number)) {
            self.end_run();
        }
    }

    /// The last record has this number, which is larger than those before.
    pub fn numbered(&mut self, number: u64) {
        let first = self.numbers.given.map_or(number, |given| given.first);
        self.numbers = Numbers { given: Some(NamedSequences { first, last: number }), is_open: true };
    }

    /// Has the last record say its number, if it has one and does not say it yet.
    pub(super) fn end_run(&mut self) {
        let Numbers { given: Some(given), is_open: true } = self.numbers else { return };
        self.numbers.is_open = false;
        let record = self.buffer.split_off(self.last_record);
        let Some((fields, count, headers)) = split(&record) else {
            // A record that was written here can be read.
            debug_assert!(false, "a record cannot be read");
            return self.buffer.extend_from_slice(&record);
        };
        let mut more = Vec::with_capacity(NUMBER_OVERHEAD);
        write_varint(count.saturating_add(1), &mut more);
        more.extend_from_slice(headers);
        write_varint(SEQUENCE.len() as i32, &mut more);
        more.extend_from_slice(SEQUENCE.as_bytes());
        write_varint(size_of::<u64>() as i32, &mut more);
        more.extend_from_slice(&given.last.to_be_bytes());
        write_varint((fields.len() + more.len()) as i32, &mut self.buffer);
        self.buffer.extend_from_slice(fields);
        self.buffer.extend_from_slice(&more);
    }
}

/// A record's fields before its headers, the number of its headers, and those.
fn split(record: &[u8]) -> Option<(&[u8], i32, &[u8])> {
    let mut body = record;
    read_varint(&mut body)?;
    let mut rest = body.get(1..)?;
    crate::codec::varint::read_varlong(&mut rest)?;
    read_varint(&mut rest)?;
    for _ in ["key", "value"] {
        let length = read_varint(&mut rest)?;
        rest = rest.get(usize::try_from(length).unwrap_or(0)..)?;
    }
    let fields = body.get(..body.len() - rest.len())?;
    let count = read_varint(&mut rest)?;
    Some((fields, count, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        codec::{
            batch::RecordBatch,
            builder::Stamp,
            named::{Said, sequences_of},
        },
        types::{Compression, Offset, Timestamp},
    };
    use bytes::Bytes;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_numbers_that_were_given_are_those_that_are_read(
            gaps in prop::collection::vec((0u64..3, 0usize..200, any::<bool>()), 1..20),
        ) {
            let mut builder = BatchBuilder::new();
            let mut number = 0;
            let mut numbers = Vec::new();
            for (gap, length, has_header) in gaps {
                number += gap + 1;
                let headers: &[(&str, Option<&[u8]>)] = if has_header { &[("a", Some(b"b"))] } else { &[] };
                builder.before_number(number);
                builder.append(Timestamp::from_millis(1), None, Some(&vec![7; length]), headers).unwrap();
                builder.numbered(number);
                numbers.push(number);
            }
            let bound = builder.len() + NUMBER_OVERHEAD;
            let mut sealed = builder.seal(Compression::None, None).unwrap();
            prop_assert!(sealed.size() as usize <= bound);
            sealed.finish(Offset::new(9), 0, Stamp::CreateTime);
            let given = NamedSequences { first: numbers[0], last: number };
            prop_assert_eq!(sealed.sequences(), Some(given));
            let batch = RecordBatch::parse(Bytes::from(sealed.into_buffer())).unwrap();
            prop_assert_eq!(sequences_of(&batch), Said::Sequences(given));
        }
    }
}
