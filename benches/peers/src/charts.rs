//! Charts: bars in SVG, plain text and shapes on a ground of their own, so that they read on light and on dark pages.
//!
//! One file a kind of work, one group of bars a figure, the best on top, ours in colour, bounds pale. What has to be
//! known of a subject stands in words beside its bar; below stand the machine and how often it was measured.

use crate::{
    report::readable,
    subject::{Mark, Result, Subject},
    subjects::OURS,
    turns::Outcome,
    workload::Better,
};
use std::{fmt::Write as _, fs, path::Path};

/// A chart: its file, its title, what an acknowledgement means in it, its figures with what to call them.
struct Chart {
    file: &'static str,
    title: &'static str,
    durability: &'static str,
    better: Better,
    figures: &'static [(&'static str, &'static str)],
    /// What makes no difference here.
    silent: &'static [Mark],
}

const CHARTS: &[Chart] = &[
    Chart {
        file: "append-written.svg",
        title: "Appending, without a flush",
        durability: "acknowledged once the operating system has it (Written): survives the process, not a power cut",
        better: Better::More,
        figures: &[
            (
                "enqueue, 100 B, one record a call",
                "one record of 100 bytes a call, pipelined where the peer can",
            ),
            ("append, 100 B, batches of 1,000", "100 bytes, 1,000 records a call"),
            ("send, 100 B, acknowledged one by one", "100 bytes, each acknowledged before the next"),
        ],
        silent: &[Mark::Tree, Mark::FlushesAtRoll],
    },
    Chart {
        file: "append-flushed.svg",
        title: "Appending, with a flush",
        durability: "acknowledged once it is on the medium (Flushed): survives a power cut",
        better: Better::More,
        figures: &[
            ("send, 100 B, flushed, 1 thread", "100 bytes, one thread"),
            ("send, 100 B, flushed, 16 threads", "100 bytes, 16 threads"),
        ],
        silent: &[Mark::Buffers, Mark::FlushesAtRoll],
    },
    Chart {
        file: "scan.svg",
        title: "Reading from the start",
        durability: "in the page cache; checksums verified where there are any, every byte touched",
        better: Better::More,
        figures: &[("scan, 100 B, warm", "records of 100 bytes"), ("scan, 1 KiB, warm", "records of 1 KiB")],
        silent: &[Mark::Buffers, Mark::FlushesAtRoll, Mark::UnflushedAcknowledged],
    },
    Chart {
        file: "hop.svg",
        title: "From send to a consumer on another thread",
        durability: "without a flush (Written); median of all records, the broker's mean; less is better",
        better: Better::Less,
        figures: &[
            ("hop to an awake reader, median", "to a reader that polls in a loop"),
            ("hop to a sleeping reader, median", "to a reader that sleeps until woken"),
        ],
        silent: &[Mark::FlushesAtRoll, Mark::UnflushedAcknowledged],
    },
    Chart {
        file: "open.svg",
        title: "Opening a log",
        durability: "of 1 GiB; less is better; not all validate what they find",
        better: Better::Less,
        figures: &[
            ("open after a clean close, a log 64 times that", "after a clean close"),
            ("open after kill -9, with unflushed data", "after kill -9, the last 64 MiB unflushed"),
            (
                "open after kill -9 during a flush",
                "after kill -9 in the middle of flushing these: read again from the disk, past the cache",
            ),
        ],
        silent: &[Mark::FlushesAtRoll, Mark::UnflushedAcknowledged, Mark::Buffers],
    },
];

const WIDTH: usize = 860;
/// Where names end, how long the longest bar is, where notes begin.
const NAMES: usize = 160;
const BARS: usize = 420;
const NOTES: usize = 640;
const LINE: usize = 18;
/// Bars longer than so many of ours are cut, so that the others can be told apart.
const CUT_MORE: f64 = 4.0;
const CUT_LESS: f64 = 10.0;

