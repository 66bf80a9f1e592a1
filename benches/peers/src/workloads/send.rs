//! Sending: one record, acknowledged when it survives the process, then the next.

use super::{longest, place};
use crate::workload::{Better, Workload};
use crate::{records::Records, scratch::Scratch};
use std::time::Instant;

pub const WRITTEN: Workload = Workload {
    name: "send",
    figures: &[("send, 100 B, acknowledged one by one", "M records/s")],
    better: Better::More,
    durability: "written",
    steady: false,
    prepare: |subject, scale, dir| {
        let Some(make) = subject.send else { return Ok(None) };
        let records = Records::of(100);
        Ok(Some(Box::new(move || {
            let dir = Scratch::new(dir, "round")?;
            let mut log = make(&place(&dir.0, scale.sends * 100))?;
            let limit = longest(scale);
            let start = Instant::now();
            let mut sent = 0;
            for record in records.range(0..scale.sends) {
                log.send(record)?;
                sent += 1;
                if sent % 256 == 0 && start.elapsed() > limit {
                    break;
                }
            }
            Ok(vec![f64::from(sent) / start.elapsed().as_secs_f64() / 1e6])
        })))
    },
};
