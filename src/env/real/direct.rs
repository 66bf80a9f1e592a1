//! Reading from the medium and not from the system's cache.
//!
//! After a failed flush the cache may hold what the medium does not. Linux reads past it through a second descriptor
//! of the same file, opened with `O_DIRECT`. Where a system or file system refuses, or would quietly answer from the
//! cache, the error is `Unsupported`.

#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) use linux::Direct;

/// No way past the cache is known here.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
#[derive(Debug, Default)]
pub(super) struct Direct;

#[cfg(not(any(target_os = "linux", target_os = "android")))]
impl Direct {
    pub(super) fn read_at(&self, _: &std::fs::File, _: &mut [u8], _: u64) -> std::io::Result<usize> {
        Err(std::io::ErrorKind::Unsupported.into())
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
mod linux {
    use crate::env::sync::Mutex;
    use rustix::fs::{AtFlags, OFlags, StatxFlags, statx};
    use std::io::{self, ErrorKind};
    use std::os::{fd::AsRawFd, unix::fs::FileExt, unix::fs::OpenOptionsExt};
    use std::{fs, sync::Arc};

    /// What position, length and memory are a multiple of. Media that want more refuse, and that is passed on.
    const ALIGNMENT: usize = 4096;
    /// The most that is read in one piece.
    const WINDOW: usize = 1 << 20;

    /// The second descriptor, opened when it is first needed.
    #[derive(Debug, Default)]
    pub(in crate::env::real) struct Direct {
        opened: Mutex<Option<Arc<fs::File>>>,
    }

    impl Direct {
        /// Reads from `position` of `file`: straight into `buf` where position and memory allow it, and else through
        /// an aligned window around what was asked for.
        pub(in crate::env::real) fn read_at(
            &self,
            file: &fs::File,
            buf: &mut [u8],
            position: u64,
        ) -> io::Result<usize> {
            let direct = self.open(file)?;
            let ahead = (position % ALIGNMENT as u64) as usize;
            let to_boundary = (ALIGNMENT - ahead) % ALIGNMENT;
            let agree = buf.as_ptr().align_offset(ALIGNMENT) == to_boundary;
            if agree && to_boundary == 0 && buf.len() >= ALIGNMENT {
                let whole = buf.len() - buf.len() % ALIGNMENT;
                return direct.read_at(&mut buf[..whole], position).map_err(refused);
            }
            // Only so far that the next read needs no window.
            let most = if agree && to_boundary > 0 { to_boundary } else { WINDOW };
            let window = (ahead + buf.len().min(most)).next_multiple_of(ALIGNMENT);
            let mut space = vec![0; window + ALIGNMENT];
            let shift = space.as_ptr().align_offset(ALIGNMENT);
            let aligned = space.get_mut(shift..shift.saturating_add(window));
            let aligned = aligned.ok_or(ErrorKind::Unsupported)?;
            let read = direct.read_at(aligned, position - ahead as u64).map_err(refused)?;
            // Nothing, where the file ends before the position.
            let found = aligned.get(ahead..read).unwrap_or_default();
            let n = found.len().min(buf.len());
            buf[..n].copy_from_slice(&found[..n]);
            Ok(n)
        }

        fn open(&self, file: &fs::File) -> io::Result<Arc<fs::File>> {
            let mut opened = self.opened.lock();
            if let Some(direct) = &*opened {
                return Ok(direct.clone());
            }
            // Some file systems accept the flag for a file that they then read through the cache, and report it on request.
            if let Ok(told) = statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::DIOALIGN) {
                let tells = told.stx_mask & StatxFlags::DIOALIGN.bits() != 0;
                if tells && told.stx_dio_mem_align == 0 {
                    return Err(ErrorKind::Unsupported.into());
                }
            }
            // By way of the first descriptor: the file's name may have changed since, or be gone.
            let path = format!("/proc/self/fd/{}", file.as_raw_fd());
            let flags = OFlags::DIRECT.bits() as i32;
            let direct = fs::OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(refused)?;
            let direct = Arc::new(direct);
            *opened = Some(direct.clone());
            Ok(direct)
        }
    }

    /// What a file system without unbuffered reads says, and a machine without `/proc`.
    fn refused(error: io::Error) -> io::Error {
        match error.kind() {
            ErrorKind::InvalidInput | ErrorKind::NotFound => ErrorKind::Unsupported.into(),
            _ => error,
        }
    }
}
