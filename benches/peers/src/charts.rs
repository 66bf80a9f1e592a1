//! Charts: bars in SVG, plain text and shapes, readable on light and on dark ground.
//!
//! One chart a durability, one group of bars a figure. The caption names the machine and what an acknowledgement meant.

use crate::{
    report::short,
    subject::{Result, Subject},
    subjects::OURS,
    turns::Outcome,
};
use std::{fmt::Write as _, fs, path::Path};

/// A chart: its file, its title, what an acknowledgement means in it, its figures.
struct Chart {
    file: &'static str,
    title: &'static str,
    durability: &'static str,
    figures: &'static [&'static str],
}

const CHARTS: &[Chart] = &[
    Chart {
        file: "append-written.svg",
        title: "Appending, without flush",
        durability: "Written: records are with the operating system, nothing is flushed",
        figures: &[
            "enqueue, 100 B, one record a call",
            "append, 100 B, batches of 1,000",
            "append, 1 KiB, batches of 256",
            "send, 100 B, acknowledged one by one",
        ],
    },
    Chart {
        file: "append-flushed.svg",
        title: "Appending, with flush",
        durability: "Flushed: every record is on the medium before its call returns",
        figures: &["send, 100 B, flushed, 1 thread", "send, 100 B, flushed, 16 threads"],
    },
    Chart {
        file: "scan.svg",
        title: "Reading from the start",
        durability: "warm, all checksums verified, every byte touched",
        figures: &["scan, 100 B, warm", "scan, 1 KiB, warm"],
    },
    Chart {
        file: "hop.svg",
        title: "From a producer to a consumer (less is better)",
        durability: "Written: records are with the operating system, nothing is flushed",
        figures: &["hop to an awake reader, median", "hop to a sleeping reader, median"],
    },
    Chart {
        file: "open.svg",
        title: "Opening (less is better)",
        durability: "after a clean close and after kill -9",
        figures: &[
            "open after a clean close, a log 64 times that",
            "open after kill -9, with unflushed data",
        ],
    },
];

const WIDTH: usize = 760;
const NAMES: usize = 190;
const BARS: usize = 460;
const LINE: usize = 20;

/// Draws what was measured into a directory.
pub fn draw(dir: &Path, outcomes: &[Outcome], subjects: &[&Subject], machine: &str) -> Result<()> {
    fs::create_dir_all(dir)?;
    for chart in CHARTS {
        let groups: Vec<_> = chart.figures.iter().map(|figure| group(figure, outcomes)).collect();
        if groups.iter().any(|group| !group.is_empty()) {
            fs::write(dir.join(chart.file), svg(chart, &groups, subjects, machine))?;
        }
    }
    Ok(())
}

/// The outcomes of a figure: ours first, then as they come in the list of subjects.
fn group<'a>(figure: &str, outcomes: &'a [Outcome]) -> Vec<&'a Outcome> {
    let mut group: Vec<_> = outcomes.iter().filter(|o| o.work == figure).collect();
    group.sort_by_key(|outcome| outcome.subject != OURS);
    group
}

fn svg(chart: &Chart, groups: &[Vec<&Outcome>], subjects: &[&Subject], machine: &str) -> String {
    let mut body = String::new();
    let mut y = 58;
    for (figure, group) in chart.figures.iter().zip(groups).filter(|(_, group)| !group.is_empty()) {
        let unit = group.first().map_or("", |outcome| outcome.unit);
        let _ = writeln!(body, r#"<text class="figure" x="12" y="{y}">{figure}, {unit}</text>"#);
        y += 10;
        let most = group.iter().map(|outcome| outcome.median()).fold(f64::MIN_POSITIVE, f64::max);
        for outcome in group {
            bar(&mut body, outcome, most, y, subjects);
            y += LINE;
        }
        y += 24;
    }
    let height = y + 12;
    let caption = y - 8;
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{title}">
<style>
text {{ font: 12px sans-serif; fill: #24292f }}
.title {{ font-size: 16px; font-weight: bold }}
.figure {{ font-weight: bold }}
.name {{ text-anchor: end }}
.caption {{ font-size: 11px; fill: #57606a }}
.ours {{ fill: #d9480f }} .peer {{ fill: #748ffc }} .floor {{ fill: #adb5bd }}
@media (prefers-color-scheme: dark) {{ text {{ fill: #e6edf3 }} .caption {{ fill: #9198a1 }} }}
</style>
<text class="title" x="12" y="24">{title}</text>
<text class="caption" x="12" y="40">{durability}</text>
{body}<text class="caption" x="12" y="{caption}">{machine}</text>
</svg>
"##,
        title = chart.title,
        durability = chart.durability,
        machine = escape(machine),
    )
}

fn bar(body: &mut String, outcome: &Outcome, most: f64, y: usize, subjects: &[&Subject]) {
    let median = outcome.median();
    let width = (median / most * BARS as f64).max(1.0);
    let floor = subjects.iter().any(|s| s.name == outcome.subject && s.is_floor());
    let class = match outcome.subject {
        OURS => "ours",
        _ if floor => "floor",
        _ => "peer",
    };
    let letters = crate::report::letters(outcome.subject, subjects);
    let base = y + 13;
    let _ = writeln!(
        body,
        r#"<text class="name" x="{}" y="{base}">{} {letters}</text><rect class="{class}" x="{NAMES}" y="{}" width="{width:.1}" height="14"/><text x="{:.1}" y="{base}">{}</text>"#,
        NAMES - 6,
        escape(outcome.subject),
        y + 2,
        NAMES as f64 + width + 5.0,
        short(median),
    );
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
