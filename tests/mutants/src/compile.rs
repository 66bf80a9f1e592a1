//! Makes the copy with all mistakes in it, and has cargo compile it. A mistake that is none, because the compiler notices
//! it, is found from the compiler's errors and left out.

use crate::rewrite::{self, File, Mutant, Places, number_equal_names};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
    fs,
    ops::Range,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The rooms whose mistakes lose data or hide it.
const ROOMS: [&str; 9] =
    ["codec", "storage", "partition", "topic", "table", "compaction", "producer", "consumer", "group"];
/// Tests that use the library as programs do, and take seconds.
const TESTS: [&str; 10] = [
    "promises",
    "model",
    "a_log_from_open_to_reopen",
    "settings_of_handles",
    "damaged_files",
    "batches_in_their_places",
    "what_the_mark_promises",
    "the_end_of_the_manifest",
    "changed_while_closed",
    "after_close",
];

/// What the slower round runs: more such tests, the crash campaign, and the tests of threads that meet, which have a build
/// of their own.
const SLOW_TESTS: [&str; 21] = [
    "unreadable_batches",
    "beside_damage",
    "lost_and_damaged_sidecars",
    "stale_and_duplicated_files",
    "a_partition_directory_on_its_own",
    "foreign_directories",
    "moved_directories",
    "one_partition_that_cannot_be_opened",
    "errors_in_between",
    "full_disk",
    "room_on_a_full_disk",
    "after_a_failed_flush",
    "retention_rules",
    "nothing_outside",
    "replaced_while_open",
    "retention_in_every_opening",
    "what_deaths_leave_behind",
    "golden_store",
    "forked_children",
    "limits",
    "crash_campaign",
];
const INTERLEAVINGS: &str = "streamlog::tests::interleavings";

/// A switch for each mistake: its number is in the environment. Without one, which of them are reached is put into a file.
const SWITCHES: &str = r#"//! Which mistake is made.
#![allow(warnings)]
use std::{fs::File, os::unix::fs::FileExt, sync::{OnceLock, atomic::{AtomicBool, AtomicU32, Ordering::Relaxed}}};
const RECORDED: u32 = u32::MAX - 1;
static CHOSEN: AtomicU32 = AtomicU32::new(u32::MAX);
static SEEN: [AtomicBool; COUNT] = [const { AtomicBool::new(false) }; COUNT];
static RECORD: OnceLock<Option<File>> = OnceLock::new();
#[inline]
pub fn on(number: u32) -> bool {
    let chosen = CHOSEN.load(Relaxed);
    if chosen < RECORDED { chosen == number } else { look(number) }
}
#[cold]
#[inline(never)]
fn look(number: u32) -> bool {
    if CHOSEN.load(Relaxed) == u32::MAX {
        let chosen = std::env::var("MUTANT").ok().and_then(|number| number.parse().ok());
        RECORD.get_or_init(|| std::env::var("MUTANTS_REACHED").ok().and_then(|path| File::options().write(true).open(path).ok()));
        CHOSEN.store(chosen.unwrap_or(RECORDED), Relaxed);
    }
    if CHOSEN.load(Relaxed) == RECORDED && !SEEN[number as usize].swap(true, Relaxed) {
        if let Some(Some(file)) = RECORD.get() { let _ = file.write_all_at(&[1], number.into()); }
    }
    CHOSEN.load(Relaxed) == number
}
"#;

pub type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The copy, compiled.
pub struct Compiled {
    pub mutants: Vec<Mutant>,
    pub left_out: BTreeSet<u32>,
    /// Programs of tests; the unit tests first.
    pub programs: Vec<Program>,
    /// Those that try only what the others let pass.
    pub slow: Vec<Program>,
}

/// A program of tests, and how the names of those begin that count.
pub struct Program {
    pub path: PathBuf,
    pub only: &'static str,
}

/// The files of the repository by their paths in it.
fn read(dir: &Path, at: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) -> std::io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let (entry, name) = entry.map(|entry| (entry.path(), entry.file_name()))?;
        match entry.is_dir() {
            _ if name == "target" || name == ".git" => {}
            true => read(&entry, &at.join(name), files)?,
            false => drop(files.insert(at.join(name), fs::read(&entry)?)),
        }
    }
    Ok(())
}

/// A file that is as it was is left alone, so that cargo need not compile it again.
fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    if fs::read(path).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    fs::create_dir_all(path.parent().unwrap_or(path))?;
    fs::write(path, bytes)
}

