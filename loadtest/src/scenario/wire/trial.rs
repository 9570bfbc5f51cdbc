//! The columns of a run: a case of a build, and its measurements.

use clap::ValueEnum;
use serde::Serialize;

use super::certificate::KeyKind;
use super::cost::WireCost;
use super::reconnect::ReconnectCost;
use super::transport::Transport;

/// A part of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Part {
    /// Every transport, on the server's cores.
    Transports,
    /// HTTP/1.1, and HTTP/2 with several streams a connection, on the cores of --two-cores.
    TwoCores,
    /// The least that HTTP/1.1 over TLS costs: a small program on tokio-rustls and jemalloc.
    Reference,
    /// Clients that come back over TLS at another node.
    Reconnect,
}

impl Part {
    pub(super) const ALL: [Self; 4] =
        [Self::Transports, Self::TwoCores, Self::Reference, Self::Reconnect];

    /// Its cases, with so many streams of one connection where it may have several.
    fn cases(self, streams: usize) -> Vec<Case> {
        let all = Transport::all(streams);
        match self {
            Self::Transports => all.into_iter().map(Case::OneCore).collect(),
            Self::TwoCores => {
                let is_wanted = |transport: &Transport| match transport.is_http2 {
                    true => transport.streams > 1,
                    false => !transport.is_tls,
                };
                all.into_iter().filter(is_wanted).map(Case::TwoCores).collect()
            }
            Self::Reference => vec![Case::Reference],
            Self::Reconnect => KeyKind::ALL.map(Case::Reconnect).to_vec(),
        }
    }
}

/// A server and its clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Case {
    /// Streams of a node on the cores of `--server-cores`.
    OneCore(Transport),
    /// Streams of a node on the cores of `--two-cores`.
    TwoCores(Transport),
    /// Streams of the reference program over TLS.
    Reference,
    /// Clients that move from one node to another one with such a certificate.
    Reconnect(KeyKind),
}

/// A build of tailwater.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Build {
    /// The build under test.
    Tested,
    /// The build of `--before`.
    Before,
}

/// A case of a build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WireTrial {
    pub(super) case: Case,
    pub(super) build: Build,
}

impl WireTrial {
    /// All of the parts, each build's beside the other's.
    pub(super) fn all(parts: &[Part], streams: usize, has_before: bool) -> Vec<Self> {
        let builds: &[Build] =
            if has_before { &[Build::Tested, Build::Before] } else { &[Build::Tested] };
        let cases = Part::ALL.into_iter().filter(|part| parts.contains(part));
        let trials = cases.flat_map(|part| part.cases(streams)).flat_map(|case| {
            let builds = if case == Case::Reference { &builds[..1] } else { builds };
            builds.iter().map(move |build| Self { case, build: *build })
        });
        trials.collect()
    }

    pub(super) fn name(self) -> String {
        let name = match self.case {
            Case::OneCore(transport) => transport.name(),
            Case::TwoCores(transport) => format!("{}, two cores", transport.name()),
            Case::Reference => "reference, TLS".to_owned(),
            Case::Reconnect(kind) => format!("reconnect, {}", kind.name()),
        };
        if self.build == Build::Before { format!("{name} (before)") } else { name }
    }
}

/// The measurements of one round of a trial.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct WireMeasured {
    pub(super) streams: Option<WireCost>,
    pub(super) reconnect: Option<ReconnectCost>,
}

#[cfg(test)]
mod tests {
    use super::{Part, WireTrial};

    #[test]
    fn every_case_but_the_reference_runs_for_both_builds() {
        let names = |parts: &[Part]| -> Vec<String> {
            WireTrial::all(parts, 50, true).into_iter().map(WireTrial::name).collect()
        };
        let all = names(&Part::ALL);
        assert_eq!(all.iter().filter(|name| name.ends_with("(before)")).count(), 11);
        assert_eq!(all.len(), 23);
        assert_eq!(names(&[Part::Reference]), ["reference, TLS"]);
        let two = ["HTTP/1.1, two cores", "h2c x50, two cores", "h2, TLS x50, two cores"];
        let tested: Vec<_> = WireTrial::all(&[Part::TwoCores], 50, false);
        assert_eq!(tested.into_iter().map(WireTrial::name).collect::<Vec<_>>(), two);
    }
}
