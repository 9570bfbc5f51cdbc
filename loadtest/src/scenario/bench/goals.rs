//! The goals of Tailwater, for all that a run has measured both sides of.

use super::comparison::Rounds;
use super::quantity::{
    BenchQuantity, COLD_READS, CONNECT, FANOUT, IDLE_RSS, INTAKE, LINES, MILLION_LATE, MILLION_P99,
    PRESSURE, RESUME, RETURN, SCALE, SELECTIONS, SELECTIONS_GROWTH, STEADY_P50, STEADY_P99, TOPICS,
    VERIFY,
};
use crate::cost::contender::Contender::{
    self, Before, BeforeCors, BeforeRedis, BeforeTwoCores, Centrifugo, CentrifugoRedis, Floor,
    Mercure, MercureBolt, NchanRedis, Tailwater, TailwaterCors, TailwaterEddsa, TailwaterEs256,
    TailwaterHs256, TailwaterRedis, TailwaterSpace, TailwaterTwoCores,
};
use crate::report::{Goal, median, ratio};

/// The most that a quantity may have grown since the other build: the noise of three rounds.
const SINCE_BEFORE: f64 = 1.03;

/// A quantity of one server, or its ratio to the quantity of a second one.
struct BenchTarget {
    name: &'static str,
    most: f64,
    quantity: BenchQuantity,
    server: Contender,
    base: Option<Contender>,
}

const fn target(
    name: &'static str,
    most: f64,
    quantity: BenchQuantity,
    server: Contender,
    base: Option<Contender>,
) -> BenchTarget {
    BenchTarget { name, most, quantity, server, base }
}

const TARGETS: [BenchTarget; 43] = [
    target("fan-out / floor", 1.15, FANOUT, Tailwater, Some(Floor)),
    target("fan-out / nchan+Redis", 0.75, FANOUT, Tailwater, Some(NchanRedis)),
    target("pressure / nchan+Redis", 0.05, PRESSURE, Tailwater, Some(NchanRedis)),
    target("topics / nchan+Redis", 0.6, TOPICS, TailwaterRedis, Some(NchanRedis)),
    target("topics by lines / nchan+Redis", 0.6, LINES, TailwaterRedis, Some(NchanRedis)),
    target("resume / floor", 2.0, RESUME, Tailwater, Some(Floor)),
    target("connect / floor", 1.3, CONNECT, Tailwater, Some(Floor)),
    target("RSS bytes a connection", 2000.0, IDLE_RSS, Tailwater, None),
    target("million, p99 ms", 100.0, MILLION_P99, Tailwater, None),
    target("million, % late", 0.0, MILLION_LATE, Tailwater, None),
    target("scale, many / few", 1.15, SCALE, Tailwater, None),
    target("idle RSS, CORS / none", 1.05, IDLE_RSS, TailwaterCors, Some(Tailwater)),
    target("connect, CORS / none", 1.05, CONNECT, TailwaterCors, Some(Tailwater)),
    target("fan-out, CORS / none", 1.05, FANOUT, TailwaterCors, Some(Tailwater)),
    target("idle RSS, ES256 / none", 1.10, IDLE_RSS, TailwaterEs256, Some(Tailwater)),
    target("fan-out, ES256 / none", 1.02, FANOUT, TailwaterEs256, Some(Tailwater)),
    target("connect again, ES256 / none", 1.10, RETURN, TailwaterEs256, Some(Tailwater)),
    target("idle RSS, EdDSA / none", 1.10, IDLE_RSS, TailwaterEddsa, Some(Tailwater)),
    target("fan-out, EdDSA / none", 1.02, FANOUT, TailwaterEddsa, Some(Tailwater)),
    target("connect again, EdDSA / none", 1.10, RETURN, TailwaterEddsa, Some(Tailwater)),
    target("idle RSS, HS256 / none", 1.10, IDLE_RSS, TailwaterHs256, Some(Tailwater)),
    target("fan-out, HS256 / none", 1.02, FANOUT, TailwaterHs256, Some(Tailwater)),
    target("connect again, HS256 / none", 1.10, RETURN, TailwaterHs256, Some(Tailwater)),
    target("fan-out, two cores / one", 1.05, FANOUT, TailwaterTwoCores, Some(Tailwater)),
    target("cold resume of a page, Redis reads", 1.0, COLD_READS, TailwaterRedis, None),
    target("fan-out / mercure", 0.35, FANOUT, Tailwater, Some(Mercure)),
    target("pressure / mercure", 0.02, PRESSURE, Tailwater, Some(Mercure)),
    target("idle RSS / mercure", 0.12, IDLE_RSS, Tailwater, Some(Mercure)),
    target("resume / mercure-bolt", 0.05, RESUME, Tailwater, Some(MercureBolt)),
    target("publishing / mercure-bolt", 0.02, INTAKE, Tailwater, Some(MercureBolt)),
    target("fan-out / centrifugo", 0.50, FANOUT, Tailwater, Some(Centrifugo)),
    target("pressure / centrifugo", 0.05, PRESSURE, Tailwater, Some(Centrifugo)),
    target("idle RSS / centrifugo", 0.10, IDLE_RSS, Tailwater, Some(Centrifugo)),
    target(
        "steady, p50 / centrifugo-redis",
        0.8,
        STEADY_P50,
        TailwaterRedis,
        Some(CentrifugoRedis),
    ),
    target(
        "steady, p99 / centrifugo-redis",
        0.8,
        STEADY_P99,
        TailwaterRedis,
        Some(CentrifugoRedis),
    ),
    target("selections, many / few", 1.3, SELECTIONS_GROWTH, TailwaterSpace, None),
    target("selections / mercure", 0.02, SELECTIONS, TailwaterSpace, Some(Mercure)),
    target("fan-out / before", SINCE_BEFORE, FANOUT, Tailwater, Some(Before)),
    target("pressure / before", SINCE_BEFORE, PRESSURE, Tailwater, Some(Before)),
    target("idle RSS / before", SINCE_BEFORE, IDLE_RSS, Tailwater, Some(Before)),
    target("connect / before", SINCE_BEFORE, CONNECT, Tailwater, Some(Before)),
    target("resume / before", SINCE_BEFORE, RESUME, Tailwater, Some(Before)),
    target("topics / before", SINCE_BEFORE, TOPICS, TailwaterRedis, Some(BeforeRedis)),
];

