//! What came of a run, as text.
