//! Keeps a log open for as long as anyone has a handle on it.
//!
//! The room above makes it from the value that closes the log when it is dropped; the handles of the rooms below carry
//! it without knowing what it is. What a log itself holds (its topics, its logs, its background work) carries none:
//! nothing keeps itself open.

use std::{any::Any, fmt, sync::Arc};

/// A share in keeping a log open; empty for what the log itself holds.
#[derive(Clone, Default)]
pub struct KeepOpen(
    #[expect(dead_code, reason = "it is held, and nothing else")] Option<Arc<dyn Any + Send + Sync>>,
);

impl KeepOpen {
    /// Holds the value that closes the log once no one holds it any more.
    pub fn new(whole: Arc<dyn Any + Send + Sync>) -> Self {
        KeepOpen(Some(whole))
    }
}

impl fmt::Debug for KeepOpen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeepOpen")
    }
}
