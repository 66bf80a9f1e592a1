//! A kind of work: what it measures, and how a subject does it.

use crate::{
    scale::Scale,
    subject::{Result, Subject},
};
use std::path::Path;

/// A kind of work, and how a subject does it.
pub struct Workload {
    pub name: &'static str,
    /// What one round gives, and in which unit.
    pub figures: &'static [(&'static str, &'static str)],
    pub better: Better,
    pub durability: &'static str,
    /// Whether every round gives the same, so that one is enough.
    pub steady: bool,
    /// Prepares a subject for its rounds, in a directory of its own. `None`: it cannot do this.
    pub prepare: for<'a> fn(&'a Subject, &'a Scale, &'a Path) -> Result<Option<Round<'a>>>,
}

/// A round: does the work once, and gives its figures.
pub type Round<'a> = Box<dyn FnMut() -> Result<Vec<f64>> + 'a>;

/// Which way a figure is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    More,
    Less,
}
