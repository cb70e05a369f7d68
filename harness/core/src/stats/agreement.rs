//! Agreement of labellers.
