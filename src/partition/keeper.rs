//! What keeps a log open for as long as somebody has a handle of it.
//!
//! The room above makes it, of whatever closes the log when it is dropped; the handles of the rooms below carry it without
//! knowing what it is. What a log itself holds (its topics, its logs, its background work) carries none: nothing keeps
//! itself open.

use std::{any::Any, fmt, sync::Arc};

/// A share in a log's being open; none for what the log itself holds.
#[derive(Clone, Default)]
pub struct Keeper(
    #[expect(dead_code, reason = "it is held, and nothing else")] Option<Arc<dyn Any + Send + Sync>>,
);

impl Keeper {
    /// Whatever closes the log once nobody holds it any more.
    pub fn new(whole: Arc<dyn Any + Send + Sync>) -> Self {
        Keeper(Some(whole))
    }
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keeper")
    }
}
