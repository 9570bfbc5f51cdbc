//! The processor cores of a program.

use std::fmt;
use std::str::FromStr;

use anyhow::{Result, ensure};

/// Cores that a program may run on, in the notation of `taskset -c`: `0` or `0,1`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoreSet(Vec<usize>);

impl FromStr for CoreSet {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let cores = text.split(',').map(|core| core.trim().parse::<usize>());
        let mut cores = cores.collect::<Result<Vec<usize>, _>>()?;
        cores.sort_unstable();
        let is_distinct = cores.windows(2).all(|pair| pair[0] < pair[1]);
        ensure!(is_distinct, "{text:?} names a core twice");
        Ok(Self(cores))
    }
}

impl fmt::Display for CoreSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, core) in self.0.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            write!(f, "{comma}{core}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::CoreSet;

    #[test]
    fn cores_are_written_as_taskset_reads_them() {
        assert_eq!("1, 0".parse::<CoreSet>().unwrap().to_string(), "0,1");
        assert_eq!("3".parse::<CoreSet>().unwrap().to_string(), "3");
    }

    #[test]
    fn bad_lists_are_refused() {
        for text in ["", "a", "0,0", "0,", "-1"] {
            assert!(text.parse::<CoreSet>().is_err(), "{text:?}");
        }
    }
}
