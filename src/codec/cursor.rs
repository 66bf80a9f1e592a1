//! A place in bytes that moves forward: the one way the sidecars' decoders read.
//!
//! No read goes past the end, and every error carries the position where the missing bytes should have begun.

use super::DecodeError;

/// Bytes and how many of them have been read.
#[derive(Clone, Debug)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Cursor<'a> {
    /// A cursor before the first byte.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Cursor { bytes, position: 0 }
    }

    /// How many bytes were read.
    pub(super) fn position(&self) -> usize {
        self.position
    }

    /// What was not read yet.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.position..).unwrap_or_default()
    }

    /// The next `len` bytes.
    pub(super) fn slice(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let Some(slice) = self.rest().get(..len) else {
            return Err(self.malformed(format!("{len} bytes expected, {} left", self.rest().len())));
        };
        self.position += len;
        Ok(slice)
    }

    /// The next `N` bytes.
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let Some(array) = self.rest().first_chunk::<N>() else {
            return Err(self.malformed(format!("{N} bytes expected, {} left", self.rest().len())));
        };
        self.position += N;
        Ok(*array)
    }

    pub(super) fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array().map(u8::from_be_bytes)
    }

    pub(super) fn i16(&mut self) -> Result<i16, DecodeError> {
        self.array().map(i16::from_be_bytes)
    }

    pub(super) fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn i32(&mut self) -> Result<i32, DecodeError> {
        self.array().map(i32::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn i64(&mut self) -> Result<i64, DecodeError> {
        self.array().map(i64::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_be_bytes)
    }

    /// Says that everything should have been read.
    pub(super) fn end(&self) -> Result<(), DecodeError> {
        match self.rest().len() {
            0 => Ok(()),
            left => Err(self.malformed(format!("{left} bytes more than the format has"))),
        }
    }

    /// A broken rule at this place.
    pub(super) fn malformed(&self, reason: impl Into<std::borrow::Cow<'static, str>>) -> DecodeError {
        DecodeError::malformed(self.position, reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_read_moves_nothing_and_says_where() {
        let mut cursor = Cursor::new(&[0, 1, 2]);
        assert_eq!(cursor.u16(), Ok(1));
        assert_eq!(cursor.u16(), Err(DecodeError::malformed(2, "2 bytes expected, 1 left")));
        assert!(cursor.slice(usize::MAX).is_err());
        assert!(cursor.end().is_err());
        assert_eq!(cursor.u8(), Ok(2));
        assert_eq!(cursor.end(), Ok(()));
    }
}
