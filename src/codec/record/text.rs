//! Keys and values as text.

use std::borrow::Cow;

/// The bytes as text; `None` when they are null or not UTF-8.
pub fn str_of(bytes: Option<&[u8]>) -> Option<&str> {
    std::str::from_utf8(bytes?).ok()
}

/// The bytes as text for people: what is not UTF-8 is replaced, and null is empty.
pub fn text_of(bytes: Option<&[u8]>) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes.unwrap_or_default())
}
