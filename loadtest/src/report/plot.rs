//! One quantity over time, as inline SVG.

use std::fmt::Write as _;

use serde::Serialize;

use super::page::escaped;
use crate::report::timeline::{Mark, MarkKind};

const WIDTH: f64 = 1080.0;
const LEFT: f64 = 58.0;
const RIGHT: f64 = 14.0;
const PLOT_HEIGHT: f64 = 112.0;
const TOP: f64 = 8.0;
/// Room above the first plot for the labels of the marks, in two rows.
const LABEL_ROW: f64 = 15.0;
const LABEL_ROWS: usize = 2;
/// Room below the last plot for the seconds.
const AXIS_HEIGHT: f64 = 24.0;
/// The width of one letter of a label, roughly.
const LETTER: f64 = 6.3;

/// The subject of a quantity, which chooses its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Tone {
    /// Work that gets done.
    Flow,
    /// The pain of clients.
    Pain,
}

/// One quantity over time.
#[derive(Clone, Debug, Serialize)]
pub struct Plot {
    /// The title above the plot.
    pub title: String,
    /// The subject of the quantity.
    pub tone: Tone,
    /// Seconds and values, in order of time.
    pub points: Vec<(f64, f64)>,
}

/// The place of a plot among those that share its time axis.
#[derive(Clone, Copy, Debug)]
pub(super) struct PlotPlace {
    pub(super) is_first: bool,
    pub(super) is_last: bool,
    /// The last second of the axis.
    pub(super) end: f64,
}

impl Plot {
    /// Returns true if the plot shows anything but zeros.
    pub(super) fn is_telling(&self) -> bool {
        self.points.iter().any(|point| point.1 > 0.0)
    }

    pub(super) fn svg(&self, place: PlotPlace, marks: &[Mark]) -> String {
        let labels = if place.is_first { LABEL_ROWS as f64 * LABEL_ROW } else { 0.0 };
        let top = TOP + labels;
        let bottom = top + PLOT_HEIGHT;
        let height = bottom + if place.is_last { AXIS_HEIGHT } else { 4.0 };
        let step = tick_step(self.points.iter().map(|point| point.1).fold(0.0, f64::max));
        let ticks = (self.points.iter().map(|p| p.1).fold(0.0, f64::max) / step).ceil().max(1.0);
        let frame = Frame { end: place.end, top, bottom, max: step * ticks };
        let mut svg = format!(
            "<svg viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\" aria-label=\"{}\">",
            escaped(&self.title)
        );
        frame.draw_values(&mut svg, step);
        frame.draw_seconds(&mut svg, place.is_last);
        frame.draw_line(&mut svg, &self.points, self.tone);
        frame.draw_marks(&mut svg, marks, place.is_first);
        svg.push_str("</svg>");
        svg
    }
}

/// The coordinates of one plot.
struct Frame {
    end: f64,
    top: f64,
    bottom: f64,
    max: f64,
}

impl Frame {
    fn x(&self, second: f64) -> f64 {
        LEFT + second / self.end * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        self.bottom - value / self.max * (self.bottom - self.top)
    }

    fn draw_values(&self, svg: &mut String, step: f64) {
        let right = WIDTH - RIGHT;
        let mut value = 0.0;
        while value <= self.max * 1.001 {
            let (y, text) = (self.y(value), short(value));
            push(
                svg,
                format_args!(
                    "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
                 <text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{text}</text>",
                    LEFT - 8.0,
                    y + 3.5,
                ),
            );
            value += step;
        }
    }

    fn draw_seconds(&self, svg: &mut String, with_text: bool) {
        let step = second_step(self.end);
        let mut second = 0.0;
        while with_text && second <= self.end {
            let (x, y) = (self.x(second), self.bottom + 16.0);
            push(
                svg,
                format_args!(
                    "<text class=\"tick\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"middle\">{second} s</text>"
                ),
            );
            second += step;
        }
    }

