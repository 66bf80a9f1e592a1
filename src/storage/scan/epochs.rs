//! What is known of leader epochs around a batch, whose checksum does not cover its own.
//!
//! They only grow; where that does not hold, this says which batch is at fault.

use crate::codec::{batch::BatchHeader, checkpoint::LeaderEpochs};

/// What is known of the leader epochs of batches, which their checksums do not cover.
#[derive(Clone, Debug, Default)]
pub struct EpochsAround {
    /// That of the batch before the next one.
    pub before: Option<i32>,
    /// That of the batch after the scanned range.
    pub behind: Option<i32>,
    /// What `leader-epoch-checkpoint` says, which may be out of date.
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
                "a batch of leader epoch {epoch}, with {} before and {} after it",
                told(before),
                told(behind)
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        codec::builder::{BatchBuilder, Stamp},
        types::{Compression, Offset, Timestamp},
    };

    fn header(epoch: i32) -> BatchHeader {
        let mut builder = BatchBuilder::new();
        builder.append(Timestamp::from_millis(1), None, Some(b"x"), &[]).unwrap();
        let mut sealed = builder.seal(Compression::None, None).unwrap();
        sealed.finish(Offset::new(10), epoch, Stamp::CreateTime);
        *sealed.header()
    }

    /// Whether a batch of `epoch` is at fault, with these before it, behind it, and behind all that is scanned, where the
    /// checkpoint says `known`.
    fn is_at_fault(
        epoch: i32,
        before: Option<i32>,
        next: Option<i32>,
        behind: Option<i32>,
        known: Option<i32>,
    ) -> bool {
        let mut checkpoint = LeaderEpochs::default();
        if let Some(known) = known {
            checkpoint.assign(known, Offset::ZERO);
        }
        let around = EpochsAround { before, behind, checkpoint };
        around.contradict(&header(epoch), next).is_some()
    }

    #[test]
    fn epochs_that_grow_are_right_whatever_the_checkpoint_says() {
        for known in [None, Some(0), Some(3), Some(9)] {
            for (before, next) in
                [(None, None), (Some(3), None), (None, Some(3)), (Some(3), Some(3)), (Some(1), Some(7))]
            {
                assert!(!is_at_fault(3, before, next, None, known), "{before:?} {next:?} {known:?}");
            }
            assert!(!is_at_fault(-1, Some(-1), Some(0), None, known), "none is below all");
            assert!(is_at_fault(-2, None, None, None, known), "and below that there is nothing");
        }
    }

    #[test]
    fn of_two_neighbours_that_do_not_grow_the_one_is_at_fault_that_the_checkpoint_does_not_know() {
        // There is no other evidence: the epoch after it, which stands alone, is believed.
        assert!(!is_at_fault(3, Some(5), None, None, None));
        assert!(is_at_fault(5, None, Some(3), None, None));
        assert!(is_at_fault(5, None, None, Some(3), None), "what lies behind the scan counts as well");
        assert!(!is_at_fault(5, None, Some(6), Some(3), None), "the next one is nearer");
        // Neighbours that agree are right; where they do not, one of them is wrong.
        assert!(is_at_fault(7, Some(3), Some(5), None, None) && is_at_fault(1, Some(3), Some(3), None, None));
        assert!(!is_at_fault(4, Some(5), Some(3), None, None));
        // The checkpoint decides.
        assert!(!is_at_fault(5, None, Some(3), None, Some(5)));
        assert!(is_at_fault(3, Some(5), None, None, Some(6)));
        assert!(!is_at_fault(3, Some(5), None, None, Some(2)), "unless what it says does not fit either");
        // What is no epoch says nothing.
        assert!(!is_at_fault(3, Some(-7), Some(-2), None, None));
    }
}
