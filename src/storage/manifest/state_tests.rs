//! The state against a model: plain lists that are searched from the front.

use super::super::{
    partition::LIVES_KEPT,
    segments::{SegmentEntry, Segments},
};
use super::*;
use crate::codec::manifest::{Adopted, Seal};
use crate::types::Offset;
use crate::types::Timestamp;
use proptest::prelude::*;

pub(crate) fn id(n: u8) -> TopicId {
    TopicId::from_bytes([n; 16])
}

pub(crate) fn sealed(next: u64) -> Seal {
    Seal {
        next_offset: Offset::new(next),
        bytes: next * 10,
        largest_timestamp: Timestamp::from_millis(7),
        generation: 0,
        index_checksum: 1,
        sealed_at: Some(Timestamp::from_millis(70)),
    }
}

/// Entries about few topics, partitions and offsets, so that they often meet.
pub(crate) fn any_entry() -> impl Strategy<Value = Entry> {
    let (topic, part, at) = (0..3u8, 0..3u32, 0..6u64);
    let place = (topic.prop_map(id), part, at.prop_map(|n| Offset::new(n * 10)));
    (0..14, place, 0..4u32, 0..40u32).prop_map(|(kind, (id, partition, at), n, slot)| match kind {
        0 | 1 => Entry::TopicCreated {
            id,
            name: TopicName::new(format!("t{n}")).unwrap(),
            internal: false,
            partitions: n,
            first_slot: slot,
            config: vec![("k".into(), n.to_string())],
        },
        2 => Entry::TopicConfigured { id, config: vec![("c".into(), n.to_string())] },
        3 => Entry::PartitionsAdded { id, count: n, first_slot: slot },
        4 => Entry::TopicDeleted { id },
        5 | 6 => Entry::SegmentCreated { id, partition, base: at },
        7 => Entry::SegmentSealed { id, partition, base: at, sealed: sealed(at.value() + u64::from(n)) },
        8 => Entry::SegmentsRemoved { id, partition, below: at },
        9 => Entry::SegmentsReplaced {
            id,
            partition,
            from: at,
            to: at + u64::from(n) * 10,
            with: (0..n as u64 / 2 + u64::from(n == 1))
                .map(|i| (at + i * 5, Seal { generation: slot % 3, ..sealed(at.value() + i * 5) }))
                .collect(),
        },
        10 => match n {
            0 if slot % 3 == 0 => Entry::Cleaned { id, partition, offset: at },
            0 if slot % 3 == 1 => Entry::ProducersAtStart { id, partition, base: at, checksum: slot },
            0 => Entry::LogStart { id, partition, offset: at },
            1 => {
                let next = at + u64::from(slot % 8);
                let adopted = Adopted { from: at, next, leader_epoch: slot as i32 - 1 };
                Entry::Adopted { id, partition, adopted }
            }
            _ => Entry::Truncated { id, partition, next_offset: at },
        },
        11 => Entry::Incarnation { id, partition, number: n, first_offset: at },
        12 => Entry::Opened { epoch: u64::from(slot) },
        _ => {
            let closed = PartitionClosed {
                log_start: Offset::ZERO,
                next_offset: at,
                last_stable_offset: at,
                size: 1,
                largest_timestamp: Timestamp::NONE,
                index_checksum: 0,
            };
            Entry::Closed { partitions: if n == 0 { vec![] } else { vec![(id, partition, closed)] } }
        }
    })
}

/// The model: what exists, as said in the comments of `Entry`.
#[derive(Default)]
struct Model {
    topics: Vec<TopicState>,
    opened: u64,
    clean: bool,
    next_slot: u32,
}

impl Model {
    fn partition(&mut self, id: &TopicId, partition: u32) -> Option<&mut PartitionState> {
        self.topics.iter_mut().find(|t| t.id == *id)?.partitions.get_mut(partition as usize)
    }

    fn slots(&mut self, first: u32, count: u32) -> Vec<PartitionState> {
        self.next_slot = first + count;
        (first..first + count).map(|slot| PartitionState { slot, ..Default::default() }).collect()
    }

