//! Something of another kind where a file or a directory belongs: a link, a FIFO, a socket, a device.
//!
//! The environment refuses it before the first byte is read, and hands this up inside an [`io::Error`]. What comes of it
//! is [`Error::Corrupt`](super::Error::Corrupt), which names the path and what is there.

use std::{fmt, io, path::Path, path::PathBuf};

/// What a name can stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link, whatever it leads to.
    Link,
    /// A FIFO.
    Fifo,
    /// A socket.
    Socket,
    /// A device, or whatever else a system knows.
    Device,
}

impl fmt::Display for FileKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FileKind::File => "a regular file",
            FileKind::Dir => "a directory",
            FileKind::Link => "a symbolic link",
            FileKind::Fifo => "a FIFO",
            FileKind::Socket => "a socket",
            FileKind::Device => "a device",
        })
    }
}

/// What is where something else belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongKind {
    /// What is there.
    pub found: FileKind,
    /// What belongs there; `None` where a file may be or a directory.
    pub expected: Option<FileKind>,
    /// How many names above the end of the path it was met.
    pub above: usize,
}

impl WrongKind {
    /// As an error of the system's kind, where it has one.
    pub fn into_io(self) -> io::Error {
        let kind = match (self.found, self.expected) {
            (FileKind::Dir, _) => io::ErrorKind::IsADirectory,
            (_, Some(FileKind::Dir)) => io::ErrorKind::NotADirectory,
            _ => io::ErrorKind::InvalidData,
        };
        io::Error::new(kind, self)
    }

    /// What is wrong about a path, where that is what an error is about.
    pub fn of(error: &io::Error) -> Option<&WrongKind> {
        error.get_ref()?.downcast_ref()
    }

    /// The path of what was found, by the path that was looked for.
    pub(super) fn place(&self, path: &Path) -> PathBuf {
        path.ancestors().nth(self.above).unwrap_or(path).to_path_buf()
    }
}

impl fmt::Display for WrongKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let WrongKind { found, expected, .. } = self;
        match expected {
            Some(expected) => write!(f, "this is {found}, and {expected} belongs here")?,
            None => write!(f, "this is {found}, and a file or a directory belongs here")?,
        }
        match found {
            FileKind::Link => f.write_str(": links are not followed; put in its place what it leads to"),
            _ => f.write_str(": it was not opened; put the right one in its place, or remove it"),
        }
    }
}

impl std::error::Error for WrongKind {}
