//! Power cuts on a real kernel: what was acknowledged is there, whatever else the file system lost. (I1, I2, I3, I5, I9,
//! I11)
//!
//! A file system in a file is mounted, a writer runs on it, and at a random moment the file system is cut off from its
//! medium, as its own tests do it: an ioctl after which nothing more is written, not even its journal's buffers. It is
//! unmounted, mounted again, and opened. The directory grows old over many cuts.
//!
//! What counts is what was acknowledged before the cut. Nobody hears anything after the power is gone; here the writer
//! lives on for a while, and on ext4 a flush that was under way may tell it yes although nothing came of it.
//!
//! `STREAMLOG_POWER_CUTS` sets how often; the default is 3 for each file system. It takes Linux, root, loop devices, the
//! file system's mkfs, perl for the ioctl, and `STREAMLOG_TEST_FILE_SYSTEMS=1`; where something lacks, the test says so and
//! is skipped.

#![cfg(target_os = "linux")]

mod support;
#[path = "support/writer.rs"]
mod writer_process;

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};
use support::*;
use writer_process::{Seen, Writer};

/// `EXT4_IOC_SHUTDOWN`, and `XFS_IOC_GOINGDOWN`, with the flag 2: without flushing the journal.
///
/// It waits for a word before it does so, and tells when it can.
const CUT: &str = "open(my $f, '<', $ARGV[0]) or die $!; my $flag = pack('L', 2); $| = 1; print qq(ready\\n); \
                   <STDIN>; ioctl($f, 0x8004587d, $flag) or die $!;";
/// The size of the file system: XFS takes no less. The file has holes.
const IMAGE_BYTES: u64 = 320 << 20;
/// After so many cuts the next writer begins with an empty directory.
const AGE: u64 = 40;

/// Not a test of its own: this is the writer, when the program was started as one.
#[test]
fn writer() {
    writer_process::write_if_asked();
}

/// Runs a command; what it said, when it failed.
fn run(command: &mut Command) -> Result<(), String> {
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr))),
        Err(error) => Err(format!("{command:?}: {error}")),
    }
}

/// A file system in a file. It is unmounted when this goes, which detaches the loop device too.
struct Disk {
    root: tempfile::TempDir,
    mounted: bool,
}

impl Disk {
    fn new(mkfs: &[&str]) -> Result<Disk, String> {
        may_mount()?;
        let disk = Disk { root: quick_dir(), mounted: false };
        fs::create_dir(disk.dir()).unwrap();
        fs::File::create(disk.image()).unwrap().set_len(IMAGE_BYTES).unwrap();
        run(Command::new(mkfs[0]).args(&mkfs[1..]).arg(disk.image()))?;
        Ok(disk)
    }

    fn image(&self) -> PathBuf {
        self.root.path().join("image")
    }

    /// Where it is mounted.
    fn dir(&self) -> PathBuf {
        self.root.path().join("mounted")
    }

    fn mount(&mut self, options: &str) -> Result<(), String> {
        let options = format!("loop,{options}");
        run(Command::new("mount").args(["-o", &options]).arg(self.image()).arg(self.dir()))?;
        self.mounted = true;
        Ok(())
    }

