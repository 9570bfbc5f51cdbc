//! Families of metrics, registered once and exposed as Prometheus text.

use std::marker::PhantomData;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{
    Gauge, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, TextEncoder,
};

/// A registry whose families all begin with `tailwater_`. Cheap to clone; clones are one registry.
#[derive(Debug, Clone)]
pub struct Registry(prometheus::Registry);

/// A label with a closed set of values: an enum. Never a topic, a client or anything from outside.
pub trait Label: Copy + 'static {
    /// The label's name.
    const NAME: &'static str;
    /// All values, in the order of [`Label::index`].
    const ALL: &'static [Self];
    /// The value's text.
    fn as_str(self) -> &'static str;
    /// The value's place in [`Label::ALL`].
    fn index(self) -> usize;
}

/// One counter for each value of a label; all are exposed from the start, as zero.
#[derive(Debug, Clone)]
pub struct Counters<L> {
    counters: Box<[IntCounter]>,
    label: PhantomData<L>,
}

impl<L: Label> Counters<L> {
    /// The counter of one value.
    #[must_use]
    pub fn of(&self, label: L) -> &IntCounter {
        &self.counters[label.index()]
    }
}

impl Default for Registry {
    fn default() -> Self {
        Self::new()
    }
}

impl Registry {
    /// A registry that has the figures of this process (memory, CPU, file descriptors).
    #[must_use]
    pub fn new() -> Self {
        let registry = prometheus::Registry::new();
        let process = prometheus::process_collector::ProcessCollector::for_self();
        registry
            .register(Box::new(process))
            .expect("an empty registry takes the process collector");
        Self(registry)
    }

    /// A counter.
    #[must_use]
    pub fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.add(IntCounter::with_opts(opts(name, help)))
    }

    /// A counter for each value of a label.
    #[must_use]
    pub fn counters<L: Label>(&self, name: &str, help: &str) -> Counters<L> {
        let family = self.add(IntCounterVec::new(opts(name, help), &[L::NAME]));
        let counters = L::ALL.iter().map(|l| family.with_label_values(&[l.as_str()])).collect();
        Counters { counters, label: PhantomData }
    }

    /// A gauge.
    #[must_use]
    pub fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.add(IntGauge::with_opts(opts(name, help)))
    }

    /// A gauge that is always 1, and says something by its label.
    pub fn info(&self, name: &str, help: &str, (label, value): (&str, &str)) {
        let gauge = IntGauge::with_opts(opts(name, help).const_label(label, value));
        self.add(gauge).set(1);
    }

    /// A histogram.
    #[must_use]
    pub fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Histogram {
        let opts = HistogramOpts::new(full(name), help).buckets(buckets.to_vec());
        self.add(Histogram::with_opts(opts))
    }

    /// A gauge that is asked for its value at each scrape.
    pub fn gauge_fn(&self, name: &str, help: &str, read: impl Fn() -> f64 + Send + Sync + 'static) {
        self.register_gauge(opts(name, help), read);
    }

    /// A gauge of one value of a label, which is read at each scrape. The values are a closed set.
    pub fn gauge_fn_of(
        &self,
        name: &str,
        help: &str,
        (label, value): (&str, &str),
        read: impl Fn() -> f64 + Send + Sync + 'static,
    ) {
        self.register_gauge(opts(name, help).const_label(label, value), read);
    }

    fn register_gauge(&self, opts: Opts, read: impl Fn() -> f64 + Send + Sync + 'static) {
        let gauge = Gauge::with_opts(opts).expect("constants of the right form");
        self.register(Asked { metric: gauge, read: Box::new(read), store: Gauge::set });
    }

    /// A counter that is asked for its value at each scrape, one of the values of a label if given.
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
        self.register(Asked { metric: counter, read: Box::new(read), store });
    }

    /// Everything as Prometheus text, version 0.0.4.
    #[must_use]
    pub fn expose(&self) -> String {
        TextEncoder::new().encode_to_string(&self.0.gather()).expect("families are well formed")
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

/// A metric whose value lives elsewhere.
struct Asked<M, T> {
    metric: M,
    read: Box<dyn Fn() -> T + Send + Sync>,
    store: fn(&M, T),
}

impl<M: Collector, T> Collector for Asked<M, T> {
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

/// Declares an enum that is a [`Label`](crate::Label): each variant with the text of its value.
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

            fn index(self) -> usize {
                self as usize
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    label! {
        /// Why.
        enum Why as "reason" {
            /// One.
            One => "one",
            /// Two.
            Two => "two",
        }
    }

    #[test]
    fn every_value_of_a_label_is_exposed_from_the_start() {
        let registry = Registry::new();
        let counters = registry.counters::<Why>("things_total", "Things.");
        counters.of(Why::Two).inc();
        let text = registry.expose();
        assert!(text.contains("tailwater_things_total{reason=\"one\"} 0"), "{text}");
        assert!(text.contains("tailwater_things_total{reason=\"two\"} 1"), "{text}");
        assert!(text.contains("process_open_fds"), "{text}");
    }
}
