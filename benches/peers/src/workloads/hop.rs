//! Hopping: from before a send to after its receipt on another thread, which looks in a loop or sleeps.

use super::place;
use crate::workload::{Better, Round, Workload};
use crate::{
    scale::Scale,
    scratch::Scratch,
    subject::{Result, Sending, Subject},
};
use std::{
    path::Path,
    time::{Duration, Instant},
};

pub const AWAKE: Workload = Workload {
    name: "hop, awake",
    figures: &[("hop to an awake reader, median", "us"), ("hop to an awake reader, p99", "us")],
    better: Better::Less,
    durability: "written",
    steady: false,
    prepare: |subject, scale, dir| hopping(subject, scale, dir, false),
};

pub const ASLEEP: Workload = Workload {
    name: "hop, asleep",
    figures: &[("hop to a sleeping reader, median", "us"), ("hop to a sleeping reader, p99", "us")],
    better: Better::Less,
    durability: "written",
    steady: false,
    prepare: |subject, scale, dir| hopping(subject, scale, dir, true),
};

fn hopping<'a>(
    subject: &'a Subject,
    scale: &'a Scale,
    dir: &'a Path,
    asleep: bool,
) -> Result<Option<Round<'a>>> {
    let Some(make) = subject.hop else { return Ok(None) };
    let probe = Scratch::new(dir, "probe")?;
    let log = make(&place(&probe.0, scale.hops * 100))?;
    if if asleep { !log.can_sleep() } else { !log.can_look() } {
        return Ok(None);
    }
    drop(log);
    Ok(Some(Box::new(move || {
        let dir = Scratch::new(dir, "round")?;
        let log = make(&place(&dir.0, scale.hops * 100))?;
        // The receiver first: some have to be there before the first record.
        let mut receiver = log.receiver()?;
        let mut sender = log.sender()?;
        let clock = Instant::now();
        let mut times: Vec<u64> = std::thread::scope(|scope| {
            let sending = scope.spawn(move || send(&mut *sender, clock, scale.hops, asleep));
            let mut times = Vec::with_capacity(scale.hops);
            while times.len() < scale.hops {
                let stamp = if asleep { Some(receiver.wait()?) } else { receiver.look()? };
                if let Some(stamp) = stamp {
                    times.push((clock.elapsed().as_nanos() as u64).saturating_sub(stamp));
                } else if sending.is_finished() && clock.elapsed() > Duration::from_secs(30) {
                    return Err("records are missing".into());
                }
            }
            sending.join().map_err(|_| "the sender panicked")??;
            Ok::<_, crate::subject::Error>(times)
        })?;
        times.sort_unstable();
        let micros = |part: f64| times[((times.len() - 1) as f64 * part) as usize] as f64 / 1e3;
        let median = micros(0.5);
        if subject.crawls && median > 10_000.0 {
            return Err("its reader falls behind, so that records wait for each other".into());
        }
        Ok(vec![median, micros(0.99)])
    })))
}

/// Sends so many stamps, far enough apart that none waits for another.
fn send(sender: &mut dyn Sending, clock: Instant, count: usize, asleep: bool) -> Result<()> {
    let mut record = [0x5a; 100];
    std::thread::sleep(Duration::from_millis(2));
    for _ in 0..count {
        if asleep {
            std::thread::sleep(Duration::from_micros(300));
        } else {
            let start = Instant::now();
            while start.elapsed() < Duration::from_micros(20) {
                std::hint::spin_loop();
            }
        }
        let now = clock.elapsed().as_nanos() as u64;
        record[..8].copy_from_slice(&now.to_le_bytes());
        sender.send(&record)?;
    }
    Ok(())
}
