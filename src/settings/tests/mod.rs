//! The room as a whole: texts in, settings or errors out.
