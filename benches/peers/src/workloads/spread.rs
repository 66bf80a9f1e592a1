//! Spreading: one record to each of eight partitions, durable together, beside one record to one.

use super::place;
use crate::workload::{Better, Workload};
use crate::{records::Records, scratch::Scratch, subject::Result};
use std::time::Instant;

pub const SPREAD: Workload = Workload {
    name: "spread",
    figures: &[
        ("batch over 1 partition, flushed", "us"),
        ("batch over 8 partitions, flushed", "us"),
        ("batch over 8 / over 1", "times"),
    ],
    better: Better::Less,
    durability: "flushed",
    steady: false,
    prepare: |subject, scale, dir| {
        let Some(make) = subject.spread else { return Ok(None) };
        let records = Records::of(100);
        Ok(Some(Box::new(move || {
            let dir = Scratch::new(dir, "round")?;
            let mut log = make(&place(&dir.0, scale.flushes * 9 * 100))?;
            let mut time = |partitions: usize| -> Result<f64> {
                log.spread(records.get(0), partitions)?;
                let count = scale.flushes.div_ceil(2);
                let start = Instant::now();
                records.range(0..count).try_for_each(|record| log.spread(record, partitions))?;
                Ok(start.elapsed().as_secs_f64() * 1e6 / count as f64)
            };
            let (one, eight) = (time(1)?, time(8)?);
            Ok(vec![one, eight, eight / one])
        })))
    },
};
