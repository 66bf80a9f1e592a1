//! Fields of Kafka's messages: strings, bytes and counts in either of its two encodings.
//!
//! Inflexible: lengths are i16 (strings) or i32, -1 is null. Flexible: lengths are unsigned varints of length + 1, 0 is
//! null, and every struct ends in a count of tagged fields, each with its own size.

use super::{DecodeError, cursor::Cursor};

/// The longest string that fits a field, in bytes of UTF-8. Callers refuse longer ones; what is longer all the same is
/// cut here, at a character.
pub const MAX_STRING_LEN: usize = i16::MAX as usize;

/// Appends a string, or null.
pub(super) fn put_string(bytes: &mut Vec<u8>, text: Option<&str>) {
    let Some(text) = text else {
        bytes.extend_from_slice(&(-1i16).to_be_bytes());
        return;
    };
    let text = cut(text);
    bytes.extend_from_slice(&(text.len() as i16).to_be_bytes());
    bytes.extend_from_slice(text.as_bytes());
}

/// Appends a string in the flexible encoding.
pub(super) fn put_compact_string(bytes: &mut Vec<u8>, text: &str) {
    let text = cut(text);
    put_compact_length(bytes, text.len());
    bytes.extend_from_slice(text.as_bytes());
}

/// Appends the length of a string, or the count of an array, in the flexible encoding.
pub(super) fn put_compact_length(bytes: &mut Vec<u8>, length: usize) {
    put_uvarint(bytes, u32::try_from(length).unwrap_or(u32::MAX).saturating_add(1));
}