/// Copies the repository to `to` and compiles it with every mistake in it that is chosen; the tests of the slower round
/// where they are asked for.
pub fn compile(
    repository: &Path,
    to: &Path,
    is_chosen: impl Fn(&Mutant) -> bool,
    is_thorough: bool,
) -> Result<Compiled> {
    let (mut repository_files, mut mutants, mut files) = (BTreeMap::new(), Vec::new(), BTreeMap::new());
    read(repository, Path::new(""), &mut repository_files)?;
    let (mut texts, mut of_tests) = (Vec::new(), Vec::new());
    for (path, bytes) in repository_files {
        let name = path.strip_prefix("src").ok().map(|name| name.to_string_lossy().into_owned());
        let is_of_a_room = |name: &String| {
            name.ends_with(".rs") && name.split('/').next().is_some_and(|room| ROOMS.contains(&room))
        };
        let Some(name) = name.filter(is_of_a_room) else {
            if path != Path::new("src/lib.rs") {
                write(&to.join(path), &bytes)?;
            }
            continue;
        };
        let text = String::from_utf8(bytes)?;
        for module in rewrite::test_modules(&text).map_err(|error| format!("src/{name}: {error}"))? {
            // Of `a/mod.rs` the module `b` is `a/b.rs`, of `a.rs` it is `a/b.rs` as well; or a directory.
            let beside = if name.ends_with("mod.rs") || module.ends_with(".rs") {
                Path::new(&name).with_file_name(&module)
            } else {
                Path::new(&name).with_extension("").join(&module)
            };
            of_tests.extend([beside.with_extension("rs"), beside]);
        }
        texts.push((name, text));
    }
    texts.sort_by_key(|(name, _)| ROOMS.iter().position(|room| name.split('/').next() == Some(room)));
    let src = to.join("src");
    for (name, text) in texts {
        if of_tests.iter().any(|of_tests| Path::new(&name).starts_with(of_tests)) {
            write(&src.join(name), text.as_bytes())?;
        } else {
            let file = File::parse(&name, text, &mut mutants)?;
            files.insert(name, file);
        }
    }
    number_equal_names(&mut mutants);
    write(&src.join("mutated.rs"), SWITCHES.replace("COUNT", &(mutants.len() + 1).to_string()).as_bytes())?;
    let lib = fs::read_to_string(repository.join("src/lib.rs"))?;
    let allowed = "#![allow(arithmetic_overflow, unconditional_panic, overflowing_literals)]\n";
    write(&src.join("lib.rs"), format!("{allowed}{lib}\nmod mutated;\n").as_bytes())?;
    println!("{} mutants in {} files", mutants.len(), files.len());

    // What was refused the last time is most likely refused again.
    let list = to.with_extension("refused");
    let refused = fs::read_to_string(&list).unwrap_or_default();
    let refused: BTreeSet<&str> = refused.lines().collect();
    let numbers = |are: &dyn Fn(&Mutant) -> bool| {
        mutants.iter().filter(|mutant| are(mutant)).map(|mutant| mutant.number).collect::<BTreeSet<u32>>()
    };
    let unasked = numbers(&|mutant| !is_chosen(mutant));
    let mut left_out = &numbers(&|mutant| refused.contains(&*mutant.name)) | &unasked;
    loop {
        let mut places = BTreeMap::new();
        for (name, file) in &files {
            let (text, at) = file.write(&left_out);
            write(&src.join(name), text.as_bytes())?;
            places.insert(name.as_str(), at);
        }
        let errors = cargo(to, &["check", "--lib"], "")?.errors;
        if errors.is_empty() {
            break;
        }
        let before = left_out.len();
        for error in &errors {
            let of_it = blamed(error, &places, &left_out);
            left_out.extend(of_it);
        }
        println!("{} errors, {} mutants left out", errors.len(), left_out.len());
        let is_refused = |mutant: &&Mutant| {
            refused.contains(&*mutant.name)
                || left_out.contains(&mutant.number) && !unasked.contains(&mutant.number)
        };
        let names = mutants.iter().filter(is_refused).map(|mutant| format!("{}\n", mutant.name));
        fs::write(&list, names.collect::<String>())?;
        if left_out.len() == before {
            return Err(format!("no mutant is to blame for {}", errors[0]["rendered"]).into());
        }
    }
    let named = |tests: &[&'static str]| tests.iter().flat_map(|test| ["--test", test]).collect::<Vec<_>>();
    let programs = build(to, &[&["--lib"][..], &named(&TESTS)].concat(), "", "")?;
    let slow = match is_thorough {
        true => [
            build(to, &["--lib"], "--cfg streamlog_shuttle", INTERLEAVINGS)?,
            build(to, &named(&SLOW_TESTS), "", "")?,
        ]
        .into_iter()
        .flatten()
        .collect(),
        false => Vec::new(),
    };
    Ok(Compiled { mutants, left_out, programs, slow })
}

/// Compiles tests of the copy, with these flags of the compiler.
fn build(dir: &Path, tests: &[&str], flags: &str, only: &'static str) -> Result<Vec<Program>> {
    let built = cargo(dir, &[&["test", "--no-run"][..], tests].concat(), flags)?;
    match built.errors.first() {
        Some(error) => Err(error["rendered"].to_string().into()),
        None => Ok(built.programs.into_iter().map(|path| Program { path, only }).collect()),
    }
}

/// The mistakes that an error is about: those of the smallest place that it points to; where they are `left_out`, all
/// between the places that it points to.
fn blamed(error: &Value, places: &BTreeMap<&str, Places>, left_out: &BTreeSet<u32>) -> Vec<u32> {
    let of = |value: &Value| value["spans"].as_array().into_iter().flatten().cloned().collect::<Vec<_>>();
    let children = error["children"].as_array().into_iter().flatten();
    let spans: Vec<Value> = of(error).into_iter().chain(children.flat_map(of)).collect();
    let spans: Vec<(&Places, Range<usize>)> = spans
        .iter()
        .filter_map(|span| {
            let file = span["file_name"].as_str()?.rsplit_once("src/")?.1;
            let (start, end) = (span["byte_start"].as_u64()?, span["byte_end"].as_u64()?);
            Some((places.get(file)?, start as usize..end as usize))
        })
        .collect();
    let around = spans.iter().filter_map(|(places, span)| {
        let around = places
            .iter()
            .filter(|(place, of)| place.start <= span.start && span.end <= place.end && !of.is_empty());
        around.min_by_key(|(place, _)| place.len())
    });
    let smallest = around.min_by_key(|(place, of)| (of.len(), place.len()));
    let smallest = smallest.map(|(_, of)| of.clone()).unwrap_or_default();
    if smallest.iter().any(|number| !left_out.contains(number)) {
        return smallest;
    }
    let Some((places, _)) = spans.first() else { return smallest };
    let from = spans.iter().map(|(_, span)| span.start).min().unwrap_or(0);
    let to = spans.iter().map(|(_, span)| span.end).max().unwrap_or(0);
    let between = places.iter().filter(|(place, _)| from <= place.start && place.end <= to);
    between.flat_map(|(_, of)| of.clone()).collect()
}

#[derive(Default)]
struct Outcome {
    errors: Vec<Value>,
    programs: Vec<PathBuf>,
}

fn cargo(dir: &Path, args: &[&str], flags: &str) -> Result<Outcome> {
    let fixed = [
        "-p",
        "streamlog-tests",
        "--locked",
        "--message-format=json",
        "--config",
        "profile.dev.opt-level=1",
        "--config",
        "profile.dev.debug=0",
    ];
    let mut command = Command::new("cargo");
    command.args(args).args(fixed).current_dir(dir).stderr(Stdio::null());
    if !flags.is_empty() {
        // Beside the others, whose dependencies would be compiled anew each time.
        command.env("RUSTFLAGS", flags).args(["--target-dir", "target/with-flags"]);
    }
    let output = command.output()?;
    let mut outcome = Outcome::default();
    for line in output.stdout.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"{")) {
        let mut line: Value = serde_json::from_slice(line)?;
        if line["message"]["level"] == "error"
            && line["message"]["spans"].as_array().is_some_and(|spans| !spans.is_empty())
        {
            outcome.errors.push(line["message"].take());
        } else if line["profile"]["test"] == true
            && let Some(program) = line["executable"].as_str()
        {
            outcome.programs.push(program.into());
        }
    }
    // Those of `TESTS` in their order; the unit tests are not among them and come first.
    outcome.programs.sort_by_key(|program| {
        let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        TESTS.iter().position(|test| name.rsplit_once('-').is_some_and(|(name, _)| name == *test))
    });
    if !output.status.success() && outcome.errors.is_empty() {
        return Err(format!("cargo {} failed in {}", args.join(" "), dir.display()).into());
    }
    Ok(outcome)
}
