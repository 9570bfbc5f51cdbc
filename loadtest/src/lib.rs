//! Drives real Tailwater processes, breaks them, and proves that nobody noticed.
pub mod checker;
pub mod control;
pub mod http;
pub mod payload;
pub mod position;
pub mod process;
pub mod sse;
