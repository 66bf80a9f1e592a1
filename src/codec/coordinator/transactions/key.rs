//! Keys: the transactional id that a record of `__transaction_state` is about.

use crate::codec::{
    DecodeError,
    cursor::Cursor,
    message::{Fields, put_string},
};

const TRANSACTION_KEY: i16 = 0;

/// What a record of `__transaction_state` is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransactionKey {
    /// A transactional id.
    TransactionalId(String),
    /// Something newer, by the number of its kind.
    Unknown(i16),
}

/// The key of a transactional id.
pub fn encode_transaction_key(transactional_id: &str) -> Vec<u8> {
    let mut bytes = TRANSACTION_KEY.to_be_bytes().to_vec();
    put_string(&mut bytes, Some(transactional_id));
    bytes
}

/// What the record with this key is about.
pub fn decode_transaction_key(bytes: &[u8]) -> Result<TransactionKey, DecodeError> {
    let mut fields = Fields::new(Cursor::new(bytes), false);
    match fields.cursor.i16()? {
        TRANSACTION_KEY => {
            let transactional_id = fields.string()?;
            fields.cursor.end()?;
            Ok(TransactionKey::TransactionalId(transactional_id))
        }
        kind => Ok(TransactionKey::Unknown(kind)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::fixtures::hex;
    use proptest::prelude::*;

    #[test]
    fn a_key_is_kafkas_bytes() {
        assert_eq!(encode_transaction_key("tx"), hex("0000 0002 7478"));
        let tx = TransactionKey::TransactionalId("tx".into());
        assert_eq!(decode_transaction_key(&hex("0000 0002 7478")), Ok(tx));
        assert_eq!(decode_transaction_key(&hex("0001 0002 7478")), Ok(TransactionKey::Unknown(1)));
    }

    #[test]
    fn lengths_that_lie_and_bytes_left_over_are_refused() {
        for text in
            ["", "00", "0000", "0000 ffff", "0000 fffe", "0000 7fff 67", "0000 0001 ff", "0000 0001 67 00"]
        {
            assert!(
                matches!(decode_transaction_key(&hex(text)), Err(DecodeError::Malformed { .. })),
                "{text}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_decoded_or_refused(mut bytes in prop::collection::vec(any::<u8>(), 2..80)) {
            let _ = decode_transaction_key(&bytes);
            bytes[..2].copy_from_slice(&[0, 0]);
            let _ = decode_transaction_key(&bytes);
        }

        #[test]
        fn what_was_encoded_is_decoded(id in "\\PC{0,20}") {
            let key = decode_transaction_key(&encode_transaction_key(&id));
            prop_assert_eq!(key, Ok(TransactionKey::TransactionalId(id)));
        }
    }
}