/// Draws what was measured into a directory.
pub fn draw(dir: &Path, outcomes: &[Outcome], subjects: &[&Subject], machine: &str) -> Result<()> {
    fs::create_dir_all(dir)?;
    for chart in CHARTS {
        let groups: Vec<_> =
            chart.figures.iter().map(|(figure, _)| group(figure, outcomes, chart.better)).collect();
        if groups.iter().any(|group| !group.is_empty()) {
            fs::write(dir.join(chart.file), svg(chart, &groups, subjects, machine))?;
        }
    }
    Ok(())
}

/// The outcomes of a figure, the best first.
fn group<'a>(figure: &str, outcomes: &'a [Outcome], better: Better) -> Vec<&'a Outcome> {
    let mut group: Vec<_> = outcomes.iter().filter(|o| o.work == figure && o.median().is_finite()).collect();
    group.sort_by(|a, b| match better {
        Better::More => b.median().total_cmp(&a.median()),
        Better::Less => a.median().total_cmp(&b.median()),
    });
    group
}

fn svg(chart: &Chart, groups: &[Vec<&Outcome>], subjects: &[&Subject], machine: &str) -> String {
    let mut body = String::new();
    let mut y = 72;
    for ((_, name), group) in chart.figures.iter().zip(groups).filter(|(_, group)| !group.is_empty()) {
        let unit = group.first().map_or("", |outcome| outcome.unit).replace("us", "µs");
        let _ = writeln!(
            body,
            r#"<text class="figure" x="16" y="{y}">{name} <tspan class="unit">({unit})</tspan></text>"#
        );
        y += 8;
        let scale = Scale::of(chart, group);
        for outcome in group {
            bar(&mut body, chart, outcome, &scale, y, subjects);
            y += LINE;
        }
        y += 24;
    }
    let foot = captions(groups, machine);
    for line in &foot {
        let _ = writeln!(body, r#"<text class="caption" x="16" y="{y}">{}</text>"#, escape(line));
        y += 15;
    }
    let (frame, height) = (y + 1, y + 2);
    let inner = WIDTH - 1;
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{title}">
<style>
text {{ font: 12px -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2328 }}
.title {{ font-size: 17px; font-weight: 600 }}
.figure {{ font-size: 13px; font-weight: 600 }}
.unit {{ font-weight: 400; fill: #59636e }}
.name {{ text-anchor: end }}
.us {{ font-weight: 700 }}
.caption, .note {{ font-size: 11px; fill: #59636e }}
.ours {{ fill: #d9480f }} .peer {{ fill: #7c93b8 }} .floor {{ fill: #cfd6de }}
.range {{ stroke: #1f2328; stroke-width: 1; opacity: 0.55 }}
</style>
<rect x="0.5" y="0.5" width="{inner}" height="{frame}" rx="8" fill="#ffffff" stroke="#d1d9e0"/>
<text class="title" x="16" y="28">{title}</text>
<text class="caption" x="16" y="46">{durability}</text>
{body}</svg>
"##,
        title = chart.title,
        durability = chart.durability,
    )
}

/// How bars are as long as what they stand for.
struct Scale {
    most: f64,
}

impl Scale {
    fn of(chart: &Chart, group: &[&Outcome]) -> Self {
        let most = group.iter().map(|outcome| outcome.median()).fold(f64::MIN_POSITIVE, f64::max);
        let ours = group.iter().find(|outcome| outcome.subject == OURS).map(|outcome| outcome.median());
        let times = if chart.better == Better::More { CUT_MORE } else { CUT_LESS };
        Scale { most: ours.map_or(most, |ours| most.min(ours * times)) }
    }

    fn width(&self, value: f64) -> f64 {
        (value / self.most).min(1.0) * BARS as f64
    }

    fn cuts(&self, value: f64) -> bool {
        value > self.most
    }
}

fn bar(body: &mut String, chart: &Chart, outcome: &Outcome, scale: &Scale, y: usize, subjects: &[&Subject]) {
    let median = outcome.median();
    let subject = subjects.iter().find(|subject| subject.name == outcome.subject);
    let (class, weight) = match subject {
        _ if outcome.subject == OURS => ("ours", " us"),
        Some(subject) if subject.is_floor() => ("floor", ""),
        _ => ("peer", ""),
    };
    let (left, top, base) = (NAMES as f64, y as f64 + 2.5, y + 13);
    let right = left + scale.width(median).max(1.0);
    let name = escape(outcome.subject);
    let _ = write!(body, r#"<text class="name{weight}" x="{}" y="{base}">{name}</text>"#, NAMES - 7);
    let _ = if scale.cuts(median) {
        // It goes on: its end is a point.
        let (bottom, middle, tip) = (top + 13.0, top + 6.5, right + 7.0);
        write!(
            body,
            r#"<path class="{class}" d="M{left},{top} H{right:.1} L{tip:.1},{middle} L{right:.1},{bottom} H{left} Z"/>"#
        )
    } else {
        write!(
            body,
            r#"<rect class="{class}" x="{left}" y="{top}" width="{:.1}" height="13"/>"#,
            right - left
        )
    };
    let end = range(body, outcome, scale, top + 6.5).max(right + if scale.cuts(median) { 7.0 } else { 0.0 });
    let _ = write!(
        body,
        r#"<text class="value{weight}" x="{:.1}" y="{base}">{}</text>"#,
        end + 5.0,
        readable(median, outcome.unit)
    );
    let notes =
        subject.map_or(String::new(), |subject| notes(subject, chart.silent, chart.file == "scan.svg"));
    let _ = writeln!(body, r#"<text class="note" x="{NOTES}" y="{base}">{notes}</text>"#);
}

/// A thin line from the lowest to the highest run, where it can be seen; gives where it ends.
fn range(body: &mut String, outcome: &Outcome, scale: &Scale, y: f64) -> f64 {
    let low = outcome.runs.iter().copied().fold(f64::INFINITY, f64::min);
    let high = outcome.runs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if scale.cuts(outcome.median()) || scale.width(high) - scale.width(low) < 2.0 {
        return 0.0;
    }
    let (from, to) = (NAMES as f64 + scale.width(low), NAMES as f64 + scale.width(high));
    let _ = write!(body, r#"<path class="range" d="M{from:.1},{y} H{to:.1}"/>"#);
    to
}

/// What has to be known, in words.
fn notes(subject: &Subject, silent: &[Mark], reads: bool) -> String {
    // Of a floor that is all: its name says the rest.
    let first = if subject.is_floor() { 1 } else { subject.marks.len() };
    let told = subject.marks.iter().take(first).filter(|mark| !silent.contains(mark));
    let slow = (subject.crawls && reads).then_some("reads a file's rest for each record");
    told.filter_map(|mark| mark.word()).chain(slow).collect::<Vec<_>>().join(", ")
}

/// The lines at the foot: how it was measured, and on what.
fn captions(groups: &[Vec<&Outcome>], machine: &str) -> Vec<String> {
    let of_ours = groups.iter().flatten().find(|outcome| outcome.subject == OURS);
    let rounds = of_ours.map_or(0, |outcome| outcome.runs.len());
    let apart = groups.iter().flatten().any(|outcome| outcome.subject.starts_with("Kafka"));
    let mut how = format!(
        "Medians of {rounds} rounds, all in turns on one machine. Thin lines: lowest to highest. Bars with a point: cut."
    );
    if apart {
        how.push_str(" JVM: measured in a run of its own.");
    }
    let legend =
        "Orange: streamlog. Blue: others. Grey: a bound, the same bytes by hand with no log around them.";
    let mut lines = vec![legend.to_string(), how];
    lines.push(machine.to_string());
    lines
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
