//! Records of `__transaction_state`: what is known of each transactional id.
//!
//! A key is the i16 0 and the id. A value begins with its version: 1, the first flexible one, is written, as Kafka 4 does;
//! 0 and 1 are read. Fields that came later are tagged: the producer ids before and after a change of ids (0 and 1), the
//! version of the transaction protocol (2) and the epoch after such a change (3); other tags are skipped by their size. A
//! null value (a tombstone) never comes here.
//!
//! Three things of ours go with them: [`ends`] is what a decision stands for, [`outcome`] is what became of an earlier
//! decision, both in record headers; and [`sidecar`] is a file that holds everything that the records say.

pub mod ends;
mod key;
pub mod outcome;
pub mod sidecar;
mod value;

pub use key::*;
pub use value::*;
