//! The integration tests of the repository, in one program so that they are linked once.

mod layers;
