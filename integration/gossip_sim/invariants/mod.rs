//! What must hold; one property per file, each with the worlds it is looked for in.

pub mod agreement;
pub mod coordinates;
pub mod deaths;
pub mod goodbyes;
pub mod incarnations;
pub mod joins;
pub mod keys;
pub mod no_false_death;
pub mod partitions;
pub mod user_events;