/// The goals that the run can judge.
pub(super) fn all(rounds: &Rounds) -> Vec<Goal> {
    let goal = |target: &BenchTarget| {
        let value = value(rounds, target, |server| server)?;
        let has_twin = twin(target.server) != target.server
            && target.base.is_none_or(|base| !base.is_before());
        let before = has_twin.then(|| self::value(rounds, target, twin)).flatten();
        Some(Goal { name: target.name.to_owned(), most: target.most, value, before })
    };
    let verified = TOKENS.iter().filter_map(|(name, server)| {
        let value = verifications(rounds, *server)?;
        Some(Goal { name: (*name).to_owned(), most: 1.0, value, before: None })
    });
    TARGETS.iter().filter_map(goal).chain(verified).collect()
}

/// The servers that demand tokens.
const TOKENS: [(&str, Contender); 3] = [
    ("connect, verifications by ES256", TailwaterEs256),
    ("connect, verifications by EdDSA", TailwaterEddsa),
    ("connect, verifications by HS256", TailwaterHs256),
];

/// The verifications that a connect with a token costs beyond one without.
fn verifications(rounds: &Rounds, server: Contender) -> Option<f64> {
    let of = |server: Contender, quantity: BenchQuantity| {
        let (_, rounds) = rounds.iter().find(|(one, _)| *one == server)?;
        median(rounds.iter().filter_map(quantity.read).collect())
    };
    Some((of(server, CONNECT)? - of(Tailwater, CONNECT)?) / of(server, VERIFY)?)
}

/// The value of a target, with `replace` applied to its servers.
fn value(
    rounds: &Rounds,
    target: &BenchTarget,
    replace: impl Fn(Contender) -> Contender,
) -> Option<f64> {
    let of = |server: Contender| {
        let server = replace(server);
        rounds.iter().find(|(one, _)| *one == server).map(|(_, all)| all.as_slice())
    };
    let own = of(target.server)?;
    match target.base {
        Some(base) => ratio(own, of(base)?, target.quantity.read),
        None => median(own.iter().filter_map(target.quantity.read).collect()),
    }
}

/// The server of the other build that corresponds to a server of the build under test.
const fn twin(server: Contender) -> Contender {
    match server {
        Tailwater => Before,
        TailwaterRedis => BeforeRedis,
        TailwaterCors => BeforeCors,
        TailwaterTwoCores => BeforeTwoCores,
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::super::round::BenchMeasured;
    use super::super::selections::Selections;
    use super::{
        Before, BeforeCors, Contender, Mercure, Tailwater, TailwaterCors, TailwaterSpace, all,
    };

    #[test]
    fn goals_compare_both_builds_and_leave_out_what_was_not_measured() {
        let cost = |server: Contender, us| {
            (server, vec![BenchMeasured { fixed_us: Some(us), ..BenchMeasured::default() }])
        };
        let rounds = [
            cost(Tailwater, 4.0),
            cost(Before, 5.0),
            cost(TailwaterCors, 4.0),
            cost(BeforeCors, 6.0),
        ];
        let goals = all(&rounds);
        let goals: Vec<_> =
            goals.iter().map(|goal| (goal.name.as_str(), goal.value, goal.before)).collect();
        let expected = [("fan-out, CORS / none", 1.0, Some(1.2)), ("fan-out / before", 0.8, None)];
        assert_eq!(goals, expected);
    }

    #[test]
    fn a_server_that_the_other_build_lacks_has_no_value_of_it() {
        let selections = |server: Contender, many_us| {
            let selections = Some(Selections { many_us, few_us: 20.0, pattern_us: 1.0 });
            (server, vec![BenchMeasured { selections, ..BenchMeasured::default() }])
        };
        let goals = all(&[selections(TailwaterSpace, 25.0), selections(Mercure, 2500.0)]);
        let values: Vec<_> = goals.iter().map(|goal| (goal.value, goal.before)).collect();
        assert_eq!(values, [(1.25, None), (0.01, None)]);
    }
}