    fn apply(&mut self, entry: &Entry) -> Option<()> {
        match entry.clone() {
            Entry::TopicCreated { id, name, internal, partitions, first_slot, config } => {
                let taken = self.topics.iter().any(|t| t.id == id || t.name == name);
                if taken || partitions == 0 || first_slot < self.next_slot {
                    return None;
                }
                let partitions = self.slots(first_slot, partitions);
                self.topics.push(TopicState { id, name, internal, partitions, config });
            }
            Entry::TopicConfigured { id, config } => {
                self.topics.iter_mut().find(|t| t.id == id)?.config = config;
            }
            Entry::PartitionsAdded { id, count, first_slot } => {
                let at = self.topics.iter().position(|t| t.id == id)?;
                let present = self.topics[at].partitions.len() as u32;
                if count <= present || first_slot < self.next_slot {
                    return None;
                }
                let added = self.slots(first_slot, count - present);
                self.topics[at].partitions.extend(added);
            }
            Entry::TopicDeleted { id } => {
                let at = self.topics.iter().position(|t| t.id == id)?;
                self.topics.remove(at);
            }
            Entry::SegmentCreated { id, partition, base } => {
                let segments = &mut self.partition(&id, partition)?.segments;
                if segments.iter().any(|s| s.base == base) {
                    return None;
                }
                change(segments, |all| all.push(SegmentEntry { base, sealed: None }));
            }
            Entry::SegmentSealed { id, partition, base, sealed } => {
                let segments = &mut self.partition(&id, partition)?.segments;
                segments.iter().find(|s| s.base == base)?;
                change(segments, |all| {
                    all.iter_mut().filter(|s| s.base == base).for_each(|s| s.sealed = Some(sealed))
                });
            }
            Entry::SegmentsRemoved { id, partition, below } => {
                let partition = self.partition(&id, partition)?;
                partition.segments.retain(|s| s.base >= below);
                partition.producers_at_start = partition.producers_at_start.filter(|p| p.base >= below);
                while partition.adopted.get(1).is_some_and(|second| second.next <= below) {
                    partition.adopted.remove(0);
                }
            }
            Entry::SegmentsReplaced { id, partition, from, to, with } => {
                let segments = &mut self.partition(&id, partition)?.segments;
                let gone: Vec<_> = segments.iter().filter(|s| s.base >= from && s.base < to).collect();
                let is_cut = segments.iter().all(|s| s.base != to) && segments.iter().any(|s| s.base > to);
                let generation = gone.iter().map(|s| s.sealed.map_or(u32::MAX, |seal| seal.generation)).max();
                let rises = |generation| with.iter().all(|(_, seal)| seal.generation > generation);
                let begins =
                    |first: &SegmentEntry| first.base == from && with.first().is_some_and(|w| w.0 == from);
                if gone.first().is_some_and(|first| is_cut || !begins(first)) || !generation.is_none_or(rises)
                {
                    return None;
                }
                let sealed = |(base, s): &(Offset, Seal)| SegmentEntry { base: *base, sealed: Some(*s) };
                change(segments, |all| {
                    all.retain(|s| s.base < from || s.base >= to);
                    all.extend(with.iter().map(sealed));
                });
            }
            Entry::LogStart { id, partition, offset } => {
                let partition = self.partition(&id, partition)?;
                partition.log_start = offset;
                forget_lives(partition);
            }
            Entry::ProducersAtStart { id, partition, base, checksum } => {
                self.partition(&id, partition)?.producers_at_start =
                    Some(ProducersAtStart { base, checksum });
            }
            Entry::Cleaned { id, partition, offset } => self.partition(&id, partition)?.cleaned = offset,
            Entry::Truncated { id, partition, next_offset } => {
                let partition = self.partition(&id, partition)?;
                partition.cleaned = partition.cleaned.min(next_offset);
                let segments = &mut partition.segments;
                let first = segments.first().map(|s| s.base);
                change(segments, |all| {
                    all.retain(|s| s.base < next_offset || s.base == next_offset && Some(s.base) == first);
                    all.iter_mut().rev().take(1).for_each(|last| last.sealed = None);
                });
            }
            Entry::Incarnation { id, partition, number, first_offset } => {
                let partition = self.partition(&id, partition)?;
                if partition.incarnations.iter().any(|(last, _)| *last >= number) {
                    return None;
                }
                partition.incarnations.retain(|(_, first)| *first < first_offset);
                partition.incarnations.push_back((number, first_offset));
                forget_lives(partition);
            }
            Entry::Numbered { .. } | Entry::MarksDurable { .. } => {
                unreachable!("about a file, not about the log")
            }
            Entry::Opened { epoch } => {
                (self.opened, self.clean) = (epoch, false);
                self.topics.iter_mut().flat_map(|t| &mut t.partitions).for_each(|p| p.closed = None);
            }
            Entry::Closed { partitions } => {
                for (id, partition, closed) in partitions {
                    self.partition(&id, partition)?.closed = Some(closed);
                }
                self.clean = true;
            }
            Entry::SlotsUsed { .. } => {}
            Entry::Adopted { id, partition, adopted } => {
                let ranges = &mut self.partition(&id, partition)?.adopted;
                if adopted.next <= adopted.from {
                    return None;
                }
                *ranges = ranges
                    .iter()
                    .filter(|r| r.from < adopted.from)
                    .map(|r| Adopted { next: r.next.min(adopted.from), ..*r })
                    .chain([adopted])
                    .collect();
            }
        }
        Some(())
    }
}

