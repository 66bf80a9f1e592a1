//! What the manual and the documentation promise, the test that holds them to it, and the mistakes that this test must
//! notice. A promise that no planted mistake can break is not tested.
//!
//! The table is in the files beside this one, each about a part of the library. A line of it is
//!
//! ```text
//! the_claim_as_a_function: "file", "the promise in its own words" => [mistakes];
//! ```
//!
//! Each function runs as it is, and once more with each of its mistakes, on a simulated machine without threads, where
//! it takes milliseconds. With the mistake one of its assertions must fail, and no `unwrap`, but for one of an error that
//! the line names (`mistake by Closed`). Promises that take more, or a look inside, are kept by other tests, which plant
//! their mistakes themselves (`planted::hold`, or one of the lists in `src/planted.rs`); their lines are in `ELSEWHERE`.
//!
//! The table is held to its word as well: the passages stand in their files, the tests and the mistakes exist, and no
//! mistake in `src/` is without a test that must notice it.

mod budget;
mod committing;
mod compacting;
mod consuming;
mod damaged;
mod enclosing;
mod finding;
mod keeping;
mod observing;
mod outlasting;
mod producing;
mod world;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};
use streamlog::planted;

/// A promise, and who holds us to it.
pub struct Promise {
    /// The function that does; in the same file of this directory, or in the file after the `@`.
    pub test: &'static str,
    /// The file that makes the promise.
    pub file: &'static str,
    /// In these words.
    pub says: &'static str,
    /// What must not go unnoticed.
    pub mistakes: &'static [&'static str],
}

/// Makes the table of a file, and a test of each of its lines.
macro_rules! promises {
    ($($test:ident: $file:literal, $says:literal => [$($mistake:ident $(by $error:ident)?),+ $(,)?];)+) => {
        pub const HERE: &[crate::Promise] = &[$(crate::Promise {
            test: stringify!($test),
            file: $file,
            says: $says,
            mistakes: &[$(stringify!($mistake)),+],
        }),+];

        mod kept {
            $(
                #[test]
                fn $test() {
                    let mistakes = [$(concat!(stringify!($mistake) $(, " by ", stringify!($error))?)),+];
                    streamlog::planted::hold(super::$test, &mistakes);
                }
            )+
        }
    };
}
pub(crate) use promises;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// The promises that are kept here.
fn here() -> impl Iterator<Item = &'static Promise> {
    use {
        committing as c, consuming as r, damaged as d, finding as f, keeping as k, observing as o,
        outlasting as l, producing as p,
    };
    [
        r::HERE,
        c::HERE,
        d::HERE,
        f::HERE,
        o::HERE,
        p::HERE,
        k::HERE,
        l::HERE,
        enclosing::HERE,
        compacting::HERE,
        budget::HERE,
    ]
    .into_iter()
    .flatten()
}

/// The promises that are kept by other tests.
fn elsewhere() -> impl Iterator<Item = &'static Promise> {
    [
        consuming::ELSEWHERE,
        committing::ELSEWHERE,
        producing::ELSEWHERE,
        keeping::ELSEWHERE,
        outlasting::ELSEWHERE,
    ]
    .into_iter()
    .flatten()
}

