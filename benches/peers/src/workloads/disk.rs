//! Disk: the bytes that hold a record of 100 bytes, appended in batches of 1,000, after a clean close.

use super::place;
use crate::workload::{Better, Workload};
use crate::{machine, records::Records, scratch::Scratch};

pub const DISK: Workload = Workload {
    name: "disk",
    figures: &[("bytes on disk per 100-byte record", "bytes")],
    better: Better::Less,
    durability: "",
    steady: true,
    prepare: |subject, scale, dir| {
        let Some(make) = subject.append else { return Ok(None) };
        if subject.is_floor() {
            return Ok(None);
        }
        let records = Records::of(100);
        let count = (scale.grown / 100).min(500_000) / 1000 * 1000;
        Ok(Some(Box::new(move || {
            let dir = Scratch::new(dir, "round")?;
            let mut log = make(&place(&dir.0, count * 100))?;
            log.batched(&records, 0..count, 1000)?;
            log.flush()?;
            let used = log.bytes_used();
            drop(log);
            let used = used.unwrap_or_else(|| machine::bytes_below(&dir.0));
            Ok(vec![used as f64 / count as f64])
        })))
    },
};
