//! Interleaved rounds: a drift of the machine between two of them meets all columns.

use anyhow::{Context as _, Result};

use crate::report::progress::{Progress, bar};

/// Measures each column in turn, so many times over; all measurements of each.
///
/// # Errors
/// When a measurement fails; the error names the column.
pub(super) async fn interleaved<T: Copy, M>(
    columns: impl IntoIterator<Item = (T, String)>,
    rounds: usize,
    progress: &Progress,
    mut measure: impl AsyncFnMut(T) -> Result<M>,
) -> Result<Vec<(T, Vec<M>)>> {
    let columns: Vec<(T, String)> = columns.into_iter().collect();
    let mut all: Vec<(T, Vec<M>)> =
        columns.iter().map(|(column, _)| (*column, Vec::new())).collect();
    let steps = rounds * columns.len();
    for step in 0..steps {
        let (column, measured) = &mut all[step % columns.len()];
        let name = &columns[step % columns.len()].1;
        progress.status(&format!("{} {name}", bar(step as f64 / steps as f64)));
        measured.push(measure(*column).await.with_context(|| format!("measuring {name}"))?);
    }
    Ok(all)
}
