//! One writer per directory.
//!
//! The lock is the operating system's, on the file `LOCK`, and ends with its holder, however that dies: a stale one
//! never blocks. What the file says (process id, host, start time) is for the message to the second comer.

use crate::{
    env::{Env, Lock, sync::Signal},
    error::{Error, Result},
    storage::{
        layout::LOCK,
        sidecar::{TEXT_MAX, read_file},
    },
};
use std::{io, path::Path, time::Duration};

/// How long one who waits for a lock waits between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Takes the lock of a directory, or says who has had it for so long.
pub(super) fn wait_for(env: &dyn Env, dir: &Path, time: Duration) -> Result<Box<dyn Lock>> {
    let deadline = env.monotonic().saturating_add(time);
    loop {
        let now = env.monotonic();
        match acquire(env, dir) {
            Err(Error::AlreadyOpen { .. }) if now < deadline => {
                let nobody = Signal::new();
                env.wait(&nobody, nobody.epoch(), Some(deadline.min(now.saturating_add(LOOK_EVERY))));
            }
            done => return done,
        }
    }
}

/// Takes the lock of a directory, or says who has it.
fn acquire(env: &dyn Env, dir: &Path) -> Result<Box<dyn Lock>> {
    let path = dir.join(LOCK);
    let lock = match env.lock(&path) {
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
            return Err(Error::AlreadyOpen { dir: dir.to_path_buf(), pid: holder(env, &path) });
        }
        other => other.map_err(|e| Error::io("lock", &path, e))?,
    };
    let (pid, host) = env.identity();
    let text = format!("{pid} {host} {}\n", env.now());
    lock.write(text.as_bytes()).map_err(|e| Error::io("write", &path, e))?;
    Ok(lock)
}

fn holder(env: &dyn Env, path: &Path) -> Option<u32> {
    let text = String::from_utf8(read_file(env, path, TEXT_MAX).ok()??).ok()?;
    text.split_whitespace().next()?.parse().ok()
}
