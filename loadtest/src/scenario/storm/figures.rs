//! The figures of a storm.

use std::time::Duration;

use serde_json::json;

use super::worker::CrowdAnswer;
use super::{NAME, Options};
use crate::report::{Figure, Report, grouped, millis};

/// The costs of a storm.
#[derive(Debug)]
pub(super) struct StormCost {
    /// Commands that Redis ran, by name, the most frequent first.
    commands: Vec<(String, u64)>,
    redis: Duration,
    gateways: Duration,
    took: Duration,
}

impl StormCost {
    pub(super) fn new(
        stats: &str,
        before: (Duration, Duration),
        after: (Duration, Duration),
        took: Duration,
    ) -> Self {
        // cmdstat_get:calls=3,usec=…
        let line = |line: &str| {
            let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
            Some((name.to_owned(), rest.split(',').next()?.parse().ok()?))
        };
        let mut commands: Vec<(String, u64)> = stats.lines().filter_map(line).collect();
        commands.sort_by_key(|(_, calls)| std::cmp::Reverse(*calls));
        let (redis, gateways) =
            (after.0.saturating_sub(before.0), after.1.saturating_sub(before.1));
        StormCost { commands, redis, gateways, took }
    }
}

/// Everything that is told.
#[derive(Debug)]
pub(super) struct Figures<'a> {
    options: &'a Options,
    server: String,
    all: CrowdAnswer,
    cost: StormCost,
}

impl<'a> Figures<'a> {
    pub(super) fn new(
        options: &'a Options,
        server: String,
        answers: &[CrowdAnswer],
        cost: StormCost,
        dropped_before: u64,
    ) -> Self {
        let mut all = CrowdAnswer::default();
        for answer in answers {
            all.connected += answer.connected;
            all.current += answer.current;
            all.delivered += answer.delivered;
            all.lost += answer.lost;
            all.duplicated += answer.duplicated;
            all.gaps += answer.gaps;
            all.opened += answer.opened;
            all.dropped += answer.dropped;
            all.sent_away += answer.sent_away;
            all.failed += answer.failed;
            // The workers have equal shares: the worse of their quantiles is close to that of all.
            for (total, one) in all.millis.iter_mut().zip(answer.millis) {
                *total = one.max(*total);
            }
        }
        all.dropped -= dropped_before;
        Figures { options, server, all, cost }
    }

    fn zeros(&self) -> [(&'static str, u64); 5] {
        let missing = self.options.clients.saturating_sub(self.all.current) as u64;
        [
            ("lost", self.all.lost),
            ("duplicated", self.all.duplicated),
            ("gaps announced", self.all.gaps),
            ("not current in the end", missing),
            ("streams dropped", self.all.dropped),
        ]
    }

    pub(super) fn report(&self) -> Report {
        let failures = self.zeros().into_iter().filter(|(_, count)| *count > 0);
        let failures = failures.map(|(what, count)| format!("{} {what}", grouped(count))).collect();
        let seconds = |time: Duration| millis(time.as_secs_f64() * 1000.0);
        let commands: u64 = self.cost.commands.iter().map(|(_, calls)| calls).sum();
        let mut verdict = vec![
            Figure::plain("subscribers", grouped(self.options.clients as u64)),
            Figure::plain("current again, the last", millis(self.all.millis[2] as f64)),
            Figure::plain("commands of Redis", grouped(commands)),
        ];
        verdict.extend(self.zeros().map(|(name, count)| Figure::zero(name, count)));
        let times = vec![
            Figure::plain("current again, half of them", millis(self.all.millis[0] as f64)),
            Figure::plain("current again, 99 of 100", millis(self.all.millis[1] as f64)),
            Figure::plain("current again, the last", millis(self.all.millis[2] as f64)),
            Figure::plain("deliveries, the first ones included", grouped(self.all.delivered)),
            Figure::plain("sent away", grouped(self.all.sent_away)),
            Figure::plain("attempts that failed", grouped(self.all.failed)),
        ];
        let cpu = vec![
            Figure::plain("CPU of Redis", seconds(self.cost.redis)),
            Figure::plain("CPU of the gateways", seconds(self.cost.gateways)),
            Figure::plain("time", seconds(self.cost.took)),
        ];
        let commands = &self.cost.commands;
        let calls =
            commands.iter().take(8).map(|(name, calls)| Figure::plain(name, grouped(*calls)));
        Report {
            scenario: NAME.to_owned(),
            summary: self.summary(),
            failures,
            verdict,
            groups: vec![
                ("Subscribers".to_owned(), times),
                ("Time".to_owned(), cpu),
                ("Commands of Redis".to_owned(), calls.collect()),
            ],
            marks: Vec::new(),
            plots: Vec::new(),
            raw: json!({
                "answer": self.all,
                "commands": commands,
                "redis_cpu_ms": u64::try_from(self.cost.redis.as_millis()).unwrap_or(u64::MAX),
                "gateways_cpu_ms": u64::try_from(self.cost.gateways.as_millis()).unwrap_or(u64::MAX),
            }),
        }
    }

    fn summary(&self) -> String {
        let cold = if self.options.cold { " All gateways had been restarted." } else { "" };
        format!(
            "{} subscribers of {} topics came back to {} gateways within {}, each {} events behind, on {}.{cold}",
            grouped(self.options.clients as u64),
            grouped(self.options.topics as u64),
            self.options.gateways - 1,
            humantime::format_duration(self.options.within),
            self.options.behind,
            self.server,
        )
    }
}
