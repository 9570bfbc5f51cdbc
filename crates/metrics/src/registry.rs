//! Families of metrics, registered once and exposed as Prometheus text.

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{
    Counter, Gauge, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts,
    TextEncoder,
};

/// A registry of metrics, all of whose names begin with `tailwater_`. Cheap to clone; all clones share
/// the same metrics.
#[derive(Debug, Clone)]
pub struct Registry(prometheus::Registry);

/// An enum that exists to be a label; see [`label!`](crate::label). An enum of the domain is a label
/// through [`Registry::counters_of`]. A topic or a client is never one: the set of values is closed.
pub trait Label: Copy + Eq + 'static {
    /// The label's name.
    const NAME: &'static str;
    /// All values.
    const ALL: &'static [Self];
    /// Returns the value's text.
    fn as_str(self) -> &'static str;
}

/// One counter for each value of a label. All of them are exposed from the start, as zero.
#[derive(Debug, Clone)]
pub struct Counters<V: 'static> {
    values: &'static [V],
    /// In the order of `values`.
    counters: Box<[IntCounter]>,
}

impl<V: Copy + Eq + 'static> Counters<V> {
    /// Returns the counter of one value.
    #[must_use]
    pub fn of(&self, value: V) -> &IntCounter {
        let index = self.values.iter().position(|known| *known == value);
        &self.counters[index.expect("the family was registered with all values of its label")]
    }
}

impl Default for Registry {
    fn default() -> Self {
        Self::new()
    }
}

impl Registry {
    /// Returns an empty registry.
    #[must_use]
    pub fn new() -> Self {
        Self(prometheus::Registry::new())
    }

    /// Registers a counter.
    #[must_use]
    pub fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.add(IntCounter::with_opts(opts(name, help)))
    }

    /// Registers a counter for each value of a label.
    #[must_use]
    pub fn counters<L: Label>(&self, name: &str, help: &str) -> Counters<L> {
        self.counters_of(name, help, L::NAME, L::ALL, L::as_str)
    }

    /// Registers a counter for each of these values of an enum of the domain.
    #[must_use]
    pub fn counters_of<V: Copy + Eq + 'static>(
        &self,
        name: &str,
        help: &str,
        label: &str,
        values: &'static [V],
        text: impl Fn(V) -> &'static str,
    ) -> Counters<V> {
        let family = self.add(IntCounterVec::new(opts(name, help), &[label]));
        let counters = values.iter().map(|value| family.with_label_values(&[text(*value)]));
        Counters { values, counters: counters.collect() }
    }

    /// Registers a counter for each value of a label, with another label that has one value: a family
    /// that is registered in parts.
    #[must_use]
    pub fn counters_within<L: Label>(
        &self,
        name: &str,
        help: &str,
        (label, value): (&str, &str),
    ) -> Counters<L> {
        let opts = opts(name, help).const_label(label, value);
        let family = self.add(IntCounterVec::new(opts, &[L::NAME]));
        let counters = L::ALL.iter().map(|value| family.with_label_values(&[value.as_str()]));
        Counters { values: L::ALL, counters: counters.collect() }
    }

    /// Registers a gauge.
    #[must_use]
    pub fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.add(IntGauge::with_opts(opts(name, help)))
    }

    /// Registers a gauge that is always 1 and informs through its labels.
    pub fn info(&self, name: &str, help: &str, labels: &[(&str, &str)]) {
        let opts = labels
            .iter()
            .fold(opts(name, help), |opts, (label, value)| opts.const_label(*label, *value));
        self.add(IntGauge::with_opts(opts)).set(1);
    }

    /// Registers a histogram.
    #[must_use]
    pub fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Histogram {
        let opts = HistogramOpts::new(full(name), help).buckets(buckets.to_vec());
        self.add(Histogram::with_opts(opts))
    }

    /// Registers a gauge whose value is read at each scrape.
    pub fn gauge_fn(&self, name: &str, help: &str, read: impl Fn() -> f64 + Send + Sync + 'static) {
        self.external_gauge(opts(name, help), Box::new(read));
    }

    /// Registers a gauge for one value of a label, read at each scrape. The values are a closed set.
    pub fn gauge_fn_of(
        &self,
        name: &str,
        help: &str,
        (label, value): (&str, &str),
        read: impl Fn() -> f64 + Send + Sync + 'static,
    ) {
        self.external_gauge(opts(name, help).const_label(label, value), Box::new(read));
    }

    /// Registers a counter whose value is read at each scrape, optionally for one value of a label.
    pub fn counter_fn(
        &self,
        name: &str,
        help: &str,
        label: Option<(&str, &str)>,
        read: impl Fn() -> u64 + Send + Sync + 'static,
    ) {
        let opts = match label {
            Some((label, value)) => opts(name, help).const_label(label, value),
            None => opts(name, help),
        };
        let counter = IntCounter::with_opts(opts).expect("constants of the right form");
        let store =
            |counter: &IntCounter, now: u64| counter.inc_by(now.saturating_sub(counter.get()));
        self.register(External { metric: counter, read: Box::new(read), store });
    }

    /// Registers a counter of seconds whose value is read at each scrape.
    pub fn seconds_fn(
        &self,
        name: &str,
        help: &str,
        read: impl Fn() -> f64 + Send + Sync + 'static,
    ) {
        self.process_counter(&full(name), help, Box::new(read));
    }

    /// Returns all metrics in the text format of Prometheus, version 0.0.4.
    #[must_use]
    pub fn expose(&self) -> String {
        TextEncoder::new().encode_to_string(&self.0.gather()).expect("families are well formed")
    }

    /// Registers a gauge of the process, whose name has no prefix.
    pub(crate) fn process_gauge(&self, name: &str, help: &str, read: Read<f64>) {
        self.external_gauge(Opts::new(name, help), read);
    }

    /// Registers a counter of fractions, by its whole name: the metrics of the process have no prefix.
    pub(crate) fn process_counter(&self, name: &str, help: &str, read: Read<f64>) {
        let metric = Counter::new(name, help).expect("constants of the right form");
        let store = |counter: &Counter, now: f64| counter.inc_by((now - counter.get()).max(0.0));
        self.register(External { metric, read, store });
    }

    fn external_gauge(&self, opts: Opts, read: Read<f64>) {
        let metric = Gauge::with_opts(opts).expect("constants of the right form");
        self.register(External { metric, read, store: Gauge::set });
    }

    fn add<C: Collector + Clone + 'static>(&self, family: prometheus::Result<C>) -> C {
        let family = family.expect("names and labels are constants of the right form");
        self.register(family.clone());
        family
    }

    fn register(&self, collector: impl Collector + 'static) {
        self.0.register(Box::new(collector)).expect("every family is registered once");
    }
}

