//! The destination of traces: the flags, and the standard variables of OpenTelemetry (`OTEL_*`).
//!
//! A flag wins over a variable. The exporter itself reads the variables of headers and compression, and the SDK those of
//! samplers, batches, span limits and the resource.

use std::path::PathBuf;
use std::time::Duration;

/// The flags and the variables, as far as this crate reads them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Otel {
    /// The receiver, if traces are wanted.
    pub(super) receiver: Option<Receiver>,
    /// True if a variable names the service.
    pub(super) names_service: bool,
}

/// The receiver of traces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Receiver {
    /// The whole URL that batches are posted to.
    pub(super) url: String,
    /// The authority to trust beside those of the host, in PEM.
    pub(super) authority: Option<PathBuf>,
    /// The own certificate and its key, in PEM.
    pub(super) identity: Option<(PathBuf, PathBuf)>,
    /// The longest wait for an answer.
    pub(super) answer_max: Duration,
}

/// The reason why the variables cannot be followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadOtel {
    #[error(
        "{name} is {value:?}: traces go out as http/protobuf only, which most collectors take at port 4318"
    )]
    Protocol { name: &'static str, value: String },
    #[error("{name} is {value:?}: it must be a number of milliseconds above 0")]
    Timeout { name: &'static str, value: String },
    #[error("OTEL_TRACES_EXPORTER is {0:?}: it must be otlp or none")]
    Exporter(String),
    #[error(
        "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and OTEL_EXPORTER_OTLP_CLIENT_KEY need each other"
    )]
    HalfIdentity,
    #[error("{value:?} is no address of a receiver: it must begin with http:// or https://")]
    Address { value: String },
}

/// Longest wait for an answer of the receiver, unless a variable says otherwise.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// The path that receivers of traces have.
const PATH: &str = "/v1/traces";

impl Otel {
    /// Reads the flag `--otlp-endpoint` and the variables of this process.
    ///
    /// # Errors
    /// A variable cannot be followed.
    pub(crate) fn new(flag: Option<&str>) -> Result<Self, BadOtel> {
        #[expect(clippy::disallowed_methods, reason = "these names are OpenTelemetry's, no flags")]
        let variable = |name: &str| std::env::var(name).ok();
        let names = |name, text| variable(name).is_some_and(|value| value.contains(text));
        Ok(Self {
            receiver: Receiver::find(flag, variable)?,
            names_service: names("OTEL_RESOURCE_ATTRIBUTES", "service.name=")
                || variable("OTEL_SERVICE_NAME").is_some_and(|name| !name.is_empty()),
        })
    }
}

