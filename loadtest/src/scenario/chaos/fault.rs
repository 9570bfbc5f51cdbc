//! The faults. Each takes a running lab, causes a fault, waits, and repairs it.

pub(super) mod cluster;
pub(super) mod data;
pub(super) mod network;
pub(super) mod nodes;
pub(super) mod readers;
pub(super) mod sentinel;
pub(super) mod upkeep;