/// Reads the value of a metric at a scrape.
pub(crate) type Read<T> = Box<dyn Fn() -> T + Send + Sync>;

/// A metric whose value is kept by other code.
struct External<M, T> {
    metric: M,
    read: Read<T>,
    store: fn(&M, T),
}

impl<M: Collector, T> Collector for External<M, T> {
    fn desc(&self) -> Vec<&Desc> {
        self.metric.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        (self.store)(&self.metric, (self.read)());
        self.metric.collect()
    }
}

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(full(name), help)
}

fn full(name: &str) -> String {
    format!("tailwater_{name}")
}

/// Declares an enum that is a [`Label`](crate::Label), with the text of each variant.
#[macro_export]
macro_rules! label {
    ($(#[$meta:meta])* $vis:vis enum $name:ident as $label:literal {
        $($(#[$vmeta:meta])* $variant:ident => $text:literal,)+
    }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        $vis enum $name { $($(#[$vmeta])* $variant,)+ }

        impl $crate::Label for $name {
            const NAME: &'static str = $label;
            const ALL: &'static [Self] = &[$(Self::$variant,)+];

            fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    label! {
        /// The cause.
        enum Cause as "reason" {
            /// One.
            One => "one",
            /// Two.
            Two => "two",
        }
    }

    #[test]
    fn every_value_of_a_label_is_exposed_from_the_start() {
        let registry = Registry::new();
        let counters = registry.counters::<Cause>("things_total", "Things.");
        counters.of(Cause::Two).inc();
        let text = registry.expose();
        assert!(text.contains("tailwater_things_total{reason=\"one\"} 0"), "{text}");
        assert!(text.contains("tailwater_things_total{reason=\"two\"} 1"), "{text}");
    }
}
