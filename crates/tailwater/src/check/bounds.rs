//! The effective bounds of a node, as its metrics would show them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use access::Access;
use event_log::{Log, MemoryLog, Retention};
use metrics::Registry;

use crate::config::NodeConfig;
use crate::node::{self, Others};
use crate::server::Gate;
use crate::tls::Slots;

/// The bounds of one limit: of the node, of an address, of a connection.
type Bounds = [Option<u64>; 3];

/// The families that show bounds, in the order of [`Bounds`].
const FAMILIES: [&str; 3] = ["limit_max", "limit_address_max", "limit_connection_max"];

/// Returns a table of the bounds, a line each.
pub(super) fn table(config: &NodeConfig) -> String {
    let registry = Registry::new();
    register(config, &registry);
    let mut table =
        format!("{:<20} {:>14} {:>14} {:>14}", "limit", "node", "address", "connection");
    for (name, bounds) in read(&registry.expose()) {
        let [node, address, connection] =
            bounds.map(|bound| bound.map_or_else(|| "-".to_owned(), |bound| bound.to_string()));
        write!(table, "\n{name:<20} {node:>14} {address:>14} {connection:>14}")
            .expect("a string takes it");
    }
    table
}

/// Registers the limits by making everything that has some, on a log that is dropped.
fn register(config: &NodeConfig, registry: &Registry) {
    let rules = config.limits.rules(registry);
    let has_subscribers = config.services.gateway().is_some();
    let _gate = config.limits.gate(&rules, has_subscribers, registry);
    let _admin = Gate::admin(&rules, registry);
    let _slots = config.tls.as_ref().map(|_| Slots::new(rules.share, registry));
    let log: Arc<dyn Log> = Arc::new(MemoryLog::new(Retention::default()));
    let _services = node::serve(
        &config.services,
        (&rules, &Access::open(registry), Others::default()),
        config.sites.public.clone(),
        &log,
        registry,
    );
}

fn read(exposition: &str) -> BTreeMap<String, Bounds> {
    let mut limits: BTreeMap<String, Bounds> = BTreeMap::new();
    for line in exposition.lines() {
        let Some((family, bound, value)) = parse(line) else { continue };
        let Some(index) = FAMILIES.iter().position(|known| *known == family) else { continue };
        limits.entry(bound.to_owned()).or_default()[index] = Some(value);
    }
    limits
}

/// Reads `tailwater_FAMILY{limit="NAME"} VALUE`.
fn parse(line: &str) -> Option<(&str, &str, u64)> {
    let (family, rest) = line.strip_prefix("tailwater_")?.split_once(r#"{limit=""#)?;
    let (name, value) = rest.split_once(r#""} "#)?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
    Some((family, name, value.parse::<f64>().ok()? as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_read_from_the_metrics() {
        let limits = read(
            "# HELP tailwater_limit_max x\n\
             tailwater_limit_max{limit=\"memory\"} 100\n\
             tailwater_limit_address_max{limit=\"memory\"} 50\n\
             tailwater_limit_used{limit=\"memory\"} 7\n\
             tailwater_other{limit=\"memory\"} 8\n",
        );
        assert_eq!(limits["memory"], [Some(100), Some(50), None]);
        assert_eq!(limits.len(), 1);
    }
}
