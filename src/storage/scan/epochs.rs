//! What is known of leader epochs around a batch, whose checksum does not cover its own.
//!
//! They only grow; where that does not hold, this says which batch is at fault.

use crate::codec::{batch::BatchHeader, checkpoint::LeaderEpochs};

/// What is known of the leader epochs of batches, which their checksums do not cover.
#[derive(Clone, Debug, Default)]
pub struct EpochsAround {
    /// That of the batch before the next one.
    pub before: Option<i32>,
    /// That of the batch behind what is scanned.
    pub behind: Option<i32>,
    /// What `leader-epoch-checkpoint` says, which may lag behind.
    pub checkpoint: LeaderEpochs,
}

impl EpochsAround {
    /// What is wrong with a batch's leader epoch. None is below -1, which stands for none, and they only grow. Where two
    /// neighbours do not, the checkpoint says which of them is at fault; where it has no answer that fits, the one that
    /// contradicts both sides.
    pub(super) fn contradict(&self, header: &BatchHeader, next: Option<i32>) -> Option<String> {
        let real = |epoch: &i32| *epoch >= -1;
        let (epoch, before) = (header.leader_epoch, self.before.filter(real));
        let behind = next.or(self.behind).filter(real);
        let fits = |epoch: i32| before.is_none_or(|b| b <= epoch) && behind.is_none_or(|b| epoch <= b);
        let is_wrong = || match self.checkpoint.epoch_for(header.base_offset) {
            Some(known) if known == epoch => false,
            Some(known) if fits(known) => true,
            _ => match (before, behind) {
                (None, Some(_)) => true,
                (Some(before), Some(behind)) => before <= behind,
                (_, None) => false,
            },
        };
        let told = |epoch: Option<i32>| epoch.map_or("none".into(), |epoch| epoch.to_string());
        (epoch < -1 || (!fits(epoch) && is_wrong())).then(|| {
            format!(
                "a batch of leader epoch {epoch}, with {} before and {} behind it",
                told(before),
                told(behind)
            )
        })
    }
}
