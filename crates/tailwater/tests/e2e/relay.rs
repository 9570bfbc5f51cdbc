//! `tailwater relay`: answers of a scripted upstream that go on when their caller, their gateway or their relay is
//! gone.

mod adapters;
pub(crate) mod client;
mod failover;
mod joined;
mod resumed;
mod sdk;
mod through;
pub(crate) mod upstream;
