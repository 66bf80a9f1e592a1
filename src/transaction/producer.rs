//! Where a transaction begins.

use super::{coordinator::TransactionCoordinator, handle::Transaction};
use crate::{
    error::{Error, Result},
    producer::Producer,
};

impl Producer {
    /// Begins a transaction: what is sent in it, to any topics, and the offsets that are added to it, count all or not at all.
    ///
    /// Nothing is written before the [`commit`](Transaction::commit), as long as it fits the
    /// [`transaction_buffer`](crate::clients::ProducerBuilder::transaction_buffer). Records that were enqueued before are not
    /// part of it, and lie before it.
    ///
    /// Readers see transactions as they are only with
    /// [`IsolationLevel::ReadCommitted`](crate::clients::IsolationLevel::ReadCommitted). The default is `ReadUncommitted`, as
    /// Kafka's: such a reader may see what is aborted later.
    ///
    /// # Errors
    ///
    /// `InvalidTransactionState` while another one of this producer is open; `Fenced` where another producer has its name;
    /// `ReadOnly`, `Closed`.
    pub fn begin_transaction(&self) -> Result<Transaction> {
        self.check_usable()?;
        let coordinator = self.identity().names::<TransactionCoordinator>();
        let coordinator = coordinator.ok_or_else(|| Error::closed("the log"))?;
        self.identity().checked_claim()?;
        self.identity().enter_transaction()?;
        let open = coordinator.begin(self);
        Ok(Transaction::new(self.clone(), coordinator, open))
    }
}
