//! Whether there is memory for something large, asked before it is taken: a failed allocation ends the process.
//!
//! Bytes from disk say how much is to be read or decompressed. What they say is held against what can be, and what is
//! left of it is asked for here, so that a process of little memory gets an error. (A system that promises more memory
//! than it has, as Linux does by default, cannot be asked: a limit of the process can, `ulimit -v`.)

use std::io;

/// Below this nobody asks.
const LARGE: usize = 16 << 20;

/// How much must be left for everything else.
const HEADROOM: usize = 32 << 20;

/// Whether `bytes` can be allocated, and a little beside them.
pub fn has_memory_for(bytes: usize) -> bool {
    bytes < LARGE || can_have(bytes.saturating_add(HEADROOM))
}

/// Makes room for `more` bytes at the end of `buf`, and says whether there is any.
pub fn grow(buf: &mut Vec<u8>, more: usize) -> bool {
    let wanted = buf.len().saturating_add(more);
    if wanted <= buf.capacity() {
        return true;
    }
    // Twice as much at a time; of what is large, a quarter more.
    let step = if buf.capacity() < 4 * LARGE { buf.capacity() } else { buf.capacity() / 4 };
    let capacity = wanted.max(buf.capacity().saturating_add(step));
    buf.try_reserve_exact(capacity - buf.len()).is_ok() && (capacity < LARGE || can_have(HEADROOM))
}

/// How a read ends that there is no memory for.
pub fn out_of_memory(what: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::OutOfMemory, format!("there is no memory for {what}"))
}

fn can_have(bytes: usize) -> bool {
    let mut probe: Vec<u8> = Vec::new();
    let can = probe.try_reserve_exact(bytes).is_ok();
    // An allocation that nobody uses may be left out.
    std::hint::black_box(&mut probe);
    can
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_machine_has_is_refused_and_nothing_changes() {
        assert!(has_memory_for(0) && has_memory_for(LARGE));
        assert!(!has_memory_for(usize::MAX) && !has_memory_for(isize::MAX as usize));
        let mut buf = b"abc".to_vec();
        assert!(!grow(&mut buf, usize::MAX) && !grow(&mut buf, isize::MAX as usize));
        assert!(grow(&mut buf, LARGE) && buf.capacity() >= LARGE + 3);
        assert_eq!(buf, b"abc");
    }
}