/// Appends an unsigned varint, as which tags and their sizes are written.
pub(super) fn put_uvarint(bytes: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn cut(text: &str) -> &str {
    let fits = (0..=MAX_STRING_LEN.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text.split_at(fits.unwrap_or(0)).0
}

/// Appends bytes that are not null.
pub(super) fn put_bytes(bytes: &mut Vec<u8>, blob: &[u8]) {
    bytes.extend_from_slice(&(blob.len() as i32).to_be_bytes());
    bytes.extend_from_slice(blob);
}

/// Fields of a message in one of Kafka's two encodings.
pub(super) struct Fields<'a> {
    /// Where the fixed-width ones are read.
    pub(super) cursor: Cursor<'a>,
    /// Lengths are unsigned varints of length + 1, and tagged fields end each struct.
    flexible: bool,
}

impl<'a> Fields<'a> {
    pub(super) fn new(cursor: Cursor<'a>, flexible: bool) -> Self {
        Fields { cursor, flexible }
    }

    /// A length or count; `width` is that of the inflexible encoding. `None` is null.
    pub(super) fn length(&mut self, width: usize) -> Result<Option<usize>, DecodeError> {
        let before = self.cursor.position();
        let length = match (self.flexible, width) {
            (true, _) => i64::from(self.uvarint()?) - 1,
            (false, 2) => self.cursor.i16()?.into(),
            (false, _) => self.cursor.i32()?.into(),
        };
        match usize::try_from(length) {
            Ok(length) => Ok(Some(length)),
            Err(_) if length == -1 => Ok(None),
            Err(_) => Err(DecodeError::malformed(before, format!("length {length}"))),
        }
    }

    pub(super) fn nullable_string(&mut self) -> Result<Option<String>, DecodeError> {
        let Some(length) = self.length(2)? else { return Ok(None) };
        let before = self.cursor.position();
        match std::str::from_utf8(self.cursor.slice(length)?) {
            Ok(text) => Ok(Some(text.to_owned())),
            Err(_) => Err(DecodeError::malformed(before, "a string that is not UTF-8")),
        }
    }

    pub(super) fn string(&mut self) -> Result<String, DecodeError> {
        let before = self.cursor.position();
        self.nullable_string()?.ok_or_else(|| DecodeError::malformed(before, "a string that may not be null"))
    }

    pub(super) fn bytes(&mut self) -> Result<Vec<u8>, DecodeError> {
        let before = self.cursor.position();
        let length = self.length(4)?;
        let length = length.ok_or_else(|| DecodeError::malformed(before, "bytes that may not be null"))?;
        Ok(self.cursor.slice(length)?.to_vec())
    }

    fn uvarint(&mut self) -> Result<u32, DecodeError> {
        let before = self.cursor.position();
        let mut value = 0u64;
        for i in 0..5 {
            let byte = self.cursor.u8()?;
            value |= u64::from(byte & 0x7f) << (7 * i);
            if byte & 0x80 == 0 {
                return u32::try_from(value)
                    .map_err(|_| DecodeError::malformed(before, "a varint beyond 32 bits"));
            }
        }
        Err(DecodeError::malformed(before, "a varint of more than 5 bytes"))
    }

    /// Skips the tagged fields that end a struct of the flexible encoding.
    pub(super) fn end_of_struct(&mut self) -> Result<(), DecodeError> {
        self.tagged_fields(|_, _| Ok(()))
    }

    /// Passes the tagged fields that end a struct of the flexible encoding to `take`: the tag, and a cursor over the
    /// field's own bytes, of which whatever `take` leaves is skipped.
    pub(super) fn tagged_fields(
        &mut self,
        mut take: impl FnMut(u32, &mut Cursor<'a>) -> Result<(), DecodeError>,
    ) -> Result<(), DecodeError> {
        if self.flexible {
            for _ in 0..self.uvarint()? {
                let (tag, size) = (self.uvarint()?, self.uvarint()?);
                let begin = self.cursor.position() as u64;
                let mut field = Cursor::new(self.cursor.slice(size as usize)?);
                take(tag, &mut field).map_err(|error| error.shifted(begin))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::hex;
    use super::*;

    fn flexible(text: &str) -> Result<Option<String>, DecodeError> {
        Fields::new(Cursor::new(&hex(text)), true).nullable_string()
    }

    fn inflexible(text: &str) -> Result<Option<String>, DecodeError> {
        Fields::new(Cursor::new(&hex(text)), false).nullable_string()
    }

    #[test]
    fn null_empty_and_text_are_three_things() {
        assert_eq!(
            ["00", "01", "02 67"].map(flexible),
            [Ok(None), Ok(Some("".into())), Ok(Some("g".into()))]
        );
        let read = ["ffff", "0000", "0001 67"].map(inflexible);
        assert_eq!(read, [Ok(None), Ok(Some("".into())), Ok(Some("g".into()))]);
        let mut bytes = Vec::new();
        put_string(&mut bytes, None);
        put_string(&mut bytes, Some(""));
        put_string(&mut bytes, Some("g"));
        put_bytes(&mut bytes, b"b");
        assert_eq!(bytes, hex("ffff 0000 0001 67 00000001 62"));
    }

    #[test]
    fn a_string_too_long_for_its_field_is_cut_at_a_character() {
        let mut bytes = Vec::new();
        put_string(&mut bytes, Some(&"é".repeat(20_000)));
        let read = Fields::new(Cursor::new(&bytes), false).string();
        assert_eq!(read, Ok("é".repeat(16_383)));
    }

    #[test]
    fn a_length_that_lies_is_refused() {
        assert!(
            ["", "03 67", "80", "ffffffff0f", "ffffffff7f", "808080808000"]
                .map(flexible)
                .iter()
                .all(Result::is_err)
        );
        assert!(["", "00", "0002 67", "fffe", "0001 ff"].map(inflexible).iter().all(Result::is_err));
    }

    #[test]
    fn compact_lengths_are_one_more_in_groups_of_seven_bits() {
        let mut bytes = Vec::new();
        put_compact_string(&mut bytes, "g");
        put_compact_length(&mut bytes, 0);
        put_compact_length(&mut bytes, 200);
        put_uvarint(&mut bytes, u32::MAX);
        assert_eq!(bytes, hex("0267 01 c901 ffffffff0f"));
        let mut long = Vec::new();
        put_compact_string(&mut long, &"é".repeat(20_000));
        assert_eq!(Fields::new(Cursor::new(&long), true).string(), Ok("é".repeat(16_383)));
    }

    #[test]
    fn a_tagged_field_is_read_within_its_own_bytes() {
        let bytes = hex("03 02 02 0007 05 01 ff 02 01 aa bb");
        let mut fields = Fields::new(Cursor::new(&bytes), true);
        let mut found = Vec::new();
        let read = fields.tagged_fields(|tag, field| {
            if tag == 2 {
                found.push(field.i16()?);
            }
            Ok(())
        });
        assert_eq!(read, Err(DecodeError::malformed(10, "2 bytes expected, 1 left")));
        assert_eq!(found, [7]);
    }

    #[test]
    fn tagged_fields_are_skipped_by_their_size() {
        let skip = |text: &str| {
            let bytes = hex(text);
            let mut fields = Fields::new(Cursor::new(&bytes), true);
            fields.end_of_struct().map(|()| fields.cursor.position())
        };
        assert_eq!(skip("00"), Ok(1));
        assert_eq!(skip("02 00 00 8101 01 ff aa"), Ok(7));
        assert!(skip("01 00 02 ff").is_err());
        assert!(skip("ffffffff0f").is_err());
    }
}
