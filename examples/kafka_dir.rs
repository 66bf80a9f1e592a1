//! Prints a partition directory, ours or a Kafka broker's, as lines of JSON.
//!
//!     cargo run --release --example kafka_dir -- PARTITION_DIR [--read-committed]
//!
//! The first line says where the log begins and ends; each further line is a record, with key, value and the values of
//! headers in base64. Nothing in the directory changes. A torn tail and damage are reported on standard error.

use std::{
    env,
    fmt::Write as _,
    io::{self, BufWriter, Write},
    process::ExitCode,
};
use streamlog::{Error, Record, clients::IsolationLevel, dir::PartitionDir};

const USAGE: &str = "\
usage: kafka_dir PARTITION_DIR [--read-committed]

Prints a partition's directory, ours or a Kafka broker's, as lines of JSON. The first line says where the log begins
and ends; each further line is a record. Keys, values and the values of headers are in base64, null where there are
none. Nothing in the directory is changed. A torn tail and damage are reported on standard error.

  --read-committed   leaves out records of transactions that were aborted or are still open";

fn main() -> ExitCode {
    if env::args_os().any(|argument| argument == "--help" || argument == "-h") {
        // The reader of the help may have closed the pipe.
        writeln!(io::stdout(), "{USAGE}").ok();
        return ExitCode::SUCCESS;
    }
    let (path, isolation) = match arguments() {
        Ok(arguments) => arguments,
        Err(wrong) => {
            eprintln!("kafka_dir: {wrong}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match print(&path, isolation) {
        // The reader of the output has closed the pipe.
        Err(Failure::Output(e)) if e.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("kafka_dir: {failure}");
            ExitCode::FAILURE
        }
        Ok(()) => ExitCode::SUCCESS,
    }
}

fn arguments() -> Result<(std::ffi::OsString, IsolationLevel), String> {
    let mut path = None;
    let mut isolation = IsolationLevel::ReadUncommitted;
    for argument in env::args_os().skip(1) {
        if argument == "--read-committed" {
            isolation = IsolationLevel::ReadCommitted;
        } else if argument.to_str().is_some_and(|a| a.starts_with('-')) {
            return Err(format!("there is no option {}", argument.display()));
        } else if path.is_some() {
            return Err(format!("one directory at a time: {} is one too many", argument.display()));
        } else {
            path = Some(argument);
        }
    }
    Ok((path.ok_or("no directory given")?, isolation))
}

fn print(path: &std::ffi::OsStr, isolation: IsolationLevel) -> Result<(), Failure> {
    let dir = PartitionDir::open_read_only(path)?;
    if let Some(torn) = &dir.report().torn_end {
        let (file, position) = (torn.path.display(), torn.position);
        eprintln!("kafka_dir: torn tail in {file} at byte {position}: {}", torn.reason);
    }
    let damage = &dir.report().damage;
    for hole in damage {
        let (file, position) = (hole.path.display(), hole.bytes.start);
        let (from, to) = (hole.offsets.start, hole.offsets.end);
        eprintln!("kafka_dir: damage in {file} at byte {position}, offsets {from} to {to}: {}", hole.reason);
    }
    let mut out = BufWriter::with_capacity(1 << 16, io::stdout().lock());
    writeln!(
        out,
        r#"{{"log_start_offset":{},"last_stable_offset":{},"log_end_offset":{}}}"#,
        dir.log_start_offset(),
        dir.last_stable_offset(),
        dir.log_end_offset()
    )?;
    let mut from = dir.log_start_offset();
    while let Err(failure) = print_from(&dir, &mut from, isolation, &mut out) {
        // Continue past damage.
        let behind = match &failure {
            Failure::Log(error) => error.next_offset().filter(|next| *next > from),
            _ => None,
        };
        from = behind.ok_or(failure)?;
    }
    out.flush()?;
    if damage.is_empty() { Ok(()) } else { Err(Failure::Damage(damage.len())) }
}

/// Prints the records from `from` on, and moves `from` to where that ended.
fn print_from(
    dir: &PartitionDir,
    from: &mut streamlog::Offset,
    isolation: IsolationLevel,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let mut line = String::new();
    for batch in dir.read_with(*from, isolation) {
        let batch = batch?;
        for record in &batch {
            line.clear();
            push_record(&mut line, &record, batch.leader_epoch());
            out.write_all(line.as_bytes())?;
        }
        *from = batch.next_offset();
    }
    Ok(())
}

fn push_record(line: &mut String, record: &Record<'_>, leader_epoch: i32) {
    // Writing into a String cannot fail.
    let _ = write!(
        line,
        r#"{{"offset":{},"timestamp":{},"timestamp_type":"{}","leader_epoch":{leader_epoch},"key":"#,
        record.offset,
        record.timestamp.as_millis(),
        record.timestamp_type
    );
    push_bytes(line, record.key);
    line.push_str(r#","value":"#);
    push_bytes(line, record.value);
    line.push_str(r#","headers":["#);
    for (i, (name, value)) in record.headers.enumerate() {
        line.push_str(if i == 0 { "[" } else { ",[" });
        push_text(line, name);
        line.push(',');
        push_bytes(line, value);
        line.push(']');
    }
    line.push_str("]}\n");
}

fn push_text(line: &mut String, text: &str) {
    line.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => line.extend(['\\', c]),
            c if c < ' ' => {
                let _ = write!(line, "\\u{:04x}", u32::from(c));
            }
            c => line.push(c),
        }
    }
    line.push('"');
}

/// Base64, or null.
fn push_bytes(line: &mut String, bytes: Option<&[u8]>) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let Some(bytes) = bytes else { return line.push_str("null") };
    line.push('"');
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().enumerate().fold(0, |word, (i, b)| word | usize::from(*b) << (16 - 8 * i));
        for i in 0..4 {
            let digit = if i > chunk.len() { b'=' } else { DIGITS[word >> (18 - 6 * i) & 63] };
            line.push(char::from(digit));
        }
    }
    line.push('"');
}

enum Failure {
    Log(Error),
    Output(io::Error),
    /// In how many places. Everything else was printed.
    Damage(usize),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Log(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Failure::Output(error)
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Log(error) => error.fmt(f),
            Failure::Damage(places) => write!(f, "the output lacks damaged records in {places} places"),
            Failure::Output(error) => write!(f, "could not write the output: {error}"),
        }
    }
}