/// Changes a list of segments, in any order.
fn change(segments: &mut Segments, change: impl FnOnce(&mut Vec<SegmentEntry>)) {
    let mut all: Vec<_> = segments.iter().collect();
    change(&mut all);
    *segments = all.into_iter().collect();
}

/// Of the lives that ended below the log start only the newest are remembered.
fn forget_lives(partition: &mut PartitionState) {
    while partition.incarnations.len() > LIVES_KEPT
        && partition.incarnations.get(1).is_some_and(|(_, first)| *first < partition.log_start)
    {
        partition.incarnations.remove(0);
    }
}

proptest! {
    #[test]
    fn the_state_is_what_the_entries_add_up_to(entries in prop::collection::vec(any_entry(), 0..60)) {
        let (mut state, mut model, mut any) = (ManifestState::default(), Model::default(), false);
        for entry in &entries {
            let before = state.clone();
            match (state.apply(entry), model.apply(entry)) {
                (Ok(()), Some(())) => any = true,
                (Err(_), None) => prop_assert_eq!(&before, &state),
                (found, expected) => prop_assert!(false, "{:?}: {:?} and {:?}", entry, found, expected),
            }
        }
        prop_assert!(state.topics().eq(&model.topics));
        prop_assert_eq!((state.opened, state.next_slot()), (model.opened, model.next_slot));
        prop_assert_eq!(state.is_clean(), model.clean || !any);
        for topic in &model.topics {
            prop_assert_eq!(state.topic(&topic.id), Some(topic));
            prop_assert_eq!(state.topic_named(&topic.name), Some(topic));
        }

        let mut again = ManifestState::default();
        for entry in state.entries().iter().filter(|_| any) {
            again.apply(entry).unwrap();
        }
        prop_assert_eq!(again, state);
    }
}

/// One partition with sealed segments from 0, 10, 20 and 30 on, the second of generation 2, and one from 40 on that takes
/// appends.
fn five_segments() -> ManifestState {
    let mut state = ManifestState::default();
    let (id, partition) = (id(1), 0);
    let name = TopicName::new("a").unwrap();
    let created =
        Entry::TopicCreated { id, name, internal: false, partitions: 1, first_slot: 0, config: vec![] };
    state.apply(&created).unwrap();
    for base in [0, 10, 20, 30, 40] {
        let (generation, base) = (if base == 10 { 2 } else { 0 }, Offset::new(base));
        state.apply(&Entry::SegmentCreated { id, partition, base }).unwrap();
        let sealed = Seal { generation, ..sealed(base.value() + 10) };
        if base != Offset::new(40) {
            state.apply(&Entry::SegmentSealed { id, partition, base, sealed }).unwrap();
        }
    }
    state
}

/// Segments given by base, next offset and generation replace those from `from` up to `to`.
fn replaced(from: u64, to: u64, with: &[(u64, u64, u32)]) -> Entry {
    let with = with.iter().map(|(base, next, generation)| {
        (Offset::new(*base), Seal { generation: *generation, ..sealed(*next) })
    });
    let (from, to) = (Offset::new(from), Offset::new(to));
    Entry::SegmentsReplaced { id: id(1), partition: 0, from, to, with: with.collect() }
}

#[test]
fn segments_give_way_only_whole_and_to_later_generations() {
    let taken: &[&[(u64, u64, u32)]] = &[&[(10, 30, 3)], &[(10, 12, 3)], &[(10, 20, 3), (25, 30, 4)]];
    for with in taken {
        five_segments().apply(&replaced(10, 30, with)).unwrap();
    }
    five_segments().apply(&replaced(30, 40, &[(30, 40, 1)])).unwrap();
    for (from, to, with) in [
        (5, 30, [(5, 30, 3)].as_slice()),
        (10, 25, &[(10, 25, 3)]),
        (10, 30, &[(15, 30, 3)]),
        (10, 30, &[]),
        (10, 30, &[(10, 31, 3)]),
        (10, 30, &[(10, 21, 3), (20, 30, 3)]),
        (10, 30, &[(10, 20, 3), (20, 30, 2)]),
        (20, 30, &[(20, 30, 0)]),
        (30, 50, &[(30, 50, 1)]),
    ] {
        let (mut state, before) = (five_segments(), five_segments());
        assert!(state.apply(&replaced(from, to, with)).is_err(), "{from}..{to}: {with:?}");
        assert_eq!(state, before);
    }
}

