//! Drives real Tailwater processes, breaks them, and proves that nobody noticed.
//!
//! For tests of one behaviour: [`process`] starts real programs that cannot outlive the test,
//! [`sse`] subscribes, [`publisher`] publishes, [`control`] reads the gateway's own events.
//!
//! For proofs under load: [`cluster`] is a whole deployment, [`load`] publishes steadily,
//! [`audience`] subscribes by the thousand, [`checker`] knows what was acknowledged and what
//! arrived, [`report`] tells it; [`scenario`] puts them together. Where Redis itself is broken,
//! [`lab`] is the deployment and [`history`] the checker.
//!
//! For costs: [`contender`] starts a server on a core of its own, [`driver`] drives it from another,
//! [`reference`] is what it is compared with.
//!
//! Of the workspace it uses the parser of event streams and nothing else: it sees what a client
//! sees.

pub mod audience;
pub mod checker;
pub mod cluster;
pub mod contender;
pub mod control;
pub mod driver;
pub mod endpoint;
pub mod histogram;
pub mod history;
pub mod http;
pub mod lab;
pub mod load;
pub mod mix;
pub mod oddities;
pub mod payload;
pub mod position;
pub mod process;
pub mod progress;
pub mod publisher;
pub mod random;
pub mod reference;
pub mod report;
pub mod scenario;
pub mod sse;
pub mod timeline;
