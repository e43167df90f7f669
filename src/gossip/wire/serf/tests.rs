//! Serf's messages.
