//! Configuration files (JSON, HCL) and `agent` flags into one validated, typed value.

pub mod goflags;