    /// Tries for a while: a program that another thread starts meanwhile has our open files until it begins.
    fn unmount(&mut self) -> Result<(), String> {
        let ends = Instant::now() + Duration::from_secs(300);
        while let Err(error) = run(Command::new("umount").arg(self.dir())) {
            if Instant::now() > ends {
                return Err(error);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        self.mounted = false;
        Ok(())
    }

    /// From here on nothing reaches the medium. What `before` looks at was so before that.
    fn cut_power<T>(&self, before: impl FnOnce() -> T) -> Result<T, String> {
        let mut command = Command::new("perl");
        command.args(["-e", CUT]).arg(self.dir());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut perl = command.spawn().map_err(|e| format!("perl: {e}"))?;
        let mut ready = [0; 6];
        let heard = perl.stdout.as_mut().map(|out| out.read_exact(&mut ready));
        let seen = before();
        drop(perl.stdin.take());
        let output = perl.wait_with_output().map_err(|e| format!("perl: {e}"))?;
        match (heard, output.status.success()) {
            (Some(Ok(())), true) => Ok(seen),
            _ => Err(format!("perl: {}", String::from_utf8_lossy(&output.stderr))),
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.mounted && self.unmount().is_err() {
            // Whoever still holds a file of it holds it no longer than he lives.
            if let Err(error) = run(Command::new("umount").arg("--lazy").arg(self.dir())) {
                eprintln!("{error}");
            }
        }
    }
}

/// Cuts the power of a file system `STREAMLOG_POWER_CUTS` times, mounted with these options in turn.
fn cut_again_and_again(name: &str, mkfs: &[&str], options: &[&str]) {
    let cuts: u64 = std::env::var("STREAMLOG_POWER_CUTS").ok().and_then(|n| n.parse().ok()).unwrap_or(3);
    let mut disk = match Disk::new(mkfs) {
        Ok(disk) => disk,
        Err(why) => return println!("SKIPPED: {name}: {why}"),
    };
    // Whether this works here at all.
    if let Err(why) =
        disk.mount(options[0]).and_then(|()| disk.cut_power(|| ())).and_then(|()| disk.unmount())
    {
        return println!("SKIPPED: {name}: {why}");
    }
    let copies = quick_dir();
    let mut random = Random(seed());
    let (began, mut seen, mut records, mut torn, mut refused) = (Instant::now(), Seen::default(), 0, 0, 0);
    disk.mount(options[0]).unwrap();
    for life in 0..cuts {
        let dir = disk.dir().join(format!("log-{}", life / AGE));
        if life.is_multiple_of(AGE) {
            (records, torn) = (records + seen.count(), torn + seen.cuts);
            seen = Seen::default();
        }
        let writer = Writer::start(&dir, life);
        // Every other one dies somewhere on its way to its first append, where programs start slowly.
        if life.is_multiple_of(2) {
            writer.wait_until_it_wrote();
        }
        std::thread::sleep(Duration::from_micros(random.below(400_000)));
        let said = disk.cut_power(|| writer.said()).unwrap();
        // Long enough, now and then, to notice.
        std::thread::sleep(Duration::from_micros(random.below(2) * random.below(20_000)));
        let ended = writer.kill();
        refused += u64::from(ended.refused.is_some());
        disk.unmount().unwrap();
        disk.mount(options[random.below(options.len() as u64) as usize]).unwrap();
        look(&dir, &copies.path().join("copy"), life, |dir| {
            seen.check(dir, life, &said, &said.durable);
        });
    }
    (records, torn) = (records + seen.count(), torn + seen.cuts);
    println!(
        "{name}: {cuts} power cuts, {records} records, {torn} torn tails, {refused} writers that noticed, {:.0} s",
        began.elapsed().as_secs_f64()
    );
    assert!(cuts < 20 || records > 100, "the writers did write");
    disk.unmount().unwrap();
}

/// Looks at a directory, every other time at a copy: then the next writer has to recover for itself.
fn look(dir: &Path, copy: &Path, life: u64, mut check: impl FnMut(&Path)) {
    if life.is_multiple_of(2) || !dir.exists() {
        fs::create_dir_all(dir).unwrap();
        check(dir);
    } else {
        image(dir, copy);
        check(copy);
    }
}

#[test]
fn what_was_acknowledged_on_ext4_survives_every_power_cut() {
    let options = ["data=ordered", "data=writeback,commit=1", "data=journal", "nodelalloc", "commit=1"];
    cut_again_and_again("ext4", &["mkfs.ext4", "-q", "-F"], &options);
}

#[test]
fn what_was_acknowledged_on_xfs_survives_every_power_cut() {
    cut_again_and_again("xfs", &["mkfs.xfs", "-q", "-f"], &["noatime", "wsync"]);
}
