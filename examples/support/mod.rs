//! What the examples share: a directory of their own, an answer to `--help`, and output that may end early.

#![allow(dead_code, unused_imports, reason = "every example takes its own part")]

use std::path::{Path, PathBuf};

/// As `println!`, but a closed pipe, as with `head -1`, is not a failure.
macro_rules! say {
    ($($arg:tt)*) => {{
        use std::io::Write as _;
        writeln!(std::io::stdout(), $($arg)*).ok();
    }};
}
pub(crate) use say;

/// A directory that is removed when the example ends, by an error too.
pub struct Scratch(PathBuf);

impl Scratch {
    /// One named after the example and its process. Opening a log creates it.
    pub fn new(name: &str) -> Scratch {
        let dir = std::env::temp_dir().join(format!("streamlog-{name}-{}", std::process::id()));
        std::fs::remove_dir_all(&dir).ok();
        Scratch(dir)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

/// For an example without arguments: answers `--help`, and refuses anything else.
pub fn no_arguments(about: &str) {
    let Some(argument) = std::env::args_os().nth(1) else { return };
    if argument == "--help" || argument == "-h" {
        say!("{about}\n\nIt takes no arguments.");
        std::process::exit(0);
    }
    eprintln!(
        "{}: unknown argument; this example takes none (--help says what it shows)",
        argument.display()
    );
    std::process::exit(2);
}
