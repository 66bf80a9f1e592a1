//! Records inside a batch, borrowed.
