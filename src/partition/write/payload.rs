//! Bytes of a record on its way into the log, borrowed or owned.
//!
//! Anything that reads as bytes is taken by reference, at no cost; a value made by a closure can be given away.

use bytes::Bytes;
use std::{borrow::Cow, fmt};

/// A key or a value on its way into the log: borrowed from anything that reads as bytes (`&str`, `&String`, `&[u8]`,
/// `&Vec<u8>`, `&Bytes`, ...), or owned (`String`, `Vec<u8>`, `Bytes`).
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Payload<'a>(pub(crate) Cow<'a, [u8]>);

impl fmt::Debug for Payload<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<'a, V: AsRef<[u8]> + ?Sized> From<&'a V> for Payload<'a> {
    #[inline]
    fn from(bytes: &'a V) -> Self {
        Payload(Cow::Borrowed(bytes.as_ref()))
    }
}

impl From<String> for Payload<'_> {
    fn from(text: String) -> Self {
        Payload(Cow::Owned(text.into_bytes()))
    }
}

impl From<Vec<u8>> for Payload<'_> {
    fn from(bytes: Vec<u8>) -> Self {
        Payload(Cow::Owned(bytes))
    }
}

impl From<Box<[u8]>> for Payload<'_> {
    fn from(bytes: Box<[u8]>) -> Self {
        Payload(Cow::Owned(bytes.into_vec()))
    }
}

impl From<Bytes> for Payload<'_> {
    /// Copies the bytes if they are shared.
    fn from(bytes: Bytes) -> Self {
        Payload(Cow::Owned(bytes.into()))
    }
}

impl<'a> From<Cow<'a, [u8]>> for Payload<'a> {
    fn from(bytes: Cow<'a, [u8]>) -> Self {
        Payload(bytes)
    }
}

impl<'a> From<Cow<'a, str>> for Payload<'a> {
    fn from(text: Cow<'a, str>) -> Self {
        Payload(match text {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::partition::write::payload::*;

    #[test]
    fn what_is_borrowed_is_not_copied_and_everything_has_the_same_bytes() {
        let text = String::from("abc");
        let is_borrowed = |payload: Payload<'_>| matches!(payload.0, Cow::Borrowed(b"abc"));
        assert!(is_borrowed("abc".into()) && is_borrowed((&text).into()) && is_borrowed(b"abc".into()));
        assert!(is_borrowed((&Bytes::from_static(b"abc")).into()) && is_borrowed((&&text).into()));
        assert!(
            is_borrowed(Cow::Borrowed("abc").into()) && is_borrowed(Cow::Borrowed(b"abc".as_slice()).into())
        );
        let owned: [Payload<'static>; 5] = [
            text.clone().into(),
            text.clone().into_bytes().into(),
            text.clone().into_bytes().into_boxed_slice().into(),
            Bytes::from(text).into(),
            Cow::<str>::Owned("abc".to_string()).into(),
        ];
        assert!(owned.iter().all(|payload| *payload == Payload::from("abc")));
    }
}