    fn draw_line(&self, svg: &mut String, points: &[(f64, f64)], tone: Tone) {
        let (Some(first), Some(last)) = (points.first(), points.last()) else {
            return;
        };
        let mut path = String::new();
        for (second, value) in points {
            let (x, y) = (self.x(*second), self.y(*value));
            push(&mut path, format_args!("{x:.1},{y:.1} "));
        }
        let class = match tone {
            Tone::Flow => "flow",
            Tone::Pain => "pain",
        };
        let (from, to, floor) = (self.x(first.0), self.x(last.0), self.bottom);
        push(
            svg,
            format_args!(
                "<polygon class=\"area {class}\" points=\"{from:.1},{floor:.1} {path}{to:.1},{floor:.1}\"/>\
             <polyline class=\"line {class}\" points=\"{path}\"/>"
            ),
        );
    }

    fn draw_marks(&self, svg: &mut String, marks: &[Mark], with_labels: bool) {
        let mut rows = Rows::default();
        for mark in marks {
            let (x, bottom, label) = (self.x(mark.at), self.bottom, escaped(&mark.label));
            let class = match mark.kind {
                MarkKind::Fault => "fault",
                MarkKind::Operation => "operation",
            };
            let text = if with_labels { rows.place(x, &mark.label) } else { None };
            let top = match &text {
                Some(text) => text.top,
                None if with_labels => LABEL_ROW * LABEL_ROWS as f64,
                None => 0.0,
            };
            push(
                svg,
                format_args!(
                    "<g class=\"{class}\"><title>{label} at {:.1} s</title>\
                     <line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{top:.1}\" y2=\"{bottom:.1}\"/>",
                    mark.at
                ),
            );
            if let Some(Label { left, top }) = text {
                let y = top + 9.0;
                push(svg, format_args!("<text x=\"{left:.1}\" y=\"{y:.1}\">{label}</text>"));
            }
            svg.push_str("</g>");
        }
    }
}

/// The rows of labels above a plot; each knows where its last label ends.
#[derive(Default)]
struct Rows {
    ends: [f64; LABEL_ROWS],
}

/// The place of a label.
struct Label {
    left: f64,
    top: f64,
}

impl Rows {
    /// A place to the right of `x`, or to its left at the end of the plot. `None` when it would
    /// cover another label: the list below the plots has it, and so has the tooltip.
    fn place(&mut self, x: f64, label: &str) -> Option<Label> {
        let width = label.chars().count() as f64 * LETTER;
        let right = x + 4.0 + width;
        let left = if right < WIDTH { x + 4.0 } else { x - 4.0 - width };
        let row = self.ends.iter().position(|end| *end + 6.0 <= left)?;
        self.ends[row] = left + width;
        Some(Label { left, top: LABEL_ROW * row as f64 + 4.0 })
    }
}

fn push(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.write_fmt(arguments).expect("a String takes everything");
}

/// A step of 1, 2 or 5 times a power of ten that gives two to four grid lines.
fn tick_step(max: f64) -> f64 {
    let raw = (max / 3.0).max(1.0);
    let power = 10_f64.powf(raw.log10().floor());
    let factors = [1.0, 2.0, 5.0, 10.0];
    let factor = factors.into_iter().find(|factor| factor * power >= raw);
    factor.unwrap_or(10.0) * power
}

/// Seconds between two ticks of the time axis: at most twelve of them.
fn second_step(end: f64) -> f64 {
    let steps = [1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0, 3600.0];
    let step = steps.into_iter().find(|step| end / step <= 12.0);
    step.unwrap_or(36_000.0)
}

/// `12000` as `12k`.
fn short(value: f64) -> String {
    if value >= 1000.0 { format!("{}k", value / 1000.0) } else { format!("{value}") }
}

#[cfg(test)]
mod tests {
    use super::{short, tick_step};

    #[test]
    fn grid_has_two_to_four_round_lines() {
        for max in [1.0, 3.0, 7.0, 42.0, 999.0, 20_100.0, 123_456.0] {
            let lines = (max / tick_step(max)).ceil();
            assert!((1.0..=4.0).contains(&lines), "{max}: {lines}");
        }
        assert_eq!((short(10_000.0), short(500.0)), ("10k".to_owned(), "500".to_owned()));
    }
}