/// Documentation as its reader sees it: without the signs of comments, links, code and emphasis, on one line.
fn prose(text: &str) -> String {
    let mut words = String::new();
    for line in text.lines() {
        let line = line.trim_start();
        let line = line.strip_prefix("//!").or_else(|| line.strip_prefix("///")).unwrap_or(line);
        words.extend([line, " "]);
    }
    let mut seen = String::new();
    let mut rest = words.as_str();
    while let Some(end) = rest.find("](") {
        seen.push_str(&rest[..end]);
        rest = &rest[end..][rest[end..].find(')').map_or(2, |close| close + 1)..];
    }
    seen.push_str(rest);
    seen.retain(|c| !matches!(c, '[' | ']' | '`' | '*'));
    seen.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn every_promise_is_made_in_these_words() {
    for Promise { test, file, says, .. } in here().chain(elsewhere()) {
        let text = fs::read_to_string(root().join(file)).unwrap_or_else(|e| panic!("{test}: {file}: {e}"));
        assert!(prose(&text).contains(&prose(says)), "{test}: {file} does not say (any more): {says}");
    }
}

#[test]
fn every_test_that_is_named_exists() {
    for Promise { test, .. } in elsewhere() {
        let (name, file) = test.split_once('@').unwrap_or_else(|| panic!("{test} is in no file"));
        let text = fs::read_to_string(root().join(file)).unwrap_or_else(|e| panic!("{test}: {e}"));
        assert!(text.contains(&format!("fn {name}()")), "{file} has no function {name}");
    }
}

/// The mistakes that have a place in `src/`.
fn planted_in(dir: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            planted_in(&path, found);
        } else {
            let text = fs::read_to_string(&path).unwrap();
            let names = text.split("planted!(").skip(1).filter_map(|rest| rest.split([')', ' ']).next());
            found.extend(names.map(String::from).filter(|_| !path.ends_with("planted.rs")));
        }
    }
}

#[test]
fn every_mistake_has_a_place_and_a_test() {
    let mut placed = BTreeSet::new();
    planted_in(&root().join("src"), &mut placed);
    let listed =
        [planted::NAMES, planted::OUTSIDE, planted::INSIDE, planted::RACES].into_iter().flatten().copied();
    let mut tested: BTreeSet<String> = listed.map(String::from).collect();
    for Promise { test, mistakes, .. } in elsewhere() {
        assert!(!mistakes.is_empty(), "{test} notices nothing");
        let text = fs::read_to_string(root().join(test.split_once('@').unwrap().1)).unwrap();
        for mistake in *mistakes {
            // That of a list is planted by the tests of that list.
            let is_planted = text.contains(&format!("\"{mistake}\""));
            assert!(is_planted || tested.contains(*mistake), "{test} does not plant {mistake}");
        }
    }
    tested.extend(
        here().chain(elsewhere()).flat_map(|promise| promise.mistakes).map(|mistake| mistake.to_string()),
    );
    let (unnoticed, gone) = (placed.difference(&tested), tested.difference(&placed));
    let (unnoticed, gone): (Vec<_>, Vec<_>) = (unnoticed.collect(), gone.collect());
    assert!(unnoticed.is_empty(), "no test is to notice {unnoticed:?}");
    assert!(gone.is_empty(), "there is no place any more for {gone:?}");
}

#[test]
fn every_mistake_of_a_list_is_planted_by_the_tests_of_that_list() {
    for (mistakes, file) in [
        (planted::OUTSIDE, "tests/system_calls.rs"),
        (planted::RACES, "src/streamlog/tests/interleavings.rs"),
    ] {
        let text = fs::read_to_string(root().join(file)).unwrap();
        let forgotten = mistakes.iter().find(|name| !text.contains(&format!("\"{name}\"")));
        assert!(forgotten.is_none(), "{file} does not plant {forgotten:?}");
    }
    for name in planted::INSIDE {
        let test = elsewhere().find(|promise| promise.mistakes.contains(name)).map(|promise| promise.test);
        let file = test.and_then(|test| test.split_once('@')).map_or("", |(_, file)| file);
        let text = fs::read_to_string(root().join(file)).unwrap_or_default();
        assert!(text.contains(&format!("\"{name}\"")), "{file:?} does not plant {name}");
    }
}

#[test]
fn no_promise_is_listed_twice() {
    let mut seen = BTreeSet::new();
    for Promise { file, says, test, .. } in here().chain(elsewhere()) {
        assert!(seen.insert((file, prose(says))), "{test}: {file}: {says}");
    }
}

#[test]
#[should_panic(expected = "the claim fails with an error")]
fn an_error_on_the_way_is_no_claim_that_fails() {
    let set_up = |fails: bool| if fails { Err("not at the point") } else { Ok(()) };
    planted::hold(|| set_up(planted::is_planted("any")).unwrap(), &["any"]);
}