impl Receiver {
    /// Finds the receiver. `None` if no traces are wanted.
    fn find(
        flag: Option<&str>,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, BadOtel> {
        let set = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        // A variable for traces wins over that for all signals.
        let either = |traces, all| {
            set(traces).map(|value| (traces, value)).or_else(|| set(all).map(|value| (all, value)))
        };
        if set("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return Ok(None);
        }
        match set("OTEL_TRACES_EXPORTER").as_deref() {
            Some("none") => return Ok(None),
            Some("otlp") | None => {}
            Some(other) => return Err(BadOtel::Exporter(other.to_owned())),
        }
        let (whole, base) =
            (set("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"), set("OTEL_EXPORTER_OTLP_ENDPOINT"));
        let url = match (flag, whole, base) {
            (Some(base), ..) => below(base),
            (None, Some(whole), _) => whole,
            (None, None, Some(base)) => below(&base),
            (None, None, None) => return Ok(None),
        };
        if !url.starts_with("http://") && !url.starts_with("https://") {
            return Err(BadOtel::Address { value: url });
        }
        let protocol = either("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL");
        if let Some((name, value)) = protocol.filter(|(_, value)| value != "http/protobuf") {
            return Err(BadOtel::Protocol { name, value });
        }
        let file = |traces, all| either(traces, all).map(|(_, path)| PathBuf::from(path));
        let authority =
            file("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "OTEL_EXPORTER_OTLP_CERTIFICATE");
        let certificate = file(
            "OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE",
            "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
        );
        let key = file("OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY", "OTEL_EXPORTER_OTLP_CLIENT_KEY");
        let identity = match (certificate, key) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => return Err(BadOtel::HalfIdentity),
        };
        let limit = either("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT");
        let answer_max = match limit {
            Some((name, value)) => match value.trim().parse() {
                Ok(millis @ 1..) => Duration::from_millis(millis),
                _ => return Err(BadOtel::Timeout { name, value }),
            },
            None => ANSWER_MAX,
        };
        Ok(Some(Self { url, authority, identity, answer_max }))
    }
}

/// The address of traces below a base URL, which may be that address already.
fn below(base: &str) -> String {
    let base = base.trim_end_matches('/');
    format!("{}{PATH}", base.strip_suffix(PATH).unwrap_or(base))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(flag: Option<&str>, variables: &[(&str, &str)]) -> Result<Option<String>, String> {
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let found = Receiver::find(flag, variable).map_err(|bad| bad.to_string())?;
        Ok(found.map(|receiver| receiver.url))
    }

    #[test]
    fn the_address_is_found_by_the_rules_of_opentelemetry() {
        let all = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://all:4318");
        let traces = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://traces/x");
        let url = |flag, variables: &[_]| find(flag, variables).unwrap();
        let is = |text: &str| Some(text.to_owned());
        assert_eq!(url(None, &[]), None);
        assert_eq!(url(None, &[all]), is("http://all:4318/v1/traces"));
        assert_eq!(url(None, &[all, traces]), is("https://traces/x"), "as it is");
        assert_eq!(url(Some("http://flag/"), &[all, traces]), is("http://flag/v1/traces"));
        // The path is not doubled.
        for base in [
            "http://c:4318",
            "http://c:4318/",
            "http://c:4318/v1/traces",
            "http://c:4318/v1/traces/",
        ] {
            assert_eq!(url(Some(base), &[]), is("http://c:4318/v1/traces"));
        }
        assert_eq!(url(Some("http://c"), &[("OTEL_SDK_DISABLED", "TRUE")]), None);
        assert_eq!(url(Some("http://c"), &[("OTEL_TRACES_EXPORTER", "none")]), None);
        // An empty variable counts as none.
        assert_eq!(url(None, &[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")]), None);
    }

    #[test]
    fn a_variable_that_cannot_be_followed_is_named() {
        let flag = Some("http://c");
        for (variables, words) in [
            (
                &[("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")][..],
                "OTEL_EXPORTER_OTLP_PROTOCOL is \"grpc\"",
            ),
            (&[("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json")], "4318"),
            (&[("OTEL_TRACES_EXPORTER", "zipkin")], "zipkin"),
            (&[("OTEL_EXPORTER_OTLP_TIMEOUT", "10s")], "OTEL_EXPORTER_OTLP_TIMEOUT is \"10s\""),
            (&[("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "0")], "milliseconds"),
            (&[("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/k")], "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE"),
        ] {
            let error = find(flag, variables).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
        let own = [
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf"),
        ];
        find(flag, &own).unwrap();
        assert!(find(Some("collector:4318"), &[]).unwrap_err().contains("http://"));
    }

    #[test]
    fn a_variable_bounds_the_wait_for_an_answer() {
        let answer_max = |variables: &[(&str, &str)]| {
            let variable = |name: &str| {
                let found = variables.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| (*value).to_owned())
            };
            Receiver::find(Some("http://c"), variable).unwrap().unwrap().answer_max
        };
        let all = ("OTEL_EXPORTER_OTLP_TIMEOUT", "2500");
        let traces = ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "30000");
        assert_eq!(answer_max(&[]), ANSWER_MAX);
        assert_eq!(answer_max(&[all]), Duration::from_millis(2500));
        assert_eq!(answer_max(&[all, traces]), Duration::from_secs(30));
    }
}
