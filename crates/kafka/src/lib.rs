//! A crate of Headwater.
