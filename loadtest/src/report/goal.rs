//! A quantity with the largest value that it may have.

use serde::Serialize;

use super::page::escaped;

/// A goal and the values that were measured for it.
#[derive(Clone, Debug, Serialize)]
pub struct Goal {
    /// The quantity, or the two whose ratio it is.
    pub name: String,
    /// The largest value that reaches the goal.
    pub most: f64,
    /// The value of the build under test.
    pub value: f64,
    /// The value of the other build, if the run had one.
    pub before: Option<f64>,
}

impl Goal {
    /// Returns true if the build under test reaches the goal.
    pub fn is_reached(&self) -> bool {
        self.value <= self.most
    }

    /// The name, the limit, both values and `reached` or `missed`, as the cells of a table.
    pub(super) fn cells(&self) -> [String; 5] {
        let text = |value: f64| {
            let digits = match self.most {
                most if most >= 100.0 => 0,
                most if most > 0.0 && most < 0.1 => 3,
                _ => 2,
            };
            format!("{value:.digits$}")
        };
        let word = if self.is_reached() { "reached" } else { "**missed**" };
        [
            self.name.clone(),
            self.most.to_string(),
            text(self.value),
            self.before.map_or_else(|| "–".to_owned(), text),
            word.to_owned(),
        ]
    }
}

/// The goals as a Markdown table; empty without goals.
pub(super) fn table(goals: &[Goal]) -> String {
    if goals.is_empty() {
        return String::new();
    }
    let rows = goals.iter().map(|goal| format!("| {} |\n", goal.cells().join(" | ")));
    let head = "| goal | at most | measured | before | |\n|---|---:|---:|---:|---|\n";
    format!("{head}{}", rows.collect::<String>())
}

/// The goals as a table of the page; empty without goals.
pub(super) fn section(goals: &[Goal]) -> String {
    if goals.is_empty() {
        return String::new();
    }
    let cell = |text: &String| format!("<td>{}</td>", escaped(text.trim_matches('*')));
    let row = |goal: &Goal| {
        let [name, rest @ ..] = goal.cells();
        let cells: String = rest.iter().map(cell).collect();
        format!("<tr><th>{}</th>{cells}</tr>", escaped(&name))
    };
    let rows: String = goals.iter().map(row).collect();
    format!(
        "<section class=\"card sheet\"><table><thead><tr><th>Goal</th><th>at most</th>\
         <th>measured</th><th>before</th><th></th></tr></thead><tbody>{rows}</tbody></table></section>"
    )
}

#[cfg(test)]
mod tests {
    use super::{Goal, table};

    #[test]
    fn goals_are_reached_up_to_their_limit() {
        let goal = |value, before| Goal { name: "cost".to_owned(), most: 1.05, value, before };
        let text = table(&[goal(1.05, Some(2.0)), goal(1.051, None)]);
        let expected = "\
| goal | at most | measured | before | |
|---|---:|---:|---:|---|
| cost | 1.05 | 1.05 | 2.00 | reached |
| cost | 1.05 | 1.05 | – | **missed** |
";
        assert_eq!(text, expected);
        let small = Goal { name: "cost".to_owned(), most: 0.02, value: 0.0214, before: None };
        assert!(table(&[small]).ends_with("| cost | 0.02 | 0.021 | – | **missed** |\n"));
    }
}
