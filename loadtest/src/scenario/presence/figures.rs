//! The verdict and the figures of a run.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::Options;
use super::watcher::{Moves, RoomNews};
use crate::report::{Sheet, SheetRow};

/// The cost of presence to Redis until a time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cost {
    pub(super) at: Instant,
    /// Calls of scripts.
    pub(super) calls: f64,
    /// Seconds of CPU.
    pub(super) cpu: f64,
}

/// The same between two times.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spent {
    time: Duration,
    calls: f64,
    cpu: f64,
}

/// Everything that a run has shown.
pub(super) struct PresenceFigures<'a> {
    pub(super) options: &'a Options,
    pub(super) opened: Duration,
    pub(super) joining: Spent,
    pub(super) idle: Spent,
    /// Names by topic.
    pub(super) everybody: Vec<BTreeSet<String>>,
    /// The news by topic until all members were there.
    pub(super) joined: Vec<RoomNews>,
    pub(super) gone: Vec<BTreeSet<String>>,
    /// The news by topic after the kill.
    pub(super) left: Vec<RoomNews>,
    pub(super) present: Vec<BTreeSet<String>>,
    /// The lists of each gateway, by topic.
    pub(super) lists: Vec<Vec<(u64, BTreeSet<String>)>>,
    /// The time after the kill at which the last list came.
    pub(super) asked: Duration,
    pub(super) back: usize,
}

impl Cost {
    pub(super) fn since(self, before: Self) -> Spent {
        Spent {
            time: self.at - before.at,
            calls: self.calls - before.calls,
            cpu: self.cpu - before.cpu,
        }
    }
}

impl Spent {
    fn a_second(&self, of: f64) -> f64 {
        of / self.time.as_secs_f64()
    }
}

impl PresenceFigures<'_> {
    pub(super) fn sheet(&self) -> Sheet {
        let Options { clients, topics, gateways, .. } = self.options;
        Sheet {
            title: "Presence".to_owned(),
            summary: format!("{clients} members of {topics} topics on {gateways} gateways"),
            columns: ["phase", "members", "told", "events a topic", "ms CPU of Redis", "scripts"]
                .map(str::to_owned)
                .into(),
            rows: vec![self.joins(), self.idles(), self.kill()],
        }
    }

    fn joins(&self) -> SheetRow {
        let failures = told(&self.everybody, &self.joined, |heard| &heard.joined)
            .into_iter()
            .chain(told(&vec![BTreeSet::new(); self.options.topics], &self.joined, |heard| {
                &heard.left
            }));
        let Spent { time, calls, cpu } = self.joining;
        let idle = self.idle.a_second(self.idle.cpu) * time.as_secs_f64();
        let each = (cpu - idle) * 1e6 / self.options.clients as f64;
        let note = format!(
            "all streams were open after {:.1} s; a join takes {each:.1} us CPU of Redis beyond its idle cost",
            self.opened.as_secs_f64()
        );
        let told = sum(&self.joined, |heard| heard.joined.count);
        let events = sum(&self.joined, |heard| heard.joined.events);
        let cells = (self.options.clients as u64, told, events, cpu, calls);
        self.row(
            ("join", "All members connect."),
            cells,
            failures.collect(),
            note,
            json!({ "us_a_join": each }),
        )
    }

    fn idles(&self) -> SheetRow {
        let Spent { calls, cpu, .. } = self.idle;
        let (calls_a_second, share) = (self.idle.a_second(calls), self.idle.a_second(cpu));
        let note = format!(
            "all gateways send {calls_a_second:.0} scripts a second; Redis takes {:.1} % of a core in all",
            share * 100.0
        );
        let raw = json!({ "scripts_a_second": calls_a_second, "core": share });
        let cells = (self.options.clients as u64, 0, 0, cpu, calls);
        self.row(("stay", "Nobody comes or goes."), cells, Vec::new(), note, raw)
    }

    fn kill(&self) -> SheetRow {
        let nobody = vec![BTreeSet::new(); self.options.topics];
        let mut failures = told(&self.gone, &self.left, |heard| &heard.left);
        failures.extend(told(&nobody, &self.left, |heard| &heard.joined));
        let mut wrong = 0;
        for lists in &self.lists {
            for ((index, (count, list)), present) in lists.iter().enumerate().zip(&self.present) {
                let mut expected = present.clone();
                expected.insert(format!("w-room-{index}"));
                wrong += usize::from(*list != expected || *count != expected.len() as u64);
            }
        }
        if wrong > 0 {
            failures.push(format!("{wrong} lists are wrong 10 s after the kill"));
        }
        if self.back == 0 {
            failures.push("no client came back".to_owned());
        }
        let gone = self.gone.iter().map(BTreeSet::len).sum::<usize>();
        let note = format!(
            "{gone} clients stayed away and {} came back; {} lists of {} gateways were compared until {:.1} s \
             after the kill",
            self.back,
            self.lists.iter().map(Vec::len).sum::<usize>(),
            self.lists.len(),
            self.asked.as_secs_f64()
        );
        let told = sum(&self.left, |heard| heard.left.count);
        let events = sum(&self.left, |heard| heard.left.events);
        let cells = (gone as u64, told, events, f64::NAN, f64::NAN);
        let raw = json!({ "gone": gone, "back": self.back, "wrong_lists": wrong });
        self.row(("kill -9", "A gateway dies."), cells, failures, note, raw)
    }

    fn row(
        &self,
        (name, about): (&str, &str),
        (members, told, events, cpu, calls): (u64, u64, u64, f64, f64),
        failures: Vec<String>,
        note: String,
        raw: serde_json::Value,
    ) -> SheetRow {
        let number =
            |value: f64| if value.is_nan() { "-".to_owned() } else { format!("{value:.0}") };
        let each = format!("{:.1}", events as f64 / self.options.topics as f64);
        println!("{name}: {note}");
        SheetRow {
            about: about.to_owned(),
            cells: vec![
                name.to_owned(),
                members.to_string(),
                told.to_string(),
                each,
                number(cpu * 1e3),
                number(calls),
            ],
            failures,
            notes: vec![note],
            plots: Vec::new(),
            marks: Vec::new(),
            raw,
        }
    }
}

fn sum(all: &[RoomNews], of: impl Fn(&RoomNews) -> u64) -> u64 {
    all.iter().map(of).sum()
}

/// The ways in which watchers did not hear of exactly these, once each.
fn told(
    expected: &[BTreeSet<String>],
    heard: &[RoomNews],
    of: impl Fn(&RoomNews) -> &Moves,
) -> Vec<String> {
    let (mut counts, mut twice, mut strange, mut broken) = (0, 0, 0, 0);
    for (expected, heard) in expected.iter().zip(heard) {
        let moves = of(heard);
        counts += usize::from(moves.count != expected.len() as u64);
        twice += moves.names.values().filter(|times| **times > 1).count();
        strange += moves.names.keys().filter(|name| !expected.contains(*name)).count();
        broken += usize::from(heard.ended || heard.lists > 0);
    }
    let failures = [
        (counts, "watchers heard of another number than moved"),
        (twice, "names came twice"),
        (strange, "names came that have not moved"),
        (broken, "watchers lost the thread"),
    ];
    let found = failures.into_iter().filter(|(count, _)| *count > 0);
    found.map(|(count, what)| format!("{count} {what}")).collect()
}
