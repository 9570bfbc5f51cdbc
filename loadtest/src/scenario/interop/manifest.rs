//! The clients of `interop/clients.json`.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::fault::ClusterFault;

/// All clients, and the shapes of events that they read.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    /// By name.
    pub(super) formats: BTreeMap<String, Format>,
    pub(super) clients: Vec<ListedClient>,
}

/// The shape of a topic's events.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Format {
    /// The events' type.
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
    /// Data of events before all others.
    #[serde(default)]
    pub(super) first: Vec<String>,
    /// Data of an event, with `%` for its mark.
    pub(super) each: String,
    /// Data of the events after all others, in a topic that ends.
    #[serde(default)]
    pub(super) last: Vec<String>,
    /// The type of these, if it is another one.
    pub(super) last_type: Option<String>,
}

/// A client in one version.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListedClient {
    pub(super) name: String,
    /// The registry and the name of its package there. `interop/setup` finds the version.
    pub(super) package: String,
    /// The page of `docs/clients` that has the advice.
    pub(super) page: String,
    /// The name of its format; `plain` unless said.
    #[serde(default = "plain")]
    pub(super) format: String,
    /// True if `--quick` runs it.
    #[serde(default)]
    pub(super) quick: bool,
    /// As its own documentation uses it.
    pub(super) natural: Variant,
    /// As our page advises.
    pub(super) advised: Option<Variant>,
    /// The faults under which no settings make it perfect, and the reasons.
    #[serde(default)]
    pub(super) limits: BTreeMap<ClusterFault, String>,
}

/// One way of using a client.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Variant {
    /// The program and its arguments, from the directory of the installed clients; the URL comes last.
    pub(super) run: Vec<String>,
    /// Parameters of the URL beside `topic` and `from`.
    #[serde(default)]
    pub(super) query: String,
}

fn plain() -> String {
    "plain".to_owned()
}

impl Manifest {
    /// Reads the file.
    pub(super) fn read(path: &Path) -> Result<Manifest> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        let manifest: Manifest = serde_json::from_str(&text)
            .with_context(|| format!("{} is no manifest of clients", path.display()))?;
        for client in &manifest.clients {
            let (name, format) = (&client.name, &client.format);
            ensure!(manifest.formats.contains_key(format), "{name}: there is no format {format:?}");
        }
        Ok(manifest)
    }
}

impl ListedClient {
    /// Its variants with their names. The last one has to be perfect.
    pub(super) fn variants(&self) -> impl Iterator<Item = (VariantKind, &Variant)> {
        let advised = self.advised.iter().map(|variant| (VariantKind::Advised, variant));
        [(VariantKind::Natural, &self.natural)].into_iter().chain(advised)
    }

    /// True if this variant may not lose, repeat or invent anything under this fault.
    pub(super) fn is_promised(&self, kind: VariantKind, fault: ClusterFault) -> bool {
        let is_last = kind == VariantKind::Advised || self.advised.is_none();
        is_last && !self.limits.contains_key(&fault)
    }
}

/// The two ways of using a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum VariantKind {
    Natural,
    Advised,
}

impl VariantKind {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            VariantKind::Natural => "natural",
            VariantKind::Advised => "advised",
        }
    }
}