#[test]
fn a_short_entry_cannot_ask_for_all_memory() {
    let mut state = ManifestState::default();
    let created = Entry::TopicCreated {
        id: id(1),
        name: TopicName::new("a").unwrap(),
        internal: false,
        partitions: u32::MAX,
        first_slot: 0,
        config: vec![],
    };
    assert!(state.apply(&created).is_err());
    assert_eq!(state, ManifestState::default());
}

#[test]
fn many_segments_are_said_in_several_entries() {
    let mut state = ManifestState::default();
    let created = Entry::TopicCreated {
        id: id(1),
        name: TopicName::new("a").unwrap(),
        internal: false,
        partitions: 1,
        first_slot: 0,
        config: vec![],
    };
    state.apply(&created).unwrap();
    for base in 0..25_000 {
        let (id, partition, base) = (id(1), 0, Offset::new(base));
        state.apply(&Entry::SegmentCreated { id, partition, base }).unwrap();
        let sealed = sealed(base.value() + 1);
        state.apply(&Entry::SegmentSealed { id, partition, base, sealed }).unwrap();
    }
    assert!(state.entries().len() < 10);
    let mut again = ManifestState::default();
    state.entries().iter().for_each(|entry| again.apply(entry).unwrap());
    assert_eq!(again, state);
}

#[test]
fn topics_whose_directories_some_file_system_confuses_do_not_exist_side_by_side() {
    let mut state = ManifestState::default();
    let created = |n: u8, name: &str| Entry::TopicCreated {
        id: id(n),
        name: TopicName::new(name).unwrap(),
        internal: false,
        partitions: 1,
        first_slot: n.into(),
        config: vec![],
    };
    state.apply(&created(1, "a.b")).unwrap();
    for other in ["a.b", "a_b", "A.b", "A_B"] {
        let refused = state.apply(&created(2, other)).unwrap_err();
        assert!(refused.contains("'a.b'"), "{refused}");
    }
    state.apply(&created(2, "a-b")).unwrap();
    assert_eq!(state.topic_named("a_b"), None);
    assert_eq!(state.topic_named("a.b").map(|topic| topic.id), Some(id(1)));
    state.apply(&Entry::TopicDeleted { id: id(1) }).unwrap();
    state.apply(&created(3, "A_b")).unwrap();
}

#[test]
fn a_life_that_is_forgotten_is_not_guessed_at() {
    let mut partition = PartitionState::default();
    let at = Offset::new;
    assert_eq!(partition.has_reached(0, at(7), at(7)), Some(true));
    assert_eq!(partition.has_reached(0, at(8), at(7)), Some(false));
    assert_eq!(partition.has_reached(1, at(1), at(7)), None, "no such life is known");
    for life in 1..=70 {
        partition.begin_incarnation(life, at(u64::from(life) * 10)).unwrap();
    }
    assert_eq!(partition.has_reached(3, at(40), at(900)), Some(true));
    assert_eq!(partition.has_reached(3, at(41), at(900)), Some(false));
    assert_eq!(partition.has_reached(70, at(900), at(900)), Some(true));
    // The log start passes them: the oldest are forgotten, of the others everything is known.
    partition.log_start = at(690);
    partition.forget_lives();
    assert_eq!(partition.incarnations.len(), LIVES_KEPT);
    assert_eq!(partition.has_reached(3, at(40), at(900)), None);
    assert_eq!(partition.has_reached(3, at(900), at(900)), Some(false), "certainly not");
    assert_eq!(partition.has_reached(7, at(80), at(900)), Some(true));
    assert_eq!(partition.has_reached(7, at(81), at(900)), Some(false));
    // A later life that begins below them takes their numbers away, and nothing is forgotten by that.
    let mut partition = PartitionState::default();
    partition.begin_incarnation(1, at(50)).unwrap();
    partition.begin_incarnation(2, at(40)).unwrap();
    assert_eq!(partition.has_reached(1, at(40), at(90)), Some(true));
    assert_eq!(partition.has_reached(1, at(41), at(90)), Some(false));
}
