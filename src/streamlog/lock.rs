//! One writer per directory.
//!
//! The lock is the operating system's, on the file `LOCK`, and ends with its holder, however that dies: a stale lock
//! never blocks. The content of the file (process id, host, start time) is for the error that a second process gets.

use crate::{
    env::{
        Env, Lock,
        held::{self, Held},
        sync::Signal,
    },
    error::{Error, Result},
    storage::{
        layout::LOCK,
        sidecar::{TEXT_MAX, read_file},
    },
};
use std::{io, path::Path, time::Duration};

/// The pause between two attempts to take a lock.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Takes the lock of a directory, or reports which process still holds it after `time`.
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

/// Takes the lock of a directory, or reports which process holds it.
fn acquire(env: &dyn Env, dir: &Path) -> Result<Box<dyn Lock>> {
    let path = dir.join(LOCK);
    let lock = match env.lock(&path) {
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
            let (pid, by_this_process) = holder(env, &path);
            return Err(Error::AlreadyOpen { dir: dir.to_path_buf(), pid, by_this_process });
        }
        other => other.map_err(|e| Error::io("lock", &path, e))?,
    };
    let (pid, host) = env.identity();
    let text = format!("{pid} {host} {}\n", env.now());
    let own = Own { _held: held::hold(&text), lock };
    own.write(text.as_bytes()).map_err(|e| Error::io("write", &path, e))?;
    Ok(Box::new(own))
}

/// The process that has the lock, and whether it is this one.
fn holder(env: &dyn Env, path: &Path) -> (Option<u32>, bool) {
    let text = read_file(env, path, TEXT_MAX).ok().flatten().and_then(|bytes| String::from_utf8(bytes).ok());
    let Some(text) = text else { return (None, false) };
    let pid = text.split_whitespace().next().and_then(|pid| pid.parse().ok());
    (pid, held::holds(&text))
}

/// A lock that this process is known to hold.
#[derive(Debug)]
struct Own {
    lock: Box<dyn Lock>,
    _held: Held,
}

impl Lock for Own {
    fn write(&self, content: &[u8]) -> io::Result<()> {
        self.lock.write(content)
    }
}

#[cfg(test)]
mod tests {
    use crate::{Error, Streamlog};

    #[test]
    fn opening_a_log_twice_in_one_process_is_reported_as_such_and_is_not_retriable() {
        let dir = tempfile::tempdir().unwrap();
        let open = || Streamlog::builder(dir.path()).open();
        let log = open().unwrap();
        let error = open().unwrap_err();
        let own = std::process::id();
        assert!(
            matches!(error, Error::AlreadyOpen { pid: Some(pid), by_this_process: true, .. } if pid == own)
        );
        assert!(!error.is_retriable());
        assert!(error.to_string().contains(&format!("by process {own}, which is this one")), "{error}");
        log.close().unwrap();
        Streamlog::open(dir.path()).unwrap().close().unwrap();
    }

    #[test]
    fn another_process_is_not_taken_for_this_one_because_of_its_id() {
        let dir = tempfile::tempdir().unwrap();
        let log = Streamlog::open(dir.path()).unwrap();
        // As in another container: the same id and host.
        let lock = dir.path().join("LOCK");
        let text = std::fs::read_to_string(&lock).unwrap();
        let (of_this, _) = text.trim_end().rsplit_once(' ').unwrap();
        std::fs::write(&lock, format!("{of_this} 1234567890123\n")).unwrap();
        let error = Streamlog::open(dir.path()).unwrap_err();
        assert!(matches!(error, Error::AlreadyOpen { pid: Some(_), by_this_process: false, .. }));
        assert!(error.is_retriable(), "{error}");
        drop(log);
    }
}
