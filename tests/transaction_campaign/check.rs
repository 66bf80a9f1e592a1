//! What must hold of a log, whatever happened before.

use crate::{
    session::{Known, Model, State, View, view},
    workload::{PLACES, Place},
};
use std::collections::{BTreeMap, BTreeSet};
use streamlog::Streamlog;

/// What may be seen: between what was certain before a call and what is after it.
#[derive(Clone, Debug)]
pub struct Bounds {
    model: Model,
    /// By transaction: whether it must be seen, must not, or may.
    must: Vec<Option<bool>>,
}

impl Bounds {
    pub fn exactly(model: &Model) -> Bounds {
        Bounds::between(model, model)
    }

    pub fn between(before: &Model, after: &Model) -> Bounds {
        let must = after.transactions.iter().enumerate().map(|(number, known)| {
            let was = before.transactions.get(number).map(|known| known.state);
            match (was, known.state) {
                (Some(State::Committed), _) => Some(true),
                (Some(State::Aborted), _) => Some(false),
                (Some(State::Unknown), _) | (_, State::Unknown) => None,
                // The call that commits is under way.
                (Some(State::Open), State::Committed) => None,
                (_, State::Open | State::Aborted | State::Committed) => Some(false),
            }
        });
        let must = must.collect();
        let mut model = after.clone();
        // What was acknowledged before counts; what the call under way does may be there.
        for (number, plain) in model.plain.iter_mut().enumerate() {
            plain.2 = before.plain.get(number).is_some_and(|plain| plain.2);
        }
        for (value, is_certain) in &mut model.deleted {
            *is_certain = before.deleted.get(value).is_some_and(|is_certain| *is_certain);
        }
        Bounds { model, must }
    }

    /// What is certain from now on, after an opening has shown `seen`.
    pub fn settled(&self, seen: &View) -> Model {
        let mut model = self.model.clone();
        let all: BTreeSet<&String> = seen.values.values().flatten().collect();
        for (number, known) in model.transactions.iter_mut().enumerate() {
            let is_seen = match self.left(known).first() {
                Some((_, value)) => all.contains(value),
                None => {
                    known.offset.is_some() && seen.offset == known.offset && known.state != State::Aborted
                }
            };
            let is_seen = self.must[number].unwrap_or(is_seen);
            known.state = if is_seen { State::Committed } else { State::Aborted };
        }
        model.decided.retain(|number| model.transactions[*number].state == State::Committed);
        // The opening made everything durable that it showed.
        model.plain.retain(|(_, value, _)| all.contains(value) || self.model.deleted.contains_key(value));
        model.plain.iter_mut().for_each(|plain| plain.2 = true);
        model.deleted.retain(|value, _| !all.contains(value));
        model.deleted.values_mut().for_each(|is_certain| *is_certain = true);
        model
    }

    /// The values of a transaction that were not deleted for sure, or perhaps.
    fn left<'a>(&self, known: &'a Known) -> Vec<&'a (Place, String)> {
        known.values.iter().filter(|(_, value)| !self.model.deleted.contains_key(value)).collect()
    }
}

/// Checks a log that is open. `rests`: nothing is open in it, so that no reader waits.
pub fn check(log: &Streamlog, bounds: &Bounds, rests: bool) -> Result<View, String> {
    let view = view(log).map_err(|e| format!("reading: {e}"))?;
    if let Some(place) = view.waits.first().filter(|_| rests) {
        return Err(format!("readers of {:?} wait for something", PLACES[*place]));
    }
    let mut seen: BTreeMap<&str, Place> = BTreeMap::new();
    for (place, values) in &view.values {
        for value in values {
            if let Some(other) = seen.insert(value, *place) {
                return Err(format!("{value} is in {:?} and in {:?}", PLACES[other], PLACES[*place]));
            }
        }
    }
    transactions(bounds, &view, &seen)?;
    plain(bounds, &view, &seen)?;
    orders(bounds, &view)?;
    offsets(bounds, &view, &seen)?;
    Ok(view)
}

