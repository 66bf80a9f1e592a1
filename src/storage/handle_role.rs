//! Whether a handle is the one that writes a directory.

/// Whether a handle may write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandleRole {
    /// It is the one that writes.
    ReadWrite,
    /// It only reads, while another may write.
    ReadOnly,
}
