//! What Tailwater is to reach, where the run has measured what it takes to say so.

use super::outcome::Rounds;
use super::quantity::{
    CONNECT, FANOUT, IDLE_RSS, LINES, MILLION_P99, MILLION_SHARE, PRESSURE, Quantity, RESUME,
    SCALE, TOPICS,
};
use crate::contender::Contender::{self, Floor, NchanRedis, Tailwater, TailwaterRedis};
use crate::report::{Figure, median, ratio};

/// A quantity of `who`, or its ratio to that of `beside`, and what it may be at most.
struct Goal {
    what: &'static str,
    quantity: Quantity,
    who: Contender,
    beside: Option<Contender>,
    most: f64,
}

const GOALS: [Goal; 10] = [
    goal("fan-out / floor", FANOUT, Tailwater, Some(Floor), 1.15),
    goal("fan-out / nchan+Redis", FANOUT, Tailwater, Some(NchanRedis), 0.75),
    goal("pressure / nchan+Redis", PRESSURE, Tailwater, Some(NchanRedis), 0.05),
    goal("topics / nchan+Redis", TOPICS, TailwaterRedis, Some(NchanRedis), 0.6),
    goal("topics by lines / nchan+Redis", LINES, TailwaterRedis, Some(NchanRedis), 0.6),
    goal("resume / floor", RESUME, Tailwater, Some(Floor), 2.0),
    goal("connect / floor", CONNECT, Tailwater, Some(Floor), 1.3),
    goal("RSS bytes a connection", IDLE_RSS, Tailwater, None, 2000.0),
    goal("million, p99 ms", MILLION_P99, Tailwater, None, 100.0),
    goal("scale, many / few", SCALE, Tailwater, None, 1.15),
];

const fn goal(
    what: &'static str,
    quantity: Quantity,
    who: Contender,
    beside: Option<Contender>,
    most: f64,
) -> Goal {
    Goal { what, quantity, who, beside, most }
}

/// A figure for each goal that was measured.
pub(super) fn figures(rounds: &Rounds) -> Vec<Figure> {
    let of = |who| rounds.iter().find(|(one, _)| *one == who).map(|(_, all)| all.as_slice());
    let figure = |goal: &Goal| {
        let own = of(goal.who)?;
        let value = match goal.beside {
            Some(beside) => ratio(own, of(beside)?, goal.quantity.read)?,
            None => median(own.iter().filter_map(goal.quantity.read).collect())?,
        };
        let digits = if goal.most >= 100.0 { 0 } else { 2 };
        Some(Figure {
            name: format!("{} (at most {})", goal.what, goal.most),
            value: format!("{value:.digits$}"),
            is_good: Some(value <= goal.most),
        })
    };
    let mut figures: Vec<Figure> = GOALS.iter().filter_map(figure).collect();
    if let Some(share) =
        of(Tailwater).and_then(|own| median(own.iter().filter_map(MILLION_SHARE.read).collect()))
    {
        figures.push(Figure {
            name: "million, delivered in time".to_owned(),
            value: format!("{share:.1} %"),
            is_good: Some(share >= 100.0),
        });
    }
    figures
}
