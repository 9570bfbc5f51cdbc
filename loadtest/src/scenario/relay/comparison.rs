//! The report of the ways: medians, ratios to nginx, and the goals.

use super::{Options, RelayCost};
use crate::cost::contender::RelayWay;
use crate::report::{Comparison, Figure, Goal, Quantity, grouped, median, ratio};

/// The relay stores every token, and may cost this many times as much as a proxy that does not.
const CPU_MOST: f64 = 3.0;
/// The relay may deliver a token so much later than the upstream does, in milliseconds.
const ADDED_MOST: f64 = 1.0;

const QUANTITIES: [Quantity<RelayCost>; 10] = [
    ("proxy, CPU us a token", 1, |cost| cost.proxy_us),
    ("Redis, CPU us a token", 1, |cost| cost.redis_us),
    ("gateway, CPU us a token", 1, |cost| cost.gateway_us),
    ("all, CPU us a token", 1, RelayCost::all_us),
    ("age of a token, p50 ms", 2, |cost| Some(cost.p50_ms)),
    ("age of a token, p99 ms", 2, |cost| Some(cost.p99_ms)),
    ("age at the reader, p50 ms", 2, |cost| cost.reader_p50_ms),
    ("age at the reader, p99 ms", 2, |cost| cost.reader_p99_ms),
    ("proxy, RSS MiB", 1, |cost| cost.rss_mib),
    ("all answers, s", 1, |cost| Some(cost.seconds)),
];

impl RelayCost {
    fn all_us(&self) -> Option<f64> {
        let proxy = self.proxy_us?;
        Some(proxy + self.redis_us.unwrap_or(0.0) + self.gateway_us.unwrap_or(0.0))
    }
}

pub(super) fn report(options: &Options, rounds: &[(RelayWay, Vec<RelayCost>)]) -> Comparison {
    let columns: Vec<_> =
        rounds.iter().map(|(way, all)| (way.name().to_owned(), all.as_slice())).collect();
    let mut report = Comparison::of(super::NAME, summary(options), &columns, &QUANTITIES, (0, 0));
    let expected = options.answers as u64;
    // Each answer is heard by its caller, by its reader, and once more when it is stored.
    let (mut checked, mut wrong, mut differences) = (0, 0, Vec::new());
    for (way, cost) in rounds.iter().flat_map(|(way, all)| all.iter().map(move |cost| (way, cost)))
    {
        let heard = [
            (true, cost.whole.called),
            (way.has_readers(), cost.whole.read),
            (way.has_log(), cost.whole.read_again),
        ];
        for (_, whole) in heard.into_iter().filter(|(is_due, _)| *is_due) {
            checked += expected;
            wrong += expected.saturating_sub(whole as u64);
        }
        differences.extend(cost.wrong.iter().cloned());
    }
    if wrong > 0 || !differences.is_empty() {
        let first = differences.first().map_or("", String::as_str);
        report.failures.push(format!("{wrong} of {checked} answers were not whole: {first}"));
    }
    report.verdict = vec![
        Figure::plain("answers that were compared", grouped(checked)),
        Figure::zero("not complete, or not as they were sent", wrong),
    ];
    report.goals = goals(rounds);
    report
}

fn summary(options: &Options) -> String {
    format!(
        "{} answers at once, {} tokens each, {} a second; medians of {} interleaved rounds, in \
         brackets the ratio to nginx. The proxy is nginx (proxy_buffering off) or the relay. All \
         processes of a way share core {}; the API and the clients are on core {}. Every stored \
         answer is read again afterwards and compared.",
        grouped(options.answers as u64),
        options.tokens,
        options.rate,
        options.rounds,
        options.cores.server_cores,
        options.cores.driver_core,
    )
}

/// The goals, if nginx and the direct way were measured.
fn goals(rounds: &[(RelayWay, Vec<RelayCost>)]) -> Vec<Goal> {
    let of = |way: RelayWay| {
        let own = rounds.iter().find(|(other, _)| *other == way)?;
        Some(own.1.as_slice())
    };
    let (Some(nginx), Some(relay), Some(direct)) =
        (of(RelayWay::Nginx), of(RelayWay::Relay), of(RelayWay::Direct))
    else {
        return Vec::new();
    };
    let added = relay.iter().zip(direct).map(|(relay, direct)| relay.p50_ms - direct.p50_ms);
    let goal = |name: &str, most, value: Option<f64>| {
        Some(Goal { name: name.to_owned(), most, value: value?, before: None })
    };
    let goals = [
        goal("relay, added to the age of a token, p50 ms", ADDED_MOST, median(added.collect())),
        goal("relay, CPU a token / nginx", CPU_MOST, ratio(relay, nginx, |cost| cost.proxy_us)),
    ];
    goals.into_iter().flatten().collect()
}
