//! The goals of the transports, for all that a run has measured both sides of.

use super::certificate::KeyKind;
use super::comparison::{BACK, CPU, FULL_SHARE, IDLE};
use super::transport::Transport;
use super::trial::{Build, Case, WireMeasured, WireTrial};
use crate::report::{Goal, median, ratio};

type ReadMeasured = fn(&WireMeasured) -> Option<f64>;

/// A quantity of a case, or its ratio to the same quantity of a second case.
struct WireTarget {
    name: String,
    most: f64,
    read: ReadMeasured,
    case: Case,
    base: Option<Case>,
}

fn targets(streams: usize) -> Vec<WireTarget> {
    let transport = |is_http2, is_tls| {
        let streams = if is_http2 { streams } else { 1 };
        Transport { is_http2, is_tls, streams }
    };
    let (plain, tls) = (transport(false, false), transport(false, true));
    let target = |name: &str, most, read: ReadMeasured, case, base| {
        let name = name.to_owned();
        WireTarget { name, most, read, case, base }
    };
    let two_cores = |transport: Transport, most| {
        let name = format!("{}, CPU a delivery, two cores / one", transport.name());
        let base = Some(Case::OneCore(transport));
        WireTarget { name, most, read: CPU.2, case: Case::TwoCores(transport), base }
    };
    let back = |kind: KeyKind, name: &str, most, read: ReadMeasured| {
        let name = format!("reconnect at another node ({}), {name}", kind.name());
        WireTarget { name, most, read, case: Case::Reconnect(kind), base: None }
    };
    let full = |kind| back(kind, "% full handshakes", 0.0, FULL_SHARE.2);
    let cost = |kind| back(kind, "CPU / full handshake", 0.45, BACK.2);
    vec![
        target(
            "HTTP/1.1 over TLS, idle RSS / reference",
            1.15,
            IDLE.2,
            Case::OneCore(tls),
            Some(Case::Reference),
        ),
        target(
            "HTTP/1.1 over TLS, CPU a delivery / plain",
            1.2,
            CPU.2,
            Case::OneCore(tls),
            Some(Case::OneCore(plain)),
        ),
        full(KeyKind::EcdsaP256),
        cost(KeyKind::EcdsaP256),
        full(KeyKind::Rsa2048),
        cost(KeyKind::Rsa2048),
        two_cores(transport(true, false), 1.25),
        two_cores(transport(true, true), 1.25),
        two_cores(plain, 1.05),
    ]
}

/// The goals that the run can judge.
pub(super) fn all(streams: usize, rounds: &[(WireTrial, Vec<WireMeasured>)]) -> Vec<Goal> {
    let goal = |target: WireTarget| {
        let (value, before) =
            (value(rounds, &target, Build::Tested)?, value(rounds, &target, Build::Before));
        Some(Goal { name: target.name, most: target.most, value, before })
    };
    targets(streams).into_iter().filter_map(goal).collect()
}

fn value(
    rounds: &[(WireTrial, Vec<WireMeasured>)],
    target: &WireTarget,
    build: Build,
) -> Option<f64> {
    let of = |case: Case| {
        let build = if case == Case::Reference { Build::Tested } else { build };
        let is_it =
            |(trial, _): &&(WireTrial, Vec<WireMeasured>)| *trial == WireTrial { case, build };
        rounds.iter().find(is_it).map(|(_, all)| all.as_slice())
    };
    let own = of(target.case)?;
    match target.base {
        Some(base) => ratio(own, of(base)?, target.read),
        None => median(own.iter().filter_map(target.read).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::reconnect::ReconnectCost;
    use super::*;

    #[test]
    fn goals_compare_both_builds_and_leave_out_what_was_not_measured() {
        let kind = KeyKind::EcdsaP256;
        let measured = |build, full_share, return_us| {
            let cost = ReconnectCost { full_share, full_us: 100.0, return_us };
            let measured = WireMeasured { reconnect: Some(cost), ..WireMeasured::default() };
            (WireTrial { case: Case::Reconnect(kind), build }, vec![measured])
        };
        let rounds = [measured(Build::Tested, 0.0, 40.0), measured(Build::Before, 100.0, 99.0)];
        let goals: Vec<_> = all(50, &rounds)
            .into_iter()
            .map(|goal| (goal.most, goal.value, goal.before, goal.is_reached()))
            .collect();
        assert_eq!(goals, [(0.0, 0.0, Some(100.0), true), (0.45, 0.4, Some(0.99), true)]);
    }
}