/// All of a transaction is seen, or nothing, except where readers wait.
fn transactions(bounds: &Bounds, view: &View, seen: &BTreeMap<&str, Place>) -> Result<(), String> {
    let is_seen = |(place, value): &(Place, String)| seen.get(value.as_str()) == Some(place);
    for (number, known) in bounds.model.transactions.iter().enumerate() {
        let must = bounds.must[number];
        if let Some((_, value)) = known.values.iter().find(|sent| must == Some(false) && is_seen(sent)) {
            return Err(format!("transaction {number} is {:?}, and {value} is seen", known.state));
        }
        let mut left = bounds.left(known);
        left.retain(|(place, _)| !view.waits.contains(place));
        let count = left.iter().filter(|sent| is_seen(sent)).count();
        if count != 0 && count != left.len() {
            return Err(format!("{count} of {} records of transaction {number} are seen", left.len()));
        }
        if must == Some(true) && count != left.len() {
            return Err(format!("transaction {number} is {:?}, and is not seen", known.state));
        }
    }
    Ok(())
}

/// What was sent outside is there, and nothing else.
fn plain(bounds: &Bounds, view: &View, seen: &BTreeMap<&str, Place>) -> Result<(), String> {
    let Model { transactions, plain, deleted, .. } = &bounds.model;
    let in_transactions = transactions.iter().flat_map(|known| &known.values);
    let mut known: BTreeSet<(Place, &str)> =
        in_transactions.map(|(place, value)| (*place, value.as_str())).collect();
    known.extend(plain.iter().map(|(place, value, _)| (*place, value.as_str())));
    if let Some((value, place)) = seen.iter().find(|(value, place)| !known.contains(&(**place, *value))) {
        return Err(format!("nobody sent {value} to {:?}", PLACES[*place]));
    }
    if let Some((value, _)) =
        deleted.iter().find(|(value, is_certain)| **is_certain && seen.contains_key(value.as_str()))
    {
        return Err(format!("{value} was deleted, and is seen"));
    }
    let must = plain.iter().filter(|(place, value, is_durable)| {
        *is_durable && !deleted.contains_key(value) && !view.waits.contains(place)
    });
    for (place, value, _) in must {
        if !seen.contains_key(value.as_str()) {
            return Err(format!("{value} was acknowledged, and is not in {:?}", PLACES[*place]));
        }
    }
    Ok(())
}

/// In each partition, what one sender sent is in its order.
fn orders(bounds: &Bounds, view: &View) -> Result<(), String> {
    for (place, values) in &view.values {
        let at = |value: &String| values.iter().position(|other| other == value);
        for (number, known) in bounds.model.transactions.iter().enumerate() {
            let own = known.values.iter().filter(|(of, _)| of == place).filter_map(|(_, value)| at(value));
            if !own.is_sorted() {
                return Err(format!(
                    "the records of transaction {number} are in disorder in {:?}",
                    PLACES[*place]
                ));
            }
        }
        let plain = bounds.model.plain.iter().filter(|(of, ..)| of == place);
        if !plain.filter_map(|(_, value, _)| at(value)).is_sorted() {
            return Err(format!("the records outside are in disorder in {:?}", PLACES[*place]));
        }
    }
    Ok(())
}

/// The group is where the last transaction that counts has put it, and what it has read is there.
fn offsets(bounds: &Bounds, view: &View, seen: &BTreeMap<&str, Place>) -> Result<(), String> {
    let mut allowed = vec![None];
    for number in &bounds.model.decided {
        let known = &bounds.model.transactions[*number];
        let Some(offset) = known.offset else { continue };
        let left = bounds.left(known);
        let counts = match left.iter().find(|(place, _)| !view.waits.contains(place)) {
            Some((_, value)) => Some(seen.contains_key(value.as_str())),
            None => bounds.must[*number],
        };
        match counts {
            Some(true) => allowed = vec![Some(offset)],
            Some(false) => {}
            None => allowed.push(Some(offset)),
        }
    }
    if !allowed.contains(&view.offset) {
        return Err(format!("the group is at {:?}, and should be at one of {allowed:?}", view.offset));
    }
    if view.offset.is_some_and(|offset| offset > view.input_end) {
        return Err(format!("the group is at {:?}, and its input ends at {}", view.offset, view.input_end));
    }
    Ok(())
}
